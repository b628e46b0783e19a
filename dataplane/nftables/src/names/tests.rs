use std::collections::BTreeSet;

use super::*;

fn policy_id(kind: &str, namespace: &str, name: &str) -> PolicyId {
    PolicyId { kind: kind.into(), namespace: namespace.into(), name: name.into() }
}

#[test]
fn names_are_spelled_out_where_nft_can_read_them() {
    let interface = IfName::new("cali12").expect("an interface");
    let set = |kind, version| ip_set(kind, "s:clients", version);
    let ports = |texts: &[&str]| -> Vec<PortRange> { texts.iter().map(|t| t.parse().expect("ports")).collect() };
    for (name, want) in [
        (stub(Direction::Egress, &interface), "from/cali12"),
        (stub(Direction::Ingress, &interface), "to/cali12"),
        (policy(Direction::Ingress, &policy_id("NetworkPolicy", "a", "b.c")), "policy-ingress/NetworkPolicy/a/b.c"),
        (policy(Direction::Egress, &policy_id("GlobalNetworkPolicy", "", "x")), "policy-egress/GlobalNetworkPolicy//x"),
        (profile(Stage::Filter, Direction::Ingress, "kns.default"), "profile-ingress/kns.default"),
        (set(SetKind::Addrs(Family::V4), 0), "aclients"),
        (set(SetKind::Nets(Family::V6), 2), "Nclients/v2"),
        (port_list(SetKind::Ports, &ports(&["80", "443"])), "ports/80_443"),
        (port_list(SetKind::PortRanges, &ports(&["80", "8000:8080"])), "portranges/80_8000-8080"),
        (alternatives("policy-ingress/a", 3, Some(Family::V6), 1), "policy-ingress/a/3-v6-1"),
    ] {
        assert_eq!(&*name, want);
    }
}

#[test]
fn what_nft_cannot_read_is_hashed_and_stays_apart() {
    let long = "x".repeat(300);
    let ids = [
        policy_id("a/b", "c", "d"),
        policy_id("a", "b/c", "d"),
        policy_id("a", "b", "c/d"),
        policy_id("hash", "", "d"),
        policy_id("a", "", &long),
        policy_id("a", &long, ""),
        policy_id("ä", "", "b c"),
        policy_id("a", "b", "c"),
    ];
    let names: BTreeSet<_> = ids.iter().map(|id| policy(Direction::Ingress, id)).collect();
    assert_eq!(names.len(), ids.len());
    for name in names {
        assert!(name.len() < 200 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.".contains(&b)), "{name}");
    }
}

#[test]
fn a_copy_gives_its_first_name_and_version_back() {
    let of = |version| ip_set(SetKind::Addrs(Family::V4), "s:abc", version);
    for version in [1, 17] {
        assert_eq!(ip_set_copy(&of(version)), Some((of(0), version)));
    }
    for other in ["aabc", "aabc/v0", "aabc/v", "aabc/vx", "/v1"] {
        assert_eq!(ip_set_copy(&Name::new(other).expect("a name")), None, "{other}");
    }
}

#[test]
fn comments_can_be_quoted_and_are_not_too_long() {
    assert_eq!(&*comment("NetworkPolicy a/b ingress 3"), "NetworkPolicy a/b ingress 3");
    assert_eq!(&*comment("a \"b\" \\ \n ä"), "a ?b? ? ? ?");
    let (one, two) = (comment(&format!("{}1", "x".repeat(200))), comment(&format!("{}2", "x".repeat(200))));
    assert_eq!((one.len(), two.len()), (127, 127));
    assert_ne!(one, two);
    assert_eq!(log_prefix(&"y".repeat(200)).len(), 126);
}

#[test]
fn a_set_has_a_short_name_that_its_id_can_be_told_by() {
    let digest = "flMh0m0X_BowkAK-W3jR4tUvYz01234567890a";
    let of = |id: &str| ip_set(SetKind::AddrPorts(Family::V4), id, 0);
    assert_eq!(&*of(&format!("n:{digest}")), "pflMh0m");
    assert_eq!(of(&format!("n:{digest}")), of("s:flMh0m"));
    let hashed = [
        "s:",
        "clients",
        "n:clients",
        "s:longer-than-that",
        "s:a/b",
        "s:ä",
        "svc:ns/name",
        &format!("s:{digest}/"),
        digest,
    ];
    let names: BTreeSet<Name> = hashed.into_iter().map(of).collect();
    assert_eq!(names.len(), hashed.len());
    for name in names {
        assert!(name.len() == 7 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{name}");
    }
}
