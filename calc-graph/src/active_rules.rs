//! Active policies and profiles over IP sets.
//!
//! Inputs: the rules of an active policy or profile. Outputs: the sets that they
//! need, and the message. Memory: none; a message is made when it is told, from
//! the packed rules, and dropped at once.

use caracal_model::{Action, Rule};
use smol_str::SmolStr;

use crate::class_space::ClassSpace;
use crate::ids::{PolicyIx, SetIx};
use crate::ip_sets::IpSets;
use crate::label_store::LabelStore;
use crate::packed_rules::{Packed, Rules};
use crate::policies::Policies;
use crate::rule_scanner::{SetRequest, scan};
use crate::selector_table::SelectorParser;
use crate::tiers::Tiers;
use crate::{ActivePolicy, ActiveProfile, ScannedRule};

/// Takes references to the sets that rules need.
pub(crate) fn acquire_sets(
    rules: Rules,
    parser: &mut SelectorParser,
    sets: &mut IpSets,
    space: &mut ClassSpace,
    labels: &mut LabelStore,
) -> Vec<SetIx> {
    let mut needed = Vec::new();
    for rule in rules.inbound.into_iter().chain(rules.outbound) {
        scan(rule, parser, &mut |request: SetRequest<'_>| {
            let (at, id) = sets.acquire(space, labels, request);
            needed.push(at);
            id
        });
    }
    needed
}

/// The rules of a profile that does not exist or is not valid: nothing passes.
pub(crate) fn deny_both_ways() -> Rules {
    Rules { inbound: vec![Rule::any(Action::Deny)], outbound: vec![Rule::any(Action::Deny)] }
}

/// The rules of a profile that may not exist.
pub(crate) fn profile_rules(held: Option<Packed<'_>>) -> Rules {
    held.map_or_else(deny_both_ways, Packed::rules)
}

/// A policy as it is told. Its sets were acquired.
pub(crate) fn policy_message(
    policies: &Policies,
    at: PolicyIx,
    tiers: &Tiers,
    parser: &mut SelectorParser,
    sets: &IpSets,
) -> ActivePolicy {
    let held = &policies[at];
    let Rules { inbound, outbound } = policies.rules(at);
    ActivePolicy {
        tier: tiers.name(held.tier).clone(),
        selector: policies.selector_text(at).into(),
        inbound_rules: scan_all(inbound, parser, sets),
        outbound_rules: scan_all(outbound, parser, sets),
        untracked: held.placing.untracked,
        pre_dnat: held.placing.pre_dnat,
        perf_hints: policies.hints(at).to_vec(),
    }
}

/// A profile as it is told. Its sets were acquired.
pub(crate) fn profile_message(held: Option<Packed<'_>>, parser: &mut SelectorParser, sets: &IpSets) -> ActiveProfile {
    let Rules { inbound, outbound } = profile_rules(held);
    ActiveProfile { inbound_rules: scan_all(inbound, parser, sets), outbound_rules: scan_all(outbound, parser, sets) }
}

fn scan_all(rules: Vec<Rule>, parser: &mut SelectorParser, sets: &IpSets) -> Vec<ScannedRule> {
    let mut id = |request: SetRequest<'_>| -> SmolStr { sets.id(request) };
    rules.into_iter().map(|rule| scan(rule, parser, &mut id)).collect()
}
