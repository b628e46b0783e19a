use super::*;
use crate::messages::{message, store};
use crate::{Direction, Member, SetKind, coalesce};

mod follow;

fn endpoint(name: &str, interface: &str, more: &str) -> String {
    format!(
        r#"{{"workloadEndpointUpdate": {{"id": {{"workloadId": "{name}"}}, "endpoint": {{"state": "active", "name": "{interface}", "profileIds": ["p"]{more}}}}}}}"#
    )
}

fn gone(name: &str) -> String {
    format!(r#"{{"workloadEndpointRemove": {{"id": {{"workloadId": "{name}"}}}}}}"#)
}

fn id(name: &str) -> WorkloadId {
    WorkloadId { orchestrator: "".into(), workload: name.into(), endpoint: "".into() }
}

fn changed(name: &str, interfaces: &[&str]) -> Change {
    Change::Endpoint { id: id(name), interfaces: interfaces.iter().map(|name| SmolStr::from(*name)).collect() }
}

fn members(texts: &[&str]) -> Vec<Member> {
    texts.iter().map(|text| Member::Net(text.parse().expect("a prefix"))).collect()
}

/// Folds messages and checks what each of them changed.
fn check(steps: &[(&str, Change)]) -> PolicyStore {
    let mut store = PolicyStore::new();
    for (json, want) in steps {
        let change = store.apply(&message(json)).expect("an understood message");
        assert_eq!(change, *want, "{json}");
        let again = store.apply(&message(json)).expect("an understood message");
        assert_eq!(again, Change::Nothing, "a repeated {json}");
    }
    store
}

#[test]
fn set_changes_are_exact() {
    let set = |members: &str| format!(r#"{{"ipsetUpdate": {{"id": "s", "type": "NET", "members": [{members}]}}}}"#);
    let delta = |added: &str, removed: &str| {
        format!(r#"{{"ipsetDeltaUpdate": {{"id": "s", "addedMembers": [{added}], "removedMembers": [{removed}]}}}}"#)
    };
    let ports = r#"{"ipsetUpdate": {"id": "s", "type": "IP_AND_PORT", "members": ["10.0.0.1,tcp:80"]}}"#;
    let [a, b, c] = [r#""10.0.0.1/32""#, r#""10.0.0.2/32""#, r#""10.0.0.0/24""#];
    let diff = |added: &[&str], removed: &[&str]| Change::SetMembers {
        id: "s".into(),
        added: members(added),
        removed: members(removed),
    };
    let store = check(&[
        (&set(&format!("{a}, {a}")), Change::SetReplaced("s".into())),
        (&set(&format!("{a}, {b}")), diff(&["10.0.0.2"], &[])),
        (&delta(&format!("{a}, {c}"), b), diff(&["10.0.0.0/24"], &["10.0.0.2"])),
        (&set(b), diff(&["10.0.0.2"], &["10.0.0.1", "10.0.0.0/24"])),
        (ports, Change::SetReplaced("s".into())),
        (r#"{"ipsetRemove": {"id": "s"}}"#, Change::SetRemoved("s".into())),
    ]);
    assert_eq!(store.ip_sets().len(), 0);
}

#[test]
fn a_member_both_added_and_removed_stays() {
    let mut store = store(&[r#"{"ipsetUpdate": {"id": "s", "type": "NET", "members": ["10.0.0.1/32"]}}"#]);
    let both =
        r#"{"ipsetDeltaUpdate": {"id": "s", "addedMembers": ["10.0.0.1/32"], "removedMembers": ["10.0.0.1/32"]}}"#;
    assert_eq!(store.apply(&message(both)), Ok(Change::Nothing));
    assert_eq!(store.ip_set("s").map(IpSet::len), Some(1));
}

#[test]
fn every_object_says_when_it_changes() {
    let policy = |action: &str| {
        format!(
            r#"{{"activePolicyUpdate": {{"id": {{"kind": "NetworkPolicy", "name": "a"}}, "policy": {{"tier": "t", "inboundRules": [{{"action": "{action}"}}]}}}}}}"#
        )
    };
    let policy_id = PolicyId { kind: "NetworkPolicy".into(), namespace: "".into(), name: "a".into() };
    let profile =
        r#"{"activeProfileUpdate": {"id": {"name": "p"}, "profile": {"outboundRules": [{"action": "deny"}]}}}"#;
    let host = r#"{"hostEndpointUpdate": {"id": {"endpointId": "h"}, "endpoint": {"name": "eth0", "expectedIpv4Addrs": ["192.0.2.1"]}}}"#;
    let store = check(&[
        (r#"{"configUpdate": {"config": {"BPFEnabled": "false"}}}"#, Change::Config),
        (&policy("allow"), Change::Policy(policy_id.clone())),
        (&policy("deny"), Change::Policy(policy_id.clone())),
        (profile, Change::Profile("p".into())),
        (host, Change::HostEndpoint(HostId("h".into()))),
        (r#"{"inSync": {}}"#, Change::InSync),
        (r#"{"activePolicyRemove": {"id": {"kind": "NetworkPolicy", "name": "a"}}}"#, Change::Policy(policy_id)),
        (r#"{"activeProfileRemove": {"id": {"name": "p"}}}"#, Change::Profile("p".into())),
        (r#"{"hostEndpointRemove": {"id": {"endpointId": "h"}}}"#, Change::HostEndpoint(HostId("h".into()))),
    ]);
    assert!(store.in_sync());
    assert_eq!(store.config().get("BPFEnabled").map(String::as_str), Some("false"));
    assert_eq!(store.policies().len() + store.profiles().len() + store.hosts().len(), 0);
}

#[test]
fn pools_are_held_by_their_ids() {
    let pool = |id: &str, fields: &str| format!(r#"{{"ipamPoolUpdate": {{"id": "{id}", "pool": {{{fields}}}}}}}"#);
    let change = |id: &str| Change::IpPool(PoolId(id.into()));
    let v4 = pool("10.64.0.0-16", r#""cidr": "10.64.0.0/16", "masquerade": true, "allowedUses": ["Workload"]"#);
    let tunnelled = pool("10.64.0.0-16", r#""cidr": "10.64.0.0/16", "vxlanMode": "cross-subnet""#);
    let mut store = check(&[
        (&v4, change("10.64.0.0-16")),
        (&pool("fd00::-64", r#""cidr": "fd00::/64", "ipipMode": "always""#), change("fd00::-64")),
        (&tunnelled, change("10.64.0.0-16")),
    ]);
    let held: Vec<String> = store
        .pools()
        .map(|(_, pool)| format!("{} {} {:?} {:?}", pool.cidr, pool.masquerade, pool.ipip, pool.vxlan))
        .collect();
    assert_eq!(held, ["10.64.0.0/16 false Never CrossSubnet", "fd00::/64 false Always Never"]);
    for (refused, fault) in [
        (pool("", ""), "IPAMPoolUpdate of a pool without an id: id: is missing"),
        (pool("x", r#""cidr": "x""#), "IPAMPoolUpdate of pool x: pool.cidr: "),
        (
            pool("x", r#""cidr": "10.0.0.0/8", "ipipMode": "Always""#),
            "IPAMPoolUpdate of pool x: pool.ipip_mode: \"Always\"",
        ),
        (r#"{"ipamPoolUpdate": {"id": "x"}}"#.to_owned(), "IPAMPoolUpdate of pool x: pool: is missing"),
    ] {
        let error = store.apply(&message(&refused)).expect_err("it cannot be understood").to_string();
        assert!(error.starts_with(fault), "{error}");
    }
    assert_eq!(store.apply(&message(r#"{"ipamPoolRemove": {"id": "fd00::-64"}}"#)), Ok(change("fd00::-64")));
    assert_eq!(store.pools().len(), 1);
}

#[test]
fn the_cluster_is_its_hosts_and_the_prefixes_of_its_services() {
    let store = check(&[
        (r#"{"hostMetadataUpdate": {"hostname": "a", "ipv4Addr": "192.0.2.7/24"}}"#, Change::Cluster),
        (
            r#"{"hostMetadataUpdate": {"hostname": "b", "ipv4Addr": "192.0.2.1", "ipv6Addr": "2001:db8::1/64"}}"#,
            Change::Cluster,
        ),
        (r#"{"hostMetadataUpdate": {"hostname": "c", "ipv4Addr": "192.0.2.9"}}"#, Change::Cluster),
        (r#"{"hostMetadataRemove": {"hostname": "c"}}"#, Change::Cluster),
        (
            r#"{"globalBgpConfigUpdate": {"serviceClusterCidrs": ["10.96.0.0/12"], "serviceExternalCidrs": ["fd96::/112"]}}"#,
            Change::Cluster,
        ),
    ]);
    let hosts: Vec<_> = store.node_addresses().collect();
    assert_eq!(hosts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1", "192.0.2.7", "2001:db8::1"]);
    let services: Vec<_> = store.service_prefixes().collect();
    assert_eq!(services.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.96.0.0/12", "fd96::/112"]);
    let mut store = store;
    for (garbled, fault) in [
        (r#"{"hostMetadataUpdate": {"hostname": "a", "ipv4Addr": "here"}}"#, "HostMetadataUpdate"),
        (r#"{"globalBgpConfigUpdate": {"serviceClusterCidrs": ["all"]}}"#, "GlobalBGPConfigUpdate"),
    ] {
        let error = store.apply(&message(garbled)).expect_err("it cannot be understood").to_string();
        assert!(error.contains(fault), "{error}");
    }
    assert_eq!(store.node_addresses().count(), 3);
}

#[test]
fn other_messages_change_nothing() {
    check(&[
        (r#"{"namespaceUpdate": {"id": {"name": "n"}}}"#, Change::Nothing),
        (r#"{"serviceUpdate": {"name": "n", "namespace": "s", "clusterIps": ["None"]}}"#, Change::Nothing),
        (r#"{"serviceRemove": {"name": "n", "namespace": "s"}}"#, Change::Nothing),
        (r#"{"hostMetadataUpdate": {"hostname": "n"}}"#, Change::Nothing),
        (r#"{"routeUpdate": {"dst": "10.0.0.0/8"}}"#, Change::Nothing),
    ]);
}

#[test]
fn of_two_endpoints_on_an_interface_the_lower_id_is_active() {
    let store_of = |messages: &[&String]| {
        let texts: Vec<&str> = messages.iter().map(|m| m.as_str()).collect();
        store(&texts)
    };
    let (a, b) = (endpoint("a", "cali0", ""), endpoint("b", "cali0", ""));
    let active = |store: &PolicyStore| store.active_on("cali0").map(|e| e.id.workload.clone());
    let shadowed = |store: &PolicyStore| store.shadowed().map(|e| e.id.workload.clone()).collect::<Vec<_>>();
    for order in [[&a, &b], [&b, &a]] {
        let mut store = store_of(&order);
        assert_eq!(active(&store).as_deref(), Some("a"));
        assert_eq!(shadowed(&store), ["b"]);
        let change = store.apply(&message(&gone("a"))).expect("an understood message");
        assert_eq!(change, changed("a", &["cali0"]));
        assert_eq!(active(&store).as_deref(), Some("b"), "promoted in the revision that removes the first");
        assert_eq!(shadowed(&store), [""; 0]);
        store.apply(&message(&gone("b"))).expect("an understood message");
        assert_eq!(active(&store), None);
    }
}

#[test]
fn an_endpoint_that_moves_touches_both_interfaces() {
    let (here, there) = (endpoint("a", "cali0", ""), endpoint("a", "cali1", ""));
    check(&[
        (&here, changed("a", &["cali0"])),
        (&there, changed("a", &["cali0", "cali1"])),
        (&gone("a"), changed("a", &["cali1"])),
    ]);
}

#[test]
fn endpoints_with_the_same_policies_share_programs() {
    let tiers = r#", "tiers": [{"name": "t", "defaultAction": "Deny", "ingressPolicies": [{"kind": "NetworkPolicy", "name": "x"}]}]"#;
    let [a, b, c] = [endpoint("a", "cali0", tiers), endpoint("b", "cali1", tiers), endpoint("c", "cali2", "")];
    let mut store = store(&[&a, &b, &c]);
    let program = |store: &PolicyStore, name, direction| {
        let endpoint = store.workload(&id(name)).expect("the endpoint");
        Arc::clone(endpoint.program(direction))
    };
    let shared = |store: &PolicyStore, one, other, direction| {
        Arc::ptr_eq(&program(store, one, direction), &program(store, other, direction))
    };
    assert!(shared(&store, "a", "b", Direction::Ingress));
    assert!(!shared(&store, "a", "c", Direction::Ingress));
    assert!(shared(&store, "a", "c", Direction::Egress), "only ingress differs");
    assert_eq!(store.programs().len(), 3);
    let key = program(&store, "a", Direction::Ingress).key();
    for (name, held) in [("a", true), ("b", false)] {
        store.apply(&message(&gone(name))).expect("an understood message");
        assert_eq!(store.program(key).is_some(), held, "after {name} went");
    }
    store.apply(&message(&gone("c"))).expect("an understood message");
    assert_eq!(store.programs().len(), 0);
}

#[test]
fn a_refused_message_leaves_what_was_there() {
    let good = r#"{"activePolicyUpdate": {"id": {"kind": "NetworkPolicy", "name": "a"}, "policy": {"inboundRules": [{"action": "allow"}]}}}"#;
    let bad = good.replace("allow", "permit");
    let mut store = store(&[good]);
    let before = store.clone();
    store.apply(&message(&bad)).expect_err("a bad action");
    assert_eq!(store, before);
}

#[test]
fn a_snapshot_in_a_fresh_store_differs_only_where_the_state_does() {
    let set = |members: &str| format!(r#"{{"ipsetUpdate": {{"id": "s", "type": "NET", "members": [{members}]}}}}"#);
    let other = r#"{"ipsetUpdate": {"id": "t", "type": "NET"}}"#;
    let profile = r#"{"activeProfileUpdate": {"id": {"name": "p"}, "profile": {}}}"#;
    let [a, b] = [endpoint("a", "cali0", ""), endpoint("b", "cali1", "")];
    let older = store(&[&set(r#""10.0.0.1/32""#), other, profile, &a, &b]);
    assert_eq!(older.diff_from(&older), []);
    let newer = store(&[&set(r#""10.0.0.2/32""#), &a, r#"{"inSync": {}}"#]);
    let expected = [
        Change::SetMembers { id: "s".into(), added: members(&["10.0.0.2"]), removed: members(&["10.0.0.1"]) },
        Change::Profile("p".into()),
        changed("b", &["cali1"]),
        Change::SetRemoved("t".into()),
        Change::InSync,
    ];
    assert_eq!(newer.diff_from(&older), expected);
    assert_eq!(coalesce(newer.diff_from(&older)), expected);
    assert_eq!(newer.ip_set("s").map(IpSet::kind), Some(SetKind::Net));
}
