//! A file's bytes to the objects that it names.

use std::path::Path;
use std::sync::Arc;

use smol_str::SmolStr;

use super::digest::Digest;
use crate::admit::{Admitted, Fixed, admit};
use crate::convert::{Converted, Settings, convert};
use crate::manifest::{Document, Layer, ObjectRef, Refusal, ResourceKind, read_documents};
use crate::source::Place;

/// Names an object of a kind that is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ObjectId {
    kind: ResourceKind,
    /// Empty for objects of the cluster.
    namespace: SmolStr,
    name: SmolStr,
}

impl ObjectId {
    /// An object of the cluster.
    pub(super) fn of_cluster(kind: ResourceKind, name: SmolStr) -> Self {
        Self { kind, namespace: SmolStr::default(), name }
    }

    fn of(object: &ObjectRef) -> Option<Self> {
        Some(Self {
            kind: object.resource_kind()?,
            namespace: object.namespace.as_deref().unwrap_or_default().into(),
            name: object.name.as_str().into(),
        })
    }

    /// Whether the settings of conversion decide what becomes of the object.
    pub(super) fn depends_on_settings(&self) -> bool {
        depends_on_settings(self.kind)
    }

    pub(super) fn to_ref(&self) -> ObjectRef {
        ObjectRef {
            kind: self.kind.kind().to_owned(),
            api_version: self.kind.api_version().to_owned(),
            namespace: (!self.namespace.is_empty()).then(|| self.namespace.to_string()),
            name: self.name.to_string(),
        }
    }
}

/// A pod's interface is named after one of them.
fn depends_on_settings(kind: ResourceKind) -> bool {
    kind == ResourceKind::Pod
}

/// What a file names, in the file's order.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) objects: Vec<Named>,
    /// Refused documents that name no object that is read.
    pub(super) nameless: Vec<Refusal>,
    /// Whether there may be more names: a document could not be read far enough, or
    /// the last one is no YAML, as where a file was cut off.
    pub(super) hides_names: bool,
    pub(super) skipped: Vec<Skipped>,
}

/// An object and what became of its document.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) id: ObjectId,
    /// The line that it begins in.
    pub(super) line: usize,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Admitted { digest: Digest, fixed: Fixed, converted: Converted },
    Refused(Refusal),
}

/// A document of a kind that is not read.
#[derive(Debug)]
pub(super) struct Skipped {
    /// The kind, such as `apps/v1 Deployment`.
    pub(super) kind: String,
    pub(super) place: Place,
}

/// Reads, admits and converts everything in a file. `earlier` knows what of an object
/// may not change, if an earlier version of it in this file is in force.
pub(super) fn read<'a>(
    file: &Path,
    text: &[u8],
    settings: &Settings,
    earlier: impl Fn(&ObjectId) -> Option<&'a Fixed>,
) -> Reading {
    let mut reading = Reading::default();
    let mut is_cut_off = false;
    for document in read_documents(file, text) {
        is_cut_off = matches!(&document, Err(refusal) if refusal.layer == Layer::Yaml);
        let (line, outcome) = match document {
            Ok(document) => (document.line, take(document, settings, &earlier)),
            Err(refusal) => (refusal.line, Taken::Refused(refusal)),
        };
        match outcome {
            Taken::Object(object, outcome) => match ObjectId::of(&object) {
                Some(id) => reading.objects.push(Named { id, line, outcome }),
                None => unreachable!("admission takes only kinds that are read"),
            },
            Taken::Refused(refusal) => match refusal.object.as_deref().map(ObjectId::of) {
                Some(Some(id)) => reading.objects.push(Named { id, line, outcome: Outcome::Refused(refusal) }),
                Some(None) => reading.nameless.push(refusal),
                None => {
                    reading.hides_names = true;
                    reading.nameless.push(refusal);
                }
            },
            Taken::Skipped(skipped) => reading.skipped.push(skipped),
        }
    }
    reading.hides_names |= is_cut_off;
    reading
}

enum Taken {
    Object(ObjectRef, Outcome),
    Refused(Refusal),
    Skipped(Skipped),
}

fn take<'a>(document: Document, settings: &Settings, earlier: impl Fn(&ObjectId) -> Option<&'a Fixed>) -> Taken {
    let file = Arc::clone(&document.file);
    let (index, line) = (document.index, document.line);
    // Needed again only where an earlier version binds the later ones.
    let written = ObjectRef::of(&document.value)
        .and_then(|object| earlier(&ObjectId::of(&object)?))
        .map(|fixed| (document.clone(), fixed));
    let (kind, object, value) = match admit(document) {
        Ok(Admitted::Object { kind, object, value }) => (kind, object, value),
        Ok(Admitted::Skipped { kind }) => {
            let place = Place { file, line };
            return Taken::Skipped(Skipped { kind, place });
        }
        Err(refusal) => return Taken::Refused(refusal),
    };
    let fixed = Fixed::of(kind, &value);
    if let Some((document, earlier)) = written
        && let Some((field, before)) = earlier.changed_in(&fixed)
    {
        let reason = format!("cannot change, it was {before}: remove the object first, or name another one");
        return Taken::Refused(document.refuse(Layer::Crd, &field, reason));
    }
    let mut text = serde_json::to_vec(&value).expect("a JSON value has a text");
    if depends_on_settings(kind) {
        let Settings { interface_prefix } = settings;
        text.extend(interface_prefix.as_bytes());
    }
    let digest = Digest::of(&text);
    match convert(kind, value, settings) {
        Ok(converted) => Taken::Object(object, Outcome::Admitted { digest, fixed, converted }),
        // What cannot be expressed is refused as if admission had found it.
        Err(e) => Taken::Refused(Refusal {
            file,
            index,
            line,
            object: Some(Box::new(object)),
            layer: Layer::Client,
            field: e.field,
            reason: e.reason,
        }),
    }
}
