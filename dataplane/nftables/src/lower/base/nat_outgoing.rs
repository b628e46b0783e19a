//! Addresses of pools that mean nothing outside the cluster, translated as they
//! leave it.
//!
//! A chain of its own kind, which only the first packet of a connection meets,
//! and only where some pool asks for it: a namespace with such a chain has every
//! packet go through the kernel's translation.

use caracal_net::{Family, Priority, Protocol};

use super::network::{Network, NetworkChains, families};
use crate::ir::{Base, BaseKind, Chain, Hook, Match, Op, Rule, Side, Statement, Via};
use crate::names;
use crate::settings::{InterfaceFilter, NatExclusions, Settings};

/// Behind `srcnat` (100), where kube-proxy translates and clears its mark; as in Felix.
const PRIORITY: Priority = Priority(110);

pub(super) fn add(network: &Network<'_>, settings: &Settings, out: &mut NetworkChains) {
    let mut rules = Vec::new();
    for family in families(settings) {
        rules.extend(rules_of(*family, network, settings, out));
    }
    if !rules.is_empty() {
        let base = Base { kind: BaseKind::Nat, hook: Hook::Postrouting, priority: PRIORITY };
        out.chains.push(Chain { name: names::nat_outgoing(), base: Some(base), rules });
    }
}

fn rules_of(family: Family, network: &Network<'_>, settings: &Settings, out: &mut NetworkChains) -> Vec<Rule> {
    let translated = network.pools.iter().filter(|pool| pool.masquerade).map(|pool| pool.cidr);
    let Some(from) = out.nets(names::nat_from(family), family, translated) else { return Vec::new() };
    let hosts = match settings.nat.exclusions {
        NatExclusions::Pools => &[],
        NatExclusions::PoolsAndHosts => network.hosts,
    };
    let inside = network.pools.iter().map(|pool| pool.cidr).chain(hosts.iter().copied());
    let inside = out.nets(names::nat_inside(family), family, inside).expect("what is translated is a pool");
    let outwards = |rule: Rule| {
        let rule = rule.when(Match::AddrIn(Side::Src, Op::Is, family, from.clone())).when(Match::AddrIn(
            Side::Dst,
            Op::IsNot,
            family,
            inside.clone(),
        ));
        match &settings.nat.interface {
            None => rule,
            Some(InterfaceFilter::Named(name)) => rule.when(Match::Interface(Via::Out, *name)),
            Some(InterfaceFilter::Prefix(prefix)) => rule.when(Match::InterfacePrefix(Via::Out, prefix.clone())),
        }
    };
    let statement = |ports| match (family, settings.nat.address) {
        (Family::V4, Some(addr)) => Statement::SourceNat(addr, ports),
        (Family::V4, None) | (Family::V6, _) => Statement::Masquerade(ports),
    };
    let mut rules = Vec::new();
    if settings.nat.ports.is_some() {
        let ported = [Protocol::TCP, Protocol::UDP].map(|protocol| Rule::new().when(Match::Protocol(Op::Is, protocol)));
        rules.extend(ported.map(|rule| outwards(rule).then(statement(settings.nat.ports))));
    }
    rules.push(outwards(Rule::new()).then(statement(None)));
    rules
}
