//! The policy of a whole cluster, and who has which address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use caracal_model::Labels;
use caracal_net::Family;
use caracal_program::{
    Direction, EndpointToHost, MixedFamilies, NearMiss, Packet, PolicyId, PolicyStore, ProgramError, Verdict,
    WorkloadEndpoint, WorkloadId, evaluate_endpoint, near_misses, trace_endpoint,
};
use caracal_proto::felix::{self, to_dataplane::Payload};
use smol_str::SmolStr;

use super::answer::{Answer, Lack, Miss, Policy, Side};
use super::facts::Facts;
use super::wants::Flow;
use super::written::{Manifests, WrittenRule};
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
    pub(super) facts: Facts,
    pub(super) manifests: Manifests,
    /// What becomes of what a workload sends to its own host, by node; `Drop` unless it is said.
    to_host: BTreeMap<SmolStr, EndpointToHost>,
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

    /// Says what becomes of what workloads send to their own host.
    pub(super) fn set_to_host(&mut self, node: SmolStr, action: EndpointToHost) {
        self.to_host.insert(node, action);
    }

    /// The labels of a workload, by `NAMESPACE/NAME`.
    pub(super) fn labels(&self, workload: &str) -> Option<&Labels> {
        self.facts.workload(workload).map(|workload| &workload.labels)
    }

    /// The workload that has an address.
    pub(super) fn owner(&self, address: IpAddr) -> Option<&WorkloadId> {
        self.owners.get(&address)
    }

    /// What the policies and endpoints are.
    pub(super) fn store(&self) -> &PolicyStore {
        &self.store
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
        let (from, to, packet) = self.resolve(question)?;
        let (egress, ingress) = match (from.workload, to.workload) {
            // What a workload sends to itself never leaves it.
            (Some(source), Some(destination)) if source.id == destination.id => {
                (Side::same_workload(), Side::same_workload())
            }
            (source, None) => {
                let at_host = source.and_then(|source| self.own_host(source, to.address));
                let ingress = at_host.map_or_else(Side::outside, |node| {
                    Side::decided(self.to_host.get(node).unwrap_or(&EndpointToHost::Drop).decision(), Vec::new())
                });
                (self.side(source, Direction::Egress, &packet), ingress)
            }
            (source, destination) => {
                (self.side(source, Direction::Egress, &packet), self.side(destination, Direction::Ingress, &packet))
            }
        };
        Ok(Answer::new(question, [from, to], egress, ingress))
    }

    /// As [`Cluster::judge`], with what is written down where, and with what could
    /// have allowed the packet.
    ///
    /// # Errors
    /// As [`Cluster::judge`].
    pub(super) fn explain<'a>(&'a self, question: &Question) -> Result<Answer<'a>, JudgeError> {
        let mut answer = self.judge(question)?;
        let (from, to, packet) = self.resolve(question)?;
        self.annotate(&mut answer, [from, to], &packet);
        Ok(answer)
    }

    /// The verdict alone.
    ///
    /// # Errors
    /// As [`Cluster::judge`].
    pub(super) fn verdict(&self, question: &Question) -> Result<Verdict, JudgeError> {
        let (from, to, packet) = self.resolve(question)?;
        if let (Some(source), Some(destination)) = (from.workload, to.workload)
            && source.id == destination.id
        {
            return Ok(Verdict::Allow);
        }
        let at = |end: End<'_>, direction| {
            end.workload
                .map_or(Verdict::Allow, |endpoint| evaluate_endpoint(endpoint, direction, &self.store, &packet).verdict)
        };
        Ok(match at(from, Direction::Egress) {
            Verdict::Deny => Verdict::Deny,
            Verdict::Allow => at(to, Direction::Ingress),
        })
    }

    /// The ends and the packet of a question.
    pub(super) fn resolve(&self, question: &Question) -> Result<(End<'_>, End<'_>, Packet), JudgeError> {
        let Question { from, to, service, source_port } = question;
        let (from, to) = self.ends(from, to)?;
        let (protocol, transport) = service.header(*source_port);
        let packet = Packet::new(from.address, to.address, protocol, transport)?;
        Ok((from, to, packet))
    }

    /// The node of a workload, if the address is that node's own.
    pub(super) fn own_host(&self, workload: &WorkloadEndpoint, address: IpAddr) -> Option<&str> {
        let node = self.facts.workload(&workload.id.workload)?.node.as_str();
        self.facts.is_of_node(node, address).then_some(node)
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

    /// The rule that decided, as its author wrote it.
    fn written(&self, side: &Side<'_>, direction: Direction) -> Option<WrittenRule> {
        let index = side.rule?;
        match (&side.policy, side.profile) {
            (Some(policy), _) => self.manifests.policy_rule(policy.id, direction, index),
            (None, Some(profile)) => self.manifests.profile_rule(profile, direction, index),
            (None, None) => None,
        }
    }

    /// Adds where policies are written down, and what could have allowed the packet.
    fn annotate<'a>(&'a self, answer: &mut Answer<'a>, ends: [End<'a>; 2], packet: &Packet) {
        let flow = Flow { cluster: self, ends, service: answer.port, source_port: answer.source_port };
        let [from, to] = ends;
        for (side, end, direction) in
            [(&mut answer.egress, from, Direction::Egress), (&mut answer.ingress, to, Direction::Ingress)]
        {
            side.written = self.written(side, direction);
            for policy in side.policies_mut() {
                policy.named.at = self.manifests.policy_at(policy.id);
            }
            if let (Verdict::Deny, Some(endpoint)) = (side.verdict, end.workload) {
                side.near_misses = self.near_misses(endpoint, direction, packet, &flow);
            }
        }
    }

    fn near_misses<'a>(
        &'a self,
        endpoint: &'a WorkloadEndpoint,
        direction: Direction,
        packet: &Packet,
        flow: &Flow<'_>,
    ) -> Vec<Miss<'a>> {
        let misses = near_misses(endpoint.program(direction), &self.store, packet).into_iter();
        let explained = misses.map(|NearMiss { tier, policy, index, rule: _, mismatches }| {
            let text = self.text(policy, direction, index);
            let lacks = mismatches.into_iter().filter_map(|field| Some(Lack { field, why: flow.why(field, text?) }));
            Miss {
                tier,
                policy: Policy::at(policy, self.manifests.policy_at(policy)),
                rule: index,
                written: self.manifests.policy_rule(policy, direction, index),
                lacks: lacks.collect(),
            }
        });
        explained.collect()
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
                let owner = self.owner(*address);
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
