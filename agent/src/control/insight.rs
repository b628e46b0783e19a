//! Questions to the graph's thread, which owns everything worth asking about.

use std::net::IpAddr;
use std::time::Duration;

use caracal_calc_graph::Excerpt;
use caracal_config::Settings;
use caracal_datastore::BgpConfiguration;
use caracal_program::WorkloadId;
use caracal_proto::felix;
use smol_str::SmolStr;
use tokio::sync::oneshot;

use super::{Calculator, Inbox, Input};
use crate::encode::{encode, encode_bgp};
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

/// A question, answered when nothing else is due.
pub enum Question {
    /// Looks at what there is to see.
    Look(Box<dyn FnOnce(&Insight<'_>) + Send>),
    /// Wants [what is in force](super::Calculator::in_force) about something.
    InForce(Concern, oneshot::Sender<Option<InForce>>),
}

/// What packets between two ends are judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// The end that sends, if it is a workload, of this node or not.
    pub sender: Option<WorkloadId>,
    /// The end that receives, likewise.
    pub receiver: Option<WorkloadId>,
    /// The addresses of both.
    pub addresses: [IpAddr; 2],
}

/// What a node has in force, as far as it is concerned.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The node.
    pub node: SmolStr,
    /// How it is set up.
    pub settings: Settings,
    graph: Excerpt,
    bgp: BgpConfiguration,
}

impl InForce {
    /// What `graph` told, on a node with these settings and routers.
    pub(super) fn new(node: SmolStr, settings: Settings, graph: Excerpt, bgp: BgpConfiguration) -> Self {
        Self { node, settings, graph, bgp }
    }

    /// The same as messages to somebody who starts from nothing; of IP sets the members
    /// that hold an address. They are made here, not by the thread that was asked.
    #[must_use]
    pub fn messages(&self) -> Vec<felix::ToDataplane> {
        let mut messages = vec![encode_bgp(&self.bgp)];
        self.graph.tell(&mut |delta| encode(&delta, &mut |message| messages.push(message)));
        messages
    }
}

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
        self.send(Input::Ask(Question::Look(Box::new(move |insight| {
            // Whoever asked may have given up.
            let _ = answer.send(question(insight));
        }))));
        patiently(answered).await
    }

    /// What is in force about something; `None` while changes wait to be told.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn in_force(&self, concern: Concern) -> Result<Option<InForce>, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Ask(Question::InForce(concern, answer)));
        patiently(answered).await
    }
}

async fn patiently<T>(answered: oneshot::Receiver<T>) -> Result<T, Unanswered> {
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(answer) => answer.map_err(|_| Unanswered::Ended),
        Err(_) => Err(Unanswered::Busy),
    }
}
