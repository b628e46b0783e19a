//! discovery.k8s.io/v1 EndpointSlice: what rules about services read of it.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{API_VERSION, KIND, PROTOCOL};
use crate::admit::format::{self, Format};
use crate::admit::schema::{
    Field, List, Object, TEXT, Type, defaulted, formatted, limited, one_of, optional, required,
};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, fields, metadata, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Kubernetes,
    schema: &Object::open(&[
        API_VERSION,
        KIND,
        required("metadata", metadata::OPEN),
        required("addressType", one_of(&["IPv4", "IPv6", "FQDN"])),
        ENDPOINTS,
        PORTS,
    ])
    .rules(&[addresses_are_of_their_type, port_names_differ]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

const ENDPOINTS: Field = optional("endpoints", Type::List(&ENDPOINT_LIST));
static ENDPOINT_LIST: List = List::of(Type::Object(&ENDPOINT)).max(1000);

static ENDPOINT: Object = Object::open(&[required("addresses", Type::List(&ADDRESS_LIST))]);
static ADDRESS_LIST: List = List::of(TEXT).min(1).max(100);

const PORTS: Field = optional("ports", Type::List(&PORT_LIST));
static PORT_LIST: List = List::of(Type::Object(&PORT)).max(20_000);

static PORT: Object = Object::open(&[
    optional("name", formatted(Format::DnsLabel)),
    defaulted("protocol", PROTOCOL, "TCP"),
    optional("port", limited(1, 65535)),
]);

fn addresses_are_of_their_type(slice: &Map<String, Value>) -> Result<(), Violation> {
    let form = match fields::text(slice, "addressType") {
        "IPv4" => Format::Ipv4,
        "IPv6" => Format::Ipv6,
        _ => Format::DnsSubdomain,
    };
    for (e, endpoint) in fields::mappings(slice, "endpoints") {
        for (a, address) in fields::texts(endpoint, "addresses").enumerate() {
            format::check(form, address)
                .map_err(|fault| Violation::k8s(fault).at_item(a).at("addresses").at_item(e).at("endpoints"))?;
        }
    }
    Ok(())
}

/// All ports of a slice have names of their own; one may have none.
fn port_names_differ(slice: &Map<String, Value>) -> Result<(), Violation> {
    let mut seen = HashSet::new();
    for (i, port) in fields::mappings(slice, "ports") {
        let name = fields::text(port, "name");
        if !seen.insert(name) {
            return Err(Violation::k8s(format!("{name:?} occurs twice")).at("name").at_item(i).at("ports"));
        }
    }
    Ok(())
}
