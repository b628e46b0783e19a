//! Messages on their way to one client.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use caracal_proto::felix::ToDataplane;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

/// Messages that may wait for a client besides its snapshot. Who lets more
/// wait is dropped, and gets a snapshot when it comes back.
const MAX_WAITING: usize = 1024;

/// A new queue.
#[must_use]
pub fn queue() -> (Queue, Outgoing) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Queue { sender, waiting: waiting.clone(), room: None }, Outgoing { receiver, waiting })
}

/// The writing end; dropping it ends the stream. It never waits.
#[derive(Debug)]
pub struct Queue {
    sender: mpsc::UnboundedSender<Result<Arc<ToDataplane>, Status>>,
    waiting: Arc<AtomicUsize>,
    /// Messages that may wait; `None` while the snapshot is written.
    room: Option<usize>,
}

/// The client lets too much wait.
#[derive(Debug)]
pub(super) struct TooSlow;

impl Queue {
    /// Appends a message.
    pub(super) fn send(&self, message: Arc<ToDataplane>) -> Result<(), TooSlow> {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.room.is_some_and(|room| waiting >= room) {
            return Err(TooSlow);
        }
        // A client that is gone says so by leaving.
        let _ = self.sender.send(Ok(message));
        Ok(())
    }

    /// The snapshot is complete; the bound counts from here.
    pub(super) fn snapshot_told(&mut self) {
        self.room = Some(self.waiting.load(Ordering::Relaxed) + MAX_WAITING);
    }

    /// Ends the stream with an error, after what waits.
    pub(super) fn fail(self, status: Status) {
        let _ = self.sender.send(Err(status));
    }
}

/// The reading end.
#[derive(Debug)]
pub struct Outgoing {
    receiver: mpsc::UnboundedReceiver<Result<Arc<ToDataplane>, Status>>,
    waiting: Arc<AtomicUsize>,
}

impl Stream for Outgoing {
    type Item = Result<ToDataplane, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.receiver.poll_recv(cx));
        if next.is_some() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Poll::Ready(next.map(|item| item.map(Arc::unwrap_or_clone)))
    }
}
