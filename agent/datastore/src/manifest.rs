//! Manifests: text in, one JSON value per object out.
//!
//! A file is split at its `---` lines before anything is parsed, so that a
//! broken document spoils no other one. Lists are expanded into their items, and
//! what `crd.projectcalico.org/v1` stores is brought into the form of
//! `projectcalico.org/v3`.

pub(crate) mod fuzz;
mod json;
mod kind;
pub mod limits;
mod list;
mod locate;
mod object;
mod path;
mod refusal;
mod scalar;
mod split;
mod stored;
mod yaml;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

pub use self::kind::{ResourceKind, Scope};
pub(crate) use self::object::DEFAULT_NAMESPACE;
pub use self::object::ObjectRef;
pub use self::path::{FieldPath, Step};
pub use self::refusal::{Layer, Refusal};

/// One object of a manifest, not yet admitted.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file that it came from.
    pub file: Arc<Path>,
    /// The document's place in its file, counted from 0 over the documents that
    /// hold anything; the items of a list share their list's, and so do JSON objects that
    /// no `---` parts.
    pub index: usize,
    /// The line that the object begins in, counted from 1.
    pub line: usize,
    /// The object. Not always a mapping: admission refuses what is none.
    pub value: Value,
    origin: Origin,
}

/// Where an object's text is, to find the line of a field in.
#[derive(Clone, Debug)]
struct Origin {
    /// The whole document.
    text: Arc<str>,
    /// The line that `text` begins in, counted from 1.
    first_line: usize,
    /// The way from the document to the object: empty unless it is in a list.
    item: FieldPath,
    /// How often the text was looked through, for all its objects.
    searches: Arc<AtomicUsize>,
}

impl Document {
    /// The line of a field, or of the last one on the way to it that is there;
    /// counted from 1. That of the object after [`limits::MAX_SEARCHES`] in its text.
    #[must_use]
    pub fn line_of(&self, field: &FieldPath) -> usize {
        let Origin { text, first_line, item, searches } = &self.origin;
        if searches.fetch_add(1, Ordering::Relaxed) >= limits::MAX_SEARCHES {
            return self.line;
        }
        locate::line_of(text, &item.join(field)).map_or(self.line, |line| first_line + line - 1)
    }

    /// Refuses the object because of one of its fields.
    pub(crate) fn refuse(&self, layer: Layer, field: &FieldPath, reason: impl Into<String>) -> Refusal {
        Refusal {
            file: Arc::clone(&self.file),
            index: self.index,
            line: self.line_of(field),
            object: ObjectRef::of(&self.value).map(Box::new),
            layer,
            field: field.to_string(),
            reason: reason.into(),
        }
    }
}

/// Reads the documents of one file, YAML or JSON. A document that cannot be read
/// is refused; the others are read regardless.
pub fn read_documents(file: &Path, text: impl AsRef<[u8]>) -> Vec<Result<Document, Refusal>> {
    read_some(file, text.as_ref(), limits::MAX_OBJECTS)
}

fn read_some(file: &Path, text: &[u8], max_objects: usize) -> Vec<Result<Document, Refusal>> {
    let file: Arc<Path> = file.into();
    let mut documents = Vec::new();
    for (index, chunk) in split::chunks(text).enumerate() {
        read_chunk(&file, index, &chunk, &mut documents);
        if documents.len() > max_objects {
            documents.truncate(max_objects);
            documents.push(Err(Refusal {
                file: Arc::clone(&file),
                index,
                line: chunk.line,
                object: None,
                layer: Layer::Yaml,
                field: String::new(),
                reason: format!("the file has more than {max_objects} objects: what follows is not read"),
            }));
            break;
        }
    }
    documents
}

/// Reads one document, which is several objects if it is a list.
fn read_chunk(
    file: &Arc<Path>,
    index: usize,
    chunk: &split::Chunk<'_>,
    documents: &mut Vec<Result<Document, Refusal>>,
) {
    let refuse = |line: usize, object: Option<ObjectRef>, reason: String| Refusal {
        file: Arc::clone(file),
        index,
        line: chunk.line + line - 1,
        object: object.map(Box::new),
        layer: Layer::Yaml,
        field: String::new(),
        reason,
    };
    let text = match std::str::from_utf8(chunk.bytes) {
        Ok(text) => text,
        Err(e) => {
            let line = 1 + split::line_breaks(&chunk.bytes[..e.valid_up_to()]);
            documents.push(Err(refuse(line, None, not_utf8(chunk.bytes).to_owned())));
            return;
        }
    };
    let plain = json::parse(text);
    if plain.is_none()
        && let Some(ends) = json::ends_of_several(text)
    {
        let (mut start, mut line) = (0, chunk.line);
        for end in ends {
            let bytes = &chunk.bytes[start..end];
            read_chunk(file, index, &split::Chunk { line, bytes }, documents);
            line += split::line_breaks(bytes);
            start = end;
            if documents.len() > limits::MAX_OBJECTS {
                break;
            }
        }
        return;
    }
    let tree = match plain.map_or_else(|| yaml::parse(text), |tree| Ok(Some(tree))) {
        Ok(Some(tree)) => tree,
        Ok(None) => return,
        Err(broken) => {
            let mut partial = broken.partial;
            // The object is named as far as it was read; a fault of its stored
            // form changes nothing about its being refused.
            let _ = stored::fold(&mut partial);
            documents.push(Err(refuse(broken.line, ObjectRef::of(&partial), broken.reason)));
            return;
        }
    };
    let (text, searches): (Arc<str>, _) = (text.into(), Arc::new(AtomicUsize::new(0)));
    // One more than the limit tells the caller that there are too many.
    for item in list::expand(tree).into_iter().take(limits::MAX_OBJECTS + 1) {
        let mut document = Document {
            file: Arc::clone(file),
            index,
            line: chunk.line + item.line - 1,
            value: item.value,
            origin: Origin {
                text: Arc::clone(&text),
                first_line: chunk.line,
                item: item.path,
                searches: Arc::clone(&searches),
            },
        };
        let size = limits::json_bytes(&document.value);
        documents.push(match stored::fold(&mut document.value) {
            _ if size > limits::MAX_OBJECT_BYTES => {
                let reason = format!("is {size} bytes, {} at most are read", limits::MAX_OBJECT_BYTES);
                Err(document.refuse(Layer::Yaml, &FieldPath::default(), reason))
            }
            Ok(()) => Ok(document),
            Err(fault) => Err(document.refuse(Layer::Decode, &fault.field, fault.reason)),
        });
    }
}

/// What is wrong with a text that is not UTF-8.
fn not_utf8(text: &[u8]) -> &'static str {
    match text {
        // The byte order mark, as some editors and shells of Windows write it.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16, not UTF-8: save it as UTF-8",
        _ => "not UTF-8",
    }
}

#[cfg(test)]
mod tests;
