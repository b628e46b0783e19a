use smol_str::SmolStr;

use super::*;
use crate::messages::{message, packet, store};
use crate::{EndpointToHost, Failsafes, Packet, Verdict};

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

fn suspects(workloads: &[&str]) -> Suspects {
    Suspects { workloads: workloads.iter().map(|workload| id(workload)).collect(), hosts: false }
}

/// What policy says of a connection of suspects where there is one uplink.
fn verdict(store: &PolicyStore, suspects: &Suspects, to_host: EndpointToHost, packet: &Packet) -> Option<Verdict> {
    let (failsafes, interfaces) = (Failsafes::default(), ["lo", "eth0", "cali0", "cali1"].map(SmolStr::from));
    let terms = Terms {
        to_host,
        failsafes: &failsafes,
        workload_prefixes: &["cali".into()],
        interfaces: &interfaces,
        vxlan_port: 4789,
    };
    Bench::new(store, &Brief::of(store, suspects), terms).verdict(packet, None)
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
        assert_eq!(verdict(&store, &suspects(&[suspect]), to_host, &packet(text)), wanted, "{suspect} {text}");
    }
}

#[test]
fn nothing_of_an_endpoint_that_is_down_passes() {
    let mut store = world(r#"{"action": "allow"}"#);
    let down = r#"{"workloadEndpointUpdate": {"id": {"workloadId": "w"}, "endpoint": {"state": "down",
        "name": "cali0", "ipv4Nets": ["10.0.0.1/32"], "profileIds": ["open"]}}}"#;
    store.apply(&message(down)).expect("an understood message");
    for text in ["10.0.0.1 > 10.0.0.9 udp 1 > 2", "10.0.0.9 > 10.0.0.1 udp 1 > 2", "10.0.0.1 > 192.0.2.1 udp 1 > 2"] {
        let verdict = verdict(&store, &suspects(&["w"]), EndpointToHost::Accept, &packet(text));
        assert_eq!(verdict, Some(Verdict::Deny), "{text}");
    }
}

/// A host endpoint with a policy, or one that may do everything.
fn host_endpoint(id: &str, interface: &str, policy: &str) -> String {
    let fields = match policy {
        "" => r#""profileIds": ["open"]"#.to_owned(),
        name => {
            let policies = format!(r#"[{{"kind": "GlobalNetworkPolicy", "name": "{name}"}}]"#);
            let tiers = format!(r#"[{{"name": "t", "defaultAction": "Deny", "ingressPolicies": {policies}}}]"#);
            format!(r#""tiers": {tiers}, "forwardTiers": {tiers}"#)
        }
    };
    format!(
        r#"{{"hostEndpointUpdate": {{"id": {{"endpointId": "{id}"}}, "endpoint": {{"name": "{interface}", {fields}}}}}}}"#
    )
}

/// One workload, `w` (10.0.0.1), that may do everything, a host with the address
/// 192.0.2.1, and a policy `web` that allows port 80 inwards.
fn guarded(endpoints: &[&str]) -> PolicyStore {
    let mut store = world(r#"{"action": "allow"}"#);
    let web = r#"{"activePolicyUpdate": {"id": {"kind": "GlobalNetworkPolicy", "name": "web"}, "policy": {"inboundRules": [
        {"action": "allow", "protocol": {"name": "tcp"}, "dstPorts": [{"first": 80, "last": 80}]}]}}}"#;
    for json in [web].iter().chain(endpoints) {
        store.apply(&message(json)).expect("an understood message");
    }
    store
}

#[test]
fn a_host_denies_what_it_denies_on_every_interface() {
    use Verdict::{Allow, Deny};
    let all = host_endpoint("all", "*", "web");
    let uplink = host_endpoint("uplink", "eth0", "web");
    let open = host_endpoint("open", "eth1", "");
    let failsafes = Failsafes::new(&["tcp:22".parse().expect("a port")], &["udp:53".parse().expect("a port")]);
    let check = |endpoints: &[&str], interfaces: &[&str], cases: &[(&str, Verdict)]| {
        let store = guarded(endpoints);
        let interfaces: Vec<SmolStr> = interfaces.iter().copied().map(SmolStr::from).collect();
        let to_host = EndpointToHost::Accept;
        let terms = Terms {
            to_host,
            failsafes: &failsafes,
            workload_prefixes: &["cali".into()],
            interfaces: &interfaces,
            vxlan_port: 4789,
        };
        let suspects = Suspects { hosts: true, ..Suspects::default() };
        for (text, wanted) in cases {
            let verdict = Bench::new(&store, &Brief::of(&store, &suspects), terms).verdict(&packet(text), None);
            assert_eq!(verdict, Some(*wanted), "{endpoints:?} {interfaces:?} {text}");
        }
    };
    let (one, two) = (&["lo", "eth0", "cali0"][..], &["lo", "eth0", "eth1", "cali0"][..]);
    let inwards = [
        ("192.0.2.9 > 192.0.2.1 tcp 1000 > 80", Allow),
        ("192.0.2.9 > 192.0.2.1 tcp 1000 > 81", Deny),
        ("192.0.2.9 > 192.0.2.1 tcp 1000 > 22", Allow),
        // Policy of a workload decides here, and it is the host's own end.
        ("10.0.0.1 > 192.0.2.1 tcp 1000 > 81", Allow),
        ("192.0.2.1 > 10.0.0.1 tcp 1000 > 81", Allow),
    ];
    let outwards = [("192.0.2.1 > 192.0.2.9 tcp 1000 > 443", Deny), ("192.0.2.1 > 192.0.2.9 udp 1000 > 53", Allow)];
    let forwarded = [
        ("192.0.2.9 > 10.0.0.1 tcp 1000 > 81", Deny),
        ("192.0.2.9 > 10.0.0.1 tcp 1000 > 80", Allow),
        ("192.0.2.9 > 198.51.100.9 tcp 1000 > 81", Deny),
    ];
    let itself =
        |verdict| [("192.0.2.1 > 192.0.2.1 tcp 1000 > 81", verdict), ("127.0.0.1 > 127.0.0.1 tcp 1 > 81", verdict)];
    for (endpoints, interfaces) in [(&[&*all][..], one), (&[&*all], two), (&[&*uplink], one), (&[&*uplink, &*all], two)]
    {
        check(endpoints, interfaces, &inwards);
        check(endpoints, interfaces, &forwarded);
    }
    for cases in [&inwards[..], &outwards, &forwarded] {
        let unsure: Vec<_> = cases.iter().map(|(text, _)| (*text, Allow)).collect();
        check(&[&uplink], two, &unsure);
        check(&[&uplink, &open], two, &unsure);
        check(&[&uplink], &["lo"], &unsure);
        check(&[], two, &unsure);
    }
    check(&[&all], two, &outwards);
    check(
        &[&all],
        one,
        &[
            ("192.0.2.1 > 192.0.2.9 tcp 22 > 1000", Allow),
            ("192.0.2.1 > 192.0.2.9 tcp 23 > 1000", Deny),
            ("192.0.2.9 > 192.0.2.1 4", Allow),
            ("192.0.2.9 > 192.0.2.1 udp 1000 > 4789", Allow),
            ("192.0.2.9 > 192.0.2.1 udp 1000 > 4790", Deny),
        ],
    );
    check(&[&all], one, &itself(Deny));
    check(&[&uplink], one, &itself(Allow));
    check(&[&all], one, &[("fe80::1 > fe80::2 tcp 1000 > 81", Allow), ("192.0.2.1 > 224.0.0.9 udp 1 > 9", Allow)]);
}

#[test]
fn policy_before_dnat_judges_what_was_called() {
    let closed = r#"{"activePolicyUpdate": {"id": {"kind": "GlobalNetworkPolicy", "name": "closed"}, "policy": {"inboundRules": [
        {"action": "deny", "protocol": {"name": "tcp"}, "dstPorts": [{"first": 8080, "last": 8080}]}]}}}"#;
    let store = guarded(&[closed, &host_endpoint("all", "*", "closed").replace("forwardTiers", "preDnatTiers")]);
    let (failsafes, interfaces) = (Failsafes::default(), ["eth0".into()]);
    let to_host = EndpointToHost::Accept;
    let terms = Terms {
        to_host,
        failsafes: &failsafes,
        workload_prefixes: &["cali".into()],
        interfaces: &interfaces,
        vxlan_port: 4789,
    };
    let suspects = Suspects { hosts: true, ..Suspects::default() };
    let brief = Brief::of(&store, &suspects);
    let bench = Bench::new(&store, &brief, terms);
    let answered = packet("192.0.2.9 > 10.0.0.1 tcp 1000 > 8080");
    for (port, wanted) in [(80, Verdict::Allow), (8080, Verdict::Deny)] {
        let called = packet(&format!("192.0.2.9 > 192.0.2.1 tcp 1000 > {port}"));
        assert_eq!(bench.verdict(&answered, Some(&called)), Some(wanted), "{port}");
    }
    assert_eq!(bench.verdict(&answered, None), Some(Verdict::Deny));
}

#[test]
fn what_untracked_policy_takes_out_of_tracking() {
    let port = |side: &str| {
        format!(r#"{{"action": "allow", "protocol": {{"name": "tcp"}}, "{side}Ports": [{{"first": 80, "last": 80}}]}}"#)
    };
    let policy = |name: &str, rules: &str| {
        format!(
            r#"{{"activePolicyUpdate": {{"id": {{"kind": "GlobalNetworkPolicy", "name": "{name}"}}, "policy": {{{rules}}}}}}}"#
        )
    };
    let both = policy("both", &format!(r#""inboundRules": [{}], "outboundRules": [{}]"#, port("dst"), port("src")));
    let inwards = policy("inwards", &format!(r#""inboundRules": [{}]"#, port("dst")));
    let tiers = |name: &str, interface: &str| {
        let policies = format!(r#"[{{"kind": "GlobalNetworkPolicy", "name": "{name}"}}]"#);
        format!(
            r#"{{"hostEndpointUpdate": {{"id": {{"endpointId": "h"}}, "endpoint": {{"name": "{interface}", "untrackedTiers":
                [{{"name": "t", "defaultAction": "Pass", "ingressPolicies": {policies}, "egressPolicies": {policies}}}]}}}}}}"#
        )
    };
    for (name, interface, text, wanted) in [
        ("both", "eth0", "192.0.2.9 > 192.0.2.1 tcp 1000 > 80", true),
        ("both", "eth0", "192.0.2.9 > 192.0.2.1 tcp 1000 > 81", false),
        ("both", "eth0", "192.0.2.1 > 192.0.2.9 tcp 80 > 1000", true),
        ("both", "eth0", "192.0.2.1 > 192.0.2.9 tcp 1000 > 80", false),
        ("both", "eth0", "192.0.2.9 > 192.0.2.1 udp 1000 > 80", false),
        ("both", "eth0", "192.0.2.9 > 10.0.0.1 tcp 1000 > 80", false),
        ("both", "eth0", "192.0.2.1 > 192.0.2.1 tcp 1000 > 80", false),
        ("both", "eth1", "192.0.2.9 > 192.0.2.1 tcp 1000 > 80", false),
        ("inwards", "eth0", "192.0.2.9 > 192.0.2.1 tcp 1000 > 80", false),
    ] {
        let store = guarded(&[&both, &inwards, &tiers(name, interface)]);
        for hosts in [true, false] {
            let (failsafes, interfaces) = (Failsafes::default(), ["eth0".into()]);
            let (to_host, workload_prefixes) = (EndpointToHost::Accept, &["cali".into()]);
            let terms =
                Terms { to_host, failsafes: &failsafes, workload_prefixes, interfaces: &interfaces, vxlan_port: 4789 };
            let suspects = Suspects { hosts, ..Suspects::default() };
            let brief = Brief::of(&store, &suspects);
            let is_untracked = Bench::new(&store, &brief, terms).is_untracked(&packet(text));
            assert_eq!(is_untracked, wanted && hosts, "{name} {interface} {text}");
        }
    }
}

#[test]
fn what_becomes_of_host_endpoints() {
    let hosts = |changes: &[&str]| {
        let mut store = guarded(&[&host_endpoint("all", "*", "web")]);
        let changes: Vec<Change> =
            changes.iter().map(|json| store.apply(&message(json)).expect("an understood message")).collect();
        let mut touched = Touched::default();
        touched.take(&changes);
        Effects::of(&store, &touched).suspects(|effect| effect != Effect::NONE)
    };
    let expected = |hosts| Suspects { hosts, ..Suspects::default() };
    assert_eq!(hosts(&[]), expected(false));
    assert_eq!(hosts(&[&host_endpoint("all", "*", "")]), expected(true));
    assert_eq!(hosts(&[r#"{"hostEndpointRemove": {"id": {"endpointId": "all"}}}"#]), expected(true));
    let web = r#"{"activePolicyRemove": {"id": {"kind": "GlobalNetworkPolicy", "name": "web"}}}"#;
    assert_eq!(hosts(&[web]), expected(true));
    let mut touched = Touched::default();
    touched.take(&[Change::HostAddresses]);
    assert!(!touched.is_empty());
}

#[test]
fn a_brief_serves_until_the_store_changes_and_makes_each_program_ready_once() {
    let mut store = world(r#"{"action": "allow"}"#);
    let brief = Brief::of(&store, &suspects(&["w", "other"]));
    let failsafes = Failsafes::default();
    let terms = Terms {
        to_host: EndpointToHost::Drop,
        failsafes: &failsafes,
        workload_prefixes: &["cali".into()],
        interfaces: &[],
        vxlan_port: 4789,
    };
    assert_eq!(brief.programs(), 0, "nobody asked");
    for port in 1..=100 {
        let bench = Bench::new(&store, &brief, terms);
        for (text, wanted) in [("10.0.0.2 > 10.0.0.1", Verdict::Allow), ("10.0.0.1 > 10.0.0.2", Verdict::Allow)] {
            let packet = packet(&format!("{text} udp 1000 > {port}"));
            assert_eq!(bench.verdict(&packet, None), Some(wanted), "{text}");
        }
    }
    // Both ways out of both endpoints and into them: two are alike, and allow all that leaves.
    assert_eq!(brief.programs(), 3);
    assert!(brief.is_of(&store));
    store.apply(&message(GROWS)).expect("an understood message");
    assert!(!brief.is_of(&store));
}
