//! What a rule asks for, in its author's words, and what the packet has instead.

use caracal_net::{Family, Protocol};
use caracal_program::Field;
use caracal_proto::felix::{self, protocol::NumberOrName, rule as oneof};

use super::answer::{Address, Answer};
use super::cluster::Cluster;

/// Labels that conversion adds to a workload's own.
const ADDED_LABELS: &str = "projectcalico.org/";

/// What begins each selector of a converted networking.k8s.io policy, if more follows.
const KUBERNETES_PREFIX: &str = "projectcalico.org/orchestrator == 'k8s' && ";

/// What a field of a rule asks for.
pub(super) fn wanted(field: Field, rule: &felix::Rule) -> String {
    let (src, dst) = (Side::source(rule), Side::destination(rule));
    match field {
        Field::Family => match felix::IpVersion::try_from(rule.ip_version) {
            Ok(felix::IpVersion::Ipv4) => Family::V4.to_string(),
            Ok(felix::IpVersion::Ipv6) => Family::V6.to_string(),
            Ok(felix::IpVersion::Any) | Err(_) => "either family".to_owned(),
        },
        Field::Protocol => format!("protocol {}", protocol(rule.protocol.as_ref())),
        Field::NotProtocol => format!("a protocol other than {}", protocol(rule.not_protocol.as_ref())),
        Field::Icmp => match rule.icmp {
            Some(oneof::Icmp::IcmpType(icmp_type)) => format!("ICMP type {icmp_type}"),
            Some(oneof::Icmp::IcmpTypeCode(m)) => format!("ICMP type {} code {}", m.r#type, m.code),
            None => "any ICMP type".to_owned(),
        },
        Field::NotIcmp => match rule.not_icmp {
            Some(oneof::NotIcmp::NotIcmpType(icmp_type)) => format!("no ICMP type {icmp_type}"),
            Some(oneof::NotIcmp::NotIcmpTypeCode(m)) => format!("no ICMP type {} code {}", m.r#type, m.code),
            None => "any ICMP type".to_owned(),
        },
        Field::SrcNets => format!("source in {}", src.nets.join(", ")),
        Field::NotSrcNets => format!("source outside of {}", src.not_nets.join(", ")),
        Field::SrcPorts => format!("source port {}", src.ports()),
        Field::NotSrcPorts => format!("source port other than {}", ranges(src.not_ports)),
        Field::SrcSets => format!("source {}", src.selectors()),
        Field::NotSrcSets => format!("source not {}", src.not_selector),
        Field::NotSrcNamedPorts => "source port other than those named".to_owned(),
        Field::DstNets => format!("destination in {}", dst.nets.join(", ")),
        Field::NotDstNets => format!("destination outside of {}", dst.not_nets.join(", ")),
        Field::DstPorts => format!("destination port {}", dst.ports()),
        Field::NotDstPorts => format!("destination port other than {}", ranges(dst.not_ports)),
        Field::DstSets => format!("destination {}", dst.selectors()),
        Field::NotDstSets => format!("destination not {}", dst.not_selector),
        Field::NotDstNamedPorts => "destination port other than those named".to_owned(),
        Field::DstIpPortSets => format!("destination {}", dst.selectors()),
    }
}

/// What the packet has where a rule asks for something else.
pub(super) fn found(field: Field, cluster: &Cluster, answer: &Answer<'_>) -> String {
    let Answer { from, to, port, .. } = answer;
    match field {
        Field::Family => Family::of(from.address).to_string(),
        Field::Protocol | Field::NotProtocol | Field::Icmp | Field::NotIcmp => port.to_string(),
        Field::SrcNets | Field::NotSrcNets => format!("source {}", from.address),
        Field::SrcPorts | Field::NotSrcPorts | Field::NotSrcNamedPorts => {
            format!("source port {}", answer.source_port)
        }
        Field::SrcSets | Field::NotSrcSets => format!("source {}", labels(cluster, from)),
        Field::DstNets | Field::NotDstNets => format!("destination {}", to.address),
        Field::DstPorts | Field::NotDstPorts | Field::NotDstNamedPorts => format!("destination port {port}"),
        Field::DstSets | Field::NotDstSets | Field::DstIpPortSets => {
            format!("destination {}", labels(cluster, to))
        }
    }
}

/// `shop/web with app=web`, or an address that no workload has.
fn labels(cluster: &Cluster, end: &Address<'_>) -> String {
    let Some(workload) = end.workload else {
        return format!("{}, which is no workload", end.address);
    };
    let labels = cluster.labels(workload);
    let own: Vec<String> = labels
        .iter()
        .flat_map(|labels| labels.iter())
        .filter(|(key, _)| !key.starts_with(ADDED_LABELS))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if own.is_empty() { format!("{workload} without labels") } else { format!("{workload} with {}", own.join(", ")) }
}

/// One side of a rule as its author wrote it.
struct Side<'a> {
    nets: &'a [String],
    not_nets: &'a [String],
    ports: &'a [felix::PortRange],
    not_ports: &'a [felix::PortRange],
    has_named_ports: bool,
    selector: &'a str,
    namespace_selector: &'a str,
    not_selector: &'a str,
    service_accounts: Option<&'a felix::ServiceAccountMatch>,
    service: (&'a str, &'a str),
}

impl<'a> Side<'a> {
    fn source(rule: &'a felix::Rule) -> Self {
        Self {
            nets: &rule.src_net,
            not_nets: &rule.not_src_net,
            ports: &rule.src_ports,
            not_ports: &rule.not_src_ports,
            has_named_ports: !rule.src_named_port_ip_set_ids.is_empty(),
            selector: &rule.original_src_selector,
            namespace_selector: &rule.original_src_namespace_selector,
            not_selector: &rule.original_not_src_selector,
            service_accounts: rule.src_service_account_match.as_ref(),
            service: (&rule.original_src_service_namespace, &rule.original_src_service),
        }
    }

    fn destination(rule: &'a felix::Rule) -> Self {
        Self {
            nets: &rule.dst_net,
            not_nets: &rule.not_dst_net,
            ports: &rule.dst_ports,
            not_ports: &rule.not_dst_ports,
            has_named_ports: !rule.dst_named_port_ip_set_ids.is_empty(),
            selector: &rule.original_dst_selector,
            namespace_selector: &rule.original_dst_namespace_selector,
            not_selector: &rule.original_not_dst_selector,
            service_accounts: rule.dst_service_account_match.as_ref(),
            service: (&rule.original_dst_service_namespace, &rule.original_dst_service),
        }
    }

    /// Numeric ports, and a word on named ones: their names stay behind when
    /// they are resolved to sets, and a selector beside them is part of the set.
    fn ports(&self) -> String {
        let named = self.has_named_ports.then(|| match self.selectors() {
            selectors if selectors.is_empty() => "by name".to_owned(),
            selectors => format!("by name, {selectors}"),
        });
        let numeric = (!self.ports.is_empty()).then(|| ranges(self.ports));
        numeric.into_iter().chain(named).collect::<Vec<_>>().join(" or ")
    }

    fn selectors(&self) -> String {
        let mut parts = Vec::new();
        let mut part = |label: &str, text: &str| {
            if !text.is_empty() {
                parts.push(format!("{label} {text}"));
            }
        };
        part("with namespace", self.namespace_selector);
        // What the conversion of a Kubernetes policy puts first is not its author's.
        part("with", self.selector.strip_prefix(KUBERNETES_PREFIX).unwrap_or(self.selector));
        part("not", self.not_selector);
        if let Some(felix::ServiceAccountMatch { selector, names }) = self.service_accounts {
            part("with service account", selector);
            part("with service account", &names.join(", "));
        }
        let (namespace, service) = self.service;
        if !service.is_empty() {
            part("an endpoint of Service", &format!("{namespace}/{service}"));
        }
        parts.join(", ")
    }
}

fn ranges(ranges: &[felix::PortRange]) -> String {
    let texts: Vec<String> = ranges
        .iter()
        .map(|range| match range {
            felix::PortRange { first, last } if first == last => first.to_string(),
            felix::PortRange { first, last } => format!("{first}-{last}"),
        })
        .collect();
    texts.join(", ")
}

fn protocol(protocol: Option<&felix::Protocol>) -> String {
    match protocol.and_then(|protocol| protocol.number_or_name.as_ref()) {
        Some(NumberOrName::Name(name)) => name.clone(),
        Some(NumberOrName::Number(number)) => {
            Protocol::from_number((*number).into()).map_or_else(|_| number.to_string(), |p| p.to_string())
        }
        None => "any".to_owned(),
    }
}
