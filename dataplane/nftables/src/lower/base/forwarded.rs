//! What workloads send through this host, and what comes to them through it.

use caracal_net::Priority;
use caracal_program::Direction;

use super::{chain, dispatch, established, invalid};
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
    let mut rules = vec![established()];
    rules.extend(invalid(via, settings));
    rules.extend(dispatch(via, names::dispatch(direction), settings));
    chain(names::base(direction), Hook::Forward, priority, rules)
}
