//! What workloads send through this host, and what comes to them through it.

use caracal_net::Priority;
use caracal_program::Direction;

use super::{chain, dispatch, encapsulated, established, invalid, revoked};
use crate::ir::{Chain, Hook, Via};
use crate::names;
use crate::settings::Settings;

/// The base chain of a direction. Egress comes first; both come after anything
/// that an administrator put before `filter`.
pub(super) fn forwarded(direction: Direction, settings: &Settings) -> Chain {
    let (via, priority) = match direction {
        Direction::Egress => (Via::In, Priority(0)),
        Direction::Ingress => (Via::Out, Priority(1)),
    };
    let mut rules = match direction {
        Direction::Egress => revoked::established_through(settings),
        // The chain of egress comes first, and has refused what is revoked.
        Direction::Ingress => vec![established()],
    };
    rules.extend(invalid(via, settings));
    match direction {
        Direction::Egress => rules.extend(encapsulated(settings)),
        Direction::Ingress => {}
    }
    rules.extend(dispatch(via, names::dispatch(direction), settings));
    chain(names::base(direction), Hook::Forward, priority, rules)
}
