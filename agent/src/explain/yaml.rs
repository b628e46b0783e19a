//! JSON values as YAML in block style, the way people write manifests.

use std::fmt::Write as _;

use serde_json::Value;

/// The document of a value, with a line break at its end.
pub(super) fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_flat(value) => block(value, 0, &mut text),
        _ => {
            text.push_str(&flat(value));
            text.push('\n');
        }
    }
    text
}

/// Values that fit on the line of their key.
fn is_flat(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(items) => items.iter().all(|item| !item.is_array() && !item.is_object()),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn flat(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(is) => is.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(", ")),
        Value::Object(_) => "{}".to_owned(),
    }
}

/// Texts that no reader of YAML takes for anything else stand as they are.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

fn block(value: &Value, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(fields) => {
            for (i, (key, value)) in ordered(fields).into_iter().enumerate() {
                let lead = if i == 0 { "" } else { pad.as_str() };
                entry(&format!("{lead}{}:", scalar(key)), value, indent, text);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let lead = if i == 0 { "" } else { pad.as_str() };
                if is_flat(item) {
                    writeln!(text, "{lead}- {}", flat(item)).expect("a text takes everything");
                } else {
                    write!(text, "{lead}- ").expect("a text takes everything");
                    block(item, indent + 2, text);
                }
            }
        }
        _ => unreachable!("other values are flat"),
    }
}

fn entry(key: &str, value: &Value, indent: usize, text: &mut String) {
    if is_flat(value) {
        writeln!(text, "{key} {}", flat(value)).expect("a text takes everything");
        return;
    }
    // Lists stand below their key, not to its right.
    let inner = if value.is_array() { indent } else { indent + 2 };
    write!(text, "{key}\n{}", " ".repeat(inner)).expect("a text takes everything");
    block(value, inner, text);
}

/// What identifies an object first, as everybody writes it; then by name.
fn ordered(fields: &serde_json::Map<String, Value>) -> Vec<(&str, &Value)> {
    const FIRST: [&str; 11] =
        ["apiVersion", "kind", "metadata", "namespace", "name", "op", "path", "tier", "order", "action", "protocol"];
    let rank = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), value)).collect();
    fields.sort_by_key(|(key, _)| (rank(key), *key));
    fields
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use caracal_datastore::manifest::read_documents;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_printed_reads_as_it_was() {
        let value = json!({
            "kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": "a-b", "namespace": "on"},
            "spec": {"podSelector": {}, "types": ["Ingress"], "order": -1.5, "n": null, "is": true,
                "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1/32"}}, {"podSelector": {"matchLabels": {"a/b": "1", "k": ""}}}],
                    "ports": [{"port": 80}]}, {}, {"selector": "a == 'b' && !has(c)"}]},
        });
        let text = document(&value);
        let read = read_documents(Path::new("a.yaml"), &text).remove(0).expect("a document");
        assert_eq!(read.value, value, "{text}");
    }
}
