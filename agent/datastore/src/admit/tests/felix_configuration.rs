//! The fields that admission lets in are those that the table of parameters reads.

use std::collections::BTreeSet;
use std::path::Path;

use caracal_config::{Kind, PARAMETERS, Param};
use serde_json::{Value, json};

use crate::admit::calico::felix_configuration::SPEC;
use crate::admit::{Admitted, admit};
use crate::manifest::read_documents;

fn is_admitted(field: &str, value: &Value) -> bool {
    let object = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "FelixConfiguration",
        "metadata": {"name": "default"},
        "spec": {field: value},
    });
    let documents = read_documents(Path::new("f.json"), object.to_string());
    let [Ok(document)] = &documents[..] else { panic!("one document: {documents:?}") };
    matches!(admit(document.clone()), Ok(Admitted::Object { .. }))
}

/// Values that a parameter's field may have, of which one must do.
fn values(parameter: &Param) -> Vec<Value> {
    match parameter.kind {
        Kind::Bool => vec![json!(true)],
        Kind::Integer { min, .. } => vec![json!(min.max(1))],
        Kind::Seconds | Kind::Milliseconds => vec![json!("1m")],
        Kind::OneOf(options) => {
            let capital = |option: &&str| option[..1].to_uppercase() + &option[1..].to_lowercase();
            let written = options.iter().map(|option| json!(option));
            written.chain(options.iter().map(|option| json!(capital(option)))).collect()
        }
        Kind::MarkMask => vec![json!(0xff00)],
        Kind::Text => vec![json!("a")],
        Kind::Pattern(_) => vec![json!("a"), json!("7/second"), json!("EF"), json!(["eth0"])],
        Kind::Regex => vec![json!("^eth")],
        Kind::InterfacePatterns => vec![json!("eth0,/^veth/")],
        Kind::KeyValues => vec![json!("a=true"), json!({"tcpSynSent": "1s"}), json!({"a": "b"})],
        Kind::KeyDurations => vec![json!([{"name": "a", "timeout": "1m"}])],
        Kind::Ipv4 => vec![json!("192.0.2.1")],
        Kind::Ipv6 => vec![json!("fd00::1")],
        Kind::Cidrs => vec![json!(["10.0.0.0/8"])],
        Kind::ProtocolPorts => vec![json!([{"protocol": "TCP", "port": 7}])],
        Kind::PortRange => vec![json!("7:9")],
        Kind::PortRanges => vec![json!(["7:9"])],
        Kind::TableRanges { .. } => vec![json!({"min": 7, "max": 9}), json!([{"min": 7, "max": 9}])],
    }
}

#[test]
fn admission_knows_the_fields_of_the_table_and_no_others() {
    let of_table: BTreeSet<&str> = PARAMETERS.iter().filter_map(|parameter| parameter.field).collect();
    // Says which nodes the resource is for, sets nothing.
    let of_table: BTreeSet<&str> = of_table.into_iter().chain(["nodeSelector"]).collect();
    assert_eq!(SPEC.names().collect::<BTreeSet<_>>(), of_table);
    assert!(!is_admitted("interfacePrefixes", &json!("cali")));
}

#[test]
fn what_admission_takes_of_a_field_its_parameter_can_read() {
    for parameter in &PARAMETERS {
        let Some(field) = parameter.field else { continue };
        let reads = |value: &Value| {
            let text = parameter.text_of_field(value).ok().flatten();
            text.is_some_and(|text| parameter.parse(&text).is_ok())
        };
        let values = values(parameter);
        let agreed = values.iter().any(|value| is_admitted(field, value) && reads(value));
        assert!(agreed, "{field}: no value of {values:?} passes both gates");
        // A mapping where a text belongs is of no parameter's kind.
        assert!(!is_admitted(field, &json!({"no": {"such": "thing"}})), "{field}");
    }
}
