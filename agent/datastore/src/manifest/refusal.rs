//! Why an object or a document is not taken.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::ObjectRef;

/// Which of a cluster's gates would refuse an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// The text is not YAML, or a key occurs twice.
    Yaml,
    /// A field is unknown or of the wrong type.
    Decode,
    /// The name, a label or an annotation breaks the rules for all objects.
    Meta,
    /// The Kubernetes API server's own validation.
    K8s,
    /// The schema of a custom resource and its rules between fields.
    Crd,
    /// The validator of Calico's client.
    Client,
}

impl Layer {
    /// The layer's name, as the calculation oracle spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Decode => "decode",
            Self::Meta => "meta",
            Self::K8s => "k8s",
            Self::Crd => "crd",
            Self::Client => "client",
        }
    }
}

/// Why an object or a document is not taken. Whoever wrote the manifest can act
/// on it: it says where, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// The file.
    pub file: Arc<Path>,
    /// The document's place in the file; see [`Document::index`](super::Document::index).
    pub index: usize,
    /// The line of the field, or of the closest thing around it that is written
    /// down, counted from 1.
    pub line: usize,
    /// The object, if the document could be read far enough to name it.
    pub object: Option<Box<ObjectRef>>,
    /// What would refuse it in a cluster.
    pub layer: Layer,
    /// The field, such as `spec.ingress[0].icmp.code`; empty if it is the whole
    /// object or document.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Refusal {
    /// `FILE:LINE: KIND NAMESPACE/NAME: FIELD: REASON`, without what is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}
