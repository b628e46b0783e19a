//! The CustomResourceDefinition of FelixConfiguration: a structural schema that
//! takes what the parameters' fields can be read from.

use caracal_config::{Kind, PARAMETERS, Param};
use serde_json::{Map, Value, json};

/// Durations in Go's form.
const DURATION: &str = r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)?$";

/// Texts of pairs that are an object of texts in the resource.
const OBJECTS: [&str; 2] = ["BPFConntrackTimeouts", "BPFLogFilters"];

/// Texts with commas that are a list in the resource.
const LISTS: [&str; 1] = ["BPFForceTrackPacketsFromIfaces"];

/// Texts that are a number as well.
const NUMBERS_TOO: [&str; 1] = ["IstioDSCPMark"];

/// The schema of the field that sets a parameter.
pub(super) fn of_field(parameter: &Param) -> Value {
    let Param { name, kind, required, .. } = parameter;
    let or_none = |pattern: String| {
        let none = if *required { "" } else { "|^(?i:none)$" };
        json!({"type": "string", "pattern": format!("^$|{pattern}{none}")})
    };
    match kind {
        Kind::Pattern(_) if NUMBERS_TOO.contains(name) => port(),
        Kind::Pattern(_) if LISTS.contains(name) => list(json!({"type": "string"})),
        Kind::KeyValues if OBJECTS.contains(name) => {
            json!({"type": "object", "additionalProperties": {"type": "string"}})
        }
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Integer { min, max } => integer(*min, *max),
        Kind::Seconds | Kind::Milliseconds => json!({"type": "string", "pattern": DURATION}),
        Kind::OneOf(options) => or_none(format!("^(?i:{})$", options.join("|"))),
        Kind::Pattern(pattern) => or_none((*pattern).to_owned()),
        Kind::MarkMask => json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX}),
        Kind::Text | Kind::Regex | Kind::InterfacePatterns | Kind::KeyValues | Kind::Ipv4 | Kind::Ipv6 => {
            json!({"type": "string"})
        }
        Kind::KeyDurations => list(json!({
            "type": "object",
            "required": ["name", "timeout"],
            "properties": {"name": {"type": "string"}, "timeout": {"type": "string", "pattern": DURATION}},
        })),
        Kind::Cidrs => list(json!({"type": "string"})),
        Kind::ProtocolPorts => list(json!({
            "type": "object",
            "required": ["port"],
            "properties": {
                "protocol": {"type": "string", "pattern": "^(?i:tcp|udp)$"},
                "net": {"type": "string"},
                "port": integer(0, i64::from(u16::MAX)),
            },
        })),
        Kind::PortRange => port(),
        Kind::PortRanges => list(port()),
        Kind::TableRanges { count: 1, max } => table_range(*max),
        Kind::TableRanges { count: _, max } => list(table_range(*max)),
    }
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn port() -> Value {
    json!({"x-kubernetes-int-or-string": true})
}

fn table_range(max: u32) -> Value {
    let end = || integer(0, i64::from(max));
    json!({"type": "object", "required": ["min", "max"], "properties": {"min": end(), "max": end()}})
}

fn integer(min: i64, max: i64) -> Value {
    let mut schema = json!({"type": "integer"});
    if min != i64::MIN {
        schema["minimum"] = min.into();
    }
    if max != i64::MAX {
        schema["maximum"] = max.into();
    }
    schema
}

/// The resource that tells an API server of FelixConfiguration.
pub(super) fn custom_resource_definition() -> String {
    let mut fields = Map::new();
    let selector = "The labels of the nodes that it is for, of a resource that is neither default nor node.NAME.";
    fields.insert("nodeSelector".into(), json!({"type": "string", "maxLength": 1024, "description": selector}));
    for parameter in &PARAMETERS {
        let Some(field) = parameter.field else { continue };
        let mut schema = of_field(parameter);
        schema["description"] = description(parameter).into();
        fields.insert(field.to_owned(), schema);
    }
    let resource = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "felixconfigurations.crd.projectcalico.org"},
        "spec": {
            "group": "crd.projectcalico.org",
            "names": {
                "kind": "FelixConfiguration",
                "listKind": "FelixConfigurationList",
                "plural": "felixconfigurations",
                "singular": "felixconfiguration",
            },
            "scope": "Cluster",
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "description": "Parameters of the agents: of all, of some nodes, or of one.",
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "spec": {"type": "object", "properties": fields},
                    },
                }},
            }],
        },
    });
    let mut text =
        "# Made of the table of parameters by the tests of caracal-config: CARACAL_REWRITE=1 writes it anew.\n"
            .to_owned();
    write(&resource, 0, &mut text);
    text
}

fn description(parameter: &Param) -> String {
    let Param { name, default, .. } = parameter;
    if default.is_empty() { format!("{name}.") } else { format!("{name}; without it: {default}.") }
}

/// Writes a block of YAML; keys in their order, so that the text does not depend on how the map is kept.
fn write(value: &Value, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            for (key, value) in entries {
                *text += &format!("{pad}{key}:");
                write_after(value, indent, text);
            }
        }
        Value::Array(list) => {
            for item in list {
                if item.is_object() {
                    let mut block = String::new();
                    write(item, indent + 2, &mut block);
                    *text += &format!("{pad}- {}", &block[indent + 2..]);
                } else {
                    *text += &format!("{pad}-");
                    write_after(item, indent, text);
                }
            }
        }
        scalar => *text += &format!("{pad}{}\n", plain(scalar)),
    }
}

/// What follows a key or a dash.
fn write_after(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(map) if map.is_empty() => *text += " {}\n",
        Value::Object(_) => {
            text.push('\n');
            write(value, indent + 2, text);
        }
        Value::Array(_) => {
            text.push('\n');
            write(value, indent, text);
        }
        scalar => *text += &format!(" {}\n", plain(scalar)),
    }
}

/// A scalar; texts in single quotes, in which nothing but the quote means anything.
fn plain(scalar: &Value) -> String {
    match scalar {
        Value::String(text) if is_word(text) => text.clone(),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}

/// Whether a text is a text without quotes: no number, no switch, nothing special.
fn is_word(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let continues = text.chars().all(|c| c.is_ascii_alphanumeric() || "./-".contains(c));
    starts && continues && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text)
}
