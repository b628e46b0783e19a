//! Staged policies: as the policies that they stage, but for the action.

use serde_json::json;

use super::{check, stored};

fn staged(kind: &'static str) -> impl Fn(&str) -> String {
    move |spec| format!("{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: p}}, spec: {spec}}}")
}

const KINDS: [&str; 3] = ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy"];

#[test]
fn actions() {
    for kind in KINDS {
        check(
            staged(kind),
            &[
                ("{}", ""),
                ("{stagedAction: Set}", ""),
                ("{stagedAction: Learn}", ""),
                ("{stagedAction: Ignore}", ""),
                ("{stagedAction: Delete}", ""),
                ("{stagedAction: Maybe}", "crd spec.stagedAction: \"Maybe\" is not one of Set, Delete, Learn, Ignore"),
                ("{stagedAction: delete}", "crd spec.stagedAction"),
                ("null", "crd spec: is missing"),
            ],
        );
        assert_eq!(stored(&staged(kind)("{}"))["spec"]["stagedAction"], "Set", "{kind}");
    }
}

#[test]
fn a_deletion_says_no_more_than_its_tier() {
    for kind in ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy"] {
        check(
            staged(kind),
            &[
                ("{stagedAction: Delete, tier: apps}", ""),
                ("{stagedAction: Delete, selector: '', ingress: []}", ""),
                (
                    "{stagedAction: Delete, selector: all()}",
                    "client spec.selector: has no meaning with the action Delete",
                ),
                ("{stagedAction: Delete, order: 1}", "client spec.order"),
                ("{stagedAction: Delete, types: [Ingress]}", "client spec.types"),
                ("{stagedAction: Delete, ingress: [{action: Allow}]}", "client spec.ingress"),
            ],
        );
        let deletion = stored(&staged(kind)("{stagedAction: Delete}"));
        assert_eq!(deletion["spec"], json!({"stagedAction": "Delete", "tier": "default"}), "no types are filled in");
    }
    check(
        staged("StagedKubernetesNetworkPolicy"),
        &[
            ("{stagedAction: Delete, podSelector: {}}", ""),
            ("{stagedAction: Delete, podSelector: {matchLabels: {a: b}}}", "client spec.podSelector"),
            ("{stagedAction: Delete, policyTypes: [Ingress]}", "client spec.policyTypes"),
        ],
    );
}

#[test]
fn what_is_staged_is_checked() {
    check(
        staged("StagedNetworkPolicy"),
        &[
            ("{tier: apps, order: 3, selector: all(), ingress: [{action: Deny}], types: [Ingress]}", ""),
            ("{selector: global()}", "crd spec.selector"),
            ("{namespaceSelector: all()}", "decode spec.namespaceSelector: unknown field"),
            ("{ingress: [{action: Drop}]}", "crd spec.ingress[0].action"),
        ],
    );
    check(
        staged("StagedGlobalNetworkPolicy"),
        &[
            ("{namespaceSelector: all(), applyOnForward: true, preDNAT: true}", ""),
            ("{preDNAT: true}", "crd spec.applyOnForward"),
            ("{applyOnForward: true, preDNAT: true, egress: [{action: Deny}]}", "crd spec.egress"),
        ],
    );
    check(
        staged("StagedKubernetesNetworkPolicy"),
        &[
            ("{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}", ""),
            ("{ingress: [{from: [{}]}]}", "k8s spec.ingress[0].from[0]: names no peer"),
            ("{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}", "client spec.egress[0].to[0].ipBlock.cidr"),
            ("{selector: all()}", "decode spec.selector: unknown field"),
        ],
    );
}

#[test]
fn types_are_filled_in_as_for_what_is_staged() {
    let types = |kind: &'static str, field: &str, spec: &str| stored(&staged(kind)(spec))["spec"][field].clone();
    let calico = "{egress: [{action: Allow}]}";
    assert_eq!(types("StagedNetworkPolicy", "types", calico), json!(["Egress"]));
    assert_eq!(types("StagedGlobalNetworkPolicy", "types", "{}"), json!(["Ingress"]));
    assert_eq!(types("StagedKubernetesNetworkPolicy", "policyTypes", "{egress: [{}]}"), json!(["Ingress", "Egress"]));
}
