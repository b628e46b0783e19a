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

/// Whose rules; they are unpacked one at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RulesOf<'a> {
    Policy(Packed<'a>),
    /// `None` for a profile that does not exist or is not valid: nothing passes.
    Profile(Option<Packed<'a>>),
}

impl RulesOf<'_> {
    fn map<T>(self, mut one: impl FnMut(Rule) -> T) -> Rules<T> {
        match self {
            Self::Policy(packed) => packed.map_policy_rules(one),
            Self::Profile(Some(packed)) => packed.map_rules(one),
            Self::Profile(None) => {
                let mut deny = || vec![one(Rule::any(Action::Deny))];
                Rules { inbound: deny(), outbound: deny() }
            }
        }
    }

    fn scan(self, parser: &mut SelectorParser, sets: &IpSets) -> Rules<ScannedRule> {
        let mut id = |request: SetRequest<'_>| -> SmolStr { sets.id(request) };
        self.map(|rule| scan(rule, parser, &mut id))
    }
}

/// Takes references to the sets that rules need.
pub(crate) fn acquire_sets(
    rules: RulesOf<'_>,
    parser: &mut SelectorParser,
    sets: &mut IpSets,
    space: &mut ClassSpace,
    labels: &mut LabelStore,
) -> Vec<SetIx> {
    let mut needed = Vec::new();
    rules.map(|rule| {
        scan(rule, parser, &mut |request: SetRequest<'_>| {
            let (at, id) = sets.acquire(space, labels, request);
            needed.push(at);
            id
        });
    });
    needed
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
    let Rules { inbound, outbound } = RulesOf::Policy(policies.packed(at)).scan(parser, sets);
    ActivePolicy {
        tier: tiers.name(held.tier).clone(),
        selector: policies.selector_text(at).into(),
        inbound_rules: inbound,
        outbound_rules: outbound,
        untracked: held.placing.untracked,
        pre_dnat: held.placing.pre_dnat,
        perf_hints: policies.hints(at).to_vec(),
    }
}

/// A profile as it is told. Its sets were acquired.
pub(crate) fn profile_message(held: Option<Packed<'_>>, parser: &mut SelectorParser, sets: &IpSets) -> ActiveProfile {
    let Rules { inbound, outbound } = RulesOf::Profile(held).scan(parser, sets);
    ActiveProfile { inbound_rules: inbound, outbound_rules: outbound }
}
