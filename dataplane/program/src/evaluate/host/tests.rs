use caracal_net::Protocol;
use caracal_proto::felix::{self, to_dataplane::Payload};

use super::*;
use crate::Transport;

/// The policies of a list of tiers: one tier, one policy.
fn tiers(policy: &str) -> Vec<felix::TierInfo> {
    if policy.is_empty() {
        return Vec::new();
    }
    let id = felix::PolicyId { kind: "GlobalNetworkPolicy".into(), namespace: String::new(), name: policy.into() };
    vec![felix::TierInfo {
        name: "default".into(),
        ingress_policies: vec![id.clone()],
        egress_policies: vec![id],
        default_action: "Deny".into(),
    }]
}

/// A host endpoint: interface, policies for normal, forwarded, pre-DNAT and untracked packets.
type Host<'a> = (&'a str, [&'a str; 4]);

const POLICIES: [(&str, &[(&str, u16)]); 4] = [
    ("allow-80", &[("allow", 80)]),
    ("deny-80", &[("deny", 80)]),
    ("pass-all", &[("next-tier", 0)]),
    ("allow-8080", &[("allow", 8080)]),
];

fn store(hosts: &[Host<'_>]) -> PolicyStore {
    let mut store = PolicyStore::new();
    let mut tell = |payload| {
        let message = felix::ToDataplane { sequence_number: 0, payload: Some(payload) };
        store.apply(&message).expect("a message that can be understood");
    };
    for (name, rules) in POLICIES {
        let rules = rules.iter().map(|(action, port)| felix::Rule {
            action: (*action).into(),
            protocol: (*port != 0)
                .then(|| felix::Protocol { number_or_name: Some(felix::protocol::NumberOrName::Name("tcp".into())) }),
            dst_ports: match port {
                0 => Vec::new(),
                port => vec![felix::PortRange { first: (*port).into(), last: (*port).into() }],
            },
            ..felix::Rule::default()
        });
        let rules: Vec<_> = rules.collect();
        let policy = felix::Policy { inbound_rules: rules.clone(), outbound_rules: rules, ..felix::Policy::default() };
        let id = tiers(name).remove(0).ingress_policies.remove(0);
        tell(Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate { id: Some(id), policy: Some(policy) }));
    }
    for (interface, [normal, forward, pre_dnat, untracked]) in hosts {
        let endpoint = felix::HostEndpoint {
            name: (*interface).into(),
            tiers: tiers(normal),
            forward_tiers: tiers(forward),
            pre_dnat_tiers: tiers(pre_dnat),
            untracked_tiers: tiers(untracked),
            ..felix::HostEndpoint::default()
        };
        let id = Some(felix::HostEndpointId { endpoint_id: (*interface).into() });
        tell(Payload::HostEndpointUpdate(felix::HostEndpointUpdate { id, endpoint: Some(endpoint) }));
    }
    store
}

fn to(port: u16) -> Packet {
    let addr = |text: &str| text.parse().expect("an address");
    let transport = Transport::Ports { src: 40000, dst: port };
    Packet::new(addr("192.0.2.9"), addr("192.0.2.1"), Protocol::TCP, transport).expect("one family")
}

/// What judged, as `ENDPOINT KIND DIRECTION VERDICT`, and whether the packet passes and is tracked.
fn judged(hosts: &[Host<'_>], way: Way<'_>, original: u16, translated: Option<u16>) -> (Vec<String>, Tracking) {
    let store = store(hosts);
    let port = |text: &str| text.parse().expect("a port");
    let failsafes = Failsafes::new(&[port("22")], &[port("6443")]);
    let view = HostView { store: &store, failsafes: &failsafes, workload_prefixes: &["cali".into()] };
    let (original, translated) = (to(original), translated.map(to));
    let decision = view.evaluate(&Passage { way, original: &original, translated: translated.as_ref() });
    let steps = decision.steps.iter().map(|step| {
        let failsafe = if matches!(step.cause, HostCause::Failsafe(_)) { " by failsafe" } else { "" };
        format!("{} {} {} {:?}{failsafe}", step.endpoint, step.kind, step.direction, step.verdict)
    });
    let denied = decision.steps.last().is_some_and(|step| step.verdict == Verdict::Deny);
    assert_eq!(decision.verdict == Verdict::Deny, denied);
    (steps.collect(), decision.tracking)
}

const IN: Way<'static> = Way::ToHost { from: "eth0" };
const OUT: Way<'static> = Way::FromHost { to: "eth0" };
const THROUGH: Way<'static> = Way::Through { from: "eth0", to: "eth1" };

#[test]
fn packets_to_and_from_the_host() {
    let eth0 = [("eth0", ["allow-80", "", "", ""])];
    for (way, port, wanted) in [
        (IN, 80, "eth0 normal ingress Allow"),
        (IN, 81, "eth0 normal ingress Deny"),
        (IN, 22, "eth0 normal ingress Allow by failsafe"),
        (IN, 6443, "eth0 normal ingress Deny"),
        (OUT, 80, "eth0 normal egress Allow"),
        (OUT, 22, "eth0 normal egress Deny"),
        (OUT, 6443, "eth0 normal egress Allow by failsafe"),
    ] {
        assert_eq!(judged(&eth0, way, port, None), (vec![wanted.to_owned()], Tracking::Tracked), "{way:?} {port}");
    }
    for way in [Way::ToHost { from: "eth1" }, Way::FromHost { to: "lo" }] {
        assert_eq!(judged(&eth0, way, 81, None).0, Vec::<String>::new(), "an interface without endpoint");
    }
    assert_eq!(judged(&[("eth0", [""; 4])], IN, 80, None).0, ["eth0 normal ingress Deny"], "closed without policy");
}

#[test]
fn an_endpoint_of_all_interfaces_stands_back() {
    let both = [("*", ["deny-80", "deny-80", "deny-80", "deny-80"]), ("eth0", ["allow-80", "allow-80", "", ""])];
    let steps = |way| judged(&both, way, 80, None).0;
    assert_eq!(steps(IN), ["eth0 normal ingress Allow"]);
    assert_eq!(steps(Way::ToHost { from: "lo" }), ["* pre-DNAT ingress Deny"], "and has no untracked policy");
    assert_eq!(steps(Way::FromHost { to: "lo" }), ["* normal egress Deny"]);
    assert_eq!(steps(Way::FromHost { to: "cali1" }), Vec::<String>::new(), "a host may speak to its workloads");
    assert_eq!(steps(Way::ToHost { from: "cali1" }), ["* pre-DNAT ingress Deny"], "workloads are not spared");
    assert_eq!(
        steps(Way::Through { from: "eth0", to: "cali1" }),
        ["eth0 forward ingress Allow", "* forward egress Deny"]
    );
    let open = [("*", ["deny-80", "", "", ""])];
    assert_eq!(
        judged(&open, Way::ToHost { from: "cali1" }, 80, None).0,
        Vec::<String>::new(),
        "their own policy judges"
    );
}

#[test]
fn forwarded_packets_pass_without_policy_for_them() {
    let both = |forward| [("eth0", ["deny-80", forward, "", ""]), ("eth1", ["deny-80", forward, "", ""])];
    let steps = |forward, port| judged(&both(forward), THROUGH, port, None).0;
    let open = ["eth0 forward ingress Allow", "eth1 forward egress Allow"];
    assert_eq!(steps("", 80), open);
    assert_eq!(steps("allow-80", 80), open);
    assert_eq!(steps("pass-all", 80), open);
    assert_eq!(steps("allow-80", 22), ["eth0 forward ingress Deny"], "failsafes are for the host itself");
}

#[test]
fn what_policy_allows_early_is_not_judged_again_on_its_way_in() {
    let host = |pre_dnat, untracked| [("eth0", ["deny-80", "deny-80", pre_dnat, untracked])];
    let tracked = |steps: &[&str]| (steps.iter().map(ToString::to_string).collect::<Vec<_>>(), Tracking::Tracked);
    let untracked = |steps: &[&str]| (tracked(steps).0, Tracking::Untracked);
    for (hosts, way, port, wanted) in [
        (host("allow-80", ""), IN, 80, tracked(&["eth0 pre-DNAT ingress Allow"])),
        (host("allow-80", ""), IN, 81, tracked(&["eth0 pre-DNAT ingress Allow", "eth0 normal ingress Deny"])),
        (host("deny-80", ""), IN, 80, tracked(&["eth0 pre-DNAT ingress Deny"])),
        (host("deny-80", ""), OUT, 80, tracked(&["eth0 normal egress Deny"])),
        (
            host("deny-80", ""),
            IN,
            22,
            tracked(&["eth0 pre-DNAT ingress Allow by failsafe", "eth0 normal ingress Allow by failsafe"]),
        ),
        (host("allow-80", "allow-80"), IN, 80, untracked(&["eth0 untracked ingress Allow"])),
        (host("", "allow-80"), OUT, 80, untracked(&["eth0 untracked egress Allow"])),
        (host("", "deny-80"), IN, 80, tracked(&["eth0 untracked ingress Deny"])),
        (host("", "pass-all"), IN, 80, tracked(&["eth0 untracked ingress Allow", "eth0 normal ingress Deny"])),
        (host("allow-80", ""), THROUGH, 80, tracked(&["eth0 pre-DNAT ingress Allow"])),
    ] {
        assert_eq!(judged(&hosts, way, port, None), wanted, "{hosts:?} {way:?} {port}");
    }
    let out = [("eth1", ["", "deny-80", "", ""]), ("eth0", ["", "", "", "allow-80"])];
    let steps = ["eth0 untracked ingress Allow", "eth1 forward egress Deny"];
    assert_eq!(judged(&out, THROUGH, 80, None), untracked(&steps), "on its way out it is");
}

#[test]
fn dnat_lies_between() {
    let hosts = [("eth0", ["allow-8080", "allow-8080", "", ""])];
    assert_eq!(judged(&hosts, IN, 80, Some(8080)).0, ["eth0 normal ingress Allow"]);
    assert_eq!(judged(&hosts, THROUGH, 80, Some(8080)).0, ["eth0 forward ingress Allow"]);
    let hosts = [("eth0", ["deny-80", "deny-80", "deny-80", ""])];
    assert_eq!(judged(&hosts, THROUGH, 80, Some(8080)).0, ["eth0 pre-DNAT ingress Deny"]);
}
