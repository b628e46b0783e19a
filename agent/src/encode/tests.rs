use std::collections::BTreeMap;
use std::sync::Arc;

use caracal_calc_graph::{
    ActivePolicy, ActiveProfile, Delta, Encapsulation, HostPolicyLists, IpSetKind, Member, PolicyList, ScannedRule,
    TierPolicies,
};
use caracal_model::{
    Action, Entity, HostEndpoint, HostEndpointKey, HttpMatch, HttpPath, Icmp, IpPool, Labels, Nat, Node, PolicyKey,
    PolicyKind, PoolUse, Qos, QosLimits, Rule, RulePort, RuleProtocol, Service, ServiceAccounts, ServicePort,
    ServiceRef, ServiceType, TierAction, TunnelMode, WorkloadEndpoint, WorkloadEndpointKey,
};
use caracal_net::{Cidr, Family, PortRange, Protocol};
use caracal_proto::felix;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::{encode, encode_with};

fn net(text: &str) -> Cidr {
    text.parse().expect("a prefix")
}

fn names(names: &[&str]) -> Vec<SmolStr> {
    names.iter().map(SmolStr::new).collect()
}

/// The messages of a delta as canonical JSON, rule ids left out.
fn messages(delta: &Delta<'_>) -> Vec<Value> {
    let mut out = Vec::new();
    encode(delta, &mut |message| {
        let mut value = serde_json::to_value(message).expect("messages have a JSON form");
        strip_rule_ids(&mut value);
        out.push(value);
    });
    out
}

fn strip_rule_ids(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("ruleId");
            fields.values_mut().for_each(strip_rule_ids);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_rule_ids),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn check(delta: &Delta<'_>, want: Value) {
    assert_eq!(messages(delta), [want], "{delta:?}");
}

fn scanned(rule: Rule) -> ScannedRule {
    ScannedRule {
        rule,
        src_ip_sets: Vec::new(),
        dst_ip_sets: Vec::new(),
        not_src_ip_sets: Vec::new(),
        not_dst_ip_sets: Vec::new(),
        src_named_port_sets: Vec::new(),
        dst_named_port_sets: Vec::new(),
        not_src_named_port_sets: Vec::new(),
        not_dst_named_port_sets: Vec::new(),
        dst_ip_port_sets: Vec::new(),
    }
}

fn policy(inbound: Vec<ScannedRule>) -> ActivePolicy {
    ActivePolicy {
        tier: "default".into(),
        selector: "all()".into(),
        inbound_rules: inbound,
        outbound_rules: Vec::new(),
        untracked: false,
        pre_dnat: false,
        perf_hints: Vec::new(),
    }
}

fn policy_key(kind: PolicyKind, namespace: &str, name: &str) -> PolicyKey {
    PolicyKey { kind, namespace: namespace.into(), name: name.into() }
}

fn check_rule(rule: ScannedRule, want: Value) {
    let key = policy_key(PolicyKind::GlobalNetworkPolicy, "", "p");
    check(
        &Delta::PolicyUpdate { key: &key, policy: &policy(vec![rule]) },
        json!({"activePolicyUpdate": {
            "id": {"name": "p", "kind": "GlobalNetworkPolicy"},
            "policy": {"inboundRules": [want], "originalSelector": "all()", "tier": "default"},
        }}),
    );
}

#[test]
fn members_have_their_text_forms() {
    let id = SmolStr::new("s:x");
    let members = [Member::Net(net("10.0.0.1")), Member::Net(net("fd00::/64"))];
    check(
        &Delta::IpSetUpdate { id: &id, kind: IpSetKind::Net, members: &members },
        json!({"ipsetUpdate": {"id": "s:x", "members": ["10.0.0.1/32", "fd00::/64"], "type": "NET"}}),
    );
    let port = |addr: &str, protocol, port| Member::IpPort(addr.parse().expect("an address"), protocol, port);
    check(
        &Delta::IpSetUpdate {
            id: &id,
            kind: IpSetKind::IpPort,
            members: &[port("10.0.0.1", Protocol::TCP, 80), port("fd00::1", Protocol::SCTP, 99)],
        },
        json!({"ipsetUpdate": {"id": "s:x", "members": ["10.0.0.1,tcp:80", "fd00::1,sctp:99"], "type": "IP_AND_PORT"}}),
    );
    check(
        &Delta::IpSetDelta { id: &id, added: &members[..1], removed: &members[1..] },
        json!({"ipsetDeltaUpdate": {"id": "s:x", "addedMembers": ["10.0.0.1/32"], "removedMembers": ["fd00::/64"]}}),
    );
    check(&Delta::IpSetRemove { id: &id }, json!({"ipsetRemove": {"id": "s:x"}}));
}

/// Numbers of members in the messages of a delta: `(whole, added, removed)`.
fn sizes(delta: &Delta<'_>, max: usize) -> Vec<(usize, usize, usize)> {
    let mut out = Vec::new();
    encode_with(delta, max, &mut |payload| {
        out.push(match payload {
            felix::to_dataplane::Payload::IpsetUpdate(set) => (set.members.len(), 0, 0),
            felix::to_dataplane::Payload::IpsetDeltaUpdate(d) => (0, d.added_members.len(), d.removed_members.len()),
            other => panic!("not about an IP set: {other:?}"),
        });
    });
    out
}

#[test]
fn large_sets_are_split() {
    let id = SmolStr::new("s:x");
    let members: Vec<_> = (0..10u8).map(|i| Member::Net(Cidr::host([10, 0, 0, i].into()))).collect();
    let whole = |n: usize| Delta::IpSetUpdate { id: &id, kind: IpSetKind::Net, members: &members[..n] };
    let delta = |added: usize, removed: usize| Delta::IpSetDelta {
        id: &id,
        added: &members[..added],
        removed: &members[..removed],
    };
    for (case, want) in [
        (whole(0), vec![(0, 0, 0)]),
        (whole(4), vec![(4, 0, 0)]),
        (whole(5), vec![(4, 0, 0), (0, 1, 0)]),
        (whole(10), vec![(4, 0, 0), (0, 4, 0), (0, 2, 0)]),
        (delta(4, 0), vec![(0, 4, 0)]),
        (delta(2, 2), vec![(0, 2, 2)]),
        (delta(6, 5), vec![(0, 0, 4), (0, 3, 1), (0, 3, 0)]),
        (delta(0, 4), vec![(0, 0, 4)]),
    ] {
        assert_eq!(sizes(&case, 4), want, "{case:?}");
    }
}

#[test]
fn protocols_and_icmp() {
    let tcp = Protocol::TCP;
    let icmp = |icmp_type, code| Some(Icmp { icmp_type, code });
    let base = || Rule::any(Action::Allow);
    for (rule, want) in [
        (base(), json!({"action": "allow"})),
        (Rule::any(Action::Pass), json!({"action": "next-tier"})),
        (Rule::any(Action::Log), json!({"action": "log"})),
        (
            Rule { protocol: Some(RuleProtocol::Name(tcp)), ip_version: Some(Family::V6), ..base() },
            json!({"action": "allow", "protocol": {"name": "tcp"}, "ipVersion": "IPV6"}),
        ),
        (
            Rule {
                protocol: Some(RuleProtocol::Number(tcp)),
                not_protocol: Some(RuleProtocol::Name(Protocol::ICMP)),
                ..base()
            },
            json!({"action": "allow", "protocol": {"number": 6}, "notProtocol": {"name": "icmp"}}),
        ),
        (
            Rule { protocol: Some(RuleProtocol::Name(Protocol::ICMP)), icmp: icmp(0, None), ..base() },
            json!({"action": "allow", "protocol": {"name": "icmp"}, "ipVersion": "IPV4", "icmpType": 0}),
        ),
        (
            Rule {
                protocol: Some(RuleProtocol::Name(Protocol::ICMPV6)),
                icmp: icmp(0, Some(0)),
                not_icmp: icmp(3, Some(1)),
                ..base()
            },
            json!({"action": "allow", "protocol": {"name": "icmpv6"}, "ipVersion": "IPV6",
                   "icmpTypeCode": {}, "notIcmpTypeCode": {"type": 3, "code": 1}}),
        ),
        (
            Rule { protocol: Some(RuleProtocol::Number(Protocol::ICMPV6)), not_icmp: icmp(8, None), ..base() },
            json!({"action": "allow", "protocol": {"number": 58}, "notIcmpType": 8}),
        ),
    ] {
        check_rule(scanned(rule), want);
    }
}

#[test]
fn every_field_of_a_rule_has_its_place() {
    let entity = |side: &str| Entity {
        selector: "resolved".into(),
        not_selector: "resolved".into(),
        nets: vec![net("10.0.0.0/8")],
        not_nets: vec![net("10.1.0.0/16")],
        ports: vec![
            RulePort::Named("http".into()),
            RulePort::Numeric(PortRange::single(80)),
            RulePort::Numeric(PortRange::ALL),
        ],
        not_ports: vec![RulePort::Numeric(PortRange::single(0)), RulePort::Named("x".into())],
        service: Some(ServiceRef { namespace: "ns".into(), name: format!("{side}-service").into() }.into()),
        original_selector: format!("{side} == 's'").into(),
        original_namespace_selector: format!("{side} == 'n'").into(),
        original_not_selector: format!("{side} == 'x'").into(),
        service_accounts: Some(ServiceAccounts { names: names(&["b", "a"]), selector: "has(role)".into() }.into()),
    };
    let rule = ScannedRule {
        rule: Rule {
            source: entity("src"),
            destination: entity("dst"),
            http: Some(Box::new(HttpMatch {
                methods: names(&["GET"]),
                paths: vec![HttpPath::Prefix("/p".into()), HttpPath::Exact("/e".into())],
            })),
            annotations: BTreeMap::from([("why".into(), "test".into())]),
            ..Rule::any(Action::Deny)
        },
        src_ip_sets: names(&["s1", "s2"]),
        dst_ip_sets: names(&["d1"]),
        not_src_ip_sets: names(&["ns1"]),
        not_dst_ip_sets: names(&["nd1"]),
        src_named_port_sets: names(&["sp1"]),
        dst_named_port_sets: names(&["dp1", "dp2"]),
        not_src_named_port_sets: names(&["nsp1"]),
        not_dst_named_port_sets: names(&["ndp1"]),
        dst_ip_port_sets: names(&["svc1"]),
    };
    let ports = json!([{"first": 80, "last": 80}, {"last": 65535}]);
    let accounts = json!({"names": ["b", "a"], "selector": "has(role)"});
    check_rule(
        rule,
        json!({
            "action": "deny",
            "srcNet": ["10.0.0.0/8"], "dstNet": ["10.0.0.0/8"],
            "notSrcNet": ["10.1.0.0/16"], "notDstNet": ["10.1.0.0/16"],
            "srcPorts": ports, "dstPorts": ports,
            "notSrcPorts": [{}], "notDstPorts": [{}],
            "srcIpSetIds": ["s1", "s2"], "dstIpSetIds": ["d1"],
            "notSrcIpSetIds": ["ns1"], "notDstIpSetIds": ["nd1"],
            "srcNamedPortIpSetIds": ["sp1"], "dstNamedPortIpSetIds": ["dp1", "dp2"],
            "notSrcNamedPortIpSetIds": ["nsp1"], "notDstNamedPortIpSetIds": ["ndp1"],
            "dstIpPortSetIds": ["svc1"],
            "originalSrcSelector": "src == 's'", "originalDstSelector": "dst == 's'",
            "originalSrcNamespaceSelector": "src == 'n'", "originalDstNamespaceSelector": "dst == 'n'",
            "originalNotSrcSelector": "src == 'x'", "originalNotDstSelector": "dst == 'x'",
            "srcServiceAccountMatch": accounts, "dstServiceAccountMatch": accounts,
            "originalSrcService": "src-service", "originalSrcServiceNamespace": "ns",
            "originalDstService": "dst-service", "originalDstServiceNamespace": "ns",
            "httpMatch": {"methods": ["GET"], "paths": [{"prefix": "/p"}, {"exact": "/e"}]},
            "metadata": {"annotations": {"why": "test"}},
        }),
    );
}

#[test]
fn an_empty_service_account_match_is_left_out() {
    let mut rule = Rule::any(Action::Allow);
    rule.source.service_accounts = Some(Box::default());
    check_rule(scanned(rule), json!({"action": "allow"}));
}

#[test]
fn policies_and_profiles() {
    let key = policy_key(PolicyKind::NetworkPolicy, "shop", "p");
    let id = json!({"name": "p", "namespace": "shop", "kind": "NetworkPolicy"});
    let full = ActivePolicy {
        tier: "apps".into(),
        selector: "a == \"b\"".into(),
        outbound_rules: vec![scanned(Rule::any(Action::Deny))],
        untracked: true,
        pre_dnat: true,
        perf_hints: names(&["AssumeNeededOnEveryNode"]),
        ..policy(Vec::new())
    };
    check(
        &Delta::PolicyUpdate { key: &key, policy: &full },
        json!({"activePolicyUpdate": {"id": id, "policy": {
            "outboundRules": [{"action": "deny"}], "untracked": true, "preDnat": true, "namespace": "shop",
            "originalSelector": "a == \"b\"", "perfHints": ["AssumeNeededOnEveryNode"], "tier": "apps",
        }}}),
    );
    check(&Delta::PolicyRemove { key: &key }, json!({"activePolicyRemove": {"id": id}}));

    let name = SmolStr::new("kns.shop");
    let profile = ActiveProfile { inbound_rules: vec![scanned(Rule::any(Action::Allow))], outbound_rules: Vec::new() };
    check(
        &Delta::ProfileUpdate { name: &name, profile: &profile },
        json!({"activeProfileUpdate": {"id": {"name": "kns.shop"}, "profile": {"inboundRules": [{"action": "allow"}]}}}),
    );
    check(&Delta::ProfileRemove { name: &name }, json!({"activeProfileRemove": {"id": {"name": "kns.shop"}}}));
}

fn tiers(name: &str, default_action: Option<TierAction>) -> PolicyList {
    Arc::new([TierPolicies {
        name: name.into(),
        default_action,
        ingress: vec![policy_key(PolicyKind::GlobalNetworkPolicy, "", "g")],
        egress: vec![policy_key(PolicyKind::NetworkPolicy, "shop", "n")],
    }])
}

fn tiers_json(name: &str, default_action: Option<&str>) -> Value {
    let mut tier = json!({
        "name": name,
        "ingressPolicies": [{"name": "g", "kind": "GlobalNetworkPolicy"}],
        "egressPolicies": [{"name": "n", "namespace": "shop", "kind": "NetworkPolicy"}],
    });
    if let Some(action) = default_action {
        tier["defaultAction"] = json!(action);
    }
    json!([tier])
}

#[test]
fn workload_endpoints() {
    let key = WorkloadEndpointKey {
        host: "node-a".into(),
        orchestrator: "k8s".into(),
        workload: "shop/web".into(),
        endpoint: "eth0".into(),
    };
    let id = json!({"orchestratorId": "k8s", "workloadId": "shop/web", "endpointId": "eth0"});
    let nat = |external: &str, internal: &str| Nat {
        external: external.parse().expect("an address"),
        internal: internal.parse().expect("an address"),
    };
    let endpoint = WorkloadEndpoint {
        state: "active".into(),
        interface: "cali1".into(),
        mac: "ee:ee:ee:ee:ee:ee".into(),
        profiles: names(&["kns.shop", "ksa.shop.web"]),
        ipv4_nets: vec![net("10.0.0.1")],
        ipv6_nets: vec![net("fd00::1")],
        nats: vec![nat("192.0.2.1", "10.0.0.1"), nat("2001:db8::1", "fd00::1")],
        labels: Labels::from_iter([("app", "web")]),
        ports: Vec::new(),
        allowed_source_prefixes: vec![net("10.9.0.0/16")],
        annotations: BTreeMap::from([("k".into(), "v".into())]),
        qos: Qos::default(),
    };
    check(
        &Delta::WorkloadUpdate { key: &key, endpoint: &endpoint, tiers: &tiers("apps", None) },
        json!({"workloadEndpointUpdate": {"id": id, "endpoint": {
            "state": "active", "name": "cali1", "mac": "ee:ee:ee:ee:ee:ee",
            "profileIds": ["kns.shop", "ksa.shop.web"],
            "ipv4Nets": ["10.0.0.1/32"], "ipv6Nets": ["fd00::1/128"],
            "tiers": tiers_json("apps", None),
            "ipv4Nat": [{"extIp": "192.0.2.1", "intIp": "10.0.0.1"}],
            "ipv6Nat": [{"extIp": "2001:db8::1", "intIp": "fd00::1"}],
            "allowSpoofedSourcePrefixes": ["10.9.0.0/16"],
            "annotations": {"k": "v"},
        }}}),
    );
    check(&Delta::WorkloadRemove { key: &key }, json!({"workloadEndpointRemove": {"id": id}}));
}

#[test]
fn limits_and_marks_of_workloads() {
    let key = WorkloadEndpointKey {
        host: "node-a".into(),
        orchestrator: "k8s".into(),
        workload: "shop/web".into(),
        endpoint: "eth0".into(),
    };
    let limits = QosLimits {
        bandwidth: 1,
        burst: 2,
        peakrate: 3,
        minburst: 4,
        packet_rate: 5,
        packet_burst: 6,
        max_connections: 7,
    };
    let connections = QosLimits { max_connections: 9, ..QosLimits::default() };
    for (qos, labels, want) in [
        (Qos::default(), vec![], json!({})),
        (Qos::default(), vec![("kubevirt.io", "virt-launcher")], json!({"skipRedir": {"Ingress": true}})),
        (
            Qos { egress: limits, dscp: Some(46), ..Qos::default() },
            vec![],
            json!({
                "qosControls": {
                    "EgressBandwidth": "1", "EgressBurst": "2", "EgressPeakrate": "3", "EgressMinburst": "4",
                    "EgressPacketRate": "5", "EgressPacketBurst": "6", "EgressMaxConnections": "7",
                },
                "skipRedir": {"Egress": true},
                "qosPolicies": [{"dscp": 46}],
            }),
        ),
        (
            Qos { ingress: limits, egress: connections, dscp: None },
            vec![],
            json!({
                "qosControls": {
                    "IngressBandwidth": "1", "IngressBurst": "2", "IngressPeakrate": "3", "IngressMinburst": "4",
                    "IngressPacketRate": "5", "IngressPacketBurst": "6", "IngressMaxConnections": "7",
                    "EgressMaxConnections": "9",
                },
                "skipRedir": {"Ingress": true},
            }),
        ),
    ] {
        let endpoint = WorkloadEndpoint { qos, labels: Labels::from_iter(labels), ..WorkloadEndpoint::default() };
        check(
            &Delta::WorkloadUpdate { key: &key, endpoint: &endpoint, tiers: &PolicyList::from([]) },
            json!({"workloadEndpointUpdate": {
                "id": {"orchestratorId": "k8s", "workloadId": "shop/web", "endpointId": "eth0"},
                "endpoint": want,
            }}),
        );
    }
}

#[test]
fn host_endpoints() {
    let key = HostEndpointKey { host: "node-a".into(), name: "h".into() };
    let endpoint = HostEndpoint {
        interface: "eth0".into(),
        expected_ips: ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().expect("an address")).into(),
        profiles: names(&["p"]),
        labels: Labels::new(),
        ports: Vec::new(),
        dscp: Some(46),
    };
    let lists = HostPolicyLists {
        normal: tiers("n", Some(TierAction::Deny)),
        untracked: tiers("u", Some(TierAction::Pass)),
        pre_dnat: tiers("d", Some(TierAction::Pass)),
        forward: tiers("f", Some(TierAction::Deny)),
    };
    check(
        &Delta::HostUpdate { key: &key, endpoint: &endpoint, tiers: &lists },
        json!({"hostEndpointUpdate": {"id": {"endpointId": "h"}, "endpoint": {
            "name": "eth0", "profileIds": ["p"],
            "expectedIpv4Addrs": ["192.0.2.1"], "expectedIpv6Addrs": ["2001:db8::1"],
            "tiers": tiers_json("n", Some("Deny")), "untrackedTiers": tiers_json("u", Some("Pass")),
            "preDnatTiers": tiers_json("d", Some("Pass")), "forwardTiers": tiers_json("f", Some("Deny")),
            "qosPolicies": [{"dscp": 46}],
        }}}),
    );
    check(&Delta::HostRemove { key: &key }, json!({"hostEndpointRemove": {"id": {"endpointId": "h"}}}));
}

#[test]
fn labels_nodes_and_in_sync() {
    let labels = Labels::from_iter([("b", "2"), ("a", "")]);
    let hostname = SmolStr::new("node-a");
    let node = Node {
        ipv4: "192.0.2.1/24".into(),
        ipv6: "2001:db8::1/64".into(),
        as_number: "64512".into(),
        labels: labels.clone(),
    };
    for (delta, want) in [
        (
            Delta::NamespaceUpdate { name: "shop", labels: &labels },
            json!({"namespaceUpdate": {"id": {"name": "shop"}, "labels": {"a": "", "b": "2"}}}),
        ),
        (Delta::NamespaceRemove { name: "shop" }, json!({"namespaceRemove": {"id": {"name": "shop"}}})),
        (
            Delta::ServiceAccountUpdate { namespace: "shop", name: "web", labels: &Labels::new() },
            json!({"serviceAccountUpdate": {"id": {"namespace": "shop", "name": "web"}}}),
        ),
        (
            Delta::ServiceAccountRemove { namespace: "shop", name: "web" },
            json!({"serviceAccountRemove": {"id": {"namespace": "shop", "name": "web"}}}),
        ),
        (
            Delta::HostMetadataUpdate { hostname: &hostname, node: &node },
            json!({"hostMetadataUpdate": {
                "hostname": "node-a", "ipv4Addr": "192.0.2.1/24", "ipv6Addr": "2001:db8::1/64",
                "asnumber": "64512", "labels": {"a": "", "b": "2"},
            }}),
        ),
        (Delta::HostMetadataRemove { hostname: &hostname }, json!({"hostMetadataRemove": {"hostname": "node-a"}})),
        (
            Delta::Encapsulation { encapsulation: Encapsulation { ipip: true, vxlan: false, vxlan_v6: true } },
            json!({"encapsulation": {"ipipEnabled": true, "vxlanEnabledV6": true}}),
        ),
        (Delta::InSync, json!({"inSync": {}})),
    ] {
        check(&delta, want);
    }
}

#[test]
fn pools_and_services() {
    let pool = IpPool {
        cidr: net("10.64.0.0/16"),
        masquerade: true,
        ipip: TunnelMode::CrossSubnet,
        vxlan: TunnelMode::Never,
        allowed_uses: vec![PoolUse::Workload, PoolUse::Tunnel],
    };
    let service_key = ServiceRef { namespace: "shop".into(), name: "dns".into() };
    let service = Service {
        service_type: ServiceType::LoadBalancer,
        cluster_ips: names(&["10.96.0.1", "fd00:96::1"]),
        load_balancer_ip: "198.51.100.7".into(),
        external_ips: names(&["198.51.100.8"]),
        ingress_ips: names(&["198.51.100.9"]),
        ports: vec![
            ServicePort { protocol: Protocol::UDP, port: 53, node_port: Some(30053) },
            ServicePort { protocol: Protocol::TCP, port: 53, node_port: None },
        ],
    };
    for (delta, want) in [
        (
            Delta::IpPoolUpdate { pool: &pool },
            json!({"ipamPoolUpdate": {"id": "10.64.0.0-16", "pool": {
                "cidr": "10.64.0.0/16", "masquerade": true, "ipipMode": "cross-subnet",
                "allowedUses": ["Workload", "Tunnel"],
            }}}),
        ),
        (Delta::IpPoolRemove { cidr: net("fd00:64::/64") }, json!({"ipamPoolRemove": {"id": "fd00:64::-64"}})),
        (
            Delta::ServiceUpdate { key: &service_key, service: &service },
            json!({"serviceUpdate": {
                "name": "dns", "namespace": "shop", "type": "LoadBalancer", "clusterIps": ["10.96.0.1", "fd00:96::1"],
                "loadbalancerIp": "198.51.100.7", "externalIps": ["198.51.100.8"],
                "ports": [{"Protocol": "UDP", "Port": 53, "NodePort": 30053}, {"Protocol": "TCP", "Port": 53}],
                "loadbalancerIngressIps": ["198.51.100.9"],
            }}),
        ),
        (Delta::ServiceRemove { key: &service_key }, json!({"serviceRemove": {"name": "dns", "namespace": "shop"}})),
    ] {
        check(&delta, want);
    }
}

/// The ids of the inbound rules of a policy.
fn rule_ids(name: &str, rules: &[Rule]) -> Vec<String> {
    let key = policy_key(PolicyKind::NetworkPolicy, "shop", name);
    let active = policy(rules.iter().cloned().map(scanned).collect());
    let mut ids = Vec::new();
    let delta = Delta::PolicyUpdate { key: &key, policy: &active };
    encode(&delta, &mut |message| {
        let Some(felix::to_dataplane::Payload::ActivePolicyUpdate(update)) = message.payload else {
            panic!("not a policy: {message:?}");
        };
        let rules = update.policy.expect("an update carries the policy").inbound_rules;
        ids.extend(rules.into_iter().map(|rule| rule.rule_id));
    });
    ids
}

#[test]
fn rule_ids_chain_over_the_list() {
    let [allow, deny, pass] = [Action::Allow, Action::Deny, Action::Pass].map(Rule::any);
    let ids = rule_ids("p", &[allow.clone(), deny.clone(), deny.clone()]);
    for id in &ids {
        assert_eq!(id.len(), 16);
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{id}");
    }
    assert_ne!(ids[1], ids[2], "equal rules at two places have two ids");
    assert_eq!(rule_ids("p", &[allow.clone(), deny.clone()]), ids[..2], "later rules change nothing");
    assert_ne!(rule_ids("p", &[pass, deny.clone()])[1], ids[1], "an earlier rule changes the id");
    assert_ne!(rule_ids("q", &[allow, deny]), ids[..2], "the policy's name is the seed");
}

/// Computed outside this program: SHA-224 over `pol-in-default/p`, then over that hash and the rule's bytes.
#[test]
fn rule_ids_equal_felix() {
    assert_eq!(rule_ids("p", &[Rule::any(Action::Allow)]), ["2unLv5IDty4lZXwt"]);
}
