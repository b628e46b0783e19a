//! `metadata`: the same rules for objects of every kind.

use serde_json::{Map, Value};

use super::schema::{Field, INTEGER, Object, TEXT, TEXT_LIST, Type, optional};
use super::syntax;
use super::violation::Violation;
use crate::manifest::limits::MAX_ANNOTATION_BYTES;
use crate::manifest::{DEFAULT_NAMESPACE, Layer, ResourceKind, Scope};

/// What the name of an object must look like.
pub(super) type NameRule = fn(&str) -> Result<(), syntax::Fault>;

/// `metadata` of a kind whose unknown fields are errors.
pub(super) const STRICT: Type = Type::Object(&Object::of(FIELDS));
/// `metadata` of a core kind.
pub(super) const OPEN: Type = Type::Object(&Object::open(FIELDS));

/// ObjectMeta of k8s.io/apimachinery's meta/v1.
const FIELDS: &[Field] = &[
    optional("name", TEXT),
    optional("generateName", TEXT),
    optional("namespace", TEXT),
    optional("selfLink", TEXT),
    optional("uid", TEXT),
    optional("resourceVersion", TEXT),
    optional("generation", INTEGER),
    optional("creationTimestamp", TEXT),
    optional("deletionTimestamp", TEXT),
    optional("deletionGracePeriodSeconds", INTEGER),
    optional("labels", Type::Texts),
    optional("annotations", Type::Texts),
    optional("ownerReferences", Type::Any),
    optional("finalizers", TEXT_LIST),
    optional("managedFields", Type::Any),
];

/// What `kubectl apply` notes for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The object has no name to be known by.
pub(super) fn no_name() -> Violation {
    Violation::new(Layer::Meta, "is missing").at("name").at("metadata")
}

/// Fills in the namespace, drops what only `kubectl` and the API server care
/// for, and tests the rest.
pub(super) fn settle(kind: ResourceKind, rule: NameRule, object: &mut Map<String, Value>) -> Result<(), Violation> {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return Err(no_name());
    };
    metadata.remove("managedFields");
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.remove(LAST_APPLIED);
    }
    check_name(metadata, rule)?;
    settle_namespace(kind.scope(), metadata)?;
    check_labels(metadata).map_err(|violation| violation.at("labels").at("metadata"))?;
    check_annotations(metadata).map_err(|violation| violation.at("annotations").at("metadata"))
}

fn check_name(metadata: &Map<String, Value>, rule: NameRule) -> Result<(), Violation> {
    match metadata.get("name").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => rule(name)
            .map_err(|fault| Violation::new(Layer::Meta, format!("{name:?} {fault}")).at("name").at("metadata")),
        _ if metadata.contains_key("generateName") => {
            let reason = "has no meaning in a directory: write a name";
            Err(Violation::new(Layer::Meta, reason).at("generateName").at("metadata"))
        }
        _ => Err(no_name()),
    }
}

fn settle_namespace(scope: Scope, metadata: &mut Map<String, Value>) -> Result<(), Violation> {
    if scope == Scope::Cluster {
        metadata.remove("namespace");
        return Ok(());
    }
    match metadata.get("namespace").and_then(Value::as_str) {
        Some(namespace) if !namespace.is_empty() => syntax::dns_label(namespace).map_err(|fault| {
            Violation::new(Layer::Meta, format!("{namespace:?} {fault}")).at("namespace").at("metadata")
        }),
        _ => {
            metadata.insert("namespace".to_owned(), DEFAULT_NAMESPACE.into());
            Ok(())
        }
    }
}

fn check_labels(metadata: &Map<String, Value>) -> Result<(), Violation> {
    let Some(Value::Object(labels)) = metadata.get("labels") else {
        return Ok(());
    };
    label_texts(labels).map_err(|reason| Violation::new(Layer::Meta, reason))
}

/// Tests the keys and values of labels.
pub(super) fn label_texts(labels: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in labels {
        syntax::qualified_name(key).map_err(|fault| format!("the key {key:?} {fault}"))?;
        let value = value.as_str().unwrap_or_default();
        syntax::label_value(value).map_err(|fault| format!("the value {value:?} of {key} {fault}"))?;
    }
    Ok(())
}

fn check_annotations(metadata: &Map<String, Value>) -> Result<(), Violation> {
    let Some(Value::Object(annotations)) = metadata.get("annotations") else {
        return Ok(());
    };
    annotation_texts(annotations).map_err(|reason| Violation::new(Layer::Meta, reason))
}

/// Tests the keys of annotations, in any case, and the size of them all.
pub(super) fn annotation_texts(annotations: &Map<String, Value>) -> Result<(), String> {
    let mut size = 0;
    for (key, value) in annotations {
        syntax::qualified_name(&key.to_ascii_lowercase()).map_err(|fault| format!("the key {key:?} {fault}"))?;
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATION_BYTES {
        return Err(format!("are {size} bytes, {MAX_ANNOTATION_BYTES} at most are allowed"));
    }
    Ok(())
}
