//! What workloads send to their own host, by their egress policy.

use caracal_net::Priority;
use caracal_program::Direction;

use super::{chain, dispatch, encapsulated, invalid, loopback, neighbour_discovery, revoked, unjudged};
use crate::ir::{Chain, Hook, Rule, Via};
use crate::names;
use crate::settings::Settings;

pub(super) fn to_host(settings: &Settings) -> Chain {
    let mut rules: Vec<Rule> = unjudged(settings).into_iter().collect();
    // Among the established are a workload's answers to this host.
    rules.extend(revoked::established_here(settings));
    rules.extend(loopback::lead(settings));
    rules.extend(invalid(Via::In, settings));
    rules.extend(encapsulated(settings));
    rules.extend(neighbour_discovery(settings));
    rules.extend(dispatch(Via::In, names::dispatch(Direction::Egress), settings));
    chain(names::to_host(), Hook::Input, Priority(0), rules)
}
