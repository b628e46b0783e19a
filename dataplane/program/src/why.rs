//! What could have let a packet through, and what it lacks.

use smol_str::SmolStr;

use crate::{Action, Field, Packet, PolicyId, PolicyStore, Program, Rule};

/// A rule that allows, and what the packet lacks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss<'a> {
    /// The tier.
    pub tier: &'a SmolStr,
    /// The policy.
    pub policy: &'a PolicyId,
    /// The rule's index among the policy's rules of this direction.
    pub index: usize,
    /// The rule.
    pub rule: &'a Rule,
    /// The fields that the packet does not satisfy; none if the rule matches and
    /// something before it has decided.
    pub mismatches: Vec<Field>,
}

/// The rules of enforced policies that allow something, each compared with the
/// packet whether or not an evaluation gets to it, in the order of evaluation.
#[must_use]
pub fn near_misses<'a>(program: &'a Program, store: &'a PolicyStore, packet: &Packet) -> Vec<NearMiss<'a>> {
    let policies = program.tiers().iter().flat_map(|tier| tier.enforced().map(move |policy| (&tier.name, policy)));
    let rules = policies.flat_map(|(tier, policy)| {
        let rules = store.policy(policy).map_or(&[][..], |program_of| &program_of.rules(program.direction())[..]);
        rules.iter().enumerate().map(move |(index, rule)| (tier, policy, index, rule))
    });
    rules
        .filter(|(_, _, _, rule)| rule.action == Action::Allow)
        .map(|(tier, policy, index, rule)| NearMiss {
            tier,
            policy,
            index,
            rule,
            mismatches: rule.mismatches(packet, store),
        })
        .collect()
}

#[cfg(test)]
mod tests;
