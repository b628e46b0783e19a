//! v1alpha1 AdminNetworkPolicy and BaselineAdminNetworkPolicy, which v1alpha2
//! made one kind.

use super::{
    API_VERSION, KIND, METADATA, NAME, NAMESPACES, NETWORKS, PORT_NAME, PORT_NUMBER, PRIORITY, SELECTOR, STATUS,
    one_form, start_before_end,
};
use crate::admit::fields::{self, Fields};
use crate::admit::schema::{Field, List, Object, Type, defaulted, one_of, optional, required};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, kubernetes, syntax};

/// AdminNetworkPolicy.
pub(in crate::admit) static ADMIN: Admission = Admission {
    gate: Gate::Schema,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&ADMIN_SPEC)), STATUS]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

/// BaselineAdminNetworkPolicy.
pub(in crate::admit) static BASELINE: Admission = Admission {
    gate: Gate::Schema,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&BASELINE_SPEC)), STATUS])
        .rules(&[there_is_one]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

const SUBJECT: Field = required("subject", Type::Object(&SUBJECT_FORMS));

static ADMIN_SPEC: Object = Object::of(&[
    PRIORITY,
    SUBJECT,
    optional("ingress", Type::List(&List::of(Type::Object(&ADMIN_INGRESS)).max(100))),
    optional("egress", Type::List(&List::of(Type::Object(&ADMIN_EGRESS)).max(100))),
]);

static BASELINE_SPEC: Object = Object::of(&[
    SUBJECT,
    optional("ingress", Type::List(&List::of(Type::Object(&BASELINE_INGRESS)).max(100))),
    optional("egress", Type::List(&List::of(Type::Object(&BASELINE_EGRESS)).max(100))),
]);

static SUBJECT_FORMS: Object = Object::of(&[NAMESPACES, PODS]).rules(&[one_form]);

const PODS: Field = optional("pods", Type::Object(&NAMESPACED_PODS));

static NAMESPACED_PODS: Object =
    Object::of(&[required("namespaceSelector", SELECTOR), required("podSelector", SELECTOR)]);

const ADMIN_ACTION: Field = required("action", one_of(&["Allow", "Deny", "Pass"]));
/// There is no tier behind the baseline to pass to.
const BASELINE_ACTION: Field = required("action", one_of(&["Allow", "Deny"]));

static ADMIN_INGRESS: Object = Object::of(&[NAME, ADMIN_ACTION, FROM, PORTS]);
static ADMIN_EGRESS: Object = Object::of(&[NAME, ADMIN_ACTION, TO, PORTS]);
static BASELINE_INGRESS: Object = Object::of(&[NAME, BASELINE_ACTION, FROM, PORTS]);
static BASELINE_EGRESS: Object = Object::of(&[NAME, BASELINE_ACTION, TO, PORTS]);

const FROM: Field = required("from", Type::List(&INGRESS_PEERS));
const TO: Field = required("to", Type::List(&EGRESS_PEERS));

static INGRESS_PEERS: List = List::of(Type::Object(&INGRESS_PEER)).min(1).max(100);
static EGRESS_PEERS: List = List::of(Type::Object(&EGRESS_PEER)).min(1).max(100);

static INGRESS_PEER: Object = Object::of(&[NAMESPACES, PODS]).rules(&[one_form]);
static EGRESS_PEER: Object = Object::of(&[NAMESPACES, PODS, NETWORKS]).rules(&[one_form]);

const PORTS: Field = optional("ports", Type::List(&PORT_LIST));
static PORT_LIST: List = List::of(Type::Object(&PORT)).max(100);

static PORT: Object = Object::of(&[
    optional("portNumber", Type::Object(&NUMBER)),
    optional("namedPort", PORT_NAME),
    optional("portRange", Type::Object(&RANGE)),
])
.rules(&[one_form]);

const PROTOCOL: Field = defaulted("protocol", kubernetes::PROTOCOL, "TCP");

static NUMBER: Object = Object::of(&[PROTOCOL, required("port", PORT_NUMBER)]);

static RANGE: Object =
    Object::of(&[PROTOCOL, required("start", PORT_NUMBER), required("end", PORT_NUMBER)]).rules(&[start_before_end]);

/// A cluster has one baseline.
fn there_is_one(policy: &Fields) -> Result<(), Violation> {
    let name = fields::mapping(policy, "metadata").map_or("", |metadata| fields::text(metadata, "name"));
    if name == "default" {
        return Ok(());
    }
    Err(Violation::crd(format!("{name:?} is not \"default\", the only name that the kind may have"))
        .at("name")
        .at("metadata"))
}
