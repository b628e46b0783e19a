//! What a driver says of endpoints, as outcomes.

use std::collections::{BTreeMap, BTreeSet};

use caracal_proto::felix::{self, FromDataplane, ToDataplane, from_dataplane, to_dataplane};
use caracal_proto::sync::endpoint_outcome::Outcome;
use caracal_proto::sync::{Ack, EndpointOutcome, Position};
use nix::time::{ClockId, clock_gettime};

/// Orchestrator, workload and endpoint.
type Id = (String, String, String);

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
        match &message.payload {
            Some(to_dataplane::Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate {
                id: Some(id), ..
            })) => {
                self.told.insert(key(id));
            }
            Some(to_dataplane::Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id: Some(id) })) => {
                // Whether the driver says so or not.
                self.removed(id);
                self.told.remove(&key(id));
            }
            Some(_) | None => {}
        }
    }

    /// The driver has been told a whole revision: the acknowledgement.
    pub(crate) fn commit(&mut self, position: Position) -> Ack {
        self.held = Some(position);
        self.ack(position)
    }

    /// What a status changed, if it is one of an endpoint that the driver was told of.
    pub(crate) fn heard(&mut self, message: &FromDataplane) -> Option<Ack> {
        use from_dataplane::Payload;
        match message.payload.as_ref()? {
            Payload::WorkloadEndpointStatusUpdate(update) => {
                let status = update.status.as_ref().map_or("", |status| status.status.as_str());
                self.updated(update.id.as_ref()?, status);
            }
            Payload::WorkloadEndpointStatusRemove(remove) => self.removed(remove.id.as_ref()?),
            Payload::ProcessStatusUpdate(_)
            | Payload::HostEndpointStatusUpdate(_)
            | Payload::HostEndpointStatusRemove(_)
            | Payload::WireguardStatusUpdate(_)
            | Payload::DataplaneInSync(_) => {}
        }
        let held = self.held.filter(|_| !self.unsent.is_empty())?;
        Some(self.ack(held))
    }

    fn updated(&mut self, id: &felix::WorkloadEndpointId, status: &str) {
        let key = key(id);
        if !self.told.contains(&key) {
            return;
        }
        let (outcome, reason) = outcome(status);
        let outcome = EndpointOutcome { id: Some(id.clone()), outcome: outcome.into(), reason, host: None };
        if self.outcomes.get(&key) != Some(&outcome) {
            self.outcomes.insert(key.clone(), outcome.clone());
            self.unsent.insert(key, outcome);
        }
    }

    fn removed(&mut self, id: &felix::WorkloadEndpointId) {
        let key = key(id);
        if self.outcomes.remove(&key).is_some() {
            let outcome = Outcome::Removed.into();
            self.unsent
                .insert(key, EndpointOutcome { id: Some(id.clone()), outcome, reason: String::new(), host: None });
        }
    }

    fn ack(&mut self, Position { epoch, revision }: Position) -> Ack {
        let outcomes = std::mem::take(&mut self.unsent).into_values().collect();
        Ack { epoch, revision, outcomes, committed: monotonic_nanos(), error: String::new() }
    }
}

fn key(id: &felix::WorkloadEndpointId) -> Id {
    (id.orchestrator_id.clone(), id.workload_id.clone(), id.endpoint_id.clone())
}

/// The outcome behind the text of a status; Felix has these three.
fn outcome(status: &str) -> (Outcome, String) {
    match status {
        "up" => (Outcome::Programmed, String::new()),
        "down" => (Outcome::WaitingForInterface, String::new()),
        "error" => (Outcome::Quarantined, "the driver reports an error".to_owned()),
        other => (Outcome::Quarantined, format!("the driver reports the status {other:?}, which is not known")),
    }
}

/// `CLOCK_MONOTONIC`, which the control half compares with its own stamps.
fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    u64::try_from(std::time::Duration::from(now).as_nanos()).expect("an uptime below 584 years")
}

#[cfg(test)]
mod tests {
    use caracal_proto::felix::EndpointStatus;

    use super::*;

    fn id(name: &str) -> felix::WorkloadEndpointId {
        felix::WorkloadEndpointId {
            orchestrator_id: "k8s".into(),
            workload_id: name.into(),
            endpoint_id: "eth0".into(),
        }
    }

    fn telling(payload: to_dataplane::Payload) -> ToDataplane {
        ToDataplane { sequence_number: 0, payload: Some(payload) }
    }

    fn update(name: &str) -> ToDataplane {
        let update = felix::WorkloadEndpointUpdate { id: Some(id(name)), endpoint: None };
        telling(to_dataplane::Payload::WorkloadEndpointUpdate(update))
    }

    fn remove(name: &str) -> ToDataplane {
        let remove = felix::WorkloadEndpointRemove { id: Some(id(name)) };
        telling(to_dataplane::Payload::WorkloadEndpointRemove(remove))
    }

    /// A status in a word; `gone` is the removal of one.
    fn status(name: &str, status: &str) -> FromDataplane {
        let id = Some(id(name));
        let payload = if status == "gone" {
            from_dataplane::Payload::WorkloadEndpointStatusRemove(felix::WorkloadEndpointStatusRemove { id })
        } else {
            let status = Some(EndpointStatus { status: status.into() });
            let update = felix::WorkloadEndpointStatusUpdate { id, status, endpoint: None };
            from_dataplane::Payload::WorkloadEndpointStatusUpdate(update)
        };
        FromDataplane { sequence_number: 0, payload: Some(payload) }
    }

    fn outcomes(ack: Ack) -> Vec<(String, Outcome)> {
        let name = |outcome: &EndpointOutcome| outcome.id.clone().expect("an id").workload_id;
        ack.outcomes.iter().map(|outcome| (name(outcome), outcome.outcome())).collect()
    }

    #[test]
    fn statuses_become_outcomes_once() {
        let mut statuses = Statuses::default();
        statuses.telling(&update("a"));
        statuses.telling(&update("b"));
        assert_eq!(statuses.heard(&status("b", "up")), None, "the revision is not whole yet");
        let ack = statuses.commit(Position { epoch: 7, revision: 3 });
        assert_eq!((ack.epoch, ack.revision), (7, 3));
        assert!(ack.committed > 0);
        assert_eq!(outcomes(ack), [("b".to_owned(), Outcome::Programmed)]);
        let mut heard = |name, text| statuses.heard(&status(name, text)).map(outcomes);
        let one = |name: &str, outcome| Some(vec![(name.to_owned(), outcome)]);
        assert_eq!(heard("a", "down"), one("a", Outcome::WaitingForInterface));
        assert_eq!(heard("a", "down"), None, "nothing new");
        assert_eq!(heard("a", "error"), one("a", Outcome::Quarantined));
        assert_eq!(heard("a", "confused"), one("a", Outcome::Quarantined));
        assert_eq!(heard("a", "up"), one("a", Outcome::Programmed));
        assert_eq!(heard("a", "gone"), one("a", Outcome::Removed));
        assert_eq!(heard("a", "gone"), None, "nothing new");
        assert_eq!(heard("stranger", "up"), None, "nobody told the driver of it");
    }

    #[test]
    fn an_endpoint_is_removed_with_the_revision_that_says_so() {
        let position = Position { epoch: 7, revision: 3 };
        let mut statuses = Statuses::default();
        statuses.telling(&update("a"));
        statuses.commit(position);
        statuses.heard(&status("a", "up"));
        statuses.telling(&remove("a"));
        assert_eq!(outcomes(statuses.commit(position)), [("a".to_owned(), Outcome::Removed)]);
        for late in ["up", "gone"] {
            assert_eq!(statuses.heard(&status("a", late)), None, "{late}");
        }
        assert!(statuses.told.is_empty() && statuses.outcomes.is_empty(), "{statuses:?}");
    }
}
