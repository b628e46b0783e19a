//! What is written elsewhere about the parameters is made of the table: the
//! page for people, and the schema for API servers. `CARACAL_REWRITE=1` writes
//! the files anew instead of comparing them. And the table holds against what
//! Felix's own reference says of its parameters (`data/felix-parameters.tsv`,
//! from `felix/docs/config-params.json`).

#[path = "documents/page.rs"]
mod page;
#[path = "documents/schema.rs"]
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use caracal_config::{PARAMETERS, Param, Scope, parameter};

/// Compares a file of the repository with what it should say, or writes it.
fn holds(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    if std::env::var_os("CARACAL_REWRITE").is_some() {
        fs::write(&path, text).expect("the file can be written");
    }
    let written = fs::read_to_string(&path).expect("the file is there");
    let differing = written.lines().zip(text.lines()).find(|(written, made)| written != made);
    assert!(written == text, "{file} is not what the table makes; CARACAL_REWRITE=1 writes it: {differing:#?}");
}

#[test]
fn the_page_is_made_of_the_table() {
    holds("docs/configuration.md", &page::page());
}

#[test]
fn the_schema_is_made_of_the_table() {
    holds("deploy/crds/crd.projectcalico.org_felixconfigurations.yaml", &schema::custom_resource_definition());
}

/// A row of Felix's reference.
struct Sheet<'a> {
    name: &'a str,
    field: &'a str,
    /// The type of the field in the resource; empty if there is none.
    of_type: &'a str,
    default: &'a str,
    sources: &'a str,
    required: &'a str,
}

fn sheet() -> Vec<Sheet<'static>> {
    let lines = include_str!("data/felix-parameters.tsv").lines().skip(1);
    let rows = lines.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, field, of_type, default, _on_failure, sources, required] = columns[..] else {
            panic!("seven columns: {line}");
        };
        Sheet { name, field, of_type, default, sources, required }
    });
    rows.collect()
}

/// The type of a field as Felix's reference says it.
fn type_of(parameter: &Param) -> &'static str {
    let schema = schema::of_field(parameter);
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return "integer or string";
    }
    match schema["type"].as_str() {
        Some("boolean") => "boolean",
        Some("integer") => "integer",
        Some("string") => "string",
        Some("array") => "array",
        Some("object") => "object",
        other => panic!("{}: {other:?} is no type", parameter.name),
    }
}

#[test]
fn the_table_says_what_felix_says() {
    let sheet = sheet();
    assert_eq!(sheet.len(), 209);
    for Sheet { name, field, of_type, default, sources, required } in sheet {
        let parameter = parameter(name).unwrap_or_else(|| panic!("the table has no {name}"));
        let scope = match sources {
            "All" => Scope::Anywhere,
            "LocalOnly" => Scope::Local,
            other => panic!("{name}: {other} is no scope"),
        };
        assert_eq!(parameter.name, name);
        assert_eq!(parameter.field.unwrap_or_default(), field, "{name}");
        assert_eq!(parameter.default, default, "{name}");
        assert_eq!(parameter.scope, scope, "{name}");
        assert_eq!(parameter.required, required == "required", "{name}");
        if parameter.field.is_some() {
            assert_eq!(type_of(parameter), of_type, "{name}");
        }
    }
}

/// Parameters that Felix does not have are marked as ours on the page.
#[test]
fn what_felix_does_not_have_is_ours() {
    let felix: BTreeMap<&str, ()> = sheet().into_iter().map(|row| (row.name, ())).collect();
    let ours: Vec<&str> = PARAMETERS.iter().map(|p| p.name).filter(|name| !felix.contains_key(name)).collect();
    let page = page::page();
    for name in ours {
        assert!(page.contains(&format!("`{name}` is ours")), "{name}");
    }
}
