//! One YAML document as a JSON value.
//!
//! The parser's events are taken as they are rather than through serde: only
//! they tell a quoted scalar from a plain one and know each node's line.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::limits::{MAX_ALIASED_NODES, MAX_COPIED_BYTES, MAX_DEPTH, MAX_NODES};
use super::scalar;

/// A document that was read.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) value: Value,
    /// The line that it begins in, counted from 1.
    pub(super) line: usize,
    /// The line that each element of the top mapping's `items` begins in.
    pub(super) item_lines: Vec<usize>,
}

/// A document that could not be read.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) line: usize,
    pub(super) reason: String,
    /// As much as was read: often enough to name the object.
    pub(super) partial: Value,
}

/// The options of every parser here.
pub(super) fn options() -> Options {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.block_nesting_limit = MAX_DEPTH;
    options.flow_nesting_limit = MAX_DEPTH;
    options
}

/// Reads a document; `None` if it is empty.
pub(super) fn parse(text: &str) -> Result<Option<Tree>, Broken> {
    parse_within(text, MAX_NODES)
}

fn parse_within(text: &str, max_nodes: usize) -> Result<Option<Tree>, Broken> {
    let mut builder = Builder { max_nodes, ..Builder::default() };
    for next in Parser::new_from_str_with_options(text, options()) {
        let fault = match next {
            Ok((event, span)) => match builder.event(event, span) {
                Ok(()) => continue,
                Err(fault) => fault,
            },
            Err(error) if *error.kind() == ErrorKind::RecursionLimitExceeded => too_deep(error.marker().line()),
            Err(error) => Fault { line: error.marker().line(), reason: error.info() },
        };
        return Err(builder.broken(fault));
    }
    if let Some(fault) = builder.fault.take() {
        return Err(builder.broken(fault));
    }
    let Some((value, line)) = builder.root.take() else {
        return Ok(None);
    };
    Ok((!value.is_null()).then_some(Tree { value, line, item_lines: builder.item_lines }))
}

#[derive(Debug)]
struct Fault {
    line: usize,
    reason: String,
}

impl Fault {
    fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

/// A collection that is being read.
struct Frame {
    kind: FrameKind,
    line: usize,
    anchor: usize,
    /// Of what was read so far.
    size: Size,
}

/// How large a node is.
#[derive(Clone, Copy)]
struct Size {
    /// How many nodes it is, itself included.
    nodes: usize,
    /// How deep it is: 0 for a scalar, 1 for a collection of scalars.
    depth: usize,
    /// The bytes of a copy of it.
    bytes: usize,
}

impl Size {
    const EMPTY_COLLECTION: Self = Self { nodes: 1, depth: 1, bytes: size_of::<Value>() };

    const fn scalar(text: &str) -> Self {
        Self { nodes: 1, depth: 0, bytes: size_of::<Value>() + text.len() }
    }

    fn add(&mut self, inner: Self) {
        self.nodes += inner.nodes;
        self.depth = self.depth.max(inner.depth + 1);
        self.bytes += inner.bytes;
    }
}

enum FrameKind {
    Sequence(Vec<Value>),
    Mapping {
        fields: Map<String, Value>,
        /// The key whose value comes next.
        key: Option<Key>,
        /// Mappings to be merged in, the first of them counting most.
        merged: Vec<Map<String, Value>>,
    },
}

enum Key {
    Name(String),
    Merge,
}

/// A complete node.
struct Node {
    value: Value,
    line: usize,
    size: Size,
}

/// Builds a value from events.
#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    root: Option<(Value, usize)>,
    anchors: HashMap<usize, (Value, Size)>,
    nodes: usize,
    max_nodes: usize,
    aliased_nodes: usize,
    copied_bytes: usize,
    item_lines: Vec<usize>,
    /// The first fault after which reading went on.
    fault: Option<Fault>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let line = span.start.line();
        if event.is_node() {
            self.nodes += 1;
            if self.nodes > self.max_nodes {
                return Err(Fault::new(line, format!("more than {} scalars, lists and mappings", self.max_nodes)));
            }
            self.note_item(line);
        }
        match event {
            Event::Scalar(text, style, anchor, tag) if self.expects_key() => {
                let key = key(&text, style, tag.as_deref(), line)?;
                if let Key::Name(name) = &key {
                    self.anchor(anchor, &name.as_str().into(), Size::scalar(&text), line)?;
                }
                self.take_key(key, Size::scalar(&text), line);
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar_value(&text, style, tag.as_deref(), line)?;
                self.complete(Node { value, line, size: Size::scalar(&text) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(FrameKind::Sequence(Vec::new()), anchor, tag.as_deref(), line)
            }
            Event::MappingStart(_, anchor, tag) => {
                let mapping = FrameKind::Mapping { fields: Map::new(), key: None, merged: Vec::new() };
                self.open(mapping, anchor, tag.as_deref(), line)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(frame) => {
                    let anchor = frame.anchor;
                    self.complete(frame.finish(), anchor)
                }
                None => Ok(()),
            },
            Event::Alias(id) => {
                let node = self.aliased(id, line)?;
                self.complete(node, 0)
            }
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Fault::new(line, "a second document without a --- line before it"))
            }
            _ => Ok(()),
        }
    }

    /// Notes where a node begins if it is an element of the top mapping's `items`.
    fn note_item(&mut self, line: usize) {
        if let [
            Frame { kind: FrameKind::Mapping { key: Some(Key::Name(name)), .. }, .. },
            Frame { kind: FrameKind::Sequence(_), .. },
        ] = self.stack.as_slice()
            && name == "items"
        {
            self.item_lines.push(line);
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { kind: FrameKind::Mapping { key: None, .. }, .. }))
    }

    /// Takes the key of the innermost mapping, whose value comes next. Reading
    /// goes on after a key that occurs twice, for the object's name may follow.
    fn take_key(&mut self, name: Key, key_size: Size, line: usize) {
        let Some(Frame { kind: FrameKind::Mapping { fields, key, .. }, size, .. }) = self.stack.last_mut() else {
            return;
        };
        if let Key::Name(name) = &name
            && fields.contains_key(name)
        {
            self.fault.get_or_insert_with(|| Fault::new(line, format!("the key {name:?} occurs twice")));
        }
        size.add(key_size);
        *key = Some(name);
    }

    fn open(&mut self, kind: FrameKind, anchor: usize, tag: Option<&Tag>, line: usize) -> Result<(), Fault> {
        if self.expects_key() {
            return Err(Fault::new(line, "a key that is not a scalar"));
        }
        if self.stack.len() == MAX_DEPTH {
            return Err(too_deep(line));
        }
        let own_tag = match kind {
            FrameKind::Sequence(_) => "seq",
            FrameKind::Mapping { .. } => "map",
        };
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema_tag(own_tag)) {
            return Err(foreign_tag(tag, line));
        }
        self.stack.push(Frame { kind, line, anchor, size: Size::EMPTY_COLLECTION });
        Ok(())
    }

    fn aliased(&mut self, id: usize, line: usize) -> Result<Node, Fault> {
        if self.expects_key() {
            return Err(Fault::new(line, "an alias as a key"));
        }
        let Some((value, size)) = self.anchors.get(&id) else {
            return Err(Fault::new(line, "an alias to the node that it is in"));
        };
        self.aliased_nodes += size.nodes;
        if self.aliased_nodes > MAX_ALIASED_NODES {
            let reason = format!("the aliases stand for more than {MAX_ALIASED_NODES} nodes");
            return Err(Fault::new(line, reason));
        }
        if self.stack.len() + size.depth > MAX_DEPTH {
            return Err(too_deep(line));
        }
        copy(&mut self.copied_bytes, *size, line)?;
        Ok(Node { value: value.clone(), line, size: *size })
    }

    fn anchor(&mut self, id: usize, value: &Value, size: Size, line: usize) -> Result<(), Fault> {
        if id > 0 {
            copy(&mut self.copied_bytes, size, line)?;
            self.anchors.insert(id, (value.clone(), size));
        }
        Ok(())
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        self.anchor(anchor, &node.value, node.size, node.line)?;
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some((node.value, node.line));
            return Ok(());
        };
        frame.size.add(node.size);
        match &mut frame.kind {
            FrameKind::Sequence(elements) => elements.push(node.value),
            FrameKind::Mapping { fields, key, merged } => match key.take() {
                Some(Key::Name(name)) => {
                    fields.entry(name).or_insert(node.value);
                }
                Some(Key::Merge) => merged.extend(mappings(node)?),
                None => return Err(Fault::new(node.line, "a key that is not a scalar")),
            },
        }
        Ok(())
    }

    /// Closes what is open, so that what was read can be looked at.
    fn broken(mut self, fault: Fault) -> Broken {
        let mut inner = self.root.take().map(|(value, _)| value);
        while let Some(mut frame) = self.stack.pop() {
            if let (Some(value), FrameKind::Mapping { fields, key, .. }) = (inner, &mut frame.kind)
                && let Some(Key::Name(name)) = key.take()
            {
                fields.insert(name, value);
            }
            inner = Some(frame.finish().value);
        }
        let Fault { line, reason } = self.fault.unwrap_or(fault);
        Broken { line, reason, partial: inner.unwrap_or_default() }
    }
}

impl Frame {
    fn finish(self) -> Node {
        let value = match self.kind {
            FrameKind::Sequence(elements) => Value::Array(elements),
            FrameKind::Mapping { mut fields, merged, .. } => {
                for (name, value) in merged.into_iter().flatten() {
                    fields.entry(name).or_insert(value);
                }
                Value::Object(fields)
            }
        };
        Node { value, line: self.line, size: self.size }
    }
}

/// The mappings that a merge key `<<` brings in.
fn mappings(node: Node) -> Result<Vec<Map<String, Value>>, Fault> {
    let fault = || Fault::new(node.line, "a merge key << wants a mapping or a list of mappings");
    match node.value {
        Value::Object(fields) => Ok(vec![fields]),
        Value::Array(elements) => elements
            .into_iter()
            .map(|element| match element {
                Value::Object(fields) => Ok(fields),
                _ => Err(fault()),
            })
            .collect(),
        _ => Err(fault()),
    }
}

fn key(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Key, Fault> {
    if style == ScalarStyle::Plain && tag.is_none() && text == "<<" {
        return Ok(Key::Merge);
    }
    match scalar_value(text, style, tag, line)? {
        Value::Bool(_) => Err(Fault::new(line, format!("the key {text} is read as a boolean: quote it"))),
        Value::Null => Err(Fault::new(line, "a key that is null")),
        _ => Ok(Key::Name(text.to_owned())),
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Value, Fault> {
    let resolved = || scalar::resolve(text).ok_or_else(|| Fault::new(line, format!("{text} is not a finite number")));
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => resolved(),
            _ => Ok(text.into()),
        };
    };
    let Some(name) = tag.core_suffix() else {
        return Err(foreign_tag(tag, line));
    };
    let value = resolved()?;
    match (name, &value) {
        ("str", _) => Ok(text.into()),
        ("bool", Value::Bool(_)) | ("null", Value::Null) | ("float", Value::Number(_)) => Ok(value),
        ("int", Value::Number(number)) if !number.is_f64() => Ok(value),
        ("bool" | "null" | "float" | "int", _) => Err(Fault::new(line, format!("{text:?} is not a !!{name}"))),
        _ => Err(foreign_tag(tag, line)),
    }
}

/// Counts a copy of a node, before it is made.
fn copy(copied_bytes: &mut usize, size: Size, line: usize) -> Result<(), Fault> {
    *copied_bytes += size.bytes;
    if *copied_bytes > MAX_COPIED_BYTES {
        let reason = format!("the anchors and aliases stand for more than {MAX_COPIED_BYTES} bytes");
        return Err(Fault::new(line, reason));
    }
    Ok(())
}

fn too_deep(line: usize) -> Fault {
    Fault::new(line, format!("nested more than {MAX_DEPTH} deep"))
}

fn foreign_tag(tag: &Tag, line: usize) -> Fault {
    Fault::new(line, format!("the tag {tag} has no meaning here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_too_many_nodes_is_refused_by_name() {
        let text = "kind: Pod\nmetadata: {name: p}\na: [1, 2, 3]\n";
        let nodes = 12;
        assert!(parse_within(text, nodes).is_ok());
        let broken = parse_within(text, nodes - 1).expect_err("it has more");
        assert_eq!(broken.reason, "more than 11 scalars, lists and mappings");
        assert_eq!(broken.partial["metadata"]["name"], "p");
    }
}
