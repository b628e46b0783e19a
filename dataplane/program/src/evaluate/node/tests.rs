use super::*;
use crate::messages::{packet, store};

/// The workload ns/0 on cali0 with 10.65.0.2 and fd00::2, which may also use 172.16.0.0/24, and ns/1
/// on cali1 with 10.65.0.3; both let everything through. A host of the cluster, a pool with IP in IP and one
/// with VXLAN, services in 10.96.0.0/12.
const CLUSTER: &[&str] = &[
    r#"{"activeProfileUpdate": {"id": {"name": "open"}, "profile": {"inboundRules": [{"action": "allow"}], "outboundRules": [{"action": "allow"}]}}}"#,
    r#"{"workloadEndpointUpdate": {"id": {"orchestratorId": "k8s", "workloadId": "ns/0", "endpointId": "eth0"}, "endpoint": {"state": "active", "name": "cali0", "ipv4Nets": ["10.65.0.2/32"], "ipv6Nets": ["fd00::2/128"], "allowSpoofedSourcePrefixes": ["172.16.0.0/24"], "profileIds": ["open"]}}}"#,
    r#"{"workloadEndpointUpdate": {"id": {"orchestratorId": "k8s", "workloadId": "ns/1", "endpointId": "eth0"}, "endpoint": {"state": "active", "name": "cali1", "ipv4Nets": ["10.65.0.3/32"], "profileIds": ["open"]}}}"#,
    r#"{"hostMetadataUpdate": {"hostname": "other", "ipv4Addr": "192.0.2.7"}}"#,
    r#"{"ipamPoolUpdate": {"id": "a", "pool": {"cidr": "10.65.0.0/16", "ipipMode": "always"}}}"#,
    r#"{"ipamPoolUpdate": {"id": "b", "pool": {"cidr": "10.66.0.0/16", "vxlanMode": "always"}}}"#,
    r#"{"globalBgpConfigUpdate": {"serviceClusterCidrs": ["10.96.0.0/12"]}}"#,
];

const HOST: &str =
    r#"{"hostEndpointUpdate": {"id": {"endpointId": "h"}, "endpoint": {"name": "eth0", "profileIds": ["open"]}}}"#;

const FROM_POD: Way<'static> = Way::Through { from: "cali0", to: "eth0" };
const TO_OWN_HOST: Way<'static> = Way::ToHost { from: "cali0" };
const IN: Way<'static> = Way::ToHost { from: "eth0" };
const OUT: Way<'static> = Way::FromHost { to: "eth0" };

/// What had a say, in words.
fn judged(messages: &[&str], guards: &Guards, way: Way<'_>, text: &str) -> Vec<String> {
    let store = store(messages);
    let failsafes = Failsafes::default();
    let view = NodeView {
        store: &store,
        interfaces: &&store,
        failsafes: &failsafes,
        workload_prefixes: &["cali".into()],
        guards,
    };
    let packet = packet(text);
    let decision = view.evaluate(&Passage { way, original: &packet, translated: None });
    let refused = decision.steps.last().is_some_and(|step| step.verdict() == Verdict::Deny);
    assert_eq!(decision.verdict == Verdict::Deny, refused, "{text}");
    let words = decision.steps.iter().map(|step| match step {
        NodeStep::Guard(guard) => format!("{guard:?}"),
        NodeStep::Host(step) => format!("host {} {:?}", step.direction, step.verdict),
        NodeStep::Workload { endpoint, direction, decision } => {
            format!("{} {direction} {:?}", endpoint.interface, decision.verdict)
        }
        NodeStep::EndpointToHost(action) => format!("to host: {action:?}"),
    });
    words.collect()
}

#[test]
fn what_is_asked_beside_policy() {
    let out = ["cali0 egress Allow"].as_slice();
    let home = ["cali0 egress Allow", "to host: Drop"].as_slice();
    let between = Way::Through { from: "cali0", to: "cali1" };
    let both = ["cali0 egress Allow", "cali1 ingress Allow"].as_slice();
    for (way, text, wanted) in [
        (FROM_POD, "10.65.0.2 > 8.8.8.8 tcp 1 > 80", out),
        // Sources.
        (FROM_POD, "10.65.0.3 > 8.8.8.8 tcp 1 > 80", &["SpoofedSource"]),
        (FROM_POD, "172.16.0.9 > 8.8.8.8 tcp 1 > 80", out),
        (FROM_POD, "fd00::2 > 2001:db8::1 tcp 1 > 80", out),
        (FROM_POD, "fd00::3 > 2001:db8::1 tcp 1 > 80", &["SpoofedSource"]),
        (TO_OWN_HOST, "0.0.0.0 > 255.255.255.255 udp 68 > 67", home),
        (TO_OWN_HOST, "0.0.0.0 > 10.0.0.1 udp 68 > 67", &["SpoofedSource"]),
        // Loopback addresses of the host.
        (TO_OWN_HOST, "10.65.0.2 > 127.0.0.1 tcp 1 > 80", &["Loopback"]),
        (TO_OWN_HOST, "10.65.0.2 > 127.9.9.9 icmp 8/0", &["Loopback"]),
        (TO_OWN_HOST, "10.65.0.2 > 128.0.0.1 tcp 1 > 80", home),
        (Way::ToHost { from: "cali7" }, "10.65.0.9 > 10.0.0.1 udp 1 > 2", &["SpoofedSource"]),
        // Neighbour discovery.
        (TO_OWN_HOST, "fe80::2 > fe80::1 icmpv6 135/0", &["NeighbourDiscovery"]),
        (TO_OWN_HOST, ":: > ff02::1:ff00:2 icmpv6 135/0", &["NeighbourDiscovery"]),
        (TO_OWN_HOST, "fe80::2 > fe80::1 icmpv6 134/0", home),
        (TO_OWN_HOST, "fe80::2 > fe80::1 icmpv6 128/0", home),
        (Way::ToHost { from: "cali7" }, "fe80::2 > fe80::1 udp 1 > 2", &["NoEndpoint(Egress)"]),
        // Connection tracking.
        (FROM_POD, "10.65.0.2 > 8.8.8.8 icmp 8/0", out),
        (FROM_POD, "10.65.0.2 > 8.8.8.8 icmp 0/0", &["Invalid(Egress)"]),
        (FROM_POD, "10.65.0.2 > 8.8.8.8 icmp 3/1", &["Invalid(Egress)"]),
        (FROM_POD, "fd00::2 > 2001:db8::1 icmpv6 128/0", out),
        (FROM_POD, "fd00::2 > 2001:db8::1 icmp 8/0", &["Invalid(Egress)"]),
        (FROM_POD, "fd00::2 > 2001:db8::1 icmpv6 1/0", &["Invalid(Egress)"]),
        (Way::Through { from: "eth0", to: "cali0" }, "8.8.8.8 > 10.65.0.2 icmp 0/0", &["Invalid(Ingress)"]),
        (IN, "8.8.8.8 > 192.0.2.1 icmp 0/0", &[]),
        // Tunnels.
        (FROM_POD, "10.65.0.2 > 8.8.8.8 4", &["Ipip"]),
        (TO_OWN_HOST, "10.65.0.2 > 192.0.2.1 4", &["ForeignIpip"]),
        (FROM_POD, "10.65.0.2 > 8.8.8.8 udp 1 > 4789", &["Vxlan"]),
        (TO_OWN_HOST, "10.65.0.2 > 192.0.2.1 udp 1 > 4789", &["ForeignVxlan"]),
        (IN, "192.0.2.7 > 192.0.2.1 udp 1 > 4789", &["ClusterTunnel(Ingress)"]),
        (IN, "192.0.2.8 > 192.0.2.1 udp 1 > 4789", &["ForeignVxlan"]),
        (IN, "192.0.2.7 > 192.0.2.1 4", &["ClusterTunnel(Ingress)"]),
        (IN, "192.0.2.8 > 192.0.2.1 4", &["ForeignIpip"]),
        (IN, "2001:db8::8 > 2001:db8::1 udp 1 > 4789", &[]),
        // Ways between them.
        (between, "10.65.0.2 > 10.65.0.3 tcp 1 > 80", both),
        (
            Way::Through { from: "cali0", to: "cali9" },
            "10.65.0.2 > 10.65.0.9 tcp 1 > 80",
            &["cali0 egress Allow", "NoEndpoint(Ingress)"],
        ),
        (TO_OWN_HOST, "10.65.0.2 > 192.0.2.1 tcp 1 > 80", home),
        (Way::FromHost { to: "cali0" }, "192.0.2.1 > 10.65.0.2 tcp 1 > 80", &["HostToWorkload"]),
        (FROM_POD, "10.65.0.2 > 10.96.0.1 tcp 1 > 80", &["cali0 egress Allow", "ServiceLoop"]),
    ] {
        assert_eq!(judged(CLUSTER, &Guards::default(), way, text), wanted, "{way:?} {text}");
    }
}

/// What the parameters say, and guards of a host endpoint.
#[test]
fn guards_that_are_set_otherwise() {
    let open = Guards {
        ipv6: Ipv6::On,
        invalid: Guarded::Judged,
        ipip: Guarded::Judged,
        vxlan: Guarded::Judged,
        vxlan_port: 8472,
        endpoint_to_host: EndpointToHost::Accept,
        service_loops: Guarded::Judged,
    };
    for (way, text, wanted) in [
        (FROM_POD, "10.65.0.2 > 8.8.8.8 icmp 0/0", &["cali0 egress Allow"][..]),
        (FROM_POD, "10.65.0.2 > 8.8.8.8 4", &["cali0 egress Allow"]),
        (FROM_POD, "10.65.0.2 > 8.8.8.8 udp 1 > 8472", &["cali0 egress Allow"]),
        (FROM_POD, "10.65.0.2 > 10.96.0.1 tcp 1 > 80", &["cali0 egress Allow"]),
        (TO_OWN_HOST, "10.65.0.2 > 192.0.2.1 tcp 1 > 80", &["cali0 egress Allow", "to host: Accept"]),
        (IN, "192.0.2.8 > 192.0.2.1 udp 1 > 4789", &[]),
        (IN, "192.0.2.8 > 192.0.2.1 udp 1 > 8472", &["ForeignVxlan"]),
    ] {
        assert_eq!(judged(CLUSTER, &open, way, text), wanted, "{way:?} {text}");
    }
    let with_host = [CLUSTER, &[HOST]].concat();
    let (sends, gets) = (["ClusterTunnel(Egress)"].as_slice(), ["ClusterTunnel(Ingress)"].as_slice());
    let forwarded = ["cali0 egress Allow", "host egress Allow"].as_slice();
    for (guards, way, text, wanted) in [
        (Guards::default(), IN, "8.8.8.8 > 192.0.2.1 icmp 8/0", &["host ingress Allow"][..]),
        (Guards::default(), IN, "8.8.8.8 > 192.0.2.1 icmp 0/0", &["host ingress Deny"]),
        (open.clone(), IN, "8.8.8.8 > 192.0.2.1 icmp 0/0", &["host ingress Allow"]),
        (Guards::default(), FROM_POD, "10.65.0.2 > 8.8.8.8 icmp 8/0", forwarded),
        (Guards::default(), OUT, "192.0.2.1 > 192.0.2.7 4", sends),
        (Guards::default(), OUT, "192.0.2.1 > 192.0.2.8 4", &["host egress Allow"]),
        (Guards::default(), OUT, "192.0.2.1 > 192.0.2.7 udp 1 > 4789", sends),
        (open.clone(), OUT, "192.0.2.1 > 192.0.2.7 udp 1 > 4789", &["host egress Allow"]),
        (open.clone(), IN, "192.0.2.7 > 192.0.2.1 udp 1 > 8472", gets),
        (
            Guards::default(),
            Way::Through { from: "eth0", to: "eth1" },
            "192.0.2.7 > 192.0.2.1 4",
            &["host ingress Allow"],
        ),
    ] {
        assert_eq!(judged(&with_host, &guards, way, text), wanted, "{way:?} {text}");
    }
}

/// Without IPv6 workloads have none, and nobody judges that of others.
#[test]
fn ipv6_that_is_not_programmed() {
    let off = Guards { ipv6: Ipv6::Off, ..Guards::default() };
    let closed = HOST.replace(r#""open""#, r#""missing""#);
    let messages = [CLUSTER, &[closed.as_str()]].concat();
    let to_pod = Way::Through { from: "eth0", to: "cali0" };
    let past = Way::Through { from: "eth0", to: "eth1" };
    for (way, text, wanted) in [
        (FROM_POD, "fd00::2 > 2001:db8::1 tcp 1 > 80", &["NoIpv6(Egress)"][..]),
        (FROM_POD, "fd00::3 > 2001:db8::1 tcp 1 > 80", &["NoIpv6(Egress)"]),
        (Way::Through { from: "cali0", to: "cali1" }, "fd00::2 > fd00::3 tcp 1 > 80", &["NoIpv6(Egress)"]),
        (TO_OWN_HOST, "fe80::2 > fe80::1 icmpv6 135/0", &["NoIpv6(Egress)"]),
        (to_pod, "2001:db8::1 > fd00::2 tcp 1 > 80", &["NoIpv6(Ingress)"]),
        (Way::FromHost { to: "cali0" }, "2001:db8::1 > fd00::2 tcp 1 > 80", &["HostToWorkload"]),
        (IN, "2001:db8::8 > 2001:db8::1 tcp 1 > 80", &["UnjudgedIpv6(Ingress)"]),
        (OUT, "2001:db8::1 > 2001:db8::8 tcp 1 > 80", &["UnjudgedIpv6(Egress)"]),
        (past, "2001:db8::8 > 2001:db8::9 icmpv6 1/0", &[]),
        // IPv4 is as it was.
        (IN, "192.0.2.8 > 192.0.2.1 tcp 1 > 80", &["host ingress Deny"]),
        (FROM_POD, "10.65.0.3 > 8.8.8.8 tcp 1 > 80", &["SpoofedSource"]),
    ] {
        assert_eq!(judged(&messages, &off, way, text), wanted, "{way:?} {text}");
    }
}
