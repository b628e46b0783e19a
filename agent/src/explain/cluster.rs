//! The policy of a whole cluster, and who has which address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use caracal_model::Labels;
use caracal_net::Family;
use caracal_program::{
    Direction, MixedFamilies, Packet, PolicyId, PolicyStore, ProgramError, WorkloadEndpoint, WorkloadId, trace_endpoint,
};
use caracal_proto::felix::{self, to_dataplane::Payload};
use smol_str::SmolStr;

use super::answer::{Answer, Side};
use super::{Party, Question};

/// A packet that was asked for cannot exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// No such workload.
    #[error(
        "there is no workload {0}: no such pod, or it has no address or no node, is finished, or is on the host's network"
    )]
    UnknownWorkload(String),
    /// The workload is there and has no address.
    #[error("workload {0} has no address")]
    NoAddress(String),
    /// The two have no family in common.
    #[error("{from} and {to} have no address of the same family")]
    NoCommonFamily {
        /// Who sends.
        from: String,
        /// Who is to receive.
        to: String,
    },
    /// Two addresses of different families.
    #[error(transparent)]
    MixedFamilies(#[from] MixedFamilies),
}

/// An address, and the workload that has it.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) address: IpAddr,
    pub(super) workload: Option<&'a Arc<WorkloadEndpoint>>,
}

/// The policy of a whole cluster, folded from the messages that calculate every
/// endpoint of every node.
#[derive(Default)]
pub struct Cluster {
    store: PolicyStore,
    owners: BTreeMap<IpAddr, WorkloadId>,
    /// The policies as they were sent, with their authors' texts.
    texts: BTreeMap<PolicyId, felix::Policy>,
    labels: BTreeMap<SmolStr, Labels>,
}

impl Cluster {
    /// A cluster of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds a message. Endpoints are added, never taken away: a cluster is read once.
    ///
    /// # Errors
    /// If the message cannot be understood.
    pub fn apply(&mut self, message: &felix::ToDataplane) -> Result<(), ProgramError> {
        self.store.apply(message)?;
        match &message.payload {
            Some(Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate { id: Some(id), policy: Some(policy) })) => {
                let felix::PolicyId { name, namespace, kind } = id;
                let id = PolicyId { kind: kind.into(), namespace: namespace.into(), name: name.into() };
                self.texts.insert(id, policy.clone());
            }
            Some(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { id: Some(id), .. })) => {
                let felix::WorkloadEndpointId { orchestrator_id, workload_id, endpoint_id } = id;
                let id = WorkloadId {
                    orchestrator: orchestrator_id.into(),
                    workload: workload_id.into(),
                    endpoint: endpoint_id.into(),
                };
                self.own_addresses(&id);
            }
            _ => {}
        }
        Ok(())
    }

    /// Of two workloads with one address the lower id has it, as of two on one interface.
    fn own_addresses(&mut self, id: &WorkloadId) {
        let endpoint = self.store.workload(id).expect("the store has just taken it");
        for address in &endpoint.addresses {
            let owner = self.owners.entry(*address).or_insert_with(|| id.clone());
            if id < owner {
                owner.clone_from(id);
            }
        }
    }

    /// Remembers a workload's labels, by `NAMESPACE/NAME`; only people read them.
    pub fn set_labels(&mut self, workload: SmolStr, labels: Labels) {
        self.labels.insert(workload, labels);
    }

    /// The labels of a workload, by `NAMESPACE/NAME`.
    pub(super) fn labels(&self, workload: &str) -> Option<&Labels> {
        self.labels.get(workload)
    }

    /// A rule of a policy as its message had it.
    pub(super) fn text(&self, id: &PolicyId, direction: Direction, index: usize) -> Option<&felix::Rule> {
        let policy = self.texts.get(id)?;
        let rules = match direction {
            Direction::Ingress => &policy.inbound_rules,
            Direction::Egress => &policy.outbound_rules,
        };
        rules.get(index)
    }

    /// How many rules a policy has for a direction.
    pub(super) fn rule_count(&self, id: &PolicyId, direction: Direction) -> usize {
        self.store.policy(id).map_or(0, |policy| policy.rules(direction).len())
    }

    /// Answers a question: the source's egress and the destination's ingress,
    /// whichever nodes they are on.
    ///
    /// # Errors
    /// [`JudgeError`] if the packet cannot exist.
    pub fn judge<'a>(&'a self, question: &Question) -> Result<Answer<'a>, JudgeError> {
        let Question { from, to, service, source_port } = question;
        let (from, to) = self.ends(from, to)?;
        let (protocol, transport) = service.header(*source_port);
        let packet = Packet::new(from.address, to.address, protocol, transport)?;
        let (egress, ingress) = match (from.workload, to.workload) {
            // What a workload sends to itself never leaves it.
            (Some(source), Some(destination)) if source.id == destination.id => {
                (Side::same_workload(), Side::same_workload())
            }
            (source, destination) => {
                (self.side(source, Direction::Egress, &packet), self.side(destination, Direction::Ingress, &packet))
            }
        };
        Ok(Answer::new(question, [from, to], egress, ingress))
    }

    fn side<'a>(
        &'a self,
        workload: Option<&'a Arc<WorkloadEndpoint>>,
        direction: Direction,
        packet: &Packet,
    ) -> Side<'a> {
        let Some(endpoint) = workload else { return Side::outside() };
        let (decision, steps) = trace_endpoint(endpoint, direction, &self.store, packet);
        Side::decided(decision, steps)
    }

    /// The addresses of both parties: of the family that both have, IPv4 first.
    fn ends(&self, from: &Party, to: &Party) -> Result<(End<'_>, End<'_>), JudgeError> {
        let (sources, destinations) = (self.addresses(from)?, self.addresses(to)?);
        for family in Family::ALL {
            let of_family = |end: &&End<'_>| Family::of(end.address) == family;
            let source = sources.iter().find(of_family);
            let destination = destinations.iter().find(of_family);
            if let Some(ends) = source.copied().zip(destination.copied()) {
                return Ok(ends);
            }
        }
        match (from, to) {
            (Party::Address(src), Party::Address(dst)) => Err(MixedFamilies { src: *src, dst: *dst }.into()),
            (_, _) => Err(JudgeError::NoCommonFamily { from: from.to_string(), to: to.to_string() }),
        }
    }

    /// The addresses of a party, in order; never none.
    fn addresses(&self, party: &Party) -> Result<Vec<End<'_>>, JudgeError> {
        match party {
            Party::Address(address) => {
                let owner = self.owners.get(address);
                Ok(vec![End { address: *address, workload: owner.and_then(|id| self.store.workload(id)) }])
            }
            Party::Workload(name) => {
                let mut interfaces = self.store.workloads().filter(|e| e.id.workload == *name).peekable();
                if interfaces.peek().is_none() {
                    return Err(JudgeError::UnknownWorkload(name.to_string()));
                }
                let ends: Vec<_> = interfaces
                    .flat_map(|endpoint| {
                        let end = |address: &IpAddr| End { address: *address, workload: Some(endpoint) };
                        endpoint.addresses.iter().map(end)
                    })
                    .collect();
                if ends.is_empty() { Err(JudgeError::NoAddress(name.to_string())) } else { Ok(ends) }
            }
        }
    }
}
