//! ClusterNetworkPolicy, AdminNetworkPolicy and BaselineAdminNetworkPolicy.

use super::{check, stored};

fn cluster(spec: &str) -> String {
    format!(
        "{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: p}}, spec: {spec}}}"
    )
}

fn admin(spec: &str) -> String {
    format!(
        "{{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: {{name: p}}, spec: {spec}}}"
    )
}

fn baseline(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: policy.networking.k8s.io/v1alpha1, kind: BaselineAdminNetworkPolicy, metadata: {{name: {name}}}, spec: {spec}}}"
    )
}

/// A policy of v1alpha2 with one egress rule.
fn cluster_egress(rule: &str) -> String {
    cluster(&format!("{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, egress: [{rule}]}}"))
}

/// A policy of v1alpha1 with one egress rule.
fn admin_egress(rule: &str) -> String {
    admin(&format!("{{priority: 1, subject: {{namespaces: {{}}}}, egress: [{rule}]}}"))
}

#[test]
fn specs() {
    check(
        cluster,
        &[
            ("{tier: Admin, priority: 0, subject: {namespaces: {}}}", ""),
            ("{tier: Baseline, priority: 1000, subject: {pods: {podSelector: {}}}}", ""),
            (
                "{tier: Baseline, priority: 5, subject: {pods: {podSelector: {}, namespaceSelector: {}}}, ingress: []}",
                "",
            ),
            ("null", "crd spec: is missing"),
            ("{priority: 0, subject: {namespaces: {}}}", "crd spec.tier: is missing"),
            ("{tier: admin, priority: 0, subject: {namespaces: {}}}", "crd spec.tier: \"admin\" is not one of Admin"),
            ("{tier: Admin, subject: {namespaces: {}}}", "crd spec.priority: is missing"),
            (
                "{tier: Admin, priority: 1001, subject: {namespaces: {}}}",
                "crd spec.priority: 1001 is not within 0-1000",
            ),
            ("{tier: Admin, priority: -1, subject: {namespaces: {}}}", "crd spec.priority: -1 is not within 0-1000"),
            ("{tier: Admin, priority: '1', subject: {namespaces: {}}}", "decode spec.priority: a whole number"),
            ("{tier: Admin, priority: 0}", "crd spec.subject: is missing"),
            ("{tier: Admin, priority: 0, subject: {}}", "crd spec.subject: is empty"),
            (
                "{tier: Admin, priority: 0, subject: {namespaces: {}, pods: {podSelector: {}}}}",
                "crd spec.subject.pods: is one field too many",
            ),
            (
                "{tier: Admin, priority: 0, subject: {pods: {namespaceSelector: {}}}}",
                "crd spec.subject.pods.podSelector",
            ),
            (
                "{tier: Admin, priority: 0, subject: {namespaces: {matchLabels: {a b: c}}}}",
                "k8s spec.subject.namespaces",
            ),
        ],
    );
    check(
        admin,
        &[
            ("{priority: 0, subject: {namespaces: {}}}", ""),
            ("{priority: 0, subject: {pods: {podSelector: {}, namespaceSelector: {}}}}", ""),
            (
                "{priority: 0, subject: {pods: {podSelector: {}}}}",
                "crd spec.subject.pods.namespaceSelector: is missing",
            ),
            ("{subject: {namespaces: {}}}", "crd spec.priority: is missing"),
            ("{priority: 0, tier: Admin, subject: {namespaces: {}}}", "decode spec.tier: unknown field"),
        ],
    );
    let subject = "{subject: {namespaces: {}}}";
    check(
        |name| baseline(name, subject),
        &[("default", ""), ("other", "crd metadata.name: \"other\" is not \"default\""), ("A", "meta metadata.name")],
    );
    check(
        |spec| baseline("default", spec),
        &[
            ("{priority: 1, subject: {namespaces: {}}}", "decode spec.priority: unknown field"),
            ("{}", "crd spec.subject"),
        ],
    );
}

/// A baseline with one egress rule.
fn baseline_egress(rule: &str) -> String {
    baseline("default", &format!("{{subject: {{namespaces: {{}}}}, egress: [{rule}]}}"))
}

#[test]
fn actions() {
    check_actions(cluster_egress, &["Accept", "Deny", "Pass"]);
    check_actions(admin_egress, &["Allow", "Deny", "Pass"]);
    check_actions(baseline_egress, &["Allow", "Deny"]);
}

fn check_actions(object: impl Fn(&str) -> String, known: &[&str]) {
    for action in ["Accept", "Allow", "Deny", "Pass", "deny", "Log"] {
        let expected = if known.contains(&action) { "" } else { "crd spec.egress[0].action" };
        check(&object, &[(&format!("{{action: {action}, to: [{{namespaces: {{}}}}]}}"), expected)]);
    }
}

#[test]
fn peers() {
    for (object, direction) in [(cluster_egress as fn(&str) -> String, "v1alpha2"), (admin_egress, "v1alpha1")] {
        check(
            |peers| object(&format!("{{action: Deny, to: {peers}}}")),
            &[
                ("[{namespaces: {}}, {pods: {podSelector: {}, namespaceSelector: {}}}]", ""),
                ("[{networks: [10.0.0.0/8, 'fd00::/8', 0.0.0.0/0, 10.1.2.3/8]}]", ""),
                ("[]", "crd spec.egress[0].to: has 0 elements"),
                ("null", "crd spec.egress[0].to: is missing"),
                ("[{}]", "crd spec.egress[0].to[0]: is empty"),
                ("[{namespaces: null}]", "crd spec.egress[0].to[0]: is empty"),
                (
                    "[{namespaces: {}, networks: [10.0.0.0/8]}]",
                    "crd spec.egress[0].to[0].networks: is one field too many",
                ),
                ("[{networks: []}]", "crd spec.egress[0].to[0].networks: has 0 elements"),
                ("[{networks: [10.0.0.1]}]", "crd spec.egress[0].to[0].networks[0]"),
                ("[{networks: [10.0.0.0/33]}]", "crd spec.egress[0].to[0].networks[0]"),
                (
                    "[{networks: [10.0.0.0/8, 10.0.0.0/8]}]",
                    "crd spec.egress[0].to[0].networks[1]: \"10.0.0.0/8\" occurs twice",
                ),
                ("[{domainNames: [a.b]}]", "decode spec.egress[0].to[0].domainNames: unknown field"),
            ],
        );
        let ingress = object("").replace("egress: []", "ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]");
        let verdict = super::verdict(&ingress);
        assert_eq!(verdict, "decode spec.ingress[0].from[0].networks: unknown field", "{direction}");
    }
}

#[test]
fn ports_of_v1alpha2() {
    check(
        |protocols| cluster_egress(&format!("{{action: Deny, to: [{{namespaces: {{}}}}], protocols: {protocols}}}")),
        &[
            ("[{tcp: {destinationPort: {number: 80}}}, {udp: {destinationPort: {range: {start: 1, end: 2}}}}]", ""),
            ("[{sctp: {destinationPort: {number: 65535}}}, {destinationNamedPort: http}]", ""),
            ("[]", "crd spec.egress[0].protocols: has 0 elements"),
            ("[{}]", "crd spec.egress[0].protocols[0]: is empty"),
            ("[{destinationNamedPort: ''}]", "crd spec.egress[0].protocols[0].destinationNamedPort: is empty"),
            (
                "[{destinationNamedPort: '80'}]",
                "crd spec.egress[0].protocols[0].destinationNamedPort: \"80\" is not a port name",
            ),
            ("[{tcp: {}}]", "crd spec.egress[0].protocols[0].tcp.destinationPort: is missing"),
            ("[{tcp: {destinationPort: {}}}]", "crd spec.egress[0].protocols[0].tcp.destinationPort: is empty"),
            ("[{tcp: {destinationPort: {number: 0}}}]", "crd spec.egress[0].protocols[0].tcp.destinationPort.number"),
            (
                "[{tcp: {destinationPort: {number: 65536}}}]",
                "crd spec.egress[0].protocols[0].tcp.destinationPort.number",
            ),
            (
                "[{tcp: {destinationPort: {number: 1, range: {start: 1, end: 2}}}}]",
                "crd spec.egress[0].protocols[0].tcp.destinationPort.range: is one field too many",
            ),
            (
                "[{tcp: {destinationPort: {range: {start: 2, end: 2}}}}]",
                "crd spec.egress[0].protocols[0].tcp.destinationPort.range.end: 2 is not above the start, 2",
            ),
            (
                "[{tcp: {destinationPort: {range: {start: 2}}}}]",
                "crd spec.egress[0].protocols[0].tcp.destinationPort.range.end: is missing",
            ),
            ("[{icmp: {}}]", "decode spec.egress[0].protocols[0].icmp: unknown field"),
        ],
    );
}

#[test]
fn ports_of_v1alpha1() {
    let object = |ports: &str| admin_egress(&format!("{{action: Deny, to: [{{namespaces: {{}}}}], ports: {ports}}}"));
    check(
        object,
        &[
            ("[{portNumber: {protocol: UDP, port: 53}}, {portRange: {protocol: SCTP, start: 1, end: 65535}}]", ""),
            ("[{namedPort: http}]", ""),
            ("[]", ""),
            ("[{portNumber: {port: 53}}]", ""),
            ("[{portNumber: {protocol: ICMP, port: 53}}]", "crd spec.egress[0].ports[0].portNumber.protocol"),
            ("[{portNumber: {protocol: TCP}}]", "crd spec.egress[0].ports[0].portNumber.port: is missing"),
            (
                "[{portRange: {start: 3, end: 2}}]",
                "crd spec.egress[0].ports[0].portRange.end: 2 is not above the start, 3",
            ),
            (
                "[{namedPort: http, portNumber: {port: 1}}]",
                "crd spec.egress[0].ports[0].portNumber: is one field too many",
            ),
        ],
    );
    let stored = stored(&object("[{portNumber: {port: 53}}]"));
    assert_eq!(stored.pointer("/spec/egress/0/ports/0/portNumber/protocol"), Some(&"TCP".into()));
}
