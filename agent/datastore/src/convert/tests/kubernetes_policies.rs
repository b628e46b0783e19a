//! Kubernetes' network policies.

use super::{lines, policy};

fn manifest(spec: &str) -> String {
    format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p, namespace: shop}}, spec: {{{spec}}}}}"
    )
}

const PODS: &str = "projectcalico.org/orchestrator == 'k8s'";
const OWN: &str = "projectcalico.org/namespace == 'shop'";

#[test]
fn a_policy_is_in_the_default_tier() {
    let (key, policy) = policy(&manifest("podSelector: {}"));
    assert_eq!(key, "KubernetesNetworkPolicy/shop/p");
    assert_eq!((policy.tier.as_str(), policy.order), ("default", Some(1000.0)));
    assert_eq!(policy.selector, format!("({PODS}) && {OWN}"));
    assert_eq!((policy.ingress, policy.egress), (true, false), "admission fills in Ingress");
}

#[test]
fn pods_are_selected_by_labels_and_expressions() {
    for (selector, terms) in [
        ("matchLabels: {b: '2', a: '1'}", "a == '1' && b == '2'"),
        ("matchExpressions: [{key: app, operator: In, values: [web, api]}]", "app in { 'web', 'api' }"),
        ("matchExpressions: [{key: app, operator: NotIn, values: [db]}]", "app not in { 'db' }"),
        (
            "matchExpressions: [{key: z, operator: Exists}, {key: env, operator: DoesNotExist}], matchLabels: {x: ''}",
            "x == '' && has(z) && ! has(env)",
        ),
    ] {
        let (_, policy) = policy(&manifest(&format!("podSelector: {{{selector}}}")));
        assert_eq!(policy.selector, format!("({PODS} && {terms}) && {OWN}"), "{selector}");
    }
}

#[test]
fn peers() {
    for (peer, side) in [
        ("podSelector: {}", format!(" from {{({OWN}) && ({PODS})}}")),
        ("podSelector: {matchLabels: {a: b}}", format!(" from {{({OWN}) && ({PODS} && a == 'b')}}")),
        ("namespaceSelector: {}", format!(" from {{(has(projectcalico.org/namespace)) && ({PODS})}}")),
        ("namespaceSelector: {matchLabels: {team: red}}", format!(" from {{(pcns.team == \"red\") && ({PODS})}}")),
        (
            "namespaceSelector: {matchExpressions: [{key: t, operator: Exists}, {key: u, operator: DoesNotExist}]}, \
             podSelector: {matchLabels: {a: b}}",
            format!(" from {{((has(pcns.t) && !has(pcns.u))) && ({PODS} && a == 'b')}}"),
        ),
        ("ipBlock: {cidr: 10.0.0.0/8}", " from 10.0.0.0/8".to_owned()),
        (
            "ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}",
            " from 10.0.0.0/8 !10.1.0.0/16,10.2.0.0/16".to_owned(),
        ),
        ("ipBlock: {cidr: 'fd00::/8'}", " from fd00::/8".to_owned()),
    ] {
        let (_, policy) = policy(&manifest(&format!("podSelector: {{}}, ingress: [{{from: [{{{peer}}}]}}]")));
        assert_eq!(lines(&policy.inbound_rules), [format!("allow{side}")], "{peer}");
    }
}

#[test]
fn ports_are_grouped_by_protocol_and_merged() {
    for (ports, rules) in [
        ("", &["allow"][..]),
        ("{}", &["allow tcp"]),
        ("{port: 80}", &["allow tcp to :80"]),
        ("{port: http}", &["allow tcp to :http"]),
        ("{port: 82}, {port: 80}, {port: 81}, {port: http}, {port: 80}", &["allow tcp to :http,80:82"]),
        ("{protocol: UDP}, {port: 53, protocol: UDP}, {port: 53}", &["allow tcp to :53", "allow udp"]),
        ("{port: 53, protocol: UDP}, {protocol: UDP}", &["allow udp"]),
        ("{port: 100, endPort: 200}", &["allow tcp to :100:200"]),
        ("{port: 100, endPort: 200}, {port: 201}", &["allow tcp to :100:201"]),
        ("{port: 100, endPort: 200}, {port: 150}, {port: 300}", &["allow tcp to :100:200,300"]),
        ("{port: 65535}, {port: 1, endPort: 65534}", &["allow tcp to :1:65535"]),
        (
            "{port: 5, protocol: SCTP}, {port: 5, protocol: UDP}, {port: 5}",
            &["allow sctp to :5", "allow tcp to :5", "allow udp to :5"],
        ),
    ] {
        let (_, policy) = policy(&manifest(&format!("podSelector: {{}}, ingress: [{{ports: [{ports}]}}]")));
        assert_eq!(lines(&policy.inbound_rules), rules, "{ports}");
    }
}

#[test]
fn each_peer_meets_each_protocol() {
    let (_, policy) = policy(&manifest(
        "podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}, \
         {ipBlock: {cidr: 11.0.0.0/8}}], ports: [{port: 53, protocol: UDP}, {port: 53}]}, {}]",
    ));
    assert_eq!((policy.ingress, policy.egress), (false, true));
    assert_eq!(
        lines(&policy.outbound_rules),
        [
            "allow tcp to 10.0.0.0/8 :53",
            "allow tcp to 11.0.0.0/8 :53",
            "allow udp to 10.0.0.0/8 :53",
            "allow udp to 11.0.0.0/8 :53",
            "allow",
        ]
    );
}

#[test]
fn what_clients_see_is_the_selector_before_it_is_combined() {
    let (_, policy) = policy(&manifest("podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]"));
    let source = &policy.inbound_rules[0].source;
    assert_eq!(source.original_selector, PODS);
    assert_eq!(source.original_namespace_selector, "all()");
}
