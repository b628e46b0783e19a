//! IPv6 where it is not programmed (`Ipv6Support`).
//!
//! No set has IPv6 members then, so that policy cannot judge an IPv6 packet of a
//! workload: it is refused, before anything else is asked, be it of an established
//! connection or not. What goes no workload's way is left alone by every chain.

use caracal_net::Family;

use super::each_workload;
use crate::ir::{Match, Rule, Statement, Verdict, Via};
use crate::names;
use crate::settings::{Ipv6, Settings};

/// What refuses every IPv6 packet that a rule is about.
pub(super) fn refusal(of: Rule, settings: &Settings) -> Option<Rule> {
    let why = names::comment("IPv6 of a workload, and Ipv6Support is off");
    ipv6(of, settings).map(|rule| rule.then(Statement::Counter).verdict(Verdict::Drop).comment(why))
}

/// What refuses the IPv6 packets that are on their way to workloads.
pub(super) fn to_workloads(settings: &Settings) -> Vec<Rule> {
    each_workload(Via::Out, settings).filter_map(|rule| refusal(rule, settings)).collect()
}

/// The first rule of a chain that packets of workloads do not get to: what there
/// is of IPv6 is not the chain's to judge.
pub(in crate::lower) fn unjudged(settings: &Settings) -> Option<Rule> {
    ipv6(Rule::new(), settings).map(|rule| rule.verdict(Verdict::Accept))
}

fn ipv6(rule: Rule, settings: &Settings) -> Option<Rule> {
    match settings.ipv6 {
        Ipv6::On => None,
        Ipv6::Off => Some(rule.when(Match::Family(Family::V6))),
    }
}
