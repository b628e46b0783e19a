//! v1 Pod: what networking reads of it.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{API_VERSION, KIND, PROTOCOL};
use crate::admit::format::Format;
use crate::admit::schema::{List, Object, TEXT, Type, formatted, integer, limited, one_of, optional, required};
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
    name: syntax::dns_subdomain,
    fill_in,
};

const NAME: Type = formatted(Format::DnsSubdomain);

static SPEC: Object = Object::open(&[
    optional("nodeName", NAME),
    optional("hostNetwork", Type::Boolean),
    optional("serviceAccountName", NAME),
    optional("serviceAccount", TEXT),
    optional("restartPolicy", one_of(&["Always", "OnFailure", "Never"])),
    optional("dnsPolicy", one_of(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"])),
    required("containers", Type::List(&List::of(Type::Object(&CONTAINER)).min(1))),
    optional("initContainers", Type::List(&List::of(Type::Object(&CONTAINER)))),
])
.rules(&[container_names_differ, host_ports_differ, host_network_ports]);

static CONTAINER: Object = Object::open(&[
    required("name", formatted(Format::DnsLabel)),
    required("image", TEXT),
    optional("ports", Type::List(&List::of(Type::Object(&PORT)))),
])
.rules(&[port_names_differ]);

/// A 32-bit number that is no port unless it is within 1–65535.
const PORT_NUMBER: Type = limited(1, 65535);

static PORT: Object = Object::open(&[
    optional("name", formatted(Format::PortName)),
    required("containerPort", PORT_NUMBER),
    optional("hostPort", limited(0, 65535)),
    optional("hostIP", formatted(Format::Address)),
    optional("protocol", PROTOCOL),
]);

static STATUS: Object = Object::open(&[
    optional("phase", TEXT),
    optional("podIP", TEXT),
    optional("podIPs", Type::List(&List::of(Type::Object(&POD_IP)))),
    optional("observedGeneration", integer(i64::MIN, i64::MAX)),
]);

static POD_IP: Object = Object::open(&[optional("ip", TEXT)]);

/// The lists of containers of a pod's spec.
const CONTAINERS: [&str; 2] = ["containers", "initContainers"];

fn fill_in(object: &mut Map<String, Value>) {
    let Some(spec) = fields::mapping_mut(object, "spec") else {
        return;
    };
    // The field's name of old.
    if fields::text(spec, "serviceAccountName").is_empty()
        && let Some(name) = spec.get("serviceAccount").cloned()
    {
        spec.insert("serviceAccountName".to_owned(), name);
    }
    for containers in CONTAINERS {
        for container in fields::mappings_mut(spec, containers) {
            for port in fields::mappings_mut(container, "ports") {
                port.entry("protocol").or_insert_with(|| "TCP".into());
            }
        }
    }
}

fn container_names_differ(spec: &Map<String, Value>) -> Result<(), Violation> {
    let mut seen = HashSet::new();
    for list in CONTAINERS {
        for (i, container) in fields::mappings(spec, list) {
            let name = fields::text(container, "name");
            if !seen.insert(name) {
                return Err(twice(name).at("name").at_item(i).at(list));
            }
        }
    }
    Ok(())
}

fn port_names_differ(container: &Map<String, Value>) -> Result<(), Violation> {
    let mut seen = HashSet::new();
    for (i, port) in fields::mappings(container, "ports") {
        let name = fields::text(port, "name");
        if !name.is_empty() && !seen.insert(name) {
            return Err(twice(name).at("name").at_item(i).at("ports"));
        }
    }
    Ok(())
}

/// A host's port can be given away once only.
fn host_ports_differ(spec: &Map<String, Value>) -> Result<(), Violation> {
    let mut seen = HashSet::new();
    for (c, container) in fields::mappings(spec, "containers") {
        for (p, port) in fields::mappings(container, "ports") {
            let number = fields::integer(port, "hostPort").unwrap_or(0);
            let holder = (fields::text(port, "protocol"), fields::text(port, "hostIP"), number);
            if number != 0 && !seen.insert(holder) {
                return Err(twice(&number.to_string())
                    .at("hostPort")
                    .at_item(p)
                    .at("ports")
                    .at_item(c)
                    .at("containers"));
            }
        }
    }
    Ok(())
}

/// In the host's network a container's port is the host's.
fn host_network_ports(spec: &Map<String, Value>) -> Result<(), Violation> {
    if !fields::is_set(spec, "hostNetwork") {
        return Ok(());
    }
    for list in CONTAINERS {
        for (c, container) in fields::mappings(spec, list) {
            for (p, port) in fields::mappings(container, "ports") {
                let host_port = fields::integer(port, "hostPort").unwrap_or(0);
                if host_port != 0 && Some(host_port) != fields::integer(port, "containerPort") {
                    return Err(Violation::k8s("is not the hostPort, which it must be with hostNetwork")
                        .at("containerPort")
                        .at_item(p)
                        .at("ports")
                        .at_item(c)
                        .at(list));
                }
            }
        }
    }
    Ok(())
}

fn twice(what: &str) -> Violation {
    Violation::k8s(format!("{what} occurs twice"))
}
