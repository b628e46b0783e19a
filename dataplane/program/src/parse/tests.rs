use caracal_proto::felix;

use crate::messages::message;
use crate::{AdminState, Change, Fault, Member, PolicyStore, parse_rule};

/// Checks the error, and that the store does not change.
fn refused(json: &str, want: &str) {
    let mut store = PolicyStore::new();
    let known = r#"{"ipsetUpdate": {"id": "known", "type": "NET", "members": ["10.0.0.1/32"]}}"#;
    store.apply(&message(known)).expect("an understood message");
    let before = store.clone();
    let error = store.apply(&message(json)).expect_err(json);
    assert_eq!(error.to_string(), want);
    assert_eq!(store, before, "{json}");
}

/// Checks the error of a policy whose second outbound rule is this one.
fn refused_rule(rule: &str, want: &str) {
    refused(
        &format!(
            r#"{{"activePolicyUpdate": {{"id": {{"kind": "NetworkPolicy", "namespace": "shop", "name": "db"}},
            "policy": {{"outboundRules": [{{"action": "allow"}}, {rule}]}}}}}}"#
        ),
        &format!("ActivePolicyUpdate of NetworkPolicy shop/db: outbound rule 1, {want}"),
    );
}

#[test]
fn a_bad_rule_is_named_with_its_field() {
    for (rule, want) in [
        (r#"{"action": "permit"}"#, r#"action: "permit" is not an action (allow, deny, log or next-tier)"#),
        (r#"{}"#, r#"action: "" is not an action (allow, deny, log or next-tier)"#),
        (
            r#"{"action": "deny", "protocol": {"name": "tpc"}}"#,
            r#"protocol: "tpc" is not a protocol (TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or 1-255)"#,
        ),
        (
            r#"{"action": "deny", "notProtocol": {"number": 256}}"#,
            "not_protocol: protocol number 256 is not within 1-255",
        ),
        (r#"{"action": "deny", "protocol": {}}"#, "protocol: is missing"),
        (
            r#"{"action": "deny", "srcNet": ["10.0.0.0/33"]}"#,
            r#"src_net: "10.0.0.0/33" is not an IP address or prefix"#,
        ),
        (
            r#"{"action": "deny", "notDstNet": ["example.org"]}"#,
            r#"not_dst_net: "example.org" is not an IP address or prefix"#,
        ),
        (r#"{"action": "deny", "dstPorts": [{"first": 80, "last": 65536}]}"#, "dst_ports: port 65536 is above 65535"),
        (
            r#"{"action": "deny", "notSrcPorts": [{"first": 90, "last": 80}]}"#,
            "not_src_ports: port range 90:80 is inverted",
        ),
        (r#"{"action": "deny", "icmpType": 256}"#, "icmp_type: 256 is not within 0-255"),
        (
            r#"{"action": "deny", "notIcmpTypeCode": {"type": 3, "code": -1}}"#,
            "not_icmp_type_code: -1 is not within 0-255",
        ),
    ] {
        refused_rule(rule, want);
    }
}

#[test]
fn an_unknown_family_is_refused() {
    let rule = felix::Rule { action: "allow".to_owned(), ip_version: 5, ..felix::Rule::default() };
    assert_eq!(parse_rule(&rule), Err(("ip_version", Fault::Enumeration(5))));
}

#[test]
fn a_bad_object_is_named_with_its_field() {
    let endpoint = |fields: &str| {
        format!(
            r#"{{"workloadEndpointUpdate": {{"id": {{"orchestratorId": "k8s", "workloadId": "shop/db", "endpointId": "eth0"}}, "endpoint": {{{fields}}}}}}}"#
        )
    };
    for (json, want) in [
        ("{\"sequenceNumber\": \"7\"}".to_owned(), "ToDataplane of message 7: payload: is missing"),
        (
            r#"{"activePolicyUpdate": {"policy": {}}}"#.to_owned(),
            "ActivePolicyUpdate of a policy without a name: id: is missing",
        ),
        (
            r#"{"activePolicyRemove": {"id": {"kind": "NetworkPolicy"}}}"#.to_owned(),
            "ActivePolicyRemove of a policy without a name: id.name: is missing",
        ),
        (
            r#"{"activeProfileUpdate": {"id": {"name": "p"}}}"#.to_owned(),
            "ActiveProfileUpdate of profile p: profile: is missing",
        ),
        (
            r#"{"ipsetUpdate": {"id": "s", "type": "NET", "members": ["10.0.0.1/32", "x"]}}"#.to_owned(),
            r#"IPSetUpdate of IP set s: members: "x" is not an IP address or prefix"#,
        ),
        (
            r#"{"ipsetUpdate": {"id": "s", "type": "IP_AND_PORT", "members": ["10.0.0.1/32,tcp:80"]}}"#.to_owned(),
            r#"IPSetUpdate of IP set s: members: "10.0.0.1/32,tcp:80" is not an address with protocol and port (192.0.2.1,tcp:80)"#,
        ),
        (
            r#"{"ipsetDeltaUpdate": {"id": "lost", "addedMembers": ["10.0.0.1/32"]}}"#.to_owned(),
            "IPSetDeltaUpdate of IP set lost: id: the set is not known; send all of it first",
        ),
        (
            r#"{"ipsetDeltaUpdate": {"id": "known", "addedMembers": ["10.0.0.2/32"], "removedMembers": [""]}}"#
                .to_owned(),
            r#"IPSetDeltaUpdate of IP set known: removed_members: "" is not an IP address or prefix"#,
        ),
        (endpoint(""), "WorkloadEndpointUpdate of k8s/shop/db/eth0: name: is missing"),
        (
            endpoint(r#""name": "cali0", "mac": "ee:ee:ee:ee:ee""#),
            r#"WorkloadEndpointUpdate of k8s/shop/db/eth0: mac: "ee:ee:ee:ee:ee" is not a MAC address (six pairs of hexadecimal digits with colons)"#,
        ),
        (
            endpoint(r#""name": "cali0", "ipv4Nets": ["10.0.0.256/32"]"#),
            r#"WorkloadEndpointUpdate of k8s/shop/db/eth0: ipv4_nets: "10.0.0.256/32" is not an IP address or prefix"#,
        ),
        (
            endpoint(r#""name": "cali0", "allowSpoofedSourcePrefixes": ["10/8"]"#),
            r#"WorkloadEndpointUpdate of k8s/shop/db/eth0: allow_spoofed_source_prefixes: "10/8" is not an IP address or prefix"#,
        ),
        (
            endpoint(r#""name": "cali0", "tiers": [{"name": "t", "defaultAction": "pass"}]"#),
            r#"WorkloadEndpointUpdate of k8s/shop/db/eth0: tiers: "pass" is not a default action (Deny, Pass or empty)"#,
        ),
        (
            r#"{"hostEndpointUpdate": {"id": {"endpointId": "h"}, "endpoint": {"expectedIpv6Addrs": ["x"]}}}"#
                .to_owned(),
            r#"HostEndpointUpdate of host endpoint h: expected_ipv6_addrs: "x" is not an IP address or prefix"#,
        ),
    ] {
        refused(&json, want);
    }
}

#[test]
fn an_endpoint_keeps_the_host_part_of_its_addresses() {
    let mut store = PolicyStore::new();
    let update = r#"{"workloadEndpointUpdate": {"id": {"workloadId": "w"}, "endpoint": {
        "state": "active", "name": "cali0", "mac": "EE:ee:01:02:03:04",
        "ipv4Nets": ["10.0.0.5/24", "10.0.0.6"], "ipv6Nets": ["fd00::5/128"],
        "allowSpoofedSourcePrefixes": ["10.1.2.3/8"]}}}"#;
    store.apply(&message(update)).expect("an understood message");
    let endpoint = store.active_on("cali0").expect("the endpoint");
    let addresses: Vec<_> = endpoint.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.5", "10.0.0.6", "fd00::5"]);
    assert_eq!(endpoint.spoofable, ["10.0.0.0/8".parse().expect("a prefix")]);
    assert_eq!(endpoint.mac.map(|mac| mac.to_string()).as_deref(), Some("ee:ee:01:02:03:04"));
    assert_eq!(endpoint.state, AdminState::Active);
}

#[test]
fn members_of_every_kind_of_set() {
    let mut store = PolicyStore::new();
    for (kind, text, want) in [
        ("NET", "10.1.2.3/8", Member::Net("10.0.0.0/8".parse().expect("a prefix"))),
        ("NET", "fd00::1/128", Member::Net("fd00::1".parse().expect("a prefix"))),
        ("IP", "10.0.0.1", Member::Net("10.0.0.1".parse().expect("a prefix"))),
        (
            "IP_AND_PORT",
            "fd00::1,sctp:5060",
            Member::IpPort("fd00::1".parse().expect("an address"), caracal_net::Protocol::SCTP, 5060),
        ),
    ] {
        let update =
            format!(r#"{{"ipsetUpdate": {{"id": "{kind} {text}", "type": "{kind}", "members": ["{text}"]}}}}"#);
        let change = store.apply(&message(&update)).expect("an understood message");
        let Change::SetReplaced(id) = change else {
            panic!("{change:?}");
        };
        let members: Vec<Member> = store.ip_set(&id).expect("the set").members().collect();
        assert_eq!(members, [want]);
    }
}
