//! What the data half's loop says, on its way to the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use caracal_proto::sync::{FromData, from_data};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

/// Replies that wait while there is no connection. What does not fit is
/// dropped, and a snapshot is asked for: its acknowledgement repeats every outcome.
const WAITING: usize = 1024;

/// The loop's end. It never waits.
#[derive(Clone)]
pub struct ReplySender {
    waiting: mpsc::Sender<Box<FromData>>,
    shared: Arc<Shared>,
}

/// The connection's end.
pub struct ReplyReceiver {
    waiting: mpsc::Receiver<Box<FromData>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Whether the loop must be told everything again.
    lost: AtomicBool,
    gave_up: Mutex<Option<String>>,
    report: Mutex<Newest>,
    news: Notify,
}

/// The newest report: each one replaces the one before, so that none waits in
/// the queue, and each connection is told the newest one.
#[derive(Default)]
struct Newest {
    report: Option<Box<FromData>>,
    /// The report if it was not sent on this connection, or else a sign of life.
    due: Option<Box<FromData>>,
}

/// What the loop said.
pub(super) enum Said {
    /// A frame for the control half.
    Reply(Box<FromData>),
    /// It cannot go on with this connection.
    GaveUp(String),
    /// Its end.
    Nothing,
}

/// The way from a loop to its connection.
#[must_use]
pub fn replies() -> (ReplySender, ReplyReceiver) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let shared = Arc::new(Shared::default());
    let sender = ReplySender { waiting: sender, shared: shared.clone() };
    let receiver = ReplyReceiver { waiting: receiver, shared };
    (sender, receiver)
}

impl ReplySender {
    /// Sends a frame to the control half.
    pub fn send(&self, reply: Box<FromData>) {
        match reply.frame {
            Some(from_data::Frame::Report(_)) => {
                return self.report(Newest { due: Some(reply.clone()), report: Some(reply) });
            }
            Some(from_data::Frame::Alive(_)) => return self.alive(reply),
            _ => {}
        }
        match self.waiting.try_send(reply) {
            // Without a receiver the client has ended.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => self.shared.lost.store(true, Ordering::Relaxed),
        }
    }

    fn report(&self, newest: Newest) {
        *self.shared.report.lock().unwrap_or_else(PoisonError::into_inner) = newest;
        self.shared.news.notify_one();
    }

    fn alive(&self, beat: Box<FromData>) {
        self.shared.report.lock().unwrap_or_else(PoisonError::into_inner).due.get_or_insert(beat);
        self.shared.news.notify_one();
    }

    /// Ends the connection, and has the next one start from nothing.
    pub fn give_up(&self, reason: String) {
        *self.shared.gave_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.shared.lost.store(true, Ordering::Relaxed);
        self.shared.news.notify_one();
    }
}

impl ReplyReceiver {
    /// The next thing said; waits for it.
    pub(super) async fn recv(&mut self) -> Said {
        loop {
            tokio::select! {
                reply = self.waiting.recv() => return reply.map_or(Said::Nothing, Said::Reply),
                () = self.shared.news.notified() => {
                    let reason = self.shared.gave_up.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let Some(reason) = reason {
                        return Said::GaveUp(reason);
                    }
                    if let Some(due) = self.newest(|newest| newest.due.take()) {
                        return Said::Reply(due);
                    }
                }
            }
        }
    }

    fn newest<T>(&self, look: impl FnOnce(&mut Newest) -> T) -> T {
        look(&mut self.shared.report.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new connection knows nothing of the newest report.
    pub(super) fn report_again(&self) {
        self.newest(|newest| newest.due.clone_from(&newest.report));
        self.shared.news.notify_one();
    }

    /// Whether the loop must be told everything again, since this was last asked.
    pub(super) fn take_lost(&mut self) -> bool {
        self.shared.gave_up.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.shared.lost.swap(false, Ordering::Relaxed)
    }
}
