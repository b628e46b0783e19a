//! The frames that wait for one peer.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use caracal_proto::sync::{ToData, to_data};
use tokio::sync::{Notify, mpsc};
use tokio_stream::Stream;
use tonic::Status;

use crate::control::Outlet;
use crate::sync::Refused;

/// The writing end. It has no bound of its own: the window of the protocol is one.
#[derive(Clone)]
pub(super) struct Queue {
    frames: mpsc::UnboundedSender<ToData>,
    shared: Arc<Shared>,
}

/// The reading end: what the server's library sends.
pub(super) struct Outgoing {
    frames: mpsc::UnboundedReceiver<ToData>,
    shared: Arc<Shared>,
    said_farewell: bool,
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    taken: AtomicU64,
    refused: OnceLock<Refused>,
    ended: Notify,
}

/// A queue that ends when every writing end is dropped.
pub(super) fn queue() -> (Queue, Outgoing) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::default());
    let queue = Queue { frames: sender, shared: shared.clone() };
    let outgoing = Outgoing { frames: receiver, shared, said_farewell: false };
    (queue, outgoing)
}

impl Queue {
    /// Frames that wait, and frames that were taken so far.
    pub(super) fn progress(&self) -> (u64, u64) {
        let taken = self.shared.taken.load(Ordering::Relaxed);
        let sent = self.shared.sent.load(Ordering::Relaxed);
        (sent.saturating_sub(taken), taken)
    }

    /// Waits until somebody has refused the peer.
    pub(super) async fn refused(&self) -> Refused {
        loop {
            if let Some(refused) = self.shared.refused.get() {
                return refused.clone();
            }
            self.shared.ended.notified().await;
        }
    }

    fn push(&self, frame: ToData) {
        self.shared.sent.fetch_add(1, Ordering::Relaxed);
        // A reading end that is gone is noticed where the peer is read.
        let _ = self.frames.send(frame);
    }
}

impl Outlet for Queue {
    fn send(&mut self, frame: ToData) {
        self.push(frame);
    }

    /// The reason overtakes whatever waits, and is the last frame.
    fn refuse(&mut self, refused: Refused) {
        let frame = ToData { frame: Some(to_data::Frame::Refusal(refused.clone().into())) };
        if self.shared.refused.set(refused).is_ok() {
            self.shared.ended.notify_one();
            // Wakes the reading end.
            self.push(frame);
        }
    }
}

impl Stream for Outgoing {
    type Item = Result<ToData, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.said_farewell {
            return Poll::Ready(None);
        }
        if let Some(refused) = self.shared.refused.get() {
            let frame = ToData { frame: Some(to_data::Frame::Refusal(refused.clone().into())) };
            self.said_farewell = true;
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = std::task::ready!(self.frames.poll_recv(cx));
        self.shared.taken.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(frame.map(Ok))
    }
}
