//! The policy of a whole cluster, and who has which address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use caracal_model::Labels;
use caracal_net::Family;
use caracal_program::{
    Direction, Field, HostStep, MixedFamilies, NearMiss, NodeDecision, NodeStep, Packet, PolicyId, PolicyStore,
    Program, ProgramError, Transport, Verdict, WorkloadEndpoint, WorkloadId, near_misses, trace, trace_endpoint,
};
use caracal_proto::felix::{self, to_dataplane::Payload};
use smol_str::SmolStr;

use super::answer::{Answer, HostSide, Lack, Miss, Policy, Side};
use super::facts::Facts;
use super::journey::Leg;
use super::node::NodeSettings;
use super::wants::Flow;
use super::written::{Manifests, Name, WrittenRule};
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
    /// No such node.
    #[error("there is no node {0} with an address")]
    UnknownNode(String),
    /// Somebody is to receive at an address that is not theirs.
    #[error("{workload} has no address {address}; only a sender may pretend")]
    NotItsAddress {
        /// The workload.
        workload: String,
        /// The address.
        address: IpAddr,
    },
    /// Which host endpoint judges depends on the interface.
    #[error(
        "node {node} has host endpoints of several interfaces ({interfaces}); name the one that is meant, --interface"
    )]
    Interface {
        /// The node.
        node: String,
        /// Its interfaces.
        interfaces: String,
    },
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

/// An address, and the workload or the host that it is of.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) address: IpAddr,
    pub(super) workload: Option<&'a Arc<WorkloadEndpoint>>,
    /// The node that has the address, if no workload has it.
    pub(super) host: Option<&'a str>,
}

impl End<'_> {
    /// Whether both are one workload: what it sends to itself never leaves it, and a
    /// loopback address is its own.
    pub(super) fn is_same_workload(self, other: Self) -> bool {
        if self.workload.is_some() && other.address.is_loopback() {
            return true;
        }
        self.workload.zip(other.workload).is_some_and(|(one, other)| one.id == other.id)
    }
}

/// The policy of a whole cluster, folded from the messages that calculate every
/// endpoint of every node.
pub struct Cluster {
    store: PolicyStore,
    owners: BTreeMap<IpAddr, WorkloadId>,
    /// The policies as they were sent, with their authors' texts.
    texts: BTreeMap<PolicyId, felix::Policy>,
    pub(super) facts: Facts,
    pub(super) manifests: Manifests,
    /// By node, as far as questions have needed it.
    settings: BTreeMap<SmolStr, NodeSettings>,
    /// Of nodes of which nothing was said.
    default_settings: NodeSettings,
}

impl Cluster {
    /// A cluster of nothing, whose nodes are set up so unless something else is said of one.
    #[must_use]
    pub(super) fn new(default_settings: NodeSettings) -> Self {
        Self {
            store: PolicyStore::new(),
            owners: BTreeMap::new(),
            texts: BTreeMap::new(),
            facts: Facts::default(),
            manifests: Manifests::default(),
            settings: BTreeMap::new(),
            default_settings,
        }
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

    /// Says how a node is set up.
    pub(super) fn set_node_settings(&mut self, node: SmolStr, settings: NodeSettings) {
        self.settings.insert(node, settings);
    }

    /// Whether it is said how a node is set up.
    pub(super) fn knows_settings_of(&self, node: &str) -> bool {
        self.settings.contains_key(node)
    }

    /// How a node is set up.
    pub(super) fn node_settings(&self, node: &str) -> &NodeSettings {
        self.settings.get(node).unwrap_or(&self.default_settings)
    }

    /// The node that a workload is on.
    pub(super) fn node(&self, workload: &WorkloadEndpoint) -> Option<&str> {
        self.facts.workload(&workload.id.workload).map(|workload| workload.node.as_str())
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

    /// Answers a question: what every node on the packet's way makes of it.
    ///
    /// # Errors
    /// [`JudgeError`] if the packet cannot exist.
    pub fn judge<'a>(&'a self, question: &Question) -> Result<Answer<'a>, JudgeError> {
        let (from, to, packet) = self.resolve(question)?;
        // What a workload sends to itself never leaves it.
        if from.is_same_workload(to) {
            let sides = [Side::same_workload(), Side::same_workload()];
            return Ok(Answer::new(question, [from, to], Verdict::Allow, sides, Vec::new()));
        }
        let legs = self.journey([from, to], question.interface.as_ref())?;
        let decisions: Vec<_> = legs.iter().map(|leg| (leg, self.at_node(leg, &packet))).collect();
        let is_denied = decisions.iter().any(|(_, decision)| decision.verdict == Verdict::Deny);
        let verdict = if is_denied { Verdict::Deny } else { Verdict::Allow };
        let side = |end: End<'a>, direction| match end.workload {
            Some(endpoint) => {
                let (decision, steps) = trace_endpoint(endpoint, direction, &self.store, &packet);
                Side::decided(decision, steps)
            }
            None => Side::no_workload(end.host),
        };
        let mut sides = [side(from, Direction::Egress), side(to, Direction::Ingress)];
        for step in decisions.iter().flat_map(|(_, decision)| &decision.steps) {
            Side::overrule(&mut sides, step);
        }
        let hosts = decisions.iter().flat_map(|(leg, decision)| self.host_sides(leg, decision, &packet)).collect();
        Ok(Answer::new(question, [from, to], verdict, sides, hosts))
    }

    fn host_sides<'a>(&'a self, leg: &Leg<'a>, decision: &NodeDecision<'a>, packet: &Packet) -> Vec<HostSide<'a>> {
        let steps = decision.steps.iter().filter_map(|step| match step {
            NodeStep::Host(step) => Some(step),
            NodeStep::Guard(_) | NodeStep::Workload { .. } | NodeStep::EndpointToHost(_) => None,
        });
        let sides = steps.map(|step| {
            let program = self.host_program(step);
            HostSide::new(leg.node, step, trace(program, &self.store, packet).1, decision.tracking)
        });
        sides.collect()
    }

    /// The program that had its say in a step.
    pub(super) fn host_program(&self, step: &HostStep<'_>) -> &Program {
        let endpoint = self.store.host(step.endpoint).expect("a host endpoint that has judged is there");
        endpoint.programs.get(step.kind, step.direction)
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
        if from.is_same_workload(to) {
            return Ok(Verdict::Allow);
        }
        let legs = self.journey([from, to], question.interface.as_ref())?;
        let passes = legs.iter().all(|leg| self.at_node(leg, &packet).verdict == Verdict::Allow);
        Ok(if passes { Verdict::Allow } else { Verdict::Deny })
    }

    /// The ends and the packet of a question.
    pub(super) fn resolve(&self, question: &Question) -> Result<(End<'_>, End<'_>, Packet), JudgeError> {
        let Question { from, to, service, source_port, interface: _ } = question;
        let (from, to) = self.ends(from, to)?;
        let (protocol, transport) = service.header(*source_port);
        let packet = Packet::new(from.address, to.address, protocol, transport)?;
        Ok((from, to, packet))
    }

    /// What a profile should come of, if nobody wrote that.
    pub(super) fn missing_source(&self, profile: &str) -> Option<Name> {
        self.manifests.missing_source(profile)
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
            let program = end.workload.map(|endpoint| endpoint.program(direction).as_ref());
            self.annotate_side(side, program, direction, packet, &flow);
        }
        for HostSide { endpoint, id, kind, direction, side, .. } in &mut answer.hosts {
            endpoint.at = self.manifests.at(&Name::of_host(&id.0));
            let program = self.store.host(id).map(|endpoint| endpoint.programs.get(*kind, *direction).as_ref());
            self.annotate_side(side, program, *direction, packet, &flow);
        }
    }

    fn annotate_side<'a>(
        &'a self,
        side: &mut Side<'a>,
        program: Option<&'a Program>,
        direction: Direction,
        packet: &Packet,
        flow: &Flow<'_>,
    ) {
        side.written = self.written(side, direction);
        for policy in side.policies_mut() {
            policy.named.at = self.manifests.policy_at(policy.id);
        }
        if let (true, Some(program)) = (side.is_denied_by_policy(), program) {
            side.near_misses = self.near_misses(program, packet, flow);
        }
    }

    fn near_misses<'a>(&'a self, program: &'a Program, packet: &Packet, flow: &Flow<'_>) -> Vec<Miss<'a>> {
        let direction = program.direction();
        let misses = near_misses(program, &self.store, packet).into_iter();
        let explained = misses.map(|NearMiss { tier, policy, index, rule: _, mismatches }| {
            let text = self.text(policy, direction, index);
            let written = self.manifests.policy_rule(policy, direction, index);
            let rule = written.as_ref().and_then(|written| written.rule.as_ref());
            let of_their_own = mismatches.iter().copied().filter(|field| !follows(*field, &mismatches, packet));
            let lacks =
                of_their_own.filter_map(|field| Some(Lack { field, why: flow.why(field, text?, rule) })).collect();
            Miss { tier, policy: Policy::at(policy, self.manifests.policy_at(policy)), rule: index, written, lacks }
        });
        explained.collect()
    }

    /// The addresses of both parties: of the family that both have, IPv4 first.
    fn ends(&self, from: &Party, to: &Party) -> Result<(End<'_>, End<'_>), JudgeError> {
        let (sources, destinations) = (self.addresses(from)?, self.addresses(to)?);
        if let (Party::WorkloadAt(workload, address), Some(endpoint)) = (to, destinations[0].workload)
            && !endpoint.addresses.contains(address)
        {
            return Err(JudgeError::NotItsAddress { workload: workload.to_string(), address: *address });
        }
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
                let workload = self.owner(*address).and_then(|id| self.store.workload(id));
                let host = if workload.is_none() { self.facts.node_of(*address).map(SmolStr::as_str) } else { None };
                Ok(vec![End { address: *address, workload, host }])
            }
            Party::Node(name) => {
                let unknown = || JudgeError::UnknownNode(name.to_string());
                let host = self.facts.node_name(name).map(SmolStr::as_str);
                let addresses = self.facts.addresses_of(name).ok_or_else(unknown)?;
                let ends: Vec<_> = addresses.map(|address| End { address, workload: None, host }).collect();
                if ends.is_empty() { Err(unknown()) } else { Ok(ends) }
            }
            Party::Workload(name) => {
                let ends: Vec<_> = self.interfaces(name)?.into_iter().flat_map(ends_of).collect();
                if ends.is_empty() { Err(JudgeError::NoAddress(name.to_string())) } else { Ok(ends) }
            }
            Party::WorkloadAt(name, address) => {
                let interfaces = self.interfaces(name)?;
                let own = interfaces.iter().copied().flat_map(ends_of).find(|end| end.address == *address);
                let first = interfaces.first().copied();
                Ok(own
                    .or(first.map(|one| End { address: *address, workload: Some(one), host: None }))
                    .into_iter()
                    .collect())
            }
        }
    }

    /// The interfaces of a workload; never none.
    fn interfaces(&self, name: &SmolStr) -> Result<Vec<&Arc<WorkloadEndpoint>>, JudgeError> {
        let interfaces: Vec<_> = self.store.workloads().filter(|endpoint| endpoint.id.workload == *name).collect();
        if interfaces.is_empty() { Err(JudgeError::UnknownWorkload(name.to_string())) } else { Ok(interfaces) }
    }
}

/// Whether a mismatch says no more than that the protocol is another one: of ICMP types
/// where the packet is none of ICMP, of ports where it has none.
fn follows(field: Field, mismatches: &[Field], packet: &Packet) -> bool {
    let is_about_protocol = match field {
        Field::Icmp | Field::NotIcmp => !matches!(packet.transport(), Transport::Icmp { .. }),
        Field::SrcPorts | Field::DstPorts | Field::NotSrcPorts | Field::NotDstPorts => {
            !matches!(packet.transport(), Transport::Ports { .. })
        }
        _ => false,
    };
    is_about_protocol && mismatches.contains(&Field::Protocol)
}

fn ends_of(endpoint: &Arc<WorkloadEndpoint>) -> impl Iterator<Item = End<'_>> {
    endpoint.addresses.iter().map(move |address| End { address: *address, workload: Some(endpoint), host: None })
}
