//! Tier.

use serde_json::Value;

use super::{API_VERSION, KIND, METADATA, STATUS};
use crate::admit::fields::{self, Fields};
use crate::admit::schema::{Object, Type, defaulted, one_of, optional, required};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&SPEC)), STATUS])
        .rules(&[built_in_tiers]),
    name: syntax::dns_label,
    fill_in,
};

static SPEC: Object =
    Object::of(&[optional("order", Type::Number), defaulted("defaultAction", one_of(&["Deny", "Pass"]), "Deny")]);

/// The order of the tier `default`, and of a tier that states none.
const DEFAULT_ORDER: f64 = 1_000_000.0;

/// The tiers that every cluster has, their order and default action.
const BUILT_IN: [(&str, f64, &str); 3] =
    [("default", DEFAULT_ORDER, "Deny"), ("kube-admin", 1_000.0, "Pass"), ("kube-baseline", 10_000_000.0, "Pass")];

fn fill_in(object: &mut Fields) {
    if let Some(spec) = fields::mapping_mut(object, "spec") {
        spec.entry("order").or_insert_with(|| DEFAULT_ORDER.into());
    }
}

fn built_in_tiers(tier: &Fields) -> Result<(), Violation> {
    let name = fields::mapping(tier, "metadata").map_or("", |metadata| fields::text(metadata, "name"));
    let Some((_, order, action)) = BUILT_IN.into_iter().find(|(built_in, ..)| *built_in == name) else {
        return Ok(());
    };
    let Some(spec) = fields::mapping(tier, "spec") else {
        return Ok(());
    };
    if fields::text(spec, "defaultAction") != action {
        return Err(Violation::crd(format!("must be {action} for the tier {name}")).at("defaultAction").at("spec"));
    }
    if spec.get("order").and_then(Value::as_f64) != Some(order) {
        return Err(Violation::crd(format!("must be {order} for the tier {name}")).at("order").at("spec"));
    }
    Ok(())
}
