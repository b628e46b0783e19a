//! From manifests to objects, through admission as every resource goes.

mod addresses;
mod cluster_policies;
mod endpoint_slices;
mod endpoints;
mod kubernetes_policies;
mod pods;
mod policies;
mod profiles;
mod staged_policies;

use std::fmt::Write;
use std::path::Path;

use caracal_model as model;
use caracal_model::{Key, Object};

use super::{Converted, Settings, convert};
use crate::admit::{Admitted, admit};
use crate::manifest::read_documents;

/// Converts the one resource of a manifest.
fn converted(manifest: &str) -> Converted {
    let mut documents = read_documents(Path::new("test.yaml"), manifest);
    assert_eq!(documents.len(), 1, "{manifest}");
    let document = documents.remove(0).unwrap_or_else(|refusal| panic!("{refusal}"));
    match admit(document) {
        Ok(Admitted::Object { kind, value, .. }) => {
            convert(kind, value, &Settings::default()).unwrap_or_else(|e| panic!("{e}: {manifest}"))
        }
        Ok(Admitted::Skipped { kind }) => panic!("{kind} is not read"),
        Err(refusal) => panic!("{refusal}"),
    }
}

fn object(manifest: &str) -> Object {
    match converted(manifest) {
        Converted::Object(_, object) => *object,
        other => panic!("{other:?}: {manifest}"),
    }
}

fn policy(manifest: &str) -> (String, model::Policy) {
    match object(manifest) {
        Object::Policy(key, policy) => (key.to_string(), policy),
        other => panic!("{other:?}"),
    }
}

fn profile(manifest: &str) -> (String, model::Profile) {
    match object(manifest) {
        Object::Profile(name, profile) => (name.to_string(), profile),
        other => panic!("{other:?}"),
    }
}

fn labels(labels: &model::Labels) -> Vec<String> {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// A rule on one line: the action, what it matches, and the two sides.
fn line(rule: &model::Rule) -> String {
    let mut line = rule.action.as_wire().to_owned();
    let protocol = |protocol: model::RuleProtocol| match protocol {
        model::RuleProtocol::Name(protocol) => protocol.to_string(),
        model::RuleProtocol::Number(protocol) => format!("#{}", protocol.number()),
    };
    let icmp = |icmp: model::Icmp| match icmp.code {
        Some(code) => format!("{}/{code}", icmp.icmp_type),
        None => icmp.icmp_type.to_string(),
    };
    let words = [
        ("", rule.ip_version.map(|version| version.to_string())),
        ("", rule.protocol.map(protocol)),
        ("not ", rule.not_protocol.map(protocol)),
        ("icmp ", rule.icmp.map(icmp)),
        ("not icmp ", rule.not_icmp.map(icmp)),
        ("from ", side(&rule.source)),
        ("to ", side(&rule.destination)),
    ];
    for (what, word) in words.iter().filter_map(|(what, word)| Some((what, word.as_ref()?))) {
        write!(line, " {what}{word}").expect("a text takes everything");
    }
    line
}

fn side(entity: &model::Entity) -> Option<String> {
    fn list<T>(entries: &[T], text: impl Fn(&T) -> String) -> Option<String> {
        (!entries.is_empty()).then(|| entries.iter().map(text).collect::<Vec<_>>().join(","))
    }
    let port = |port: &model::RulePort| match port {
        model::RulePort::Numeric(range) => range.to_string(),
        model::RulePort::Named(name) => name.to_string(),
    };
    let selector = |text: &str| (!text.is_empty()).then(|| format!("{{{text}}}"));
    let words = [
        ("", selector(&entity.selector)),
        ("!", selector(&entity.not_selector)),
        ("", list(&entity.nets, ToString::to_string)),
        ("!", list(&entity.not_nets, ToString::to_string)),
        (":", list(&entity.ports, port)),
        ("!:", list(&entity.not_ports, port)),
        ("service ", entity.service.as_ref().map(|service| format!("{}/{}", service.namespace, service.name))),
    ];
    let words: Vec<_> = words.into_iter().filter_map(|(what, word)| Some(format!("{what}{}", word?))).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn lines(rules: &[model::Rule]) -> Vec<String> {
    rules.iter().map(line).collect()
}

#[test]
fn built_in_objects_are_admitted_as_they_are() {
    let names: Vec<_> = super::built_in().map(|(kind, name, _)| format!("{} {name}", kind.kind())).collect();
    assert_eq!(names, ["Tier default", "Tier kube-admin", "Tier kube-baseline", "Profile projectcalico-default-allow"]);
    for (kind, name, built_in) in super::built_in() {
        if kind.kind() == "Tier" {
            let manifest = match name.as_str() {
                "default" => "defaultAction: Deny",
                "kube-admin" => "defaultAction: Pass, order: 1000",
                _ => "defaultAction: Pass, order: 10000000",
            };
            let manifest = format!(
                "{{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {{name: {name}}}, spec: {{{manifest}}}}}"
            );
            assert_eq!(converted(&manifest), built_in);
        }
    }
}

#[test]
fn a_key_says_what_its_object_is() {
    let manifest = "{apiVersion: v1, kind: Node, metadata: {name: n1}}";
    assert_eq!(object(manifest).key(), Key::Node("n1".into()));
}
