//! Where packets of workloads may come from: from the workload's own addresses,
//! and from the prefixes that it may use beside them.
//!
//! The check stands before connection tracking, so that a packet under a false
//! address neither opens nor continues a connection of somebody else. Felix asks
//! the routing table instead (`fib saddr . mark . iif oif`), which says the same
//! of what has a route and nothing exact of what a route covers beside it.

use caracal_net::{Cidr, Family, Priority, Protocol};
use caracal_program::WorkloadEndpoint;

use super::network::families;
use super::{chain, each_workload, no_ipv6};
use crate::ir::{Chain, Element, Hook, IfName, Match, Op, Rule, SetKind, SetSpec, Side, Statement, Verdict, Via};
use crate::lists;
use crate::names;
use crate::settings::Settings;

/// The kinds of sets that a family has here; in the first are the sources of most packets.
pub(super) const fn kinds(family: Family) -> [SetKind; 2] {
    [SetKind::WorkloadAddrs(family), SetKind::WorkloadNets(family)]
}

pub(super) fn sets(settings: &Settings) -> Vec<SetSpec> {
    let kinds = families(settings).iter().flat_map(|family| kinds(*family));
    kinds.map(|kind| SetSpec::new(names::sources(kind), kind)).collect()
}

/// The sources that packets of an endpoint may have, with the sets that they are in.
pub(crate) fn sources(
    interface: IfName,
    endpoint: &WorkloadEndpoint,
    settings: &Settings,
) -> impl Iterator<Item = (SetSpec, Element)> {
    let addrs = endpoint.addresses.iter().map(move |addr| {
        (SetKind::WorkloadAddrs(Family::of(*addr)), Family::of(*addr), Element::WorkloadAddr(interface, *addr))
    });
    let nets = lists::disjoint(endpoint.spoofable.iter().copied()).into_iter().map(move |net| {
        let element = Element::WorkloadNet(interface, net.addr(), net.last_addr());
        (SetKind::WorkloadNets(net.family()), net.family(), element)
    });
    let families = families(settings);
    let wanted = addrs.chain(nets).filter(|(_, family, _)| families.contains(family));
    wanted.map(|(kind, _, element)| (SetSpec::new(names::sources(kind), kind), element))
}

/// The base chain, and the chain that it leads packets of workloads to.
pub(super) fn chains(settings: &Settings) -> [Chain; 2] {
    let lead = each_workload(Via::In, settings).map(|rule| rule.verdict(Verdict::Jump(names::source_check())));
    // The priority of Felix's check: that of iptables' table raw.
    [chain(names::source(), Hook::Prerouting, Priority(-300), lead.collect()), check(settings)]
}

fn check(settings: &Settings) -> Chain {
    let mut rules: Vec<Rule> = no_ipv6::refusal(Rule::new(), settings).into_iter().collect();
    let back = |rule: Rule| rule.verdict(Verdict::Return);
    for family in families(settings) {
        let sets = kinds(*family).map(names::sources);
        rules.extend(sets.map(|set| back(Rule::new().when(Match::SourceIn(*family, set)))));
        rules.extend(not_routed(*family).into_iter().map(back));
    }
    let why = names::comment("the source is not an address of the workload");
    rules.push(Rule::new().then(Statement::Counter).verdict(Verdict::Drop).comment(why));
    Chain { name: names::source_check(), base: None, rules }
}

/// Sources of those who have no address yet, and of those who only speak on the
/// link: they reach this host at most, as no router sends them on. The kernel's
/// own reverse path filter leaves them alone too (`nft_fib4_eval`, `nft_fib6_eval`).
fn not_routed(family: Family) -> Vec<Rule> {
    let net = |text: &str| -> Cidr { text.parse().expect("a prefix") };
    let addr = |side, text| Match::Addr(side, Op::Is, net(text));
    match family {
        // DHCP; IGMP.
        Family::V4 => ["255.255.255.255/32", "224.0.0.0/24"]
            .map(|to| Rule::new().when(addr(Side::Src, "0.0.0.0/32")).when(addr(Side::Dst, to)))
            .into(),
        // Neighbour discovery, DHCPv6; duplicate address detection and listener reports.
        Family::V6 => vec![
            Rule::new().when(addr(Side::Src, "fe80::/10")),
            Rule::new()
                .when(Match::Protocol(Op::Is, Protocol::ICMPV6))
                .when(addr(Side::Src, "::/128"))
                .when(addr(Side::Dst, "ff02::/16")),
        ],
    }
}
