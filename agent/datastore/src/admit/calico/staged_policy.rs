//! StagedNetworkPolicy, StagedGlobalNetworkPolicy and StagedKubernetesNetworkPolicy:
//! the policies that they stage, and what is to become of those.

use serde_json::Value;

use super::policy::{
    EGRESS, INGRESS, ORDER, PERFORMANCE_HINTS, POLICY_SELECTOR, SERVICE_ACCOUNT_SELECTOR, TIER, TYPES, fill_in,
    global_name, host_policy, namespaced_name, no_http_in_egress, selectors_are_not_global,
    services_name_their_namespace, sides_of_services,
};
use super::{API_VERSION, KIND, METADATA, SELECTOR, STATUS};
use crate::admit::fields::{self, Fields};
use crate::admit::kubernetes::network_policy;
use crate::admit::schema::{Field, Object, Type, defaulted, one_of, optional, required};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, syntax};

/// projectcalico.org/v3 StagedNetworkPolicy.
pub(in crate::admit) static NAMESPACED: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&NAMESPACED_SPEC)), STATUS]),
    name: namespaced_name,
    fill_in: fill_in_calico,
};

/// projectcalico.org/v3 StagedGlobalNetworkPolicy.
pub(in crate::admit) static GLOBAL: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&GLOBAL_SPEC)), STATUS]),
    name: global_name,
    fill_in: fill_in_calico,
};

/// projectcalico.org/v3 StagedKubernetesNetworkPolicy.
pub(in crate::admit) static KUBERNETES: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&KUBERNETES_SPEC)), STATUS]),
    name: syntax::dns_subdomain,
    fill_in: fill_in_kubernetes,
};

const DELETE: &str = "Delete";

const STAGED_ACTION: Field = defaulted("stagedAction", one_of(&["Set", DELETE, "Learn", "Ignore"]), "Set");

static NAMESPACED_SPEC: Object = Object::of(&[
    STAGED_ACTION,
    TIER,
    ORDER,
    POLICY_SELECTOR,
    SERVICE_ACCOUNT_SELECTOR,
    INGRESS,
    EGRESS,
    TYPES,
    PERFORMANCE_HINTS,
])
.rules(&[selectors_are_not_global, sides_of_services, no_http_in_egress, deletion_says_no_more]);

static GLOBAL_SPEC: Object = Object::of(&[
    STAGED_ACTION,
    TIER,
    ORDER,
    POLICY_SELECTOR,
    SERVICE_ACCOUNT_SELECTOR,
    optional("namespaceSelector", SELECTOR),
    INGRESS,
    EGRESS,
    TYPES,
    PERFORMANCE_HINTS,
    optional("doNotTrack", Type::Boolean),
    optional("preDNAT", Type::Boolean),
    optional("applyOnForward", Type::Boolean),
])
.rules(&[
    host_policy,
    selectors_are_not_global,
    sides_of_services,
    no_http_in_egress,
    services_name_their_namespace,
    deletion_says_no_more,
]);

static KUBERNETES_SPEC: Object = Object::of(&[
    STAGED_ACTION,
    network_policy::POD_SELECTOR,
    network_policy::INGRESS_RULES,
    network_policy::EGRESS_RULES,
    network_policy::POLICY_TYPES,
])
.rules(&[deletion_says_no_more]);

/// Whether a spec stages the deletion of a policy.
fn is_deletion(spec: &Fields) -> bool {
    fields::text(spec, "stagedAction") == DELETE
}

fn fill_in_calico(object: &mut Fields) {
    if fields::mapping(object, "spec").is_some_and(|spec| !is_deletion(spec)) {
        fill_in(object);
    }
}

fn fill_in_kubernetes(object: &mut Fields) {
    if fields::mapping(object, "spec").is_some_and(|spec| !is_deletion(spec)) {
        network_policy::fill_in(object);
    }
}

/// What is deleted needs its tier to be found in, and has nothing else to say.
fn deletion_says_no_more(spec: &Fields) -> Result<(), Violation> {
    if !is_deletion(spec) {
        return Ok(());
    }
    let more = spec.iter().find(|(name, value)| !["stagedAction", "tier"].contains(&name.as_str()) && !is_zero(value));
    match more {
        Some((name, _)) => Err(Violation::client("has no meaning with the action Delete").at(name.clone())),
        None => Ok(()),
    }
}

/// Whether a value is what a client leaves out when it writes the object.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(boolean) => !boolean,
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.values().all(is_zero),
        Value::Number(_) => false,
    }
}
