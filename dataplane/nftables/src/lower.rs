//! From rule programs to chains.
//!
//! The chain form: a policy is a chain with one kernel rule for each rule,
//! where that can be; a program is a chain that jumps to its policies; an
//! endpoint is a chain of one rule that leads to its program.

mod base;
mod program;
mod rule;

#[cfg(test)]
pub(crate) use base::NEIGHBOUR_DISCOVERY;
pub(crate) use base::base_chains;
pub(crate) use program::{lower_program, lower_stub};
pub(crate) use rule::{LoweredRules, PassMeans, RuleList, lower_rules};

use caracal_program::SetId;

use crate::ir::{Chain, Name, Rule, SetKind, Statement, Verdict};
use crate::settings::{DenyAction, Settings};

/// Where the members of IP sets stand in the kernel.
pub(crate) trait SetObjects {
    /// Whether the set exists at all. A rule that names one that does not is a denial.
    fn is_known(&self, id: &SetId) -> bool;

    /// The kernel's set with the members of one kind; `None` if there are none.
    fn object(&self, id: &SetId, kind: SetKind) -> Option<&Name>;
}

/// A rule that counts every packet and denies it.
fn deny_all(settings: &Settings, comment: &str) -> Rule {
    Rule::new().then(Statement::Counter).then(denial(settings)).comment(crate::names::comment(comment))
}

fn denial(settings: &Settings) -> Statement {
    match settings.deny {
        DenyAction::Drop => Statement::Verdict(Verdict::Drop),
        DenyAction::Reject => Statement::Reject,
    }
}

/// A chain that denies everything, in the place of one that cannot be had.
pub(crate) fn closed(chain: Name, why: &str, settings: &Settings) -> LoweredRules {
    let chain = Chain { name: chain, base: None, rules: vec![deny_all(settings, why)] };
    LoweredRules { chains: vec![chain], lists: Vec::new(), faults: Vec::new() }
}

#[cfg(test)]
mod tests;
