//! Rules of policies and profiles.

use std::collections::HashSet;

use caracal_net::{Cidr, Family};
use serde_json::Value;

use super::{SELECTOR, no_global};
use crate::admit::fields::{self, Fields};
use crate::admit::format::Format;
use crate::admit::metadata;
use crate::admit::schema::{INTEGER, List, Object, TEXT, Type, formatted, limited, one_of, optional, required, short};
use crate::admit::violation::Violation;

/// A policy's or profile's list of rules.
pub(super) const RULES: Type = Type::List(&List::of(Type::Object(&RULE)).max(1024));

static RULE: Object = Object::of(&[
    required("action", one_of(&["Allow", "Deny", "Log", "Pass"])),
    optional("ipVersion", INTEGER),
    optional("protocol", Type::Protocol),
    optional("notProtocol", Type::Protocol),
    optional("icmp", Type::Object(&ICMP)),
    optional("notICMP", Type::Object(&ICMP)),
    optional("source", Type::Object(&ENTITY)),
    optional("destination", Type::Object(&ENTITY)),
    optional("http", Type::Object(&HTTP)),
    optional("metadata", Type::Object(&RULE_METADATA)),
])
.rules(&[
    ip_version,
    http_is_for_allowed_tcp,
    services_have_ports_of_their_own,
    icmp_needs_its_protocol,
    icmp_protocol_fits_ip_version,
    numbered_ports_need_a_protocol,
    nets_are_of_one_family,
]);

static ICMP: Object =
    Object::of(&[optional("type", limited(0, 254)), optional("code", limited(0, 255))]).rules(&[code_needs_type]);

static ENTITY: Object = Object::of(&[
    optional("nets", NETS),
    optional("notNets", NETS),
    optional("selector", SELECTOR),
    optional("notSelector", SELECTOR),
    optional("namespaceSelector", SELECTOR),
    optional("ports", PORTS),
    optional("notPorts", PORTS),
    optional("serviceAccounts", Type::Object(&SERVICE_ACCOUNTS)),
    optional("services", Type::Object(&SERVICES)),
])
.rules(&[selector_is_not_global, services_stand_alone, global_stands_alone, not_nets_leave_something]);

const NETS: Type = Type::List(&List::set_of(formatted(Format::Net)).max(256));
const PORTS: Type = Type::List(&List::of(Type::Port).max(50));

static SERVICE_ACCOUNTS: Object = Object::of(&[
    optional("names", Type::List(&List::set_of(TEXT))),
    optional("selector", formatted(Format::Selector)),
]);

static SERVICES: Object = Object::of(&[
    optional("name", short(Format::Reference, 253)),
    optional("namespace", short(Format::Reference, 253)),
]);

static HTTP: Object = Object::of(&[
    optional("methods", Type::List(&METHODS)),
    optional("paths", Type::List(&List::of(Type::Object(&PATH)).max(20))),
])
.rules(&[methods_differ]);

static METHODS: List = List::of(TEXT).max(20);

static PATH: Object =
    Object::of(&[optional("exact", short(Format::Any, 1024)), optional("prefix", short(Format::Any, 1024))])
        .rules(&[path_is_one_path]);

static RULE_METADATA: Object = Object::of(&[optional("annotations", Type::Texts)]).rules(&[annotations]);

/// The two sides of a rule.
const SIDES: [&str; 2] = ["source", "destination"];

fn ip_version(rule: &Fields) -> Result<(), Violation> {
    match fields::integer(rule, "ipVersion") {
        None | Some(4 | 6) => Ok(()),
        Some(version) => Err(Violation::crd(format!("{version} is not one of 4, 6")).at("ipVersion")),
    }
}

fn http_is_for_allowed_tcp(rule: &Fields) -> Result<(), Violation> {
    if !rule.contains_key("http") {
        return Ok(());
    }
    if rule.contains_key("protocol") && !is_protocol(rule, "protocol", "TCP", 6) {
        return Err(Violation::crd("must be TCP, or missing, in a rule with http").at("protocol"));
    }
    if fields::text(rule, "action") != "Allow" {
        return Err(Violation::crd("is for rules with action Allow only").at("http"));
    }
    Ok(())
}

fn services_have_ports_of_their_own(rule: &Fields) -> Result<(), Violation> {
    let Some(destination) = fields::mapping(rule, "destination") else {
        return Ok(());
    };
    match ["ports", "notPorts"].into_iter().find(|ports| !fields::list(destination, ports).is_empty()) {
        Some(ports) if destination.contains_key("services") => {
            Err(Violation::crd("excludes services, which bring their own ports").at(ports).at("destination"))
        }
        _ => Ok(()),
    }
}

fn icmp_needs_its_protocol(rule: &Fields) -> Result<(), Violation> {
    if rule.contains_key("icmp") && !is_icmp(rule, "protocol") && !is_icmpv6(rule, "protocol") {
        return Err(Violation::crd("needs protocol ICMP or ICMPv6").at("icmp"));
    }
    Ok(())
}

fn icmp_protocol_fits_ip_version(rule: &Fields) -> Result<(), Violation> {
    let Some(version) = fields::integer(rule, "ipVersion") else {
        return Ok(());
    };
    for field in ["protocol", "notProtocol"] {
        if version != 4 && is_icmp(rule, field) {
            return Err(Violation::crd("ICMP needs ipVersion 4").at(field));
        }
        if version != 6 && is_icmpv6(rule, field) {
            return Err(Violation::crd("ICMPv6 needs ipVersion 6").at(field));
        }
    }
    Ok(())
}

/// Ports are of TCP, UDP or SCTP; a port's name brings its protocol along, so
/// that names alone need none.
fn numbered_ports_need_a_protocol(rule: &Fields) -> Result<(), Violation> {
    let has_protocol = rule.contains_key("protocol");
    if is_protocol(rule, "protocol", "TCP", 6)
        || is_protocol(rule, "protocol", "UDP", 17)
        || is_protocol(rule, "protocol", "SCTP", 132)
    {
        return Ok(());
    }
    for side in SIDES {
        for ports in ["ports", "notPorts"] {
            let Some(entity) = fields::mapping(rule, side) else {
                continue;
            };
            let fault = if has_protocol {
                (!fields::list(entity, ports).is_empty()).then_some("needs protocol TCP, UDP or SCTP")
            } else {
                let names_only = fields::list(entity, ports).iter().all(is_port_name);
                (!names_only).then_some("has a number, which needs protocol TCP, UDP or SCTP")
            };
            if let Some(fault) = fault {
                return Err(Violation::client(fault).at(ports).at(side));
            }
        }
    }
    Ok(())
}

fn is_port_name(port: &Value) -> bool {
    port.as_str().is_some_and(|text| !text.contains(':'))
}

fn nets_are_of_one_family(rule: &Fields) -> Result<(), Violation> {
    let mut of_rule = match fields::integer(rule, "ipVersion") {
        Some(4) => Some(Family::V4),
        Some(6) => Some(Family::V6),
        _ => None,
    };
    for side in SIDES {
        let Some(entity) = fields::mapping(rule, side) else {
            continue;
        };
        for nets in ["nets", "notNets"] {
            for (i, net) in fields::texts(entity, nets).enumerate() {
                let Ok(family) = net.parse::<Cidr>().map(|cidr| cidr.family()) else {
                    continue;
                };
                if *of_rule.get_or_insert(family) != family {
                    return Err(Violation::client(format!("{net} is {family}, the rule is not"))
                        .at_item(i)
                        .at(nets)
                        .at(side));
                }
            }
        }
    }
    Ok(())
}

fn code_needs_type(icmp: &Fields) -> Result<(), Violation> {
    if icmp.contains_key("code") && !icmp.contains_key("type") {
        return Err(Violation::crd("needs a type").at("code"));
    }
    Ok(())
}

fn selector_is_not_global(entity: &Fields) -> Result<(), Violation> {
    no_global(entity, "selector")
}

fn services_stand_alone(entity: &Fields) -> Result<(), Violation> {
    let Some(services) = fields::mapping(entity, "services") else {
        return Ok(());
    };
    if fields::text(services, "name").is_empty() {
        return Err(Violation::crd("is missing").at("name").at("services"));
    }
    let is_there = |field: &&str| match entity.get(*field) {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(elements)) => !elements.is_empty(),
        Some(_) => true,
        None => false,
    };
    let others = ["namespaceSelector", "serviceAccounts", "selector", "notSelector", "nets", "notNets"];
    match others.into_iter().find(is_there) {
        Some(other) => Err(Violation::crd("excludes services").at(other)),
        None => Ok(()),
    }
}

/// `global()` selects what is in no namespace, which nothing can be added to.
fn global_stands_alone(entity: &Fields) -> Result<(), Violation> {
    let selector = fields::text(entity, "namespaceSelector");
    if selector.contains("global(") && selector.replace([' ', '\t'], "") != "global()" {
        return Err(Violation::client("global() cannot be combined with other terms").at("namespaceSelector"));
    }
    Ok(())
}

fn not_nets_leave_something(entity: &Fields) -> Result<(), Violation> {
    for (i, net) in fields::texts(entity, "notNets").enumerate() {
        if net.parse::<Cidr>().is_ok_and(|cidr| cidr.is_all()) {
            return Err(Violation::client(format!("{net} leaves no address that the rule could match"))
                .at_item(i)
                .at("notNets"));
        }
    }
    Ok(())
}

fn methods_differ(http: &Fields) -> Result<(), Violation> {
    let mut seen = HashSet::new();
    for (i, method) in fields::texts(http, "methods").enumerate() {
        if !seen.insert(method) {
            return Err(Violation::client(format!("{method} occurs twice")).at_item(i).at("methods"));
        }
    }
    Ok(())
}

fn path_is_one_path(path: &Fields) -> Result<(), Violation> {
    let (exact, prefix) = (fields::text(path, "exact"), fields::text(path, "prefix"));
    let (field, text) = match (exact.is_empty(), prefix.is_empty()) {
        (false, false) => return Err(Violation::client("excludes exact").at("prefix")),
        (true, true) => return Err(Violation::client("has neither exact nor prefix")),
        (false, true) => ("exact", exact),
        (true, false) => ("prefix", prefix),
    };
    // A path as in RFC 3986 §3.3, without what would end it.
    if !text.starts_with('/') || text.contains(['?', ' ', '#']) {
        let reason = format!("{text:?} is not a path: it begins with '/' and has no '?', '#' or blank");
        return Err(Violation::client(reason).at(field));
    }
    Ok(())
}

fn annotations(metadata: &Fields) -> Result<(), Violation> {
    let Some(annotations) = fields::mapping(metadata, "annotations") else {
        return Ok(());
    };
    metadata::annotation_texts(annotations).map_err(|reason| Violation::client(reason).at("annotations"))
}

fn is_icmp(rule: &Fields, field: &str) -> bool {
    is_protocol(rule, field, "ICMP", 1)
}

fn is_icmpv6(rule: &Fields, field: &str) -> bool {
    is_protocol(rule, field, "ICMPv6", 58)
}

/// Whether a field holds a protocol, by name or by number.
fn is_protocol(rule: &Fields, field: &str, name: &str, number: i64) -> bool {
    match rule.get(field) {
        Some(Value::String(text)) => text == name,
        Some(value) => value.as_i64() == Some(number),
        None => false,
    }
}
