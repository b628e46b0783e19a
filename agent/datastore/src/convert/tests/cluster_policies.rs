//! The administrators' policies of policy.networking.k8s.io.

use caracal_model::Kind;

use super::{converted, lines, policy};
use crate::convert::Converted;

fn cluster(spec: &str) -> String {
    format!(
        "{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: default}}, spec: {{{spec}}}}}"
    )
}

fn replaced(kind: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: policy.networking.k8s.io/v1alpha1, kind: {kind}, metadata: {{name: default}}, spec: {{{spec}}}}}"
    )
}

const ALL: &str = "subject: {namespaces: {}}";
const PODS: &str = "projectcalico.org/orchestrator == 'k8s'";
const ANYWHERE: &str = "has(projectcalico.org/namespace)";

#[test]
fn tiers_orders_and_names() {
    for (manifest, list, name, tier, order) in [
        (
            cluster(&format!("tier: Admin, priority: 7, {ALL}")),
            Kind::ClusterNetworkPolicy,
            "default",
            "kube-admin",
            7.0,
        ),
        (
            cluster(&format!("tier: Baseline, priority: 1000, {ALL}")),
            Kind::ClusterNetworkPolicy,
            "default",
            "kube-baseline",
            1000.0,
        ),
        (
            replaced("AdminNetworkPolicy", &format!("priority: 0, {ALL}")),
            Kind::AdminNetworkPolicy,
            "AdminNetworkPolicy.default",
            "kube-admin",
            0.0,
        ),
        (
            replaced("BaselineAdminNetworkPolicy", ALL),
            Kind::BaselineAdminNetworkPolicy,
            "BaselineAdminNetworkPolicy.default",
            "kube-baseline",
            1001.0,
        ),
    ] {
        let (key, policy) = policy(&manifest);
        assert_eq!(key, format!("KubernetesClusterNetworkPolicy//{name}"));
        assert_eq!((policy.tier.as_str(), policy.order), (tier, Some(order)), "{name}");
        assert!(matches!(converted(&manifest), Converted::Object(found, _) if found == list), "{name} is of {list:?}");
    }
}

#[test]
fn subjects() {
    for (subject, selector) in [
        ("namespaces: {}", format!("({PODS}) && {ANYWHERE}")),
        ("namespaces: {matchLabels: {team: red}}", format!("({PODS}) && pcns.team == \"red\"")),
        ("pods: {podSelector: {}}", format!("({PODS}) && {ANYWHERE}")),
        (
            "pods: {podSelector: {matchLabels: {a: b}}, namespaceSelector: {}}",
            format!("({PODS} && a == 'b') && {ANYWHERE}"),
        ),
        (
            "pods: {podSelector: {}, namespaceSelector: {matchExpressions: [{key: t, operator: DoesNotExist}]}}",
            format!("({PODS}) && !has(pcns.t)"),
        ),
    ] {
        let (_, policy) = policy(&cluster(&format!("tier: Admin, priority: 1, subject: {{{subject}}}")));
        assert_eq!(policy.selector, selector, "{subject}");
    }
}

#[test]
fn a_policy_applies_to_the_directions_of_its_rules() {
    let ingress = "ingress: [{action: Deny, from: [{namespaces: {}}]}]";
    let egress = "egress: [{action: Deny, to: [{namespaces: {}}]}]";
    for (rules, directions) in [
        (ingress.to_owned(), (true, false)),
        (egress.to_owned(), (false, true)),
        (format!("{ingress}, {egress}"), (true, true)),
        ("ingress: []".to_owned(), (true, true)),
    ] {
        let (_, policy) = policy(&cluster(&format!("tier: Admin, priority: 1, {ALL}, {rules}")));
        assert_eq!((policy.ingress, policy.egress), directions, "{rules}");
    }
}

#[test]
fn peers_and_actions() {
    let spec = "ingress: [
        {action: ACCEPT, from: [{namespaces: {matchLabels: {team: red}}}, {pods: {podSelector: {matchLabels: {a: b}}, namespaceSelector: {}}}]},
        {action: Pass, from: [{namespaces: {}}]}],
      egress: [{action: Deny, to: [{networks: [10.1.2.3/8, 'fd00::/8']}, {namespaces: {}}]}]";
    let inbound = [
        "allow from {pcns.team == \"red\"}".to_owned(),
        format!("allow from {{({ANYWHERE}) && ({PODS} && a == 'b')}}"),
        format!("next-tier from {{{ANYWHERE}}}"),
    ];
    let outbound = ["deny to 10.0.0.0/8,fd00::/8".to_owned(), format!("deny to {{{ANYWHERE}}}")];
    for manifest in [
        cluster(&format!("tier: Admin, priority: 1, {ALL}, {}", spec.replace("ACCEPT", "Accept"))),
        replaced("AdminNetworkPolicy", &format!("priority: 1, {ALL}, {}", spec.replace("ACCEPT", "Allow"))),
    ] {
        let (_, policy) = policy(&manifest);
        assert_eq!(lines(&policy.inbound_rules), inbound, "{manifest}");
        assert_eq!(lines(&policy.outbound_rules), outbound, "{manifest}");
    }
}

#[test]
fn ports_are_grouped_by_protocol_and_a_name_is_of_any() {
    for (protocols, ports, rules) in [
        (
            "[{udp: {destinationPort: {number: 53}}}, {tcp: {destinationPort: {range: {start: 1000, end: 2000}}}}]",
            "[{portNumber: {protocol: UDP, port: 53}}, {portRange: {start: 1000, end: 2000}}]",
            &["allow tcp to :1000:2000", "allow udp to :53"][..],
        ),
        (
            "[{tcp: {destinationPort: {number: 80}}}, {tcp: {destinationPort: {range: {start: 79, end: 90}}}}]",
            "[{portNumber: {protocol: TCP, port: 80}}, {portRange: {protocol: TCP, start: 79, end: 90}}]",
            &["allow tcp to :79:90"],
        ),
        (
            "[{sctp: {destinationPort: {number: 9}}}, {destinationNamedPort: web}, {destinationNamedPort: dns}]",
            "[{portNumber: {protocol: SCTP, port: 9}}, {namedPort: web}, {namedPort: dns}]",
            &["allow to :web,dns", "allow sctp to :9"],
        ),
    ] {
        let to = "to: [{networks: [10.0.0.0/8]}]";
        let rules: Vec<_> = rules.iter().map(|rule| rule.replace(" to ", " to 10.0.0.0/8 ")).collect();
        for manifest in [
            cluster(&format!(
                "tier: Admin, priority: 1, {ALL}, egress: [{{action: Accept, {to}, protocols: {protocols}}}]"
            )),
            replaced(
                "AdminNetworkPolicy",
                &format!("priority: 1, {ALL}, egress: [{{action: Allow, {to}, ports: {ports}}}]"),
            ),
        ] {
            let (_, policy) = policy(&manifest);
            assert_eq!(lines(&policy.outbound_rules), rules, "{manifest}");
        }
    }
}

#[test]
fn a_rule_keeps_its_name() {
    let rules =
        "ingress: [{name: dns, action: Accept, from: [{namespaces: {}}]}, {action: Deny, from: [{namespaces: {}}]}]";
    let (_, policy) = policy(&cluster(&format!("tier: Admin, priority: 1, {ALL}, {rules}")));
    let names: Vec<_> =
        policy.inbound_rules.iter().map(|rule| rule.annotations.get("name").map(AsRef::as_ref)).collect();
    assert_eq!(names, [Some("dns"), None]);
}
