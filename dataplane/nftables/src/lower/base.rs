//! The chains that the kernel calls, each in its own file.

mod endpoint_to_host;
mod forwarded;
mod loopback;
mod nat_outgoing;
mod network;
mod no_ipv6;
mod related;
mod revoked;
mod service_loops;
mod source;
mod to_host;
mod tunnels;

use caracal_net::{Family, PortRange, Priority, Protocol};
use caracal_program::Direction;

use crate::ir::{
    Base, BaseKind, Chain, CtState, Hook, IcmpField, Match, Name, Op, Rule, SetKind, SetSpec, Side, Statement, Verdict,
    Via,
};
use crate::names;
use crate::settings::{Encapsulated, InvalidPackets, Ipv6, Settings};

pub(crate) use network::{Network, NetworkChains, network_chains};
pub(super) use no_ipv6::unjudged;
pub(crate) use source::sources;
pub(crate) use tunnels::Tunnel;

/// The ICMPv6 types that a workload may send to its host whatever its policy
/// says, as in Felix: listener query, report and done (RFC 2710), router and
/// neighbour solicitation, neighbour advertisement (RFC 4861). Connection
/// tracking keeps no state of them.
pub(crate) const NEIGHBOUR_DISCOVERY: [u8; 6] = [130, 131, 132, 133, 135, 136];

/// The base chains that are there whatever the policy.
pub(crate) fn base_chains(settings: &Settings) -> Vec<Chain> {
    judging_chains(settings).into_iter().chain(source::chains(settings)).collect()
}

/// Those of them that judge what workloads send and get. An accept ends its own
/// base chain only, so that a packet from one workload to another is judged by
/// the egress policy of the first and then by the ingress policy of the second,
/// and a packet to this host by the egress policy and then by what is set for
/// all workloads. While [`dispatch_maps`] are empty, they let pass what is established.
pub(crate) fn judging_chains(settings: &Settings) -> Vec<Chain> {
    let mut chains = vec![
        forwarded::forwarded(Direction::Egress, settings),
        forwarded::forwarded(Direction::Ingress, settings),
        to_host::to_host(settings),
        endpoint_to_host::endpoint_to_host(settings),
    ];
    chains.extend([related::chain(settings), loopback::chain()]);
    chains.push(to_host::established_here(settings));
    chains.extend(revoked::chains(settings));
    chains
}

/// The verdict maps from interfaces of workloads to their chains.
pub(crate) fn dispatch_maps() -> [SetSpec; 2] {
    Direction::ALL.map(|direction| SetSpec::new(names::dispatch(direction), SetKind::Interfaces))
}

/// The sets that the base chains look up whatever the policy, beside the verdict
/// maps of interfaces. While they are empty, what only relates to a connection is refused.
pub(crate) fn base_sets(settings: &Settings) -> Vec<SetSpec> {
    source::sets(settings)
}

pub(super) fn chain(name: Name, hook: Hook, priority: Priority, rules: Vec<Rule>) -> Chain {
    Chain { name, base: Some(Base { kind: BaseKind::Filter, hook, priority }), rules }
}

pub(super) fn established() -> Rule {
    Rule::new().when(Match::CtState(CtState::EstablishedOrRelated)).verdict(Verdict::Accept)
}

/// Of workloads only: what else passes is none of our business.
fn invalid(via: Via, settings: &Settings) -> Vec<Rule> {
    match settings.invalid {
        InvalidPackets::Drop => each_workload(via, settings).map(refuse_invalid).collect(),
        InvalidPackets::Judge => Vec::new(),
    }
}

/// What refuses, of the packets that a rule is about, those that are invalid to connection
/// tracking. That verifies the checksum of UDP-Lite as if it were UDP's (`udplite_error` in
/// `nf_conntrack_proto_udp.c`) and takes all of it that comes in for invalid, so that policy
/// judges each packet of UDP-Lite by itself.
pub(super) fn refuse_invalid(of: Rule) -> Rule {
    of.when(Match::CtState(CtState::Invalid))
        .when(Match::Protocol(Op::IsNot, Protocol::UDPLITE))
        .then(Statement::Counter)
        .verdict(Verdict::Drop)
        .comment(names::comment("invalid to connection tracking"))
}

/// What a workload encapsulates itself: the other end might take it for what a
/// host tunnels.
fn encapsulated(settings: &Settings) -> Vec<Rule> {
    let ipip = Rule::new().when(Match::Protocol(Op::Is, Protocol::IPIP));
    let vxlan = Rule::new().when(Match::Protocol(Op::Is, Protocol::UDP)).when(Match::Port(
        Side::Dst,
        Op::Is,
        PortRange::single(settings.vxlan_port),
    ));
    let kinds = [
        (ipip, settings.ipip_from_workloads, "IP in IP from a workload"),
        (vxlan, settings.vxlan_from_workloads, "VXLAN from a workload"),
    ];
    let dropped = kinds.into_iter().filter(|(_, what, _)| *what == Encapsulated::Drop);
    let rules = dropped.flat_map(|(rule, _, why)| {
        each_workload(Via::In, settings).map(move |workload| {
            let rule = rule.matches.iter().cloned().fold(workload, Rule::when);
            rule.then(Statement::Counter).verdict(Verdict::Drop).comment(names::comment(why))
        })
    });
    rules.collect()
}

fn neighbour_discovery(settings: &Settings) -> Vec<Rule> {
    let allow = |icmp_type| {
        Rule::new()
            .when(Match::Protocol(Op::Is, Protocol::ICMPV6))
            .when(Match::Icmp(Family::V6, IcmpField::Type, Op::Is, icmp_type))
            .verdict(Verdict::Accept)
    };
    match settings.ipv6 {
        Ipv6::On => NEIGHBOUR_DISCOVERY.map(allow).into(),
        Ipv6::Off => Vec::new(),
    }
}

/// To the endpoint of the interface, if it has one.
fn dispatch(via: Via, map: Name, settings: &Settings) -> Vec<Rule> {
    let mut rules = vec![Rule::new().then(Statement::Dispatch(via, map))];
    // Reached by interfaces that the map lacks, and by packets that meet a chain
    // whose rules they do not see yet: both carry nothing.
    rules.extend(each_workload(via, settings).map(|rule| {
        rule.then(Statement::Counter)
            .verdict(Verdict::Drop)
            .comment(names::comment("no policy for this workload interface"))
    }));
    rules
}

/// The beginning of a rule for each prefix of workload interfaces' names.
pub(super) fn each_workload(via: Via, settings: &Settings) -> impl Iterator<Item = Rule> {
    settings
        .interface_prefixes()
        .iter()
        .map(move |prefix| Rule::new().when(Match::InterfacePrefix(via, prefix.clone())))
}
