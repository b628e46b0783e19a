use std::collections::BTreeSet;

use super::*;

fn id(kind: &str, name: &str) -> PolicyId {
    PolicyId { kind: kind.into(), namespace: "ns".into(), name: name.into() }
}

fn tier(name: &str, default_action: EndOfTier, ingress: &[&str], egress: &[&str]) -> EndpointTier {
    let ids = |names: &[&str]| names.iter().map(|name| id("NetworkPolicy", name)).collect();
    EndpointTier { name: name.into(), default_action, ingress: ids(ingress), egress: ids(egress) }
}

#[test]
fn equal_parts_have_equal_keys_and_different_parts_have_different_ones() {
    use EndOfTier::{Deny, Pass};
    let profile = |names: &[&str]| names.iter().map(|name| ProfileName::from(*name)).collect::<Vec<_>>();
    let variants: Vec<(Direction, Vec<EndpointTier>, Vec<ProfileName>)> = vec![
        (Direction::Ingress, vec![], vec![]),
        (Direction::Egress, vec![], vec![]),
        (Direction::Ingress, vec![], profile(&["a"])),
        (Direction::Ingress, vec![], profile(&["a", "b"])),
        (Direction::Ingress, vec![], profile(&["b", "a"])),
        (Direction::Ingress, vec![], profile(&["ab"])),
        (Direction::Ingress, vec![tier("t", Deny, &["a"], &[])], vec![]),
        (Direction::Ingress, vec![tier("t", Pass, &["a"], &[])], vec![]),
        (Direction::Ingress, vec![tier("t", Deny, &["a", "b"], &[])], vec![]),
        (Direction::Ingress, vec![tier("t", Deny, &["b", "a"], &[])], vec![]),
        (Direction::Ingress, vec![tier("u", Deny, &["a"], &[])], vec![]),
        (Direction::Ingress, vec![tier("t", Deny, &["a"], &[]), tier("u", Deny, &["b"], &[])], vec![]),
        (Direction::Egress, vec![tier("t", Deny, &[], &["a"])], vec![]),
    ];
    let keys: BTreeSet<ProgramKey> = variants
        .iter()
        .map(|(direction, tiers, profiles)| {
            let key = Program::new(*direction, tiers, profiles).key();
            assert_eq!(key, Program::new(*direction, tiers, profiles).key());
            key
        })
        .collect();
    assert_eq!(keys.len(), variants.len());
}

#[test]
fn a_key_is_the_same_in_every_run() {
    let program =
        Program::new(Direction::Ingress, &[tier("default", EndOfTier::Deny, &["a"], &[])], &["kns.ns".into()]);
    assert_eq!(program.key().to_string(), "89ebbcb9974d809776f6b07469f63fe9");
}

#[test]
fn the_other_directions_policies_do_not_split_programs() {
    let with = |egress: &[&str]| {
        let tiers = [tier("t", EndOfTier::Deny, &["a"], egress), tier("u", EndOfTier::Deny, &[], &["c"])];
        Program::new(Direction::Ingress, &tiers, &[])
    };
    assert_eq!(with(&[]), with(&["b"]));
    let names: Vec<_> = with(&[]).tiers().iter().map(|tier| tier.name.clone()).collect();
    assert_eq!(names, ["t"], "a tier without ingress policies has no say about ingress");
}

#[test]
fn a_tier_of_staged_policies_only_ends_in_pass() {
    let mut staged = tier("t", EndOfTier::Deny, &[], &[]);
    staged.ingress = vec![id("StagedGlobalNetworkPolicy", "s"), id("StagedKubernetesNetworkPolicy", "k")];
    let mut mixed = staged.clone();
    mixed.ingress.push(id("NetworkPolicy", "a"));
    let program = Program::new(Direction::Ingress, &[staged, mixed], &[]);
    let seen: Vec<_> =
        program.tiers().iter().map(|tier| (tier.end, tier.policies.len(), tier.enforced().count())).collect();
    assert_eq!(seen, [(EndOfTier::Pass, 2, 0), (EndOfTier::Deny, 3, 1)]);
}
