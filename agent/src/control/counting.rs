//! Asking the data half what rules have counted.

use std::time::Duration;

use caracal_proto::COUNTS;
use caracal_proto::sync::{Extension, ToData, to_data};
use tokio::sync::oneshot;

use super::{Inbox, Input, Outlet};

/// How long whoever asks waits for the data half, which may be at work on a large
/// revision. Then what it said last has to do.
const PATIENCE: Duration = Duration::from_secs(2);

/// Those who wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Counting(Vec<oneshot::Sender<()>>);

impl Counting {
    /// Asks, for somebody who waits until it is answered or cannot be.
    pub(super) fn ask(&mut self, outlet: Option<&mut Box<dyn Outlet>>, waiting: oneshot::Sender<()>) {
        let Some(outlet) = outlet else { return };
        self.0.retain(|waiting| !waiting.is_closed());
        self.0.push(waiting);
        let question = Extension { name: COUNTS.to_owned(), value: Vec::new() };
        outlet.send(ToData { frame: Some(to_data::Frame::Extension(question)) });
    }

    /// There is an answer.
    pub(super) fn answered(&mut self) {
        for waiting in self.0.drain(..) {
            // Whoever asked may have given up.
            let _ = waiting.send(());
        }
    }

    /// There will be none.
    pub(super) fn give_up(&mut self) {
        self.0.clear();
    }
}

impl Inbox {
    /// Has the data half tell what rules have counted, and waits until it has, or
    /// until that has taken too long: what the graph's thread knows is then older.
    pub async fn count(&self) {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Count(answer));
        let _ = tokio::time::timeout(PATIENCE, answered).await;
    }
}
