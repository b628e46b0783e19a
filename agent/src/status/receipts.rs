//! What the kernel acknowledged: by revision, and by endpoint.

use std::collections::BTreeMap;

use caracal_program::{HostId, WorkloadId};
use caracal_proto::sync::{Ack, EndpointOutcome, endpoint_outcome::Outcome};

use super::ledger::workload_id;
use super::moment::Moment;

/// What became of revisions and endpoints.
#[derive(Debug, Default)]
pub struct Receipts {
    endpoints: BTreeMap<WorkloadId, Receipt>,
    hosts: BTreeMap<HostId, Receipt>,
    acknowledged: Option<Acknowledged>,
    /// Why the last revision could not be programmed, if it could not.
    failure: Option<String>,
}

/// The last revision that the kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Which one.
    pub revision: u64,
    /// When the kernel took it.
    pub at: Moment,
    /// When the datastore first showed the oldest change of it, if known.
    pub since: Option<Moment>,
}

/// What became of one endpoint, as the data half last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What became of it.
    pub outcome: Outcome,
    /// Why, or what is wrong all the same.
    pub reason: String,
    /// The revision with which the outcome became so.
    pub revision: u64,
    /// When the kernel took that.
    pub at: Moment,
}

impl Receipts {
    /// Takes an acknowledgement of this life of the control half; `stamp` is
    /// when the datastore showed the oldest change, 0 if unknown.
    pub fn on_ack(&mut self, ack: &Ack, stamp: u64) {
        let Ack { epoch: _, revision, outcomes, committed, error } = ack;
        let at = Moment::from_nanos(*committed);
        if error.is_empty() {
            let since = (stamp != 0).then(|| Moment::from_nanos(stamp));
            // News of endpoints between two revisions repeat the number, not the revision.
            let known = self.acknowledged.filter(|known| known.revision == *revision && since.is_none());
            self.acknowledged = Some(known.unwrap_or(Acknowledged { revision: *revision, at, since }));
            self.failure = None;
        } else {
            self.failure = Some(error.clone());
        }
        for outcome in outcomes {
            self.on_outcome(outcome, *revision, at);
        }
    }

    fn on_outcome(&mut self, told: &EndpointOutcome, revision: u64, at: Moment) {
        let outcome = told.outcome();
        let receipt = Receipt { outcome, reason: told.reason.clone(), revision, at };
        let host = told.host.as_ref().map(|host| HostId(host.endpoint_id.as_str().into()));
        match (told.id.as_ref().map(workload_id), host, outcome) {
            (Some(id), _, Outcome::Removed) => drop(self.endpoints.remove(&id)),
            (Some(id), _, _) => drop(self.endpoints.insert(id, receipt)),
            (None, Some(id), Outcome::Removed) => drop(self.hosts.remove(&id)),
            (None, Some(id), _) => drop(self.hosts.insert(id, receipt)),
            (None, None, _) => {}
        }
    }

    /// The data half is told everything: nothing of it is acknowledged. The
    /// kernel still holds what it held.
    pub fn start_over(&mut self) {
        self.acknowledged = None;
        self.failure = None;
    }

    /// Forgets the endpoints for which `is_known` is false, and the host endpoints
    /// for which `is_known_host` is.
    pub fn retain(&mut self, is_known: impl Fn(&WorkloadId) -> bool, is_known_host: impl Fn(&HostId) -> bool) {
        self.endpoints.retain(|id, _| is_known(id));
        self.hosts.retain(|id, _| is_known_host(id));
    }

    /// What became of an endpoint; `None` if the data half has not told yet.
    #[must_use]
    pub fn of(&self, id: &WorkloadId) -> Option<&Receipt> {
        self.endpoints.get(id)
    }

    /// What became of a host endpoint; `None` if the data half has not told yet.
    #[must_use]
    pub fn of_host(&self, id: &HostId) -> Option<&Receipt> {
        self.hosts.get(id)
    }

    /// Whether the endpoint that is told of was told of before, as one that is not in force or
    /// has something wrong with it.
    #[must_use]
    pub fn was_lacking(&self, told: &EndpointOutcome) -> bool {
        let receipt = match (&told.id, &told.host) {
            (Some(id), _) => self.of(&workload_id(id)),
            (None, Some(host)) => self.of_host(&HostId(host.endpoint_id.as_str().into())),
            (None, None) => None,
        };
        receipt.is_some_and(|receipt| receipt.outcome != Outcome::Programmed || !receipt.reason.is_empty())
    }

    /// What became of every endpoint that the data half told of, by id.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = (&WorkloadId, &Receipt)> {
        self.endpoints.iter()
    }

    /// What became of every host endpoint that the data half told of, by id.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = (&HostId, &Receipt)> {
        self.hosts.iter()
    }

    /// The last revision that the kernel holds.
    #[must_use]
    pub const fn acknowledged(&self) -> Option<Acknowledged> {
        self.acknowledged
    }

    /// Why the last revision could not be programmed, if it could not.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}
