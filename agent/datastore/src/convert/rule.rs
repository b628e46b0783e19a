//! Rules of projectcalico.org/v3 to Felix's rules.

use std::net::IpAddr;

use caracal_model as model;
use caracal_net::{Cidr, Family, PortRange, Protocol};

use super::selector::{self, Scope};
use super::{ConvertError, ErrorAt};
use crate::resource::{Action, Entity, Http, IcmpFields, IntOrString, Rule};

/// Converts a list of rules. `namespace` is the policy's, empty for policies of
/// the whole cluster and for profiles; `field` is the list's place in the
/// resource, for errors.
pub(super) fn rules(rules: &[Rule], namespace: &str, field: &str) -> Result<Vec<model::Rule>, ConvertError> {
    let convert = |(i, r)| rule(r, namespace).map_err(|e: ConvertError| e.within(&format!("{field}[{i}]")));
    rules.iter().enumerate().map(convert).collect()
}

fn rule(rule: &Rule, namespace: &str) -> Result<model::Rule, ConvertError> {
    let Rule { action, ip_version, protocol, not_protocol, icmp, not_icmp, source, destination, http, metadata } = rule;
    Ok(model::Rule {
        action: match action {
            Action::Allow => model::Action::Allow,
            Action::Deny => model::Action::Deny,
            Action::Log => model::Action::Log,
            Action::Pass => model::Action::Pass,
        },
        ip_version: ip_version.map(family).transpose().at("ipVersion")?,
        protocol: protocol.as_ref().map(rule_protocol).transpose().at("protocol")?,
        not_protocol: not_protocol.as_ref().map(rule_protocol).transpose().at("notProtocol")?,
        icmp: icmp.as_ref().map_or(Ok(None), icmp_match).at("icmp")?,
        not_icmp: not_icmp.as_ref().map_or(Ok(None), icmp_match).at("notICMP")?,
        source: entity(source, namespace).map_err(|e| e.within("source"))?,
        destination: entity(destination, namespace).map_err(|e| e.within("destination"))?,
        http: http.as_ref().map(http_match).map(Box::new),
        annotations: metadata.annotations.clone(),
    })
}

fn family(version: i64) -> Result<Family, String> {
    match version {
        4 => Ok(Family::V4),
        6 => Ok(Family::V6),
        other => Err(format!("{other} is neither 4 nor 6")),
    }
}

/// The wire tells a protocol's name from its number, so both are kept.
fn rule_protocol(text: &IntOrString) -> Result<model::RuleProtocol, String> {
    let parsed = match text {
        IntOrString::Int(number) => Protocol::from_number(*number).map(model::RuleProtocol::Number),
        IntOrString::Text(text) => text.parse::<Protocol>().map(|protocol| {
            if text.bytes().all(|b| b.is_ascii_digit()) {
                model::RuleProtocol::Number(protocol)
            } else {
                model::RuleProtocol::Name(protocol)
            }
        }),
    };
    parsed.map_err(|e| e.to_string())
}

/// A protocol of an endpoint's port.
pub(super) fn port_protocol(text: &IntOrString) -> Result<Protocol, String> {
    rule_protocol(text).map(model::RuleProtocol::protocol)
}

fn icmp_match(fields: &IcmpFields) -> Result<Option<model::Icmp>, String> {
    let byte = |n: i64| u8::try_from(n).map_err(|_| format!("{n} is not within 0-255"));
    match (fields.icmp_type, fields.code) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("a code needs a type".to_owned()),
        (Some(icmp_type), code) => {
            Ok(Some(model::Icmp { icmp_type: byte(icmp_type)?, code: code.map(byte).transpose()? }))
        }
    }
}

fn http_match(http: &Http) -> model::HttpMatch {
    let paths = http.paths.iter().filter_map(|path| {
        let exact = path.exact.clone().map(model::HttpPath::Exact);
        exact.or_else(|| path.prefix.clone().map(model::HttpPath::Prefix))
    });
    model::HttpMatch { methods: http.methods.clone(), paths: paths.collect() }
}

fn entity(entity: &Entity, namespace: &str) -> Result<model::Entity, ConvertError> {
    let Entity {
        nets,
        not_nets,
        selector,
        not_selector,
        namespace_selector,
        service_accounts,
        services,
        ports,
        not_ports,
    } = entity;
    let combined = selector::rule_side(&Scope {
        namespace,
        selector,
        not_selector,
        namespace_selector,
        service_accounts: service_accounts.as_ref(),
    })?;
    Ok(model::Entity {
        selector: combined,
        not_selector: not_selector.clone(),
        nets: each(nets, "nets", |text| cidr(text))?,
        not_nets: each(not_nets, "notNets", |text| cidr(text))?,
        ports: each(ports, "ports", rule_port)?,
        not_ports: each(not_ports, "notPorts", rule_port)?,
        service: services.as_ref().map(|service| {
            model::ServiceRef { namespace: service.namespace.clone(), name: service.name.clone() }.into()
        }),
        original_selector: selector.clone(),
        original_namespace_selector: namespace_selector.clone(),
        original_not_selector: not_selector.clone(),
        service_accounts: service_accounts.as_ref().map(|accounts| {
            let (names, selector) = (accounts.names.clone(), accounts.selector.clone());
            model::ServiceAccounts { names, selector }.into()
        }),
    })
}

/// Converts each entry of a list; an error names the entry.
pub(super) fn each<T, U>(
    list: &[T],
    field: &str,
    convert: impl Fn(&T) -> Result<U, String>,
) -> Result<Vec<U>, ConvertError> {
    let at = |(i, entry)| convert(entry).map_err(|reason| ConvertError::new(&format!("{field}[{i}]"), reason));
    list.iter().enumerate().map(at).collect()
}

/// A prefix, or an address alone; host bits are cleared, as Felix does.
pub(super) fn cidr(text: &str) -> Result<Cidr, String> {
    text.parse().map_err(|e: caracal_net::CidrError| e.to_string())
}

/// An address.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an IP address"))
}

fn rule_port(port: &IntOrString) -> Result<model::RulePort, String> {
    let text = port.to_string();
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        return match text.parse::<PortRange>() {
            Ok(range) => Ok(model::RulePort::Numeric(range)),
            Err(e) => Err(e.to_string()),
        };
    }
    match port {
        IntOrString::Int(number) => Err(format!("port {number} is not within 0-65535")),
        IntOrString::Text(name) => Ok(model::RulePort::Named(name.into())),
    }
}
