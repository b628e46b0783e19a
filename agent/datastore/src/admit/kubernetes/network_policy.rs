//! networking.k8s.io/v1 NetworkPolicy.

use caracal_net::Cidr;
use serde_json::{Map, Value, json};

use super::label_selector::LABEL_SELECTOR;
use super::{API_VERSION, KIND, PROTOCOL};
use crate::admit::format::Format;
use crate::admit::schema::{Field, List, Object, Type, formatted, integer, one_of, optional, required};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, fields, metadata, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Kubernetes,
    schema: &Object::of(&[
        API_VERSION,
        KIND,
        required("metadata", metadata::STRICT),
        optional("spec", Type::Object(&SPEC)),
        optional("status", Type::Any),
    ]),
    name: syntax::dns_subdomain,
    fill_in,
};

static SPEC: Object = Object::of(&[POD_SELECTOR, INGRESS_RULES, EGRESS_RULES, POLICY_TYPES]);

pub(in crate::admit) const POD_SELECTOR: Field = optional("podSelector", Type::Object(&LABEL_SELECTOR));
pub(in crate::admit) const INGRESS_RULES: Field = optional("ingress", Type::List(&INGRESS_LIST));
pub(in crate::admit) const EGRESS_RULES: Field = optional("egress", Type::List(&EGRESS_LIST));
pub(in crate::admit) const POLICY_TYPES: Field =
    optional("policyTypes", Type::List(&List::of(one_of(&["Ingress", "Egress"])).max(2)));

static INGRESS_LIST: List = List::of(Type::Object(&INGRESS));
static EGRESS_LIST: List = List::of(Type::Object(&EGRESS));

static INGRESS: Object = Object::of(&[optional("ports", PORTS), optional("from", PEERS)]);
static EGRESS: Object = Object::of(&[optional("ports", PORTS), optional("to", PEERS)]);

const PORTS: Type = Type::List(&List::of(Type::Object(&PORT)));
const PEERS: Type = Type::List(&List::of(Type::Object(&PEER)));

static PORT: Object = Object::of(&[
    optional("protocol", PROTOCOL),
    optional("port", Type::IntOrText),
    optional("endPort", integer(i32::MIN as i64, i32::MAX as i64)),
])
.rules(&[port, end_port]);

static PEER: Object = Object::of(&[
    optional("podSelector", Type::Object(&LABEL_SELECTOR)),
    optional("namespaceSelector", Type::Object(&LABEL_SELECTOR)),
    optional("ipBlock", Type::Object(&IP_BLOCK)),
])
.rules(&[one_form_of_peer]);

static IP_BLOCK: Object = Object::of(&[
    required("cidr", formatted(Format::Prefix)),
    optional("except", Type::List(&List::of(formatted(Format::Prefix)))),
])
.rules(&[except_inside_cidr]);

pub(in crate::admit) fn fill_in(object: &mut Map<String, Value>) {
    let spec = object.entry("spec").or_insert_with(|| Map::new().into());
    let Value::Object(spec) = spec else {
        return;
    };
    for direction in ["ingress", "egress"] {
        for rule in fields::mappings_mut(spec, direction) {
            for port in fields::mappings_mut(rule, "ports") {
                port.entry("protocol").or_insert_with(|| "TCP".into());
            }
        }
    }
    if fields::list(spec, "policyTypes").is_empty() {
        let types =
            if fields::list(spec, "egress").is_empty() { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
        spec.insert("policyTypes".to_owned(), types);
    }
}

fn port(port: &Map<String, Value>) -> Result<(), Violation> {
    let refuse = |reason: String| Err(Violation::k8s(reason).at("port"));
    match port.get("port") {
        Some(Value::String(name)) => match syntax::port_name(name) {
            Ok(()) => Ok(()),
            Err(fault) => refuse(format!("{name:?} {fault}")),
        },
        Some(number) if !is_port(number.as_i64()) => refuse(format!("{number} is not within 1-65535")),
        _ => Ok(()),
    }
}

fn end_port(port: &Map<String, Value>) -> Result<(), Violation> {
    let Some(last) = fields::integer(port, "endPort") else {
        return Ok(());
    };
    let refuse = |reason: String| Err(Violation::k8s(reason).at("endPort"));
    match port.get("port") {
        None => refuse("needs a port to count from".to_owned()),
        Some(Value::String(_)) => refuse("needs a port that is a number".to_owned()),
        Some(first) if first.as_i64().is_some_and(|first| last < first) => {
            refuse(format!("{last} is below the port, {first}"))
        }
        Some(_) if !is_port(Some(last)) => refuse(format!("{last} is not within 1-65535")),
        Some(_) => Ok(()),
    }
}

fn is_port(number: Option<i64>) -> bool {
    number.is_some_and(|number| (1..=65535).contains(&number))
}

fn one_form_of_peer(peer: &Map<String, Value>) -> Result<(), Violation> {
    let has_selector = peer.contains_key("podSelector") || peer.contains_key("namespaceSelector");
    match (has_selector, peer.contains_key("ipBlock")) {
        (false, false) => Err(Violation::k8s("names no peer: podSelector, namespaceSelector or ipBlock is needed")),
        (true, true) => Err(Violation::k8s("excludes podSelector and namespaceSelector").at("ipBlock")),
        (true, false) | (false, true) => Ok(()),
    }
}

fn except_inside_cidr(block: &Map<String, Value>) -> Result<(), Violation> {
    let Ok(cidr) = fields::text(block, "cidr").parse::<Cidr>() else {
        return Ok(());
    };
    for (i, except) in fields::texts(block, "except").enumerate() {
        if except.parse::<Cidr>().is_ok_and(|except| except == cidr || !cidr.covers(&except)) {
            return Err(Violation::k8s(format!("{except} is not a part of {cidr}")).at_item(i).at("except"));
        }
    }
    Ok(())
}
