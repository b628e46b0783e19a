//! Namespaces, service accounts, profiles, tiers and configuration.

use caracal_model::{Object, TierAction};

use super::{converted, labels, lines, object, profile};
use crate::convert::Converted;

#[test]
fn a_namespace_is_a_profile_that_allows_and_hands_down_its_labels() {
    let (name, profile) = profile("{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: red}}}");
    assert_eq!(name, "kns.shop");
    assert_eq!(
        labels(&profile.labels),
        ["pcns.kubernetes.io/metadata.name=shop", "pcns.projectcalico.org/name=shop", "pcns.team=red"]
    );
    assert_eq!(lines(&profile.inbound_rules), ["allow"]);
    assert_eq!(lines(&profile.outbound_rules), ["allow"]);
}

#[test]
fn a_service_account_is_a_profile_without_rules() {
    let account = |name: &str| {
        profile(&format!(
            "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: shop, labels: {{role: x}}}}}}"
        ))
    };
    let (name, profile) = account("db.admin");
    assert_eq!(name, "ksa.shop.db.admin");
    assert_eq!(labels(&profile.labels), ["pcsa.projectcalico.org/name=db.admin", "pcsa.role=x"]);
    assert!(profile.inbound_rules.is_empty() && profile.outbound_rules.is_empty());

    let (longest, too_long) = ("a".repeat(63), "a".repeat(64));
    assert!(!account(&longest).1.labels.is_empty());
    assert!(account(&too_long).1.labels.is_empty(), "its name is no label value");
}

#[test]
fn a_profile_resource_hands_down_what_it_says() {
    let (name, profile) = profile(
        "{apiVersion: projectcalico.org/v3, kind: Profile, metadata: {name: p, labels: {own: x}}, \
          spec: {labelsToApply: {a: b}, ingress: [{action: Deny}], egress: [{action: Allow, \
          destination: {selector: has(x)}}]}}",
    );
    assert_eq!(name, "p");
    assert_eq!(labels(&profile.labels), ["a=b"]);
    assert_eq!(lines(&profile.inbound_rules), ["deny"]);
    assert_eq!(lines(&profile.outbound_rules), ["allow to {has(x)}"]);
}

#[test]
fn tiers() {
    for (spec, order, default_action) in [
        ("", Some(1_000_000.0), TierAction::Deny),
        ("order: 5.5, defaultAction: Pass", Some(5.5), TierAction::Pass),
        ("order: 0, defaultAction: Deny", Some(0.0), TierAction::Deny),
    ] {
        let manifest =
            format!("{{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {{name: t}}, spec: {{{spec}}}}}");
        let Object::Tier(name, tier) = object(&manifest) else { panic!("{manifest}") };
        assert_eq!((name.as_str(), tier.order, tier.default_action), ("t", order, default_action), "{spec}");
    }
}

#[test]
fn configuration_keeps_its_fields() {
    let manifest = "{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: racks, \
                     creationTimestamp: '2026-01-02T03:04:05Z', annotations: {config.projectcalico.org/X: z}}, \
                     spec: {nodeSelector: has(rack), bpfEnabled: true}}";
    let Converted::Config(config) = converted(manifest) else { panic!("it is configuration") };
    assert_eq!(config.name, "racks");
    assert_eq!(config.node_selector, "has(rack)");
    assert_eq!(config.creation_timestamp.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!(config.annotations["config.projectcalico.org/X"], "z");
    assert_eq!(config.spec["bpfEnabled"], true);
}
