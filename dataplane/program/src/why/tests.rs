use super::*;
use crate::Direction;
use crate::messages::{packet, store};

const WORLD: &[&str] = &[
    r#"{"activePolicyUpdate": {"id": {"kind": "GlobalNetworkPolicy", "name": "no-web"}, "policy": {"inboundRules": [
        {"action": "deny", "protocol": {"name": "tcp"}, "dstPorts": [{"first": 80, "last": 80}]}]}}}"#,
    r#"{"activePolicyUpdate": {"id": {"kind": "StagedNetworkPolicy", "name": "trial"}, "policy": {"inboundRules": [{"action": "allow"}]}}}"#,
    r#"{"activePolicyUpdate": {"id": {"kind": "NetworkPolicy", "name": "web"}, "policy": {"inboundRules": [
        {"action": "log"},
        {"action": "allow", "protocol": {"name": "tcp"}},
        {"action": "allow", "protocol": {"name": "udp"}, "srcNet": ["192.0.2.0/24"]}]}}}"#,
    r#"{"workloadEndpointUpdate": {"id": {"workloadId": "w"}, "endpoint": {"state": "active", "name": "cali0", "tiers": [
        {"name": "platform", "defaultAction": "Deny", "ingressPolicies": [{"kind": "GlobalNetworkPolicy", "name": "no-web"}]},
        {"name": "default", "defaultAction": "Deny", "ingressPolicies": [
            {"kind": "StagedNetworkPolicy", "name": "trial"}, {"kind": "NetworkPolicy", "name": "web"}]}]}}}"#,
];

/// Checks the rules that allow, as `tier/policy#index lacks …`.
fn check(packet_text: &str, want: &[&str]) {
    let store = store(WORLD);
    let endpoint = store.workloads().next().expect("the endpoint");
    let misses = near_misses(endpoint.program(Direction::Ingress), &store, &packet(packet_text));
    let got: Vec<String> = misses
        .iter()
        .map(|NearMiss { tier, policy, index, rule: _, mismatches }| {
            let fields: Vec<_> = mismatches.iter().map(|field| field.as_str()).collect();
            format!("{tier}/{}#{index} lacks {}", policy.name, fields.join(", "))
        })
        .collect();
    assert_eq!(got, want, "{packet_text}");
}

#[test]
fn rules_that_allow_are_compared_even_behind_the_one_that_denies() {
    check("10.0.0.1 > 10.0.0.2 tcp 1000 > 80", &["default/web#1 lacks ", "default/web#2 lacks protocol, source-nets"]);
    check("192.0.2.1 > 10.0.0.2 udp 1000 > 53", &["default/web#1 lacks protocol", "default/web#2 lacks "]);
}
