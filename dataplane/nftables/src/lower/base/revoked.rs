//! What ends connections that policy allowed once and denies now.
//!
//! Who reviews the connections labels those that are denied. Of established
//! connections those without the label pass, in one rule; the others are refused,
//! in every direction and whoever sends. What policy judges itself it judges
//! whatever the label: the packets of who opened a connection that was never answered.

use caracal_net::Priority;

use super::{chain, related, unjudged};
use crate::ir::{Chain, CtState, Hook, Match, Rule, Statement, Verdict};
use crate::names;
use crate::settings::{Revocation, Settings};

/// The chains that there are for it.
pub(super) fn chains(settings: &Settings) -> Vec<Chain> {
    match settings.revocation {
        Revocation::On => {
            let rules = unjudged(settings).into_iter().chain([allowed(settings)]).chain(cut_here(settings)).collect();
            vec![chain(names::revoked_output(), Hook::Output, Priority(0), rules), refusal()]
        }
        Revocation::Off => Vec::new(),
    }
}

/// The first rules of the first chain for forwarded packets: what becomes of
/// established connections, and of what relates to them. Most packets leave by
/// the first rule.
pub(super) fn established_through(settings: &Settings) -> Vec<Rule> {
    passing(settings).chain(cut(settings)).collect()
}

/// The first rules where this host is an end.
pub(super) fn established_here(settings: &Settings) -> Vec<Rule> {
    passing(settings).chain(cut_here(settings)).collect()
}

fn passing(settings: &Settings) -> impl Iterator<Item = Rule> {
    let first = unrevoked(CtState::Established, settings).verdict(Verdict::Accept);
    std::iter::once(first).chain(related::lead(settings)).chain([allowed(settings)])
}

fn allowed(settings: &Settings) -> Rule {
    unrevoked(CtState::EstablishedOrRelated, settings).verdict(Verdict::Accept)
}

fn unrevoked(state: CtState, settings: &Settings) -> Rule {
    let rule = Rule::new().when(Match::CtState(state));
    match settings.revocation {
        Revocation::On => rule.when(Match::Unrevoked),
        Revocation::Off => rule,
    }
}

fn cut(settings: &Settings) -> Option<Rule> {
    match settings.revocation {
        Revocation::On => Some(refuse()),
        Revocation::Off => None,
    }
}

/// The reset that the kernel makes for a refused segment belongs to the refused
/// connection, and must get away.
fn cut_here(settings: &Settings) -> impl Iterator<Item = Rule> {
    let reset = || established().when(Match::TcpReset).verdict(Verdict::Accept);
    cut(settings).into_iter().flat_map(move |refuse| [reset(), refuse])
}

/// What the rule before it did not accept bears the label.
fn refuse() -> Rule {
    established().verdict(Verdict::Jump(names::revoked()))
}

fn established() -> Rule {
    Rule::new().when(Match::CtState(CtState::EstablishedOrRelated))
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
