//! What became of each endpoint, for the control half.

use std::collections::{BTreeMap, BTreeSet};

use caracal_program::{EndpointOutcome, Measurement, Outcome, Problem, WorkloadId};
use caracal_proto::felix;
use caracal_proto::sync::{self, endpoint_outcome};

/// Why an endpoint that the driver programmed carries nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Networking {
    /// Its interface is up, its routes and sysctls are set.
    Ready,
    /// Its interface is not there or down.
    NoInterface,
    /// Its routes or sysctls could not be set; tried again.
    Failed(String),
}

/// The outcomes by endpoint, and which of them the control half does not know yet.
#[derive(Debug, Default)]
pub struct Outcomes {
    endpoints: BTreeMap<WorkloadId, State>,
    unsent: BTreeSet<WorkloadId>,
}

#[derive(Debug, Default)]
struct State {
    rules: Option<Outcome>,
    networking: Option<Networking>,
    sent: Option<sync::EndpointOutcome>,
}

impl Outcomes {
    /// Takes what the driver says.
    pub fn rules(&mut self, outcomes: impl IntoIterator<Item = EndpointOutcome>) {
        for EndpointOutcome { id, outcome } in outcomes {
            self.endpoints.entry(id.clone()).or_default().rules = Some(outcome);
            self.unsent.insert(id);
        }
    }

    /// An endpoint could not be understood: the driver does not know it, and it is closed.
    pub fn refused(&mut self, id: &WorkloadId, reason: String) {
        self.rules([EndpointOutcome { id: id.clone(), outcome: Outcome::Quarantined { reason } }]);
    }

    /// An endpoint that the driver does not know is gone.
    pub fn removed(&mut self, id: &WorkloadId) {
        self.rules([EndpointOutcome { id: id.clone(), outcome: Outcome::Removed }]);
    }

    /// How many endpoints have each outcome.
    #[must_use]
    pub fn measurements(&self) -> Vec<Measurement> {
        use endpoint_outcome::Outcome as Wire;
        let words = [
            (Wire::Programmed, "programmed"),
            (Wire::WaitingForInterface, "waiting_for_interface"),
            (Wire::Shadowed, "shadowed"),
            (Wire::Quarantined, "quarantined"),
        ];
        let counted = words.map(|(outcome, word)| {
            let sent = self.endpoints.values().filter_map(|state| state.sent.as_ref());
            let count = sent.filter(|sent| sent.outcome() == outcome).count();
            let help = "Workload endpoints of this node, by what became of them in the kernel.";
            let count = u64::try_from(count).expect("a count of things in memory fits in 64 bits");
            Measurement::gauge("caracal_dataplane_endpoints", help, count).with("outcome", word)
        });
        counted.into()
    }

    /// The endpoints whose interfaces could not be set up.
    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        self.endpoints.iter().filter_map(|(id, state)| match &state.networking {
            Some(Networking::Failed(reason)) => {
                Some(Problem { subject: format!("workload endpoint {id}"), reason: reason.clone() })
            }
            Some(Networking::Ready | Networking::NoInterface) | None => None,
        })
    }

    /// Takes how an endpoint's interface is doing. Answers whether that was not known.
    pub fn networking(&mut self, id: &WorkloadId, networking: Networking) -> bool {
        let state = self.endpoints.entry(id.clone()).or_default();
        let is_news = state.networking.as_ref() != Some(&networking);
        if is_news {
            state.networking = Some(networking);
            self.unsent.insert(id.clone());
        }
        is_news
    }

    /// The control half knows nothing any more: everything is to be told again.
    pub fn forget_sent(&mut self) {
        for (id, state) in &mut self.endpoints {
            state.sent = None;
            self.unsent.insert(id.clone());
        }
    }

    /// What differs from what was told last.
    pub fn take(&mut self) -> Vec<sync::EndpointOutcome> {
        let mut told = Vec::new();
        for id in std::mem::take(&mut self.unsent) {
            let Some(state) = self.endpoints.get_mut(&id) else { continue };
            // Until the driver has spoken there is no outcome.
            let Some(outcome) = state.outcome(&id) else { continue };
            let removed = outcome.outcome() == endpoint_outcome::Outcome::Removed;
            if state.sent.as_ref() != Some(&outcome) {
                state.sent = Some(outcome.clone());
                told.push(outcome);
            }
            if removed {
                self.endpoints.remove(&id);
            }
        }
        told
    }
}

impl State {
    fn outcome(&self, id: &WorkloadId) -> Option<sync::EndpointOutcome> {
        use endpoint_outcome::Outcome as Wire;
        let (outcome, reason) = match (self.rules.as_ref()?, &self.networking) {
            (Outcome::Removed, _) => (Wire::Removed, String::new()),
            (Outcome::Shadowed, _) => (Wire::Shadowed, String::new()),
            (Outcome::Quarantined { reason }, _) => (Wire::Quarantined, reason.clone()),
            (Outcome::Programmed, Some(Networking::Ready)) => (Wire::Programmed, String::new()),
            (Outcome::Programmed, Some(Networking::Failed(reason))) => (Wire::Programmed, reason.clone()),
            (Outcome::Programmed, Some(Networking::NoInterface) | None) => (Wire::WaitingForInterface, String::new()),
        };
        let id = felix::WorkloadEndpointId {
            orchestrator_id: id.orchestrator.to_string(),
            workload_id: id.workload.to_string(),
            endpoint_id: id.endpoint.to_string(),
        };
        Some(sync::EndpointOutcome { id: Some(id), outcome: outcome.into(), reason, host: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use endpoint_outcome::Outcome as Wire;

    fn id() -> WorkloadId {
        WorkloadId { orchestrator: "k8s".into(), workload: "default/a".into(), endpoint: "eth0".into() }
    }

    fn rules(outcomes: &mut Outcomes, outcome: Outcome) {
        outcomes.rules([EndpointOutcome { id: id(), outcome }]);
    }

    fn told(outcomes: &mut Outcomes) -> Vec<Wire> {
        outcomes.take().iter().map(sync::EndpointOutcome::outcome).collect()
    }

    #[test]
    fn an_endpoint_is_programmed_when_rules_and_interface_are() {
        let mut outcomes = Outcomes::default();
        outcomes.networking(&id(), Networking::NoInterface);
        assert_eq!(told(&mut outcomes), []);
        rules(&mut outcomes, Outcome::Programmed);
        assert_eq!(told(&mut outcomes), [Wire::WaitingForInterface]);
        outcomes.networking(&id(), Networking::Ready);
        assert_eq!(told(&mut outcomes), [Wire::Programmed]);
        outcomes.networking(&id(), Networking::Ready);
        rules(&mut outcomes, Outcome::Programmed);
        assert_eq!(told(&mut outcomes), [], "nothing new");
        outcomes.forget_sent();
        assert_eq!(told(&mut outcomes), [Wire::Programmed], "a new control half is told everything");
        rules(&mut outcomes, Outcome::Removed);
        assert_eq!(told(&mut outcomes), [Wire::Removed]);
        outcomes.forget_sent();
        assert_eq!(told(&mut outcomes), [], "and then it is forgotten");
    }
}
