//! What ends connections that policy allowed once and denies now.
//!
//! Who reviews the connections labels those that are denied; what bears the
//! label is refused before established connections are let through, in every
//! direction and whoever sends.

use caracal_net::Priority;

use super::chain;
use crate::ir::{Chain, Hook, Match, Rule, Statement, Verdict};
use crate::names;
use crate::settings::{Revocation, Settings};

/// The chains that there are for it.
pub(super) fn chains(settings: &Settings) -> Vec<Chain> {
    match settings.revocation {
        Revocation::On => vec![chain(names::revoked_output(), Hook::Output, Priority(0), local(settings)), refusal()],
        Revocation::Off => Vec::new(),
    }
}

/// The first rules of the first chain for forwarded packets.
pub(super) fn forwarded(settings: &Settings) -> Vec<Rule> {
    match settings.revocation {
        Revocation::On => vec![Rule::new().when(Match::Revoked).verdict(Verdict::Jump(names::revoked()))],
        Revocation::Off => Vec::new(),
    }
}

/// The first rules where this host is an end. The reset that the kernel makes for
/// a refused segment belongs to the refused connection, and must get away.
pub(super) fn local(settings: &Settings) -> Vec<Rule> {
    let mut rules = forwarded(settings);
    if !rules.is_empty() {
        rules.insert(0, Rule::new().when(Match::Revoked).when(Match::TcpReset).verdict(Verdict::Accept));
    }
    rules
}

/// The label that the first rule sets is there already: a connection can be
/// labelled only if it began while some rule of the namespace sets labels
/// (`nf_connlabels_get` of the kernel).
fn refusal() -> Chain {
    let rules = vec![
        Rule::new().then(Statement::Revoke),
        Rule::new().then(Statement::Counter).comment(names::comment("allowed once, denied now")),
        Rule::new().then(Statement::ResetTcp),
        Rule::new().verdict(Verdict::Drop),
    ];
    Chain { name: names::revoked(), base: None, rules }
}
