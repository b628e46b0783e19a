use super::*;
use crate::messages::{message, packet, store};

const TIGHTENS: Effect = Effect { tightens: true, loosens: false };
const LOOSENS: Effect = Effect { tightens: false, loosens: true };

/// `w` (10.0.0.1, fd00::1) has this rule inbound and allows all outbound; `other`
/// (10.0.0.2) allows everything.
fn world(rule: &str) -> PolicyStore {
    let endpoint = |id: &str, interface: &str, addrs: &str, tier: &str| {
        format!(
            r#"{{"workloadEndpointUpdate": {{"id": {{"workloadId": "{id}"}}, "endpoint": {{"state": "active",
                "name": "{interface}", {addrs}, "tiers": [{tier}], "profileIds": ["open"]}}}}}}"#
        )
    };
    let mut store = store(&[
        r#"{"ipsetUpdate": {"id": "s:a", "members": ["10.0.0.2/32"], "type": "NET"}}"#,
        r#"{"ipsetUpdate": {"id": "n:a", "members": ["10.0.0.1,tcp:80"], "type": "IP_AND_PORT"}}"#,
        r#"{"activeProfileUpdate": {"id": {"name": "open"}, "profile": {"inboundRules": [{"action": "allow"}], "outboundRules": [{"action": "allow"}]}}}"#,
        &format!(
            r#"{{"activePolicyUpdate": {{"id": {{"kind": "NetworkPolicy", "name": "p"}}, "policy": {{"inboundRules": [{rule}]}}}}}}"#
        ),
        &endpoint(
            "w",
            "cali0",
            r#""ipv4Nets": ["10.0.0.1/32"], "ipv6Nets": ["fd00::1/128"]"#,
            r#"{"name": "t", "defaultAction": "Deny", "ingressPolicies": [{"kind": "NetworkPolicy", "name": "p"}]}"#,
        ),
        &endpoint("other", "cali1", r#""ipv4Nets": ["10.0.0.2/32"]"#, ""),
    ]);
    store.set_addresses(&"eth0".into(), BTreeSet::from(["192.0.2.1".parse().expect("an address")]));
    store
}

fn id(workload: &str) -> WorkloadId {
    WorkloadId { orchestrator: "".into(), workload: workload.into(), endpoint: "".into() }
}

/// What a message does to the verdicts of `w` and of `other`.
fn effects(rule: &str, json: &str) -> [Effect; 2] {
    let mut store = world(rule);
    let mut touched = Touched::default();
    touched.take(&[store.apply(&message(json)).expect("an understood message")]);
    let mut effects = Effects::of(&store, &touched);
    ["w", "other"].map(|name| effects.on(store.workload(&id(name)).expect("the endpoint")))
}

const GROWS: &str = r#"{"ipsetDeltaUpdate": {"id": "s:a", "addedMembers": ["10.0.0.3/32"]}}"#;
const SHRINKS: &str = r#"{"ipsetDeltaUpdate": {"id": "s:a", "removedMembers": ["10.0.0.2/32"]}}"#;

#[test]
fn what_the_members_of_a_set_do_depends_on_the_rule() {
    for (rule, grows, shrinks) in [
        (r#"{"action": "allow", "srcIpSetIds": ["s:a"]}"#, LOOSENS, TIGHTENS),
        (r#"{"action": "allow", "notSrcIpSetIds": ["s:a"]}"#, TIGHTENS, LOOSENS),
        (r#"{"action": "deny", "srcIpSetIds": ["s:a"]}"#, TIGHTENS, LOOSENS),
        (r#"{"action": "deny", "notDstIpSetIds": ["s:a"]}"#, LOOSENS, TIGHTENS),
        (r#"{"action": "next-tier", "srcIpSetIds": ["s:a"]}"#, Effect::ANY, Effect::ANY),
        (r#"{"action": "log", "srcIpSetIds": ["s:a"]}"#, Effect::NONE, Effect::NONE),
        (r#"{"action": "allow", "dstIpPortSetIds": ["n:a"]}"#, Effect::NONE, Effect::NONE),
    ] {
        assert_eq!(effects(rule, GROWS), [grows, Effect::NONE], "{rule}");
        assert_eq!(effects(rule, SHRINKS), [shrinks, Effect::NONE], "{rule}");
    }
    let removed = r#"{"ipsetRemove": {"id": "n:a"}}"#;
    assert_eq!(effects(r#"{"action": "allow", "dstIpPortSetIds": ["n:a"]}"#, removed), [Effect::ANY, Effect::NONE]);
}

#[test]
fn what_other_changes_do() {
    let allow = r#"{"action": "allow"}"#;
    for (change, w, other) in [
        (r#"{"activePolicyRemove": {"id": {"kind": "NetworkPolicy", "name": "p"}}}"#, Effect::ANY, Effect::NONE),
        (r#"{"activeProfileUpdate": {"id": {"name": "open"}, "profile": {}}}"#, Effect::ANY, Effect::ANY),
        (r#"{"activeProfileUpdate": {"id": {"name": "x"}, "profile": {}}}"#, Effect::NONE, Effect::NONE),
        (r#"{"configUpdate": {"config": {"a": "b"}}}"#, Effect::ANY, Effect::ANY),
        (r#"{"inSync": {}}"#, Effect::ANY, Effect::ANY),
    ] {
        assert_eq!(effects(allow, change), [w, other], "{change}");
    }
}

#[test]
fn connections_of_suspects_are_judged_on_both_ends() {
    use EndpointToHost::{Accept, Drop};
    use Verdict::{Allow, Deny};
    let store = world(r#"{"action": "allow", "protocol": {"name": "tcp"}, "srcIpSetIds": ["s:a"]}"#);
    for (suspect, to_host, text, wanted) in [
        ("w", Drop, "10.0.0.2 > 10.0.0.1 tcp 1000 > 80", Some(Allow)),
        ("w", Drop, "10.0.0.2 > 10.0.0.1 udp 1000 > 80", Some(Deny)),
        ("w", Drop, "10.0.0.9 > 10.0.0.1 tcp 1000 > 80", Some(Deny)),
        ("w", Drop, "fd00::9 > fd00::1 tcp 1000 > 80", Some(Deny)),
        ("w", Drop, "10.0.0.1 > 10.0.0.9 udp 1000 > 53", Some(Allow)),
        // The other end decides too.
        ("other", Drop, "10.0.0.2 > 10.0.0.1 udp 1000 > 80", Some(Deny)),
        ("other", Drop, "10.0.0.9 > 10.0.0.1 udp 1000 > 80", None),
        ("w", Drop, "10.0.0.2 > 10.0.0.9 udp 1000 > 80", None),
        // The host reaches its workloads; what they send to it is judged.
        ("w", Drop, "192.0.2.1 > 10.0.0.1 udp 1000 > 80", Some(Allow)),
        ("w", Drop, "10.0.0.1 > 192.0.2.1 udp 1000 > 53", Some(Deny)),
        ("w", Accept, "10.0.0.1 > 192.0.2.1 udp 1000 > 53", Some(Allow)),
    ] {
        let suspects = BTreeSet::from([id(suspect)]);
        assert_eq!(Bench::new(&store, &suspects, to_host).verdict(&packet(text)), wanted, "{suspect} {text}");
    }
}

#[test]
fn nothing_of_an_endpoint_that_is_down_passes() {
    let mut store = world(r#"{"action": "allow"}"#);
    let down = r#"{"workloadEndpointUpdate": {"id": {"workloadId": "w"}, "endpoint": {"state": "down",
        "name": "cali0", "ipv4Nets": ["10.0.0.1/32"], "profileIds": ["open"]}}}"#;
    store.apply(&message(down)).expect("an understood message");
    let suspects = BTreeSet::from([id("w")]);
    let bench = Bench::new(&store, &suspects, EndpointToHost::Accept);
    for text in ["10.0.0.1 > 10.0.0.9 udp 1 > 2", "10.0.0.9 > 10.0.0.1 udp 1 > 2", "10.0.0.1 > 192.0.2.1 udp 1 > 2"] {
        assert_eq!(bench.verdict(&packet(text)), Some(Verdict::Deny), "{text}");
    }
}
