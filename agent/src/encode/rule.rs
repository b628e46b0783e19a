//! Rules as messages.

use caracal_calc_graph::ScannedRule;
use caracal_model::{Entity, HttpMatch, HttpPath, Icmp, Rule, RulePort, RuleProtocol, ServiceAccounts};
use caracal_net::{Family, Protocol};
use caracal_proto::felix::{self, http_match::path_match, protocol::NumberOrName, rule as oneof};

use super::{rule_id, texts};

/// Encodes the rules of one direction and gives them their ids.
pub(super) fn encode_list(rules: &[ScannedRule], seed: &str) -> Vec<felix::Rule> {
    let mut encoded: Vec<_> = rules.iter().map(encode).collect();
    rule_id::assign(&mut encoded, seed);
    encoded
}

fn encode(scanned: &ScannedRule) -> felix::Rule {
    let ScannedRule {
        rule,
        src_ip_sets,
        dst_ip_sets,
        not_src_ip_sets,
        not_dst_ip_sets,
        src_named_port_sets,
        dst_named_port_sets,
        not_src_named_port_sets,
        not_dst_named_port_sets,
        dst_ip_port_sets,
    } = scanned;
    let Rule { action, ip_version, protocol, not_protocol, icmp, not_icmp, source, destination, http, annotations } =
        rule;
    let src = Side::new(source);
    let dst = Side::new(destination);
    felix::Rule {
        action: action.as_wire().to_owned(),
        ip_version: encode_family(ip_version.or_else(|| implied_family(*protocol))).into(),
        protocol: protocol.map(encode_protocol),
        src_net: src.nets,
        src_ports: src.ports,
        dst_net: dst.nets,
        dst_ports: dst.ports,
        icmp: icmp.map(|Icmp { icmp_type, code }| match code {
            None => oneof::Icmp::IcmpType(icmp_type.into()),
            Some(code) => oneof::Icmp::IcmpTypeCode(type_and_code(icmp_type, code)),
        }),
        src_ip_set_ids: texts(src_ip_sets),
        dst_ip_set_ids: texts(dst_ip_sets),
        src_named_port_ip_set_ids: texts(src_named_port_sets),
        dst_named_port_ip_set_ids: texts(dst_named_port_sets),
        dst_ip_port_set_ids: texts(dst_ip_port_sets),
        not_protocol: not_protocol.map(encode_protocol),
        not_src_net: src.not_nets,
        not_src_ports: src.not_ports,
        not_dst_net: dst.not_nets,
        not_dst_ports: dst.not_ports,
        not_icmp: not_icmp.map(|Icmp { icmp_type, code }| match code {
            None => oneof::NotIcmp::NotIcmpType(icmp_type.into()),
            Some(code) => oneof::NotIcmp::NotIcmpTypeCode(type_and_code(icmp_type, code)),
        }),
        not_src_ip_set_ids: texts(not_src_ip_sets),
        not_dst_ip_set_ids: texts(not_dst_ip_sets),
        not_src_named_port_ip_set_ids: texts(not_src_named_port_sets),
        not_dst_named_port_ip_set_ids: texts(not_dst_named_port_sets),
        original_src_selector: src.selector,
        original_dst_selector: dst.selector,
        original_src_namespace_selector: src.namespace_selector,
        original_dst_namespace_selector: dst.namespace_selector,
        original_not_src_selector: src.not_selector,
        original_not_dst_selector: dst.not_selector,
        src_service_account_match: src.service_accounts,
        dst_service_account_match: dst.service_accounts,
        http_match: http.as_deref().map(encode_http),
        metadata: (!annotations.is_empty()).then(|| felix::RuleMetadata {
            annotations: annotations.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        }),
        original_dst_service: dst.service_name,
        original_dst_service_namespace: dst.service_namespace,
        original_src_service: src.service_name,
        original_src_service_namespace: src.service_namespace,
        rule_id: String::new(),
    }
}

/// One side of a rule in the wire's types.
struct Side {
    nets: Vec<String>,
    not_nets: Vec<String>,
    ports: Vec<felix::PortRange>,
    not_ports: Vec<felix::PortRange>,
    selector: String,
    namespace_selector: String,
    not_selector: String,
    service_accounts: Option<felix::ServiceAccountMatch>,
    service_name: String,
    service_namespace: String,
}

impl Side {
    fn new(entity: &Entity) -> Self {
        let Entity {
            // Resolved to the rule's set ids.
            selector: _,
            not_selector: _,
            nets,
            not_nets,
            ports,
            not_ports,
            service,
            original_selector,
            original_namespace_selector,
            original_not_selector,
            service_accounts,
        } = entity;
        let (service_namespace, service_name) = match service {
            Some(service) => (service.namespace.to_string(), service.name.to_string()),
            None => (String::new(), String::new()),
        };
        Self {
            nets: texts(nets),
            not_nets: texts(not_nets),
            ports: numeric(ports),
            not_ports: numeric(not_ports),
            selector: original_selector.to_string(),
            namespace_selector: original_namespace_selector.to_string(),
            not_selector: original_not_selector.to_string(),
            service_accounts: service_accounts.as_deref().and_then(encode_service_accounts),
            service_name,
            service_namespace,
        }
    }
}

fn encode_protocol(protocol: RuleProtocol) -> felix::Protocol {
    let number_or_name = match protocol {
        RuleProtocol::Name(p) => match p.name() {
            Some(name) => NumberOrName::Name(name.to_owned()),
            None => NumberOrName::Number(p.number().into()),
        },
        RuleProtocol::Number(p) => NumberOrName::Number(p.number().into()),
    };
    felix::Protocol { number_or_name: Some(number_or_name) }
}

/// ICMP by name means IPv4 and ICMPv6 by name means IPv6; by number neither does.
fn implied_family(protocol: Option<RuleProtocol>) -> Option<Family> {
    match protocol {
        Some(RuleProtocol::Name(Protocol::ICMP)) => Some(Family::V4),
        Some(RuleProtocol::Name(Protocol::ICMPV6)) => Some(Family::V6),
        Some(RuleProtocol::Name(_) | RuleProtocol::Number(_)) | None => None,
    }
}

fn encode_family(family: Option<Family>) -> felix::IpVersion {
    match family {
        None => felix::IpVersion::Any,
        Some(Family::V4) => felix::IpVersion::Ipv4,
        Some(Family::V6) => felix::IpVersion::Ipv6,
    }
}

fn type_and_code(icmp_type: u8, code: u8) -> felix::IcmpTypeAndCode {
    felix::IcmpTypeAndCode { r#type: icmp_type.into(), code: code.into() }
}

/// The numeric entries of a port list; the named ones became sets.
fn numeric(ports: &[RulePort]) -> Vec<felix::PortRange> {
    let encode = |port: &RulePort| match port {
        RulePort::Numeric(range) => Some(felix::PortRange { first: range.first().into(), last: range.last().into() }),
        RulePort::Named(_) => None,
    };
    ports.iter().filter_map(encode).collect()
}

fn encode_service_accounts(accounts: &ServiceAccounts) -> Option<felix::ServiceAccountMatch> {
    let ServiceAccounts { names, selector } = accounts;
    if names.is_empty() && selector.is_empty() {
        return None;
    }
    Some(felix::ServiceAccountMatch { selector: selector.to_string(), names: texts(names) })
}

fn encode_http(http: &HttpMatch) -> felix::HttpMatch {
    let HttpMatch { methods, paths } = http;
    let encode = |path: &HttpPath| felix::http_match::PathMatch {
        path_match: Some(match path {
            HttpPath::Exact(text) => path_match::PathMatch::Exact(text.to_string()),
            HttpPath::Prefix(text) => path_match::PathMatch::Prefix(text.to_string()),
        }),
    };
    felix::HttpMatch { methods: texts(methods), paths: paths.iter().map(encode).collect() }
}
