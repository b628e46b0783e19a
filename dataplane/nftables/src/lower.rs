//! From rule programs to chains.
//!
//! The chain form: a policy is a chain with one kernel rule for each rule,
//! where that can be; a program is a chain that jumps to its policies; an
//! endpoint is a chain of one rule that leads to its program.

mod base;
mod host;
mod program;
mod rule;

#[cfg(test)]
pub(crate) use base::NEIGHBOUR_DISCOVERY;
pub(crate) use base::{
    Network, NetworkChains, Tunnel, base_chains, base_sets, dispatch_maps, judging_chains, network_chains, sources,
};
pub(crate) use host::{HostPoint, HostTable, lower_hosts};
pub(crate) use program::{lower_program, lower_stub};
pub(crate) use rule::{LoweredRules, PassMeans, RuleList, lower_rules};

use caracal_program::{ProgramKind, SetId};

use crate::ir::{Chain, Name, Rule, SetKind, Statement, Verdict};
use crate::settings::{DenyAction, Settings};

/// Where the members of IP sets stand in the kernel.
pub(crate) trait SetObjects {
    /// Whether the set exists at all. A rule that names one that does not is a denial.
    fn is_known(&self, id: &SetId) -> bool;

    /// The kernel's set with the members of one kind; `None` if there are none.
    fn object(&self, id: &SetId, kind: SetKind) -> Option<&Name>;
}

/// Where on a packet's way rules stand, as far as that changes what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Where verdicts end the judgement of a base chain.
    Filter,
    /// After routing, where the kernel cannot answer a denied packet.
    Leaving,
    /// Before DNAT: what is allowed bears the scratch bit to the filter hooks.
    PreDnat,
    /// Before connection tracking: what is allowed is kept out of it, and bears
    /// the scratch bit.
    Untracked,
}

impl Stage {
    /// Every stage.
    pub(crate) const ALL: [Self; 4] = [Self::Filter, Self::Leaving, Self::PreDnat, Self::Untracked];

    /// Where the lists of rules of a kind of program stand.
    pub(crate) const fn of(kind: ProgramKind, settings: &Settings) -> Self {
        match (kind, settings.deny) {
            (ProgramKind::Normal | ProgramKind::Forward, _) | (ProgramKind::Translated, DenyAction::Drop) => {
                Self::Filter
            }
            (ProgramKind::Translated, DenyAction::Reject) => Self::Leaving,
            (ProgramKind::PreDnat, _) => Self::PreDnat,
            (ProgramKind::Untracked, _) => Self::Untracked,
        }
    }
}

/// A rule that counts every packet and denies it.
fn deny_all(stage: Stage, settings: &Settings, comment: &str) -> Rule {
    deny_told(stage, settings, comment, None)
}

/// The same with a statement that tells of it.
fn deny_told(stage: Stage, settings: &Settings, comment: &str, told: Option<Statement>) -> Rule {
    let rule = told.into_iter().fold(Rule::new().then(Statement::Counter), Rule::then);
    rule.then(denial(stage, settings)).comment(crate::names::comment(comment))
}

fn denial(stage: Stage, settings: &Settings) -> Statement {
    match (stage, settings.deny) {
        (_, DenyAction::Drop) | (Stage::Leaving, DenyAction::Reject) => Statement::Verdict(Verdict::Drop),
        (Stage::Filter | Stage::PreDnat | Stage::Untracked, DenyAction::Reject) => Statement::Reject,
    }
}

/// A chain that denies everything, in the place of one that cannot be had.
pub(crate) fn closed(chain: Name, why: &str, stage: Stage, settings: &Settings) -> LoweredRules {
    let chain = Chain { name: chain, base: None, rules: vec![deny_all(stage, settings, why)] };
    LoweredRules { chains: vec![chain], lists: Vec::new(), faults: Vec::new() }
}

#[cfg(test)]
mod tests;
