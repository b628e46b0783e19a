//! The chains that the kernel calls.

use caracal_net::Priority;
use caracal_program::Direction;
use smol_str::SmolStr;

use crate::ir::{Base, Chain, CtState, Hook, Match, Rule, Statement, Verdict, Via};
use crate::names;
use crate::settings::{InvalidPackets, Settings};

/// The base chains. An accept ends its own base chain only, so that a packet
/// from one workload to another is judged by the egress policy of the first and
/// then by the ingress policy of the second.
pub(crate) fn base_chains(settings: &Settings) -> Vec<Chain> {
    // Egress first; both after anything that an administrator put before `filter`.
    [(Direction::Egress, Priority(0)), (Direction::Ingress, Priority(1))]
        .map(|(direction, priority)| Chain {
            name: names::base(direction),
            base: Some(Base { hook: Hook::Forward, priority }),
            rules: rules(direction, settings),
        })
        .into()
}

fn rules(direction: Direction, settings: &Settings) -> Vec<Rule> {
    let via = match direction {
        Direction::Egress => Via::In,
        Direction::Ingress => Via::Out,
    };
    let mut rules = vec![Rule::new().when(Match::CtState(CtState::EstablishedOrRelated)).verdict(Verdict::Accept)];
    let from_workloads = |prefix: &SmolStr| Rule::new().when(Match::InterfacePrefix(via, prefix.clone()));
    match settings.invalid {
        // Of workloads only: what else the host forwards is none of our business.
        InvalidPackets::Drop => rules.extend(settings.interface_prefixes().iter().map(|prefix| {
            from_workloads(prefix)
                .when(Match::CtState(CtState::Invalid))
                .then(Statement::Counter)
                .verdict(Verdict::Drop)
                .comment(names::comment("invalid to connection tracking"))
        })),
        InvalidPackets::Judge => {}
    }
    rules.push(Rule::new().then(Statement::Dispatch(via, names::dispatch(direction))));
    // Reached by interfaces that the map lacks, and by packets that meet a chain
    // whose rules they do not see yet: both carry nothing.
    rules.extend(settings.interface_prefixes().iter().map(|prefix| {
        from_workloads(prefix)
            .then(Statement::Counter)
            .verdict(Verdict::Drop)
            .comment(names::comment("no policy for this workload interface"))
    }));
    rules
}
