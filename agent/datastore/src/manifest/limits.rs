//! How much of a manifest is read. `docs/limits.md` repeats these.
//!
//! What is above a limit is refused by name and loses nothing else. The limits
//! bound the memory that a file can cost, whatever is in it.

use serde_json::{Map, Value};

/// The largest file that is read, in bytes: it is in memory whole while it is
/// read. Thirty thousand pods as `kubectl get` prints them are less.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// The largest object, in bytes of JSON: what API servers take of a request
/// (`MaxRequestBodyBytes` of k8s.io/apiserver).
pub const MAX_OBJECT_BYTES: usize = 3 << 20;

/// How many objects of one file are read, so that a file of nothing but marks
/// and errors is not millions of refusals.
pub const MAX_OBJECTS: usize = 100_000;

/// How many problems of one file are told one by one; of more only how many there are.
pub const MAX_PROBLEMS: usize = 100;

/// How often a document is looked through for the line of a field. The objects of
/// a list share one, and each may be refused.
pub const MAX_SEARCHES: usize = 16;

/// How many nodes (scalars, lists, mappings) one document may have: a node takes
/// far more memory than the two bytes that it may be written in.
pub const MAX_NODES: usize = 5_000_000;

/// The deepest nesting of lists and mappings: recursion must not exhaust a
/// thread's stack. Objects of any known kind stay below 30.
pub const MAX_DEPTH: usize = 100;

/// How many nodes the aliases of a document may stand for, all told: enough for
/// any manifest written by hand, too little for a bomb.
pub const MAX_ALIASED_NODES: usize = 100_000;

/// How many bytes the anchors and aliases of a document may copy, all told: few
/// nodes may be long texts.
pub const MAX_COPIED_BYTES: usize = 16 << 20;

/// The most that all annotations of an object may be, keys and values, in bytes
/// (`TotalAnnotationSizeLimitB` of k8s.io/apimachinery).
pub const MAX_ANNOTATION_BYTES: usize = 256 << 10;

/// The largest token in the file `.sync`, in bytes: a larger one is taken for none.
pub const MAX_TOKEN_BYTES: u64 = 4 << 10;

/// How long a value is as JSON without blanks, nearly: escapes count as what
/// they stand for.
pub(super) fn json_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => text.len() + 2,
        Value::Array(elements) => 1 + elements.len().max(1) + elements.iter().map(json_bytes).sum::<usize>(),
        Value::Object(fields) => 1 + fields.len().max(1) + fields_bytes(fields),
    }
}

fn fields_bytes(fields: &Map<String, Value>) -> usize {
    fields.iter().map(|(name, value)| name.len() + 3 + json_bytes(value)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_are_those_of_json_text() {
        for value in
            [json!(null), json!([true, false, -12, 1.5, ""]), json!({"a": {}, "b": [], "c": {"d": ["e", {"f": 0}]}})]
        {
            assert_eq!(json_bytes(&value), value.to_string().len(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_shorter_than_its_size(texts in prop::collection::btree_map(".{0,9}", ".{0,9}", 0..5)) {
            let value = json!(texts);
            prop_assert!(json_bytes(&value) <= value.to_string().len());
        }
    }
}
