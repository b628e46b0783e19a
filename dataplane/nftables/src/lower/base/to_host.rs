//! What workloads send to their own host, by their egress policy.

use caracal_net::{Cidr, Priority};
use caracal_program::Direction;

use super::{chain, dispatch, each_workload, encapsulated, invalid, loopback, neighbour_discovery, revoked, unjudged};
use crate::ir::{Chain, Hook, Match, Op, Rule, Side, Verdict, Via};
use crate::names;
use crate::settings::{Ipv6, Settings};

pub(super) fn to_host(settings: &Settings) -> Chain {
    let mut rules: Vec<Rule> = unjudged(settings).into_iter().collect();
    rules.push(Rule::new().verdict(Verdict::Jump(names::established_here())));
    rules.extend(loopback::lead(settings));
    rules.extend(invalid(Via::In, settings));
    rules.extend(encapsulated(settings));
    rules.extend(neighbour_discovery(settings));
    rules.extend(dispatch(Via::In, names::dispatch(Direction::Egress), settings));
    chain(names::to_host(), Hook::Input, Priority(0), rules)
}

/// Lets pass what is established, a workload's answers to this host among it.
///
/// A link-local address is whoever's takes it on a link, and this host has the same one
/// on the links of all workloads (Calico's CNI plugin gives them one MAC address), so
/// that to connection tracking, which knows no interfaces, a packet of one workload may
/// be of another's connection. What workloads open from such addresses is judged by
/// policy packet by packet, as its first one was. What they answer finds a socket of its
/// own link only.
pub(super) fn established_here(settings: &Settings) -> Chain {
    let mut rules = match settings.ipv6 {
        Ipv6::On => each_workload(Via::In, settings).map(from_the_link).collect(),
        Ipv6::Off => Vec::new(),
    };
    rules.extend(revoked::established_here(settings));
    Chain { name: names::established_here(), base: None, rules }
}

fn from_the_link(rule: Rule) -> Rule {
    let link_local: Cidr = "fe80::/10".parse().expect("a prefix");
    rule.when(Match::Addr(Side::Src, Op::Is, link_local)).when(Match::FromOpener).verdict(Verdict::Return)
}
