//! Reading fields that have decoded. What is missing is read as empty.

use serde_json::{Map, Value};

/// A mapping's fields.
pub(super) type Fields = Map<String, Value>;

/// A text.
pub(super) fn text<'v>(fields: &'v Fields, name: &str) -> &'v str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A whole number.
pub(super) fn integer(fields: &Fields, name: &str) -> Option<i64> {
    fields.get(name).and_then(Value::as_i64)
}

/// Whether a boolean is true.
pub(super) fn is_set(fields: &Fields, name: &str) -> bool {
    fields.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// The elements of a list.
pub(super) fn list<'v>(fields: &'v Fields, name: &str) -> &'v [Value] {
    fields.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The texts of a list.
pub(super) fn texts<'v>(fields: &'v Fields, name: &str) -> impl Iterator<Item = &'v str> {
    list(fields, name).iter().filter_map(Value::as_str)
}

/// The mappings of a list, with their places.
pub(super) fn mappings<'v>(fields: &'v Fields, name: &str) -> impl Iterator<Item = (usize, &'v Fields)> {
    list(fields, name).iter().enumerate().filter_map(|(i, element)| Some((i, element.as_object()?)))
}

/// A mapping.
pub(super) fn mapping<'v>(fields: &'v Fields, name: &str) -> Option<&'v Fields> {
    fields.get(name).and_then(Value::as_object)
}

/// A mapping to be changed.
pub(super) fn mapping_mut<'v>(fields: &'v mut Fields, name: &str) -> Option<&'v mut Fields> {
    fields.get_mut(name).and_then(Value::as_object_mut)
}

/// The mappings of a list to be changed.
pub(super) fn mappings_mut<'v>(fields: &'v mut Fields, name: &str) -> impl Iterator<Item = &'v mut Fields> {
    fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}
