use caracal_program::ProfileName;

use super::*;
use crate::testing::{World, rule};

fn policy_id(kind: &str, namespace: &str, name: &str) -> PolicyId {
    PolicyId { kind: kind.into(), namespace: namespace.into(), name: name.into() }
}

fn decision(decider: Decider, direction: Direction, action: Action) -> Decision {
    Decision { decider, direction, action }
}

#[test]
fn prefixes_are_those_of_felix() {
    use Action::{Allow, Deny, Pass};
    use Direction::{Egress, Ingress};
    let of = |kind: &str, namespace: &str, name: &str, index| Decider::Policy(policy_id(kind, namespace, name), index);
    let table = [
        ("API0|np/shop/default.web", of("NetworkPolicy", "shop", "default.web", 0), Ingress, Allow),
        ("DPE12|gnp/security.deny", of("GlobalNetworkPolicy", "", "security.deny", 12), Egress, Deny),
        ("PPI3|knp/shop/web", of("KubernetesNetworkPolicy", "shop", "web", 3), Ingress, Pass),
        ("APE1|kcnp/admin", of("KubernetesClusterNetworkPolicy", "", "admin", 1), Egress, Allow),
        ("APE0|snp/shop/next", of("StagedNetworkPolicy", "shop", "next", 0), Egress, Allow),
        ("APE0|sgnp/next", of("StagedGlobalNetworkPolicy", "", "next", 0), Egress, Allow),
        ("APE0|sknp/shop/next", of("StagedKubernetesNetworkPolicy", "shop", "next", 0), Egress, Allow),
        ("ARI0|kns.shop", Decider::Profile(ProfileName::from("kns.shop"), 0), Ingress, Allow),
        ("PRE999|short.profile.name", Decider::Profile("short.profile.name".into(), 999), Egress, Pass),
        ("DPI|default", Decider::EndOfTier("default".into()), Ingress, Deny),
        ("PPE|security", Decider::EndOfTier("security".into()), Egress, Pass),
        ("DRI", Decider::NoMatch, Ingress, Deny),
        ("DRE", Decider::NoMatch, Egress, Deny),
    ];
    let nothing = PolicyStore::new();
    for (prefix, decider, direction, action) in table {
        let decision = decision(decider, direction, action);
        assert_eq!(decision.prefix().expect("it decides").as_str(), prefix);
        assert_eq!(Decision::of(prefix, &nothing), Some(decision), "{prefix}");
    }
    assert_eq!(decision(Decider::NoMatch, Ingress, Action::Log).prefix(), None);
    assert_eq!([1, 2], Direction::ALL.map(group));
}

#[test]
fn what_is_too_long_is_hashed_and_found_again() {
    // Three letters, the index, the bar and "gnp/" are nine.
    let name = |len: usize| "x".repeat(len - 9);
    for (raw, is_hashed) in [(62, false), (63, true), (200, true)] {
        let id = policy_id("GlobalNetworkPolicy", "", &name(raw));
        let said = decision(Decider::Policy(id.clone(), 7), Direction::Egress, Action::Deny);
        let prefix = said.prefix().expect("it decides");
        assert_eq!(prefix.len(), raw.min(63));
        assert_eq!(!prefix.contains(id.name.as_str()), is_hashed, "{prefix}");
        assert!(prefix.starts_with("DPE7|gnp/x") && prefix.ends_with("xxxxxxxxxx"), "{prefix}");
        let mut world = World::default();
        world.policy(&name(raw), &[rule("deny")], &[]).policy(&format!("{}y", name(raw)), &[rule("deny")], &[]);
        assert_eq!(Decision::of(&prefix, &world.store), Some(said));
    }
    let odd = decision(Decider::EndOfTier("a\"b".into()), Direction::Ingress, Action::Deny);
    assert_eq!(odd.prefix().map(|prefix| (prefix.len(), prefix.contains('"'))), Some((63, false)));
    let profile = "kns.".to_owned() + &"n".repeat(63);
    let said = decision(Decider::Profile(profile.as_str().into(), 0), Direction::Ingress, Action::Allow);
    let mut world = World::default();
    let prefix = said.prefix().expect("it decides");
    assert_eq!(Decision::of(&prefix, &world.store), None, "nobody has told of it");
    assert_eq!(Decision::of(&prefix, &world.profile(&profile, &[rule("allow")], &[]).store), Some(said));
}

#[test]
fn what_is_no_prefix_is_not_read() {
    for text in ["", "A", "AP", "XPI0|np/a/b", "AXI0|np/a/b", "APX0|np/a/b", "APIx|np/a/b", "API0|web", "calico: "] {
        assert_eq!(Decision::of(text, &PolicyStore::new()), None, "{text:?}");
    }
}
