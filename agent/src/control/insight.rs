//! Questions to the graph's thread, which owns everything worth asking about.

use std::time::Duration;

use caracal_proto::felix;
use tokio::sync::oneshot;

use super::{Calculator, Inbox, Input};
use crate::status::Status;
use crate::sync::Session;

/// How long the graph's thread may work on something else before a question is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the graph's thread shows to a question, between two of its inputs.
pub struct Insight<'a> {
    /// The graph with its configuration. It may hold changes that no revision has told yet.
    pub calculator: &'a Calculator,
    /// The revisions.
    pub session: &'a Session,
    /// What was told, what became of it, and what is wrong.
    pub status: &'a Status,
}

/// A question, answered between two inputs.
pub type Question = Box<dyn FnOnce(&Insight<'_>) + Send>;

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The thread works on something else, or hangs.
    #[error("the calculation graph has been busy for {PATIENCE:?}; /liveness says whether it hangs")]
    Busy,
    /// The thread has ended.
    #[error("the agent is ending")]
    Ended,
}

impl Inbox {
    /// Has the graph's thread answer a question, and waits for the answer.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Insight<'_>) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Ask(Box::new(move |insight| {
            // Whoever asked may have given up.
            let _ = answer.send(question(insight));
        })));
        patiently(answered).await
    }

    /// What was told, as to somebody who starts from nothing; `None` while changes
    /// wait to be told.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn held(&self) -> Result<Option<Vec<felix::ToDataplane>>, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Held(answer));
        patiently(answered).await
    }
}

async fn patiently<T>(answered: oneshot::Receiver<T>) -> Result<T, Unanswered> {
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(answer) => answer.map_err(|_| Unanswered::Ended),
        Err(_) => Err(Unanswered::Busy),
    }
}
