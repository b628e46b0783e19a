//! What workloads send through this host, and what comes to them through it.

use caracal_net::Priority;
use caracal_program::Direction;

use super::{chain, dispatch, encapsulated, established, invalid, no_ipv6, revoked, unjudged};
use crate::ir::{Chain, Hook, Rule, Via};
use crate::names;
use crate::settings::Settings;

/// The base chain of a direction. Egress comes first; both come after anything
/// that an administrator put before `filter`.
pub(super) fn forwarded(direction: Direction, settings: &Settings) -> Chain {
    let (via, priority) = match direction {
        Direction::Egress => (Via::In, Priority(0)),
        Direction::Ingress => (Via::Out, Priority(1)),
    };
    let mut rules: Vec<Rule> = Vec::new();
    match direction {
        Direction::Egress => {
            rules.extend(unjudged(settings));
            rules.extend(revoked::established_through(settings));
        }
        Direction::Ingress => {
            rules.extend(no_ipv6::to_workloads(settings));
            // The chain of egress comes first, and has refused what is revoked.
            rules.push(established());
        }
    }
    rules.extend(invalid(via, settings));
    match direction {
        Direction::Egress => rules.extend(encapsulated(settings)),
        Direction::Ingress => {}
    }
    rules.extend(dispatch(via, names::dispatch(direction), settings));
    chain(names::base(direction), Hook::Forward, priority, rules)
}
