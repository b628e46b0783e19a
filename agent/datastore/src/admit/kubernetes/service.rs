//! v1 Service: where it is reached.
//!
//! That an address belongs to one service only is no matter of one object: the
//! calculation graph sees to it.

use std::collections::HashSet;
use std::net::IpAddr;

use caracal_net::Family;
use serde_json::{Map, Value};

use super::{API_VERSION, KIND, PROTOCOL};
use crate::admit::format::{self, Format};
use crate::admit::schema::{
    Field, List, Object, TEXT, TEXT_LIST, Type, defaulted, formatted, limited, one_of, optional, required,
};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, fields, metadata, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Kubernetes,
    schema: &Object::open(&[
        API_VERSION,
        KIND,
        required("metadata", metadata::OPEN),
        required("spec", Type::Object(&SPEC)),
        optional("status", Type::Object(&STATUS)),
    ]),
    name: syntax::dns_1035_label,
    fill_in,
};

static SPEC: Object = Object::open(&[
    defaulted("type", one_of(&["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]), "ClusterIP"),
    optional("clusterIP", TEXT),
    optional("clusterIPs", Type::List(&List::of(TEXT).max(2))),
    optional("externalName", TEXT),
    optional("externalIPs", Type::List(&List::of(formatted(Format::Address)))),
    optional("loadBalancerIP", TEXT),
    optional("loadBalancerSourceRanges", TEXT_LIST),
    defaulted("sessionAffinity", one_of(&["None", "ClientIP"]), "None"),
    optional("externalTrafficPolicy", one_of(&["Cluster", "Local"])),
    optional("internalTrafficPolicy", one_of(&["Cluster", "Local"])),
    PORTS,
])
.rules(&[addresses_agree, addresses_fit_the_type, external_addresses_lead_here, ports_fit_the_type, ports_differ]);

const PORTS: Field = optional("ports", Type::List(&PORT_LIST));
static PORT_LIST: List = List::of(Type::Object(&PORT));

static PORT: Object = Object::open(&[
    optional("name", formatted(Format::DnsLabel)),
    defaulted("protocol", PROTOCOL, "TCP"),
    required("port", limited(1, 65535)),
    optional("targetPort", Type::IntOrText),
    optional("nodePort", limited(0, 65535)),
])
.rules(&[target_is_a_port]);

static STATUS: Object = Object::open(&[optional("loadBalancer", Type::Object(&LOAD_BALANCER))]);
static LOAD_BALANCER: Object = Object::open(&[optional("ingress", Type::List(&List::of(Type::Object(&INGRESS))))]);
static INGRESS: Object = Object::open(&[optional("ip", formatted(Format::Address)), optional("hostname", TEXT)]);

/// What stands for no address of its own.
const HEADLESS: &str = "None";

/// The kubelet's port, which no load balancer may lead to.
const KUBELET_PORT: i64 = 10250;

/// `clusterIP` and the first of `clusterIPs` are one field with two names.
fn fill_in(service: &mut Map<String, Value>) {
    let Some(spec) = fields::mapping_mut(service, "spec") else { return };
    let single = fields::text(spec, "clusterIP").to_owned();
    let first = fields::texts(spec, "clusterIPs").next().map(str::to_owned);
    match first {
        None if !single.is_empty() => {
            spec.insert("clusterIPs".to_owned(), vec![single].into());
        }
        Some(first) if single.is_empty() => {
            spec.insert("clusterIP".to_owned(), first.into());
        }
        Some(_) | None => {}
    }
}

fn addresses_agree(spec: &Map<String, Value>) -> Result<(), Violation> {
    let addresses: Vec<&str> = fields::texts(spec, "clusterIPs").collect();
    let at = |i: usize, reason: String| Err(Violation::k8s(reason).at_item(i).at("clusterIPs"));
    if addresses.first().is_some_and(|first| *first != fields::text(spec, "clusterIP")) {
        return Err(Violation::k8s("is not the first of clusterIPs").at("clusterIP"));
    }
    for (i, address) in addresses.iter().enumerate() {
        if *address == HEADLESS && addresses.len() > 1 {
            return at(i, "None goes with no address".to_owned());
        }
        if *address != HEADLESS {
            let fault =
                if address.is_empty() { Err("is empty".to_owned()) } else { format::check(Format::Address, address) };
            fault.or_else(|fault| at(i, fault))?;
        }
    }
    let family = |text: &str| text.parse().ok().map(Family::of);
    if let [first, second] = addresses.as_slice()
        && family(first) == family(second)
    {
        return at(1, "is of the same family as the first".to_owned());
    }
    Ok(())
}

fn addresses_fit_the_type(spec: &Map<String, Value>) -> Result<(), Violation> {
    let first = fields::text(spec, "clusterIP");
    match fields::text(spec, "type") {
        "ExternalName" => {
            let name = fields::text(spec, "externalName");
            if !first.is_empty() {
                return Err(Violation::k8s("has no meaning for the type ExternalName").at("clusterIP"));
            }
            syntax::dns_subdomain(name.strip_suffix('.').unwrap_or(name))
                .map_err(|fault| Violation::k8s(format!("{name:?} {fault}")).at("externalName"))
        }
        kind @ ("NodePort" | "LoadBalancer") if first == HEADLESS => {
            Err(Violation::k8s(format!("cannot be None for the type {kind}")).at("clusterIP"))
        }
        _ => Ok(()),
    }
}

/// Addresses that cannot be somebody else's way to this node.
fn external_addresses_lead_here(spec: &Map<String, Value>) -> Result<(), Violation> {
    for (i, text) in fields::texts(spec, "externalIPs").enumerate() {
        let Ok(address) = text.parse::<IpAddr>() else {
            return Err(Violation::k8s(format!("{text:?} is not an IP address")).at_item(i).at("externalIPs"));
        };
        let is_of_link = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_of_link {
            let reason = format!("{address} is no address that leads to a node");
            return Err(Violation::k8s(reason).at_item(i).at("externalIPs"));
        }
    }
    Ok(())
}

fn ports_fit_the_type(spec: &Map<String, Value>) -> Result<(), Violation> {
    let needs_ports = fields::text(spec, "type") != "ExternalName" && fields::text(spec, "clusterIP") != HEADLESS;
    if needs_ports && fields::list(spec, "ports").is_empty() {
        return Err(Violation::k8s("is missing").at("ports"));
    }
    if fields::text(spec, "type") == "LoadBalancer" {
        for (i, port) in fields::mappings(spec, "ports") {
            if fields::integer(port, "port") == Some(KUBELET_PORT) {
                let reason = format!("{KUBELET_PORT} is the kubelet's, which no load balancer may lead to");
                return Err(Violation::k8s(reason).at("port").at_item(i).at("ports"));
            }
        }
    }
    Ok(())
}

/// Ports of a service differ by name, by protocol and number, and by protocol
/// and number on the nodes.
fn ports_differ(spec: &Map<String, Value>) -> Result<(), Violation> {
    let many = fields::list(spec, "ports").len() > 1;
    let (mut names, mut numbers, mut on_nodes) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (i, port) in fields::mappings(spec, "ports") {
        let at = |field: &'static str, reason: String| Err(Violation::k8s(reason).at(field).at_item(i).at("ports"));
        let (name, protocol) = (fields::text(port, "name"), fields::text(port, "protocol"));
        if many && name.is_empty() {
            return at("name", "is missing, for there is more than one port".to_owned());
        }
        if !names.insert(name) {
            return at("name", format!("{name:?} occurs twice"));
        }
        let number = fields::integer(port, "port");
        if !numbers.insert((protocol, number)) {
            return at("port", format!("{protocol} {} occurs twice", number.unwrap_or_default()));
        }
        let on_node = fields::integer(port, "nodePort").filter(|number| *number != 0);
        if on_node.is_some() && !on_nodes.insert((protocol, on_node)) {
            return at("nodePort", format!("{protocol} {} occurs twice", on_node.unwrap_or_default()));
        }
    }
    Ok(())
}

fn target_is_a_port(port: &Map<String, Value>) -> Result<(), Violation> {
    match port.get("targetPort") {
        Some(Value::String(name)) if !name.is_empty() => {
            syntax::port_name(name).map_err(|fault| Violation::k8s(format!("{name:?} {fault}")).at("targetPort"))
        }
        Some(Value::Number(number)) if number.as_i64().is_none_or(|number| !(0..=65535).contains(&number)) => {
            Err(Violation::k8s(format!("{number} is not within 1-65535")).at("targetPort"))
        }
        _ => Ok(()),
    }
}
