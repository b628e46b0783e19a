//! What identifies an object of a manifest.

use std::fmt;

use serde_json::Value;

use super::{ResourceKind, Scope};

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// The manifest's `kind`.
    pub kind: String,
    /// The manifest's `apiVersion`; `projectcalico.org/v3` for
    /// `crd.projectcalico.org/v1`.
    pub api_version: String,
    /// The namespace; `None` for an object of the cluster.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// The namespace of a namespaced object that names none.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

impl ObjectRef {
    /// The object that a value holds, if the value says enough.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let kind = text(value.get("kind")?)?;
        let api_version = text(value.get("apiVersion")?)?;
        let metadata = value.get("metadata")?;
        let name = text(metadata.get("name")?)?;
        let namespace = metadata.get("namespace").and_then(text);
        let namespace = match ResourceKind::of(&api_version, &kind).map(ResourceKind::scope) {
            Some(Scope::Namespaced) => Some(namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())),
            Some(Scope::Cluster) => None,
            None => namespace,
        };
        Some(Self { kind, api_version, namespace, name })
    }

    /// The kind, if it is one that is read.
    #[must_use]
    pub fn resource_kind(&self) -> Option<ResourceKind> {
        ResourceKind::of(&self.api_version, &self.kind)
    }
}

impl fmt::Display for ObjectRef {
    /// `KIND NAMESPACE/NAME`, or `KIND NAME` for an object of the cluster.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}
