//! What admission fills in, leaves out and brings into one form.

use serde_json::{Value, json};

use super::stored;

/// Compares what is stored at a place (a JSON pointer) of each object.
#[track_caller]
fn check(object: impl Fn(&str) -> String, rows: &[(&str, &str, Value)]) {
    for (text, place, expected) in rows {
        let stored = stored(&object(text));
        assert_eq!(stored.pointer(place).unwrap_or(&Value::Null), expected, "{place} of {text} in {stored}");
    }
}

#[test]
fn metadata() {
    check(
        |metadata| format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {metadata}}}"),
        &[
            ("{name: a}", "/metadata/namespace", json!("default")),
            ("{name: a, namespace: ''}", "/metadata/namespace", json!("default")),
            ("{name: a, namespace: web}", "/metadata/namespace", json!("web")),
            ("{name: a, labels: {b: null}}", "/metadata/labels", json!({"b": ""})),
            ("{name: a, creationTimestamp: null}", "/metadata", json!({"name": "a", "namespace": "default"})),
            ("{name: a, managedFields: [{}]}", "/metadata/managedFields", json!(null)),
            (
                "{name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}', b: c}}",
                "/metadata/annotations",
                json!({"b": "c"}),
            ),
        ],
    );
    check(
        |metadata| format!("{{apiVersion: v1, kind: Namespace, metadata: {metadata}}}"),
        &[
            ("{name: web}", "/metadata/labels", json!({"kubernetes.io/metadata.name": "web"})),
            (
                "{name: web, namespace: x, labels: {a: b, kubernetes.io/metadata.name: other}}",
                "/metadata",
                json!({"name": "web", "labels": {"a": "b", "kubernetes.io/metadata.name": "web"}}),
            ),
        ],
    );
}

#[test]
fn stored_groups() {
    check(
        |name| {
            format!(
                "{{apiVersion: crd.projectcalico.org/v1, kind: GlobalNetworkPolicy, metadata: {{name: {name}}}, spec: {{}}}}"
            )
        },
        &[("default.a", "/apiVersion", json!("projectcalico.org/v3")), ("default.a", "/metadata/name", json!("a"))],
    );
}

#[test]
fn pods() {
    check(
        |spec| format!("{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {spec}}}"),
        &[
            (
                "{containers: [{name: c, image: i, ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}]}",
                "/spec/containers/0/ports",
                json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]),
            ),
            (
                "{containers: [{name: c, image: i}], initContainers: [{name: d, image: i, ports: [{containerPort: 80.0}]}]}",
                "/spec/initContainers/0/ports",
                json!([{"containerPort": 80, "protocol": "TCP"}]),
            ),
            ("{containers: [{name: c, image: i}]}", "/spec/serviceAccountName", json!(null)),
            ("{containers: [{name: c, image: i}], serviceAccount: old}", "/spec/serviceAccountName", json!("old")),
            (
                "{containers: [{name: c, image: i}], serviceAccount: old, serviceAccountName: new}",
                "/spec/serviceAccountName",
                json!("new"),
            ),
        ],
    );
}

#[test]
fn kubernetes_network_policies() {
    check(
        |spec| {
            format!("{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p}}, spec: {spec}}}")
        },
        &[
            ("null", "/spec", json!({"policyTypes": ["Ingress"]})),
            ("{ingress: [{}]}", "/spec/policyTypes", json!(["Ingress"])),
            ("{egress: [{}]}", "/spec/policyTypes", json!(["Ingress", "Egress"])),
            ("{egress: [], policyTypes: []}", "/spec/policyTypes", json!(["Ingress"])),
            ("{egress: [{}], policyTypes: [Egress]}", "/spec/policyTypes", json!(["Egress"])),
            ("{egress: [{ports: [{port: 80}]}]}", "/spec/egress/0/ports", json!([{"port": 80, "protocol": "TCP"}])),
            ("{ingress: [{ports: [{}]}]}", "/spec/ingress/0/ports", json!([{"protocol": "TCP"}])),
        ],
    );
}

#[test]
fn calico_policies() {
    for kind in ["NetworkPolicy", "GlobalNetworkPolicy"] {
        check(
            |spec| format!("{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: p}}, spec: {spec}}}"),
            &[
                ("{}", "/spec", json!({"tier": "default", "types": ["Ingress"]})),
                ("{tier: '', types: []}", "/spec", json!({"tier": "default", "types": ["Ingress"]})),
                ("{tier: apps}", "/spec/tier", json!("apps")),
                ("{egress: [{action: Deny}]}", "/spec/types", json!(["Egress"])),
                ("{ingress: [], egress: [{action: Deny}]}", "/spec/types", json!(["Egress"])),
                ("{ingress: [{action: Deny}], egress: [{action: Deny}]}", "/spec/types", json!(["Ingress", "Egress"])),
                ("{egress: [{action: Deny}], types: [Ingress]}", "/spec/types", json!(["Ingress"])),
                (
                    "{ingress: [{action: Deny, protocol: '6', notProtocol: 17.0}]}",
                    "/spec/ingress/0",
                    json!({"action": "Deny", "protocol": 6, "notProtocol": 17}),
                ),
                (
                    "{ingress: [{action: Deny, protocol: TCP, source: {ports: [1, '2', '3:3', '4:5', six], nets: null}}]}",
                    "/spec/ingress/0/source",
                    json!({"ports": [1, 2, 3, "4:5", "six"]}),
                ),
            ],
        );
    }
}

#[test]
fn tiers_and_configuration() {
    check(
        |spec| format!("{{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {{name: t}}, spec: {spec}}}"),
        &[
            ("{}", "/spec", json!({"order": 1_000_000.0, "defaultAction": "Deny"})),
            ("{order: 5, defaultAction: Pass}", "/spec", json!({"order": 5, "defaultAction": "Pass"})),
        ],
    );
    check(
        |spec| {
            format!(
                "{{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {{name: default}}, spec: {spec}}}"
            )
        },
        &[
            ("{}", "/spec/nftablesMode", json!("Auto")),
            ("{nftablesMode: Enabled}", "/spec/nftablesMode", json!("Enabled")),
        ],
    );
}

#[test]
fn names_of_workload_endpoints() {
    check(
        |spec| format!("{{apiVersion: projectcalico.org/v3, kind: WorkloadEndpoint, spec: {spec}}}"),
        &[(
            "{orchestrator: libnetwork, node: node-a, endpoint: e, interfaceName: a}",
            "/metadata",
            json!({"name": "node--a-libnetwork-libnetwork-e", "namespace": "default"}),
        )],
    );
}
