//! The form in which a cluster without Calico's API server stores Calico's
//! resources: group `crd.projectcalico.org/v1`, with the metadata that the user
//! wrote as JSON in an annotation.

use serde_json::{Map, Value};

use super::kind::CALICO;
use super::{FieldPath, ResourceKind};

const STORED_GROUP: &str = "crd.projectcalico.org/v1";
const METADATA_ANNOTATION: &str = "projectcalico.org/metadata";
/// What the stored name of a policy of the default tier begins with.
const DEFAULT_TIER_PREFIX: &str = "default.";

/// What is wrong with a stored object.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) field: FieldPath,
    pub(super) reason: String,
}

/// Brings a stored object into the form of `projectcalico.org/v3`; leaves any
/// other value as it is.
pub(super) fn fold(value: &mut Value) -> Result<(), Fault> {
    let Some(object) = value.as_object_mut() else {
        return Ok(());
    };
    if object.get("apiVersion").and_then(Value::as_str) != Some(STORED_GROUP) {
        return Ok(());
    }
    object.insert("apiVersion".to_owned(), CALICO.into());
    let is_policy = matches!(
        object.get("kind").and_then(Value::as_str).and_then(|kind| ResourceKind::of(CALICO, kind)),
        Some(
            ResourceKind::NetworkPolicy
                | ResourceKind::GlobalNetworkPolicy
                | ResourceKind::StagedNetworkPolicy
                | ResourceKind::StagedGlobalNetworkPolicy
        )
    );
    let in_default_tier = object
        .get("spec")
        .and_then(|spec| spec.get("tier"))
        .and_then(Value::as_str)
        .is_none_or(|tier| tier.is_empty() || tier == "default");
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return Ok(());
    };
    let written = written_metadata(metadata)?;
    let name = written.as_ref().and_then(|written| written.get("name").cloned());
    if let Some(mut written) = written {
        for field in ["labels", "annotations"] {
            match written.remove(field) {
                Some(value) => metadata.insert(field.to_owned(), value),
                None => metadata.remove(field),
            };
        }
    }
    if is_policy {
        let stored = metadata.get("name").and_then(Value::as_str);
        let name = match (name, stored) {
            (Some(name), _) => Some(name),
            (None, Some(stored)) if in_default_tier => stored.strip_prefix(DEFAULT_TIER_PREFIX).map(Value::from),
            (None, _) => None,
        };
        if let Some(name) = name {
            metadata.insert("name".to_owned(), name);
        }
    }
    Ok(())
}

/// The metadata that the user wrote, if an annotation holds it.
fn written_metadata(metadata: &Map<String, Value>) -> Result<Option<Map<String, Value>>, Fault> {
    let Some(Value::String(text)) = metadata.get("annotations").and_then(|a| a.get(METADATA_ANNOTATION)) else {
        return Ok(None);
    };
    serde_json::from_str(text).map(Some).map_err(|e| Fault {
        field: FieldPath::from("metadata.annotations").field(METADATA_ANNOTATION),
        reason: format!("not an object's metadata in JSON: {e}"),
    })
}
