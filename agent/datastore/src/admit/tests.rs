//! Tables of objects and what admission says of them.

mod addresses;
mod calico;
mod defaults;
mod felix_configuration;
mod kubernetes;
mod network_policy_api;
mod policy;
mod properties;
mod staged_policy;

use std::path::Path;

use serde_json::Value;

use super::*;
use crate::manifest::read_documents;

/// Admits the one object of a text.
#[track_caller]
fn admit_text(text: &str) -> Result<Admitted, Refusal> {
    let mut documents = read_documents(Path::new("f.yaml"), text);
    assert_eq!(documents.len(), 1, "one document in {text}");
    documents.remove(0).and_then(admit)
}

/// The object of a text as it is stored.
#[track_caller]
fn stored(text: &str) -> Value {
    match admit_text(text) {
        Ok(Admitted::Object { value, .. }) => value,
        other => panic!("{text} became {other:?}"),
    }
}

/// What admission says of an object: nothing, or `LAYER FIELD: REASON`.
#[track_caller]
fn verdict(text: &str) -> String {
    match admit_text(text) {
        Ok(Admitted::Object { .. }) => String::new(),
        Ok(Admitted::Skipped { kind }) => format!("skipped: {kind}"),
        Err(refusal) if refusal.field.is_empty() => format!("{} {}", refusal.layer.as_str(), refusal.reason),
        Err(refusal) => format!("{} {}: {}", refusal.layer.as_str(), refusal.field, refusal.reason),
    }
}

/// Puts each row's first text into an object and compares what admission says
/// with the beginning that is the row's second; nothing means admitted.
#[track_caller]
fn check(object: impl Fn(&str) -> String, rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        let found = verdict(&object(text));
        let agrees = if expected.is_empty() { found.is_empty() } else { found.starts_with(expected) };
        assert!(agrees, "{text}\nshould get {expected:?}\nbut gets   {found:?}");
    }
}

#[test]
fn what_is_no_object_is_refused() {
    check(
        str::to_owned,
        &[
            ("[]", "yaml not an object"),
            ("text", "yaml not an object"),
            ("{}", "decode apiVersion: is missing"),
            ("{apiVersion: v1}", "decode kind: is missing"),
            ("{apiVersion: v1, kind: ''}", "decode kind: is missing"),
            ("{apiVersion: 1, kind: Pod}", "decode apiVersion: is not text"),
            ("{apiVersion: apps/v1, kind: Deployment}", "skipped: apps/v1 Deployment"),
            ("{apiVersion: example.com/v1, kind: NetworkPolicy}", "skipped: example.com/v1 NetworkPolicy"),
            ("{apiVersion: v1, kind: ServiceAccount}", "meta metadata.name: is missing"),
        ],
    );
}

#[test]
fn metadata_is_the_same_for_all_kinds() {
    let account = |metadata: &str| format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {metadata}}}");
    let set = |metadata: &str| {
        format!("{{apiVersion: projectcalico.org/v3, kind: NetworkSet, metadata: {metadata}, spec: {{}}}}")
    };
    let rows = [
        ("{name: a}", ""),
        ("{name: db.admin-2, namespace: web}", ""),
        ("{name: a, labels: {example.com/role: Ab.c_d-9, empty: ''}}", ""),
        ("{name: a, labels: {a: null}}", ""),
        ("{name: a, annotations: {Example.com/UPPER: any text at all}}", ""),
        (
            "{name: a, uid: u, resourceVersion: '7', generation: 1, creationTimestamp: null, managedFields: [{manager: m}],
              ownerReferences: [{kind: X}], finalizers: [f]}",
            "",
        ),
        ("{name: ''}", "meta metadata.name: is missing"),
        ("{generateName: a-}", "meta metadata.generateName: has no meaning in a directory"),
        ("{name: A}", "meta metadata.name: \"A\" is not a DNS subdomain"),
        ("{name: a_b}", "meta metadata.name: \"a_b\" is not a DNS subdomain"),
        ("{name: -a}", "meta metadata.name"),
        ("{name: a..b}", "meta metadata.name"),
        ("{name: 7}", "decode metadata.name: text is expected, not the number 7: quote it"),
        ("{name: a, namespace: a.b}", "meta metadata.namespace: \"a.b\" is not a DNS label"),
        ("{name: a, namespace: no}", "decode metadata.namespace: text is expected, not the boolean false: quote it"),
        ("{name: a, labels: {bad key: x}}", "meta metadata.labels: the key \"bad key\" is not a qualified name"),
        ("{name: a, labels: {/x: x}}", "meta metadata.labels: the key \"/x\" has something other than a DNS subdomain"),
        ("{name: a, labels: {x/: x}}", "meta metadata.labels: the key \"x/\" has no name"),
        ("{name: a, labels: {a: b c}}", "meta metadata.labels: the value \"b c\" of a is not a label value"),
        ("{name: a, labels: {a: -b}}", "meta metadata.labels"),
        ("{name: a, labels: {a: 1}}", "decode metadata.labels.a: text is expected"),
        ("{name: a, labels: [a]}", "decode metadata.labels: a mapping is expected, not a list"),
        ("{name: a, annotations: {a b: x}}", "meta metadata.annotations: the key \"a b\""),
        ("[]", "decode metadata: a mapping is expected, not a list"),
    ];
    check(account, &rows);
    check(set, &rows);

    check(account, &[("{name: a, unknown: 1}", "")]);
    check(set, &[("{name: a, lables: {}}", "decode metadata.lables: unknown field")]);
    let longest = "x.".repeat(126) + "x";
    check(account, &[(&format!("{{name: {longest}}}"), ""), (&format!("{{name: {longest}x}}"), "meta metadata.name")]);
    for (length, expected) in [(63, ""), (64, "meta metadata.labels")] {
        let long = "x".repeat(length);
        check(
            account,
            &[
                (&format!("{{name: a, labels: {{a: {long}}}}}"), expected),
                (&format!("{{name: a, labels: {{e.x/{long}: a}}}}"), expected),
            ],
        );
    }
    let huge = "x".repeat(256 << 10);
    check(
        account,
        &[(&format!("{{name: a, annotations: {{a: {huge}}}}}"), "meta metadata.annotations: are 262145 bytes")],
    );
}

#[test]
fn a_refusal_names_the_line_of_the_field() {
    let text = "\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: p, namespace: web}
spec:
  selector: a == 'b'
  ingress:
  - action: Allow
  - action: Allow
    protocol: TCP
    destination:
      ports: [80, 70000]
";
    let refusal = admit_text(text).expect_err("there is no such port");
    assert_eq!(
        refusal.to_string(),
        "f.yaml:11: NetworkPolicy web/p: spec.ingress[1].destination.ports[1]: 70000 is not within 0-65535"
    );
    let refusal = admit_text(&text.replace("70000", "443").replace("'b'", "b")).expect_err("that is no selector");
    assert_eq!(
        refusal.to_string(),
        "f.yaml:5: NetworkPolicy web/p: spec.selector: not a selector: column 6: expected a string in quotes, found the label b"
    );
}
