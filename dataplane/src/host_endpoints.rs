//! What became of host endpoints, and what they would cut off.

use std::collections::{BTreeMap, BTreeSet};

use caracal_program::{ALL_INTERFACES, HostId, HostOutcome, Outcome, PolicyStore, Problem};
use caracal_proto::felix;
use caracal_proto::sync::{self, endpoint_outcome};
use tracing::warn;

use crate::interfaces::{Interfaces, LinkState};

/// The host endpoints by what the driver said of them, and what the control half
/// does not know yet.
#[derive(Debug, Default)]
pub(crate) struct HostEndpoints {
    states: BTreeMap<HostId, State>,
    /// Flows that a host should not lose and would.
    cut_off: BTreeSet<Problem>,
}

#[derive(Debug)]
struct State {
    rules: Outcome,
    sent: Option<sync::EndpointOutcome>,
}

impl HostEndpoints {
    /// Takes what the driver says.
    pub(crate) fn rules(&mut self, outcomes: impl IntoIterator<Item = HostOutcome>) {
        for HostOutcome { id, outcome } in outcomes {
            match self.states.get_mut(&id) {
                Some(state) => state.rules = outcome,
                None => drop(self.states.insert(id, State { rules: outcome, sent: None })),
            }
        }
    }

    /// The control half knows nothing any more: everything is to be told again.
    pub(crate) fn forget_sent(&mut self) {
        self.states.values_mut().for_each(|state| state.sent = None);
    }

    /// What differs from what was told last.
    pub(crate) fn take(&mut self, store: &PolicyStore, interfaces: &Interfaces) -> Vec<sync::EndpointOutcome> {
        let mut told = Vec::new();
        self.states.retain(|id, state| {
            let outcome = outcome(id, &state.rules, is_there(store, interfaces, id));
            if state.sent.as_ref() != Some(&outcome) {
                state.sent = Some(outcome.clone());
                told.push(outcome);
            }
            state.rules != Outcome::Removed
        });
        told
    }

    /// Takes what the policy that is about to be put into force would cut off,
    /// and warns of what is new.
    pub(crate) fn foresee(&mut self, cut_off: Vec<Problem>) {
        let cut_off: BTreeSet<Problem> = cut_off.into_iter().collect();
        for Problem { subject, reason } in cut_off.difference(&self.cut_off) {
            warn!("{subject}: {reason}");
        }
        self.cut_off = cut_off;
    }

    /// What does not work, or will not.
    pub(crate) fn problems<'a>(&'a self, store: &'a PolicyStore) -> impl Iterator<Item = Problem> + 'a {
        let ignored =
            store.hosts().filter(|endpoint| endpoint.is_for_all_interfaces() && !endpoint.untracked.is_empty());
        let ignored = ignored.map(|endpoint| Problem {
            subject: format!("host endpoint {}", endpoint.id),
            reason: "doNotTrack policy is not supported for all interfaces at once and is left out; name an interface"
                .to_owned(),
        });
        self.cut_off.iter().cloned().chain(ignored)
    }
}

/// Whether an endpoint's interface is there, by name or by address.
fn is_there(store: &PolicyStore, interfaces: &Interfaces, id: &HostId) -> bool {
    store.host(id).is_none_or(|endpoint| match endpoint.interface.as_str() {
        ALL_INTERFACES => true,
        "" => store.has_any_address(&endpoint.expected_addresses),
        name => interfaces.state(name) != LinkState::Gone,
    })
}

fn outcome(id: &HostId, rules: &Outcome, is_there: bool) -> sync::EndpointOutcome {
    use endpoint_outcome::Outcome as Wire;
    let (outcome, reason) = match rules {
        Outcome::Removed => (Wire::Removed, String::new()),
        Outcome::Quarantined { reason } => (Wire::Quarantined, reason.clone()),
        Outcome::Programmed | Outcome::Shadowed if !is_there => (Wire::WaitingForInterface, String::new()),
        Outcome::Shadowed => (Wire::Shadowed, String::new()),
        Outcome::Programmed => (Wire::Programmed, String::new()),
    };
    let host = Some(felix::HostEndpointId { endpoint_id: id.0.to_string() });
    sync::EndpointOutcome { id: None, outcome: outcome.into(), reason, host }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caracal_net::IfIndex;
    use caracal_proto::felix::to_dataplane::Payload;
    use endpoint_outcome::Outcome as Wire;

    #[test]
    fn an_endpoint_waits_for_its_interface() {
        let mut store = PolicyStore::new();
        let id = felix::HostEndpointId { endpoint_id: "h".into() };
        let endpoint = felix::HostEndpoint { name: "eth0".into(), ..felix::HostEndpoint::default() };
        let update = felix::HostEndpointUpdate { id: Some(id), endpoint: Some(endpoint) };
        let message = felix::ToDataplane { sequence_number: 0, payload: Some(Payload::HostEndpointUpdate(update)) };
        store.apply(&message).expect("a host endpoint");

        let mut interfaces = Interfaces::default();
        let mut endpoints = HostEndpoints::default();
        let mut check = |rules: Option<Outcome>, link, wanted: &[Wire]| {
            endpoints.rules(rules.map(|outcome| HostOutcome { id: HostId("h".into()), outcome }));
            interfaces.observe(&"eth0".into(), link);
            let told = endpoints.take(&store, &interfaces);
            let outcomes: Vec<Wire> = told.iter().map(sync::EndpointOutcome::outcome).collect();
            assert_eq!(outcomes, wanted);
        };
        let up = LinkState::Up(IfIndex(1));
        check(Some(Outcome::Programmed), LinkState::Gone, &[Wire::WaitingForInterface]);
        check(None, up, &[Wire::Programmed]);
        check(Some(Outcome::Shadowed), up, &[Wire::Shadowed]);
        check(Some(Outcome::Quarantined { reason: "no".into() }), up, &[Wire::Quarantined]);
        check(None, up, &[]);
        check(Some(Outcome::Removed), up, &[Wire::Removed]);
        check(None, up, &[]);
    }
}
