//! meta/v1 LabelSelector.

use serde_json::{Map, Value};

use crate::admit::format::Format;
use crate::admit::schema::{List, Object, TEXT_LIST, Type, formatted, one_of, optional, required};
use crate::admit::violation::Violation;
use crate::admit::{fields, metadata, syntax};

/// A label selector whose unknown fields are errors.
pub(in crate::admit) static LABEL_SELECTOR: Object = Object::of(&[
    optional("matchLabels", Type::Texts),
    optional("matchExpressions", Type::List(&List::of(Type::Object(&REQUIREMENT)))),
])
.rules(&[match_labels]);

static REQUIREMENT: Object = Object::of(&[
    required("key", formatted(Format::QualifiedName)),
    required("operator", one_of(&["In", "NotIn", "Exists", "DoesNotExist"])),
    optional("values", TEXT_LIST),
])
.rules(&[values_fit_operator]);

fn match_labels(selector: &Map<String, Value>) -> Result<(), Violation> {
    let Some(labels) = fields::mapping(selector, "matchLabels") else {
        return Ok(());
    };
    metadata::label_texts(labels).map_err(|reason| Violation::k8s(reason).at("matchLabels"))
}

fn values_fit_operator(requirement: &Map<String, Value>) -> Result<(), Violation> {
    let operator = fields::text(requirement, "operator");
    let values = fields::list(requirement, "values");
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            return Err(Violation::k8s(format!("is missing, {operator} needs values")).at("values"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            return Err(Violation::k8s(format!("has no meaning with {operator}")).at("values"));
        }
        _ => {}
    }
    for (i, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        syntax::label_value(value)
            .map_err(|fault| Violation::k8s(format!("{value:?} {fault}")).at_item(i).at("values"))?;
    }
    Ok(())
}
