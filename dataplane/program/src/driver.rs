//! What a dataplane driver does.

use std::sync::Arc;
use std::time::Duration;

use crate::{Change, HostId, PolicyStore, Report, RuleCounts, WorkloadId};

/// Whether a resync may remove what it finds and nobody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sweep {
    /// Keep it: the control half has not told everything yet.
    Keep,
    /// Remove it.
    Remove,
}

/// What became of an endpoint in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The kernel holds its rules.
    Programmed,
    /// Another endpoint with a lower id names the same interface.
    Shadowed,
    /// The kernel refused it, or its rules cannot be expressed; it is closed.
    Quarantined {
        /// Why, for a person to read.
        reason: String,
    },
    /// The kernel holds nothing of it any more.
    Removed,
}

/// An endpoint with what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointOutcome {
    /// The endpoint.
    pub id: WorkloadId,
    /// What became of it.
    pub outcome: Outcome,
}

/// A host endpoint with what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostOutcome {
    /// The endpoint.
    pub id: HostId,
    /// What became of it. One that stands for no interface is shadowed.
    pub outcome: Outcome,
}

/// What a driver did for one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Endpoints whose outcome differs from the receipt before; all of them
    /// after a resync.
    pub outcomes: Vec<EndpointOutcome>,
    /// Host endpoints likewise.
    pub hosts: Vec<HostOutcome>,
    /// Kernel messages sent.
    pub messages: usize,
    /// Bytes sent to the kernel.
    pub bytes: usize,
    /// Kernel transactions; 0 if there was nothing to do.
    pub transactions: usize,
}

/// What a look at the kernel found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing of ours was touched by others.
    Unchanged,
    /// Somebody changed something of ours; it is as it was again.
    Repaired(Receipt),
}

/// A driver could not do what it was asked to. The last good state stands in the
/// kernel.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The kernel refused the transaction and named no object to leave out. Try
    /// again with a longer pause each time.
    #[error("the kernel refused {what}")]
    Refused {
        /// What was asked of it.
        what: String,
        /// Its answer.
        #[source]
        source: std::io::Error,
    },
    /// The kernel cannot be reached or lacks what the driver needs. Trying again
    /// does not help.
    #[error("{what} is not available")]
    Unavailable {
        /// What is missing.
        what: String,
        /// How that was seen.
        #[source]
        source: std::io::Error,
    },
}

/// Has [`Driver::poll`] called soon, from any thread; does not wait. Calls before that
/// poll are one.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A way to put rule programs into force. All methods run on the driver's own
/// thread; none is called while another runs.
pub trait Driver: Send {
    /// Puts one revision into force, in one kernel transaction where the kernel
    /// can. `changes` has at most one change for each object
    /// ([`coalesce`](crate::coalesce)) and `store` is the state after them.
    ///
    /// # Errors
    /// [`DriverError`]; the state before this revision stays in force, and the
    /// next call gets later changes only, so the driver remembers what it owes.
    fn apply(&mut self, store: &PolicyStore, changes: &[Change]) -> Result<Receipt, DriverError>;

    /// Reads back what the kernel holds of ours, adopts what is right, repairs
    /// what is not and, if `sweep` says so, removes what nobody wants. Needs no
    /// memory of an earlier run.
    ///
    /// # Errors
    /// [`DriverError`]; what was in force stays so.
    fn resync(&mut self, store: &PolicyStore, sweep: Sweep) -> Result<Receipt, DriverError>;

    /// Reads ahead what the kernel holds, while nobody has said yet what it should:
    /// the next [`Driver::resync`] then need not, unless somebody changes it
    /// meanwhile. Changes nothing; what fails is read later.
    fn look_ahead(&mut self) {}

    /// Looks for changes by others and repairs them; meant to be called every
    /// [`Driver::poll_interval`], and cheap when there are none.
    ///
    /// # Errors
    /// [`DriverError`]; the next poll tries again.
    fn poll(&mut self, store: &PolicyStore) -> Result<Finding, DriverError>;

    /// How long to wait for the next poll, unless there is a reason to poll sooner; to be
    /// asked after each call of another method.
    fn poll_interval(&self) -> Duration;

    /// From now on calls `wake` when others may have changed something of ours, if it can
    /// notice; [`Driver::poll_interval`] may then be longer.
    fn watch(&mut self, _wake: Wake) {}

    /// What the driver counted, and what does not work now. Asks the kernel
    /// nothing, so that it may be called often.
    fn report(&self) -> Report;

    /// What the rules have counted. Costs as much as reading every rule, so it is to be
    /// asked when somebody wants to know, and a call reads only what takes about a
    /// millisecond: `None` says that the next one goes on. Other calls may come between.
    /// A driver that does not count says nothing.
    ///
    /// # Errors
    /// [`DriverError`]; nothing is lost, and the next call begins anew.
    fn rule_counts(&mut self, _store: &PolicyStore) -> Result<Option<RuleCounts>, DriverError> {
        Ok(Some(RuleCounts::default()))
    }

    /// Removes everything of ours from the kernel.
    ///
    /// # Errors
    /// [`DriverError`]; something of ours may be left.
    fn remove(&mut self) -> Result<(), DriverError>;
}
