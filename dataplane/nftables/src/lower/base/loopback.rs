//! What workloads send to this host's loopback addresses.
//!
//! The kernel takes it from interfaces that have `route_localnet`, which workloads'
//! have so that others may translate their packets to a service of this host
//! (`prepare_interface`). No workload means such an address itself: its own loopback
//! has it. Services that listen there count on that nobody else reaches them. Where
//! there is kube-proxy with iptables, it refuses such packets too.

use caracal_net::Cidr;

use super::each_workload;
use crate::ir::{Chain, Match, Op, Rule, Side, Statement, Verdict, Via};
use crate::names;
use crate::settings::Settings;

/// Leads to the check what goes to a loopback address. Of IPv6 the kernel takes none.
pub(super) fn lead(settings: &Settings) -> impl Iterator<Item = Rule> {
    let loopback: Cidr = "127.0.0.0/8".parse().expect("a prefix");
    each_workload(Via::In, settings).map(move |rule| {
        rule.when(Match::Addr(Side::Dst, Op::Is, loopback)).verdict(Verdict::Jump(names::loopback_check()))
    })
}

/// Refuses what nobody has translated.
pub(super) fn chain() -> Chain {
    let why = names::comment("to a loopback address of the host");
    let rules = vec![
        Rule::new().when(Match::Translated).verdict(Verdict::Return),
        Rule::new().then(Statement::Counter).verdict(Verdict::Drop).comment(why),
    ];
    Chain { name: names::loopback_check(), base: None, rules }
}
