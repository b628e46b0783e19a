//! What a driver says of endpoints, as outcomes.

use std::collections::{BTreeMap, BTreeSet};

use caracal_proto::felix::{self, FromDataplane, ToDataplane, from_dataplane, to_dataplane};
use caracal_proto::sync::endpoint_outcome::Outcome;
use caracal_proto::sync::{Ack, EndpointOutcome, Position};
use nix::time::{ClockId, clock_gettime};

/// An endpoint that a driver is told of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Id {
    /// Orchestrator, workload and endpoint.
    Workload(String, String, String),
    /// The name of a host endpoint.
    Host(String),
}

impl From<&felix::WorkloadEndpointId> for Id {
    fn from(id: &felix::WorkloadEndpointId) -> Self {
        Self::Workload(id.orchestrator_id.clone(), id.workload_id.clone(), id.endpoint_id.clone())
    }
}

impl From<&felix::HostEndpointId> for Id {
    fn from(id: &felix::HostEndpointId) -> Self {
        Self::Host(id.endpoint_id.clone())
    }
}

impl Id {
    fn outcome(&self, outcome: Outcome, reason: String) -> EndpointOutcome {
        let (id, host) = match self.clone() {
            Self::Workload(orchestrator_id, workload_id, endpoint_id) => {
                (Some(felix::WorkloadEndpointId { orchestrator_id, workload_id, endpoint_id }), None)
            }
            Self::Host(endpoint_id) => (None, Some(felix::HostEndpointId { endpoint_id })),
        };
        EndpointOutcome { id, host, outcome: outcome.into(), reason }
    }

    /// The outcome behind the text of a status; Felix has these three. The error of a host
    /// endpoint is that no interface matches it.
    fn status(&self, status: &str) -> EndpointOutcome {
        let error = || "the driver reports an error".to_owned();
        let (outcome, reason) = match (status, self) {
            ("up", _) => (Outcome::Programmed, String::new()),
            ("down", _) => (Outcome::WaitingForInterface, String::new()),
            ("error", Self::Host(_)) => (Outcome::WaitingForInterface, error()),
            ("error", Self::Workload(..)) => (Outcome::Quarantined, error()),
            (other, _) => {
                (Outcome::Quarantined, format!("the driver reports the status {other:?}, which is not known"))
            }
        };
        self.outcome(outcome, reason)
    }
}

/// The endpoints that a driver was told of, and what it said of them.
#[derive(Debug, Default)]
pub(crate) struct Statuses {
    /// What the driver was told whole.
    held: Option<Position>,
    told: BTreeSet<Id>,
    outcomes: BTreeMap<Id, EndpointOutcome>,
    /// What the control half does not know yet.
    unsent: BTreeMap<Id, EndpointOutcome>,
}

impl Statuses {
    pub(crate) fn held(&self) -> Option<Position> {
        self.held
    }

    /// Takes note of a message that the driver is being sent.
    pub(crate) fn telling(&mut self, message: &ToDataplane) {
        use to_dataplane::Payload;
        match &message.payload {
            Some(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { id: Some(id), .. })) => {
                self.told.insert(id.into());
            }
            Some(Payload::HostEndpointUpdate(felix::HostEndpointUpdate { id: Some(id), .. })) => {
                self.told.insert(id.into());
            }
            Some(Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id: Some(id) })) => {
                self.forgotten(id.into());
            }
            Some(Payload::HostEndpointRemove(felix::HostEndpointRemove { id: Some(id) })) => self.forgotten(id.into()),
            Some(_) | None => {}
        }
    }

    /// The driver is told that an endpoint is gone: so it is, whether the driver says so or not.
    fn forgotten(&mut self, id: Id) {
        self.told.remove(&id);
        self.removed(id);
    }

    /// The driver has been told a whole revision: the acknowledgement.
    pub(crate) fn commit(&mut self, position: Position) -> Ack {
        self.held = Some(position);
        self.ack(position)
    }

    /// What a status changed, if it is one of an endpoint that the driver was told of.
    pub(crate) fn heard(&mut self, message: &FromDataplane) -> Option<Ack> {
        use from_dataplane::Payload;
        let word = |status: &Option<felix::EndpointStatus>| {
            status.as_ref().map_or_else(String::new, |status| status.status.clone())
        };
        match message.payload.as_ref()? {
            Payload::WorkloadEndpointStatusUpdate(update) => {
                self.updated(update.id.as_ref()?.into(), &word(&update.status));
            }
            Payload::HostEndpointStatusUpdate(update) => {
                self.updated(update.id.as_ref()?.into(), &word(&update.status));
            }
            Payload::WorkloadEndpointStatusRemove(remove) => self.removed(remove.id.as_ref()?.into()),
            Payload::HostEndpointStatusRemove(remove) => self.removed(remove.id.as_ref()?.into()),
            Payload::ProcessStatusUpdate(_) | Payload::WireguardStatusUpdate(_) | Payload::DataplaneInSync(_) => {}
        }
        let held = self.held.filter(|_| !self.unsent.is_empty())?;
        Some(self.ack(held))
    }

    fn updated(&mut self, id: Id, status: &str) {
        if !self.told.contains(&id) {
            return;
        }
        let outcome = id.status(status);
        if self.outcomes.get(&id) != Some(&outcome) {
            self.outcomes.insert(id.clone(), outcome.clone());
            self.unsent.insert(id, outcome);
        }
    }

    fn removed(&mut self, id: Id) {
        if self.outcomes.remove(&id).is_some() {
            let outcome = id.outcome(Outcome::Removed, String::new());
            self.unsent.insert(id, outcome);
        }
    }

    fn ack(&mut self, Position { epoch, revision }: Position) -> Ack {
        let outcomes = std::mem::take(&mut self.unsent).into_values().collect();
        Ack { epoch, revision, outcomes, committed: monotonic_nanos(), error: String::new() }
    }
}

/// `CLOCK_MONOTONIC`, which the control half compares with its own stamps.
fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    u64::try_from(std::time::Duration::from(now).as_nanos()).expect("an uptime below 584 years")
}

#[cfg(test)]
mod tests;
