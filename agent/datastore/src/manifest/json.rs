//! The quick way for a document that is JSON.
//!
//! YAML's parser reads JSON as well, at a fifth of the speed. Whatever is not plain
//! here is left to it, and so are all faults: it names them with their lines.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::limits::{MAX_DEPTH, MAX_NODES, MAX_OBJECTS};
use super::yaml::Tree;

/// The field whose elements need their lines, which are not known here.
const ITEMS: &str = "items";

/// Reads a document that is one JSON object without anything that JSON and YAML
/// might be read differently in; `None` of any other.
pub(super) fn parse(text: &str) -> Option<Tree> {
    let blank = text.len() - text.trim_start_matches([' ', '\n', '\r']).len();
    if !text[blank..].starts_with('{') {
        return None;
    }
    let nodes = Cell::new(0);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Node { nodes: &nodes, depth: 0 }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    let line = 1 + text[..blank].matches('\n').count();
    Some(Tree { value, line, item_lines: Vec::new() })
}

/// The ends of the objects of a text that is several JSON objects one after the other, as `jq` prints
/// them; from a broken one on the rest is one. `None` of any other text.
pub(super) fn ends_of_several(text: &str) -> Option<Vec<usize>> {
    let is_object = |rest: &str| rest.trim_ascii_start().starts_with('{');
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut ends = Vec::new();
    // One more than the limit tells the caller that there are too many.
    while ends.len() <= MAX_OBJECTS && is_object(&text[ends.last().copied().unwrap_or(0)..]) {
        match objects.next() {
            Some(Ok(_)) => ends.push(objects.byte_offset()),
            Some(Err(_)) | None => break,
        }
    }
    let rest = &text[*ends.last()?..];
    if is_object(rest) {
        ends.push(text.len());
    } else if !rest.trim_ascii().is_empty() {
        return None;
    }
    (ends.len() > 1).then_some(ends)
}

/// A node that is about to be read.
#[derive(Clone, Copy)]
struct Node<'a> {
    /// How many were read so far.
    nodes: &'a Cell<usize>,
    /// How many lists and mappings it is in.
    depth: usize,
}

impl Node<'_> {
    /// One that is in this one.
    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom("too deep"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn count<E: Error>(self) -> Result<(), E> {
        self.nodes.set(self.nodes.get() + 1);
        if self.nodes.get() > MAX_NODES { Err(E::custom("too many nodes")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.count()?;
        reader.deserialize_any(self)
    }
}

/// Floating-point numbers are missing: there is more than one way to read them.
impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            list.push(element);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            self.count()?;
            if self.depth == 0 && name == ITEMS {
                return Err(A::Error::custom("a list of objects"));
            }
            if fields.contains_key(&name) {
                return Err(A::Error::custom("a key that occurs twice"));
            }
            let value = entries.next_value_seed(inner)?;
            fields.insert(name, value);
        }
        Ok(fields.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::fuzz::check;

    #[test]
    fn plain_json_is_read_at_once() {
        for text in [
            "{}",
            "\n\n  {\"a\": 1}\n",
            r#"{"kind": "Pod", "metadata": {"name": "p", "labels": {"on": "yes", "<<": "~"}}}"#,
            "{\n  \"a\": [1, -2, 18446744073709551615, true, null, [], {}],\r\n  \"b\": \"\\u00e9\\n\\\"\\\\/\"\n}\n",
            r#"{"spec": {"items": [1]}}"#,
        ] {
            assert!(check(text).is_some(), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_left_to_yaml() {
        let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        for text in [
            "",
            "null",
            "[]",
            "a: 1",
            "{a: 1}",
            r#"{"a": 1.0}"#,
            r#"{"a": 1e3}"#,
            r#"{"a": -0}"#,
            r#"{"a": 18446744073709551616}"#,
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": 1} # a comment"#,
            r#"{"a": 1} {"b": 2}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a": 1,}"#,
            r#"{"items": []}"#,
            &deep(MAX_DEPTH + 1),
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
        assert!(check(&deep(MAX_DEPTH)).is_some());
    }

    /// Values whose texts have whatever JSON must escape, and what YAML reads in its own way.
    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[ -~]{0,6}", "\\PC{0,4}", "[\\x00-\\x1f\\x7f]{1,3}", "yes|~|0x1f|<<|1_000|- a|#|:"];
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((text.clone(), inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn both_ways_read_the_same(value in values(), pretty in any::<bool>()) {
            let object = Value::Object([("a".to_owned(), value)].into_iter().collect());
            let text = if pretty { format!("{object:#}") } else { object.to_string() };
            prop_assert_eq!(check(&text), Some(object));
        }
    }
}
