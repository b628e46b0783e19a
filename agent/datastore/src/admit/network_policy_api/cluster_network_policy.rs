//! v1alpha2 ClusterNetworkPolicy.

use super::{
    API_VERSION, KIND, METADATA, NAME, NAMESPACES, NETWORKS, PORT_NAME, PORT_NUMBER, PRIORITY, SELECTOR, STATUS,
    one_form, start_before_end,
};
use crate::admit::schema::{Field, List, Object, Type, one_of, optional, required};
use crate::admit::{Admission, Gate, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Schema,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&SPEC)), STATUS]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

static SPEC: Object = Object::of(&[
    required("tier", one_of(&["Admin", "Baseline"])),
    PRIORITY,
    required("subject", Type::Object(&SUBJECT)),
    optional("ingress", Type::List(&List::of(Type::Object(&INGRESS)).max(25))),
    optional("egress", Type::List(&List::of(Type::Object(&EGRESS)).max(25))),
]);

static SUBJECT: Object = Object::of(&[NAMESPACES, PODS]).rules(&[one_form]);

const PODS: Field = optional("pods", Type::Object(&NAMESPACED_PODS));

static NAMESPACED_PODS: Object =
    Object::of(&[optional("namespaceSelector", SELECTOR), required("podSelector", SELECTOR)]);

const ACTION: Field = required("action", one_of(&["Accept", "Deny", "Pass"]));

static INGRESS: Object = Object::of(&[NAME, ACTION, required("from", Type::List(&INGRESS_PEERS)), PROTOCOLS]);
static EGRESS: Object = Object::of(&[NAME, ACTION, required("to", Type::List(&EGRESS_PEERS)), PROTOCOLS]);

static INGRESS_PEERS: List = List::of(Type::Object(&INGRESS_PEER)).min(1).max(25);
static EGRESS_PEERS: List = List::of(Type::Object(&EGRESS_PEER)).min(1).max(25);

static INGRESS_PEER: Object = Object::of(&[NAMESPACES, PODS]).rules(&[one_form]);
static EGRESS_PEER: Object = Object::of(&[NAMESPACES, PODS, NETWORKS]).rules(&[one_form]);

const PROTOCOLS: Field = optional("protocols", Type::List(&PROTOCOL_LIST));
static PROTOCOL_LIST: List = List::of(Type::Object(&PROTOCOL)).min(1).max(25);

static PROTOCOL: Object = Object::of(&[
    optional("tcp", PORTED),
    optional("udp", PORTED),
    optional("sctp", PORTED),
    optional("destinationNamedPort", PORT_NAME),
])
.rules(&[one_form]);

const PORTED: Type = Type::Object(&PORTED_PROTOCOL);

static PORTED_PROTOCOL: Object = Object::of(&[required("destinationPort", Type::Object(&PORT))]);

static PORT: Object =
    Object::of(&[optional("number", PORT_NUMBER), optional("range", Type::Object(&RANGE))]).rules(&[one_form]);

static RANGE: Object =
    Object::of(&[required("start", PORT_NUMBER), required("end", PORT_NUMBER)]).rules(&[start_before_end]);
