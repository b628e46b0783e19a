//! What workloads send about connections: ICMP errors, and the first packets of
//! connections that others called for (the data of FTP).
//!
//! Connection tracking takes an error for related to the connection that it quotes,
//! whoever sends it, so that a workload that may send nothing could reach both ends
//! of every connection that it can guess: with data of its own, with a smaller path
//! MTU, with the news that a destination is gone. A workload has to tell of its own
//! connections only, and of those of the prefixes that it may use. Felix asks for no
//! more than the state.

use super::each_workload;
use super::network::families;
use super::source::kinds;
use crate::ir::{Chain, CtState, End, Match, Rule, Statement, Verdict, Via};
use crate::names;
use crate::settings::Settings;

/// Leads to the check what is related and comes from workloads.
pub(super) fn lead(settings: &Settings) -> impl Iterator<Item = Rule> {
    each_workload(Via::In, settings)
        .map(|rule| rule.when(Match::CtState(CtState::Related)).verdict(Verdict::Jump(names::related_check())))
}

/// Refuses what relates to connections of others.
pub(super) fn chain(settings: &Settings) -> Chain {
    let sets = families(settings).iter().flat_map(|family| kinds(*family).map(|kind| (*family, names::sources(kind))));
    let own = sets.flat_map(|(family, set)| {
        [End::Opener, End::Answerer]
            .map(|end| Rule::new().when(Match::EndIn(end, family, set.clone())).verdict(Verdict::Return))
    });
    let why = names::comment("about a connection that is not the workload's");
    let refused = Rule::new().then(Statement::Counter).verdict(Verdict::Drop).comment(why);
    Chain { name: names::related_check(), base: None, rules: own.chain([refused]).collect() }
}
