//! Staged policies become what they stage, under a kind of their own.

use caracal_model::Kind;

use super::{converted, policy};
use crate::convert::Converted;

fn manifest(api_version: &str, kind: &str, spec: &str) -> String {
    format!("{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: p, namespace: shop}}, spec: {{{spec}}}}}")
}

const CALICO: &str = "projectcalico.org/v3";

#[test]
fn a_staged_policy_says_what_its_enforced_twin_says() {
    let calico = "tier: apps, order: 3, selector: a == 'b', ingress: [{action: Allow, source: {selector: c == 'd'}}]";
    let kubernetes =
        "podSelector: {matchLabels: {a: b}}, egress: [{to: [{namespaceSelector: {}}], ports: [{port: 80}]}]";
    for (api_version, enforced, staged, spec) in [
        (CALICO, "NetworkPolicy", "StagedNetworkPolicy", calico),
        (CALICO, "GlobalNetworkPolicy", "StagedGlobalNetworkPolicy", calico),
        ("networking.k8s.io/v1", "NetworkPolicy", "StagedKubernetesNetworkPolicy", kubernetes),
    ] {
        let (_, twin) = policy(&manifest(api_version, enforced, spec));
        for action in ["", ", stagedAction: Set", ", stagedAction: Learn", ", stagedAction: Ignore"] {
            let (key, policy) = policy(&manifest(CALICO, staged, &format!("{spec}{action}")));
            let namespace = if enforced == "GlobalNetworkPolicy" { "" } else { "shop" };
            assert_eq!(key, format!("{staged}/{namespace}/p"));
            assert_eq!(policy, twin, "{staged}{action}");
        }
    }
}

#[test]
fn each_kind_is_a_list_of_its_own() {
    for (kind, list) in [
        ("StagedNetworkPolicy", Kind::StagedNetworkPolicy),
        ("StagedGlobalNetworkPolicy", Kind::StagedGlobalNetworkPolicy),
        ("StagedKubernetesNetworkPolicy", Kind::StagedKubernetesNetworkPolicy),
    ] {
        let Converted::Object(found, _) = converted(&manifest(CALICO, kind, "")) else {
            panic!("{kind} is a policy");
        };
        assert_eq!(found, list);
    }
}

#[test]
fn a_staged_deletion_is_nothing() {
    for kind in ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy"] {
        assert_eq!(converted(&manifest(CALICO, kind, "stagedAction: Delete")), Converted::Nothing, "{kind}");
    }
}
