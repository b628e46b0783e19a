//! Rules.

use std::sync::Arc;

use caracal_net::{Cidr, Family, Port, PortError, PortRange, Protocol};
use caracal_proto::felix::{self, protocol::NumberOrName, rule as wire};

use super::FieldResult;
use crate::{Action, Fault, IcmpMatch, Rule, SetId, SideMatch};

/// Reads one rule.
///
/// The author's own texts (`original_*`, annotations, service accounts) have
/// been resolved by the control half and are left out, as is `http_match`: only
/// clients of the policy sync API enforce it.
///
/// # Errors
/// The name of the field that cannot be understood, and why.
pub fn parse_rule(rule: &felix::Rule) -> Result<Rule, (&'static str, Fault)> {
    let felix::Rule {
        action,
        ip_version,
        protocol: wire_protocol,
        src_net,
        src_ports,
        dst_net,
        dst_ports,
        src_ip_set_ids,
        dst_ip_set_ids,
        src_named_port_ip_set_ids,
        dst_named_port_ip_set_ids,
        dst_ip_port_set_ids,
        not_protocol,
        not_src_net,
        not_src_ports,
        not_dst_net,
        not_dst_ports,
        not_src_ip_set_ids,
        not_dst_ip_set_ids,
        not_src_named_port_ip_set_ids,
        not_dst_named_port_ip_set_ids,
        rule_id,
        icmp: wire_icmp,
        not_icmp,
        original_src_selector: _,
        original_dst_selector: _,
        original_src_namespace_selector: _,
        original_dst_namespace_selector: _,
        original_not_src_selector: _,
        original_not_dst_selector: _,
        src_service_account_match: _,
        dst_service_account_match: _,
        http_match: _,
        metadata: _,
        original_dst_service: _,
        original_dst_service_namespace: _,
        original_src_service: _,
        original_src_service_namespace: _,
    } = rule;
    Ok(Rule {
        action: parse_action(action)?,
        family: family(*ip_version)?,
        protocol: protocol("protocol", wire_protocol.as_ref())?,
        not_protocol: protocol("not_protocol", not_protocol.as_ref())?,
        icmp: wire_icmp
            .map(|m| match m {
                wire::Icmp::IcmpType(icmp_type) => icmp("icmp_type", icmp_type, None),
                wire::Icmp::IcmpTypeCode(m) => icmp("icmp_type_code", m.r#type, Some(m.code)),
            })
            .transpose()?,
        not_icmp: not_icmp
            .map(|m| match m {
                wire::NotIcmp::NotIcmpType(icmp_type) => icmp("not_icmp_type", icmp_type, None),
                wire::NotIcmp::NotIcmpTypeCode(m) => icmp("not_icmp_type_code", m.r#type, Some(m.code)),
            })
            .transpose()?,
        src: SideMatch {
            nets: nets("src_net", src_net)?,
            not_nets: nets("not_src_net", not_src_net)?,
            ports: ports("src_ports", src_ports)?,
            not_ports: ports("not_src_ports", not_src_ports)?,
            sets: sets(src_ip_set_ids),
            not_sets: sets(not_src_ip_set_ids),
            named_port_sets: sets(src_named_port_ip_set_ids),
            not_named_port_sets: sets(not_src_named_port_ip_set_ids),
        },
        dst: SideMatch {
            nets: nets("dst_net", dst_net)?,
            not_nets: nets("not_dst_net", not_dst_net)?,
            ports: ports("dst_ports", dst_ports)?,
            not_ports: ports("not_dst_ports", not_dst_ports)?,
            sets: sets(dst_ip_set_ids),
            not_sets: sets(not_dst_ip_set_ids),
            named_port_sets: sets(dst_named_port_ip_set_ids),
            not_named_port_sets: sets(not_dst_named_port_ip_set_ids),
        },
        dst_ip_port_sets: sets(dst_ip_port_set_ids),
        rule_id: rule_id.as_str().into(),
    })
}

fn parse_action(text: &str) -> FieldResult<Action> {
    match text {
        "allow" => Ok(Action::Allow),
        "deny" => Ok(Action::Deny),
        "next-tier" => Ok(Action::Pass),
        "log" => Ok(Action::Log),
        _ => Err(("action", Fault::Action(text.to_owned()))),
    }
}

fn family(number: i32) -> FieldResult<Option<Family>> {
    match felix::IpVersion::try_from(number) {
        Ok(felix::IpVersion::Any) => Ok(None),
        Ok(felix::IpVersion::Ipv4) => Ok(Some(Family::V4)),
        Ok(felix::IpVersion::Ipv6) => Ok(Some(Family::V6)),
        Err(_) => Err(("ip_version", Fault::Enumeration(number))),
    }
}

fn protocol(field: &'static str, protocol: Option<&felix::Protocol>) -> FieldResult<Option<Protocol>> {
    let Some(protocol) = protocol else { return Ok(None) };
    let parsed = match &protocol.number_or_name {
        Some(NumberOrName::Number(number)) => Protocol::from_number((*number).into()),
        Some(NumberOrName::Name(name)) => name.parse(),
        None => return Err((field, Fault::Missing)),
    };
    parsed.map(Some).map_err(|error| (field, error.into()))
}

fn icmp(field: &'static str, icmp_type: i32, code: Option<i32>) -> FieldResult<IcmpMatch> {
    let byte = |number: i32| u8::try_from(number).map_err(|_| (field, Fault::Byte(number)));
    Ok(IcmpMatch { icmp_type: byte(icmp_type)?, code: code.map(byte).transpose()? })
}

fn nets(field: &'static str, texts: &[String]) -> FieldResult<Vec<Cidr>> {
    texts.iter().map(|text| text.parse::<Cidr>().map_err(|error| (field, error.into()))).collect()
}

fn ports(field: &'static str, ranges: &[felix::PortRange]) -> FieldResult<Vec<PortRange>> {
    let port = |number: i32| Port::try_from(number).map_err(|_| PortError::TooBig(number.into()));
    let range = |range: &felix::PortRange| PortRange::new(port(range.first)?, port(range.last)?);
    ranges.iter().map(|r| range(r).map_err(|error| (field, error.into()))).collect()
}

fn sets(ids: &[String]) -> Vec<SetId> {
    ids.iter().map(|id| Arc::from(id.as_str())).collect()
}
