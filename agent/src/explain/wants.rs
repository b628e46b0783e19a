//! What a rule asks for, in its author's words, and what the packet has instead.

use caracal_model::Labels;
use caracal_net::{Cidr, Family, Port, Protocol};
use caracal_program::{Field, Transport, WorkloadId};
use caracal_proto::felix::{self, protocol::NumberOrName, rule as oneof};
use caracal_selector::Selector;
use serde_json::Value;

use super::Service;
use super::cluster::{Cluster, End};

/// Labels that conversion adds to a workload's own.
const ADDED_LABELS: &str = "projectcalico.org/";

/// What begins each selector of a converted networking.k8s.io policy, if more follows.
const KUBERNETES_PREFIX: &str = "projectcalico.org/orchestrator == 'k8s' && ";

/// A packet that rules are compared with, for people.
pub(super) struct Flow<'a> {
    pub(super) cluster: &'a Cluster,
    /// Source and destination.
    pub(super) ends: [End<'a>; 2],
    pub(super) service: Service,
    pub(super) source_port: Port,
}

impl Flow<'_> {
    /// What the packet has and what the rule asks for instead, of a field that
    /// the packet does not satisfy. `written` is the rule as its author wrote it, which
    /// has the names of ports.
    pub(super) fn why(&self, field: Field, rule: &felix::Rule, written: Option<&Value>) -> String {
        let [from, to] = self.ends;
        let (src, dst) = (Side::source(rule), Side::destination(rule));
        let names = |end, side, list| self.port_names(end, written.map(|rule| port_names(rule, side, list)));
        let protocol_here = self.service.header(self.source_port).0;
        let (port, source_port) = (self.port(), self.source_port);
        match field {
            Field::Family => {
                let family = Family::of(from.address);
                format!("the packet is {family}, rule is for {} only", other(family))
            }
            Field::Protocol => format!("protocol {protocol_here}, rule allows {}", protocol(rule.protocol.as_ref())),
            Field::NotProtocol => format!("protocol {protocol_here}, rule allows any other"),
            Field::Icmp => format!("{}, rule allows {}", self.icmp(), icmp(rule)),
            Field::NotIcmp => format!("{}, rule allows any but {}", self.icmp(), not_icmp(rule)),
            Field::SrcNets => format!("source {} is not in {}", self.named(from), src.nets.join(", ")),
            Field::NotSrcNets => self.not_nets("source", from, src.not_nets),
            Field::SrcPorts => {
                format!("source port {source_port}, rule allows {}", src.ports(&names(from, "source", "ports")))
            }
            Field::NotSrcPorts => format!("source port {source_port}, rule allows any but {}", ranges(src.not_ports)),
            Field::SrcSets => self.sets("source", from, &src),
            Field::NotSrcSets => self.excepted("source", from, &src),
            Field::NotSrcNamedPorts => {
                format!("source port {source_port} is {}, which rule excepts", names(from, "source", "notPorts"))
            }
            Field::DstNets => format!("destination {} is not in {}", self.named(to), dst.nets.join(", ")),
            Field::NotDstNets => self.not_nets("destination", to, dst.not_nets),
            Field::DstPorts => format!("{port}, rule allows {}", dst.ports(&names(to, "destination", "ports"))),
            Field::NotDstPorts => format!("{port}, rule allows any but {}", ranges(dst.not_ports)),
            Field::DstSets => self.sets("destination", to, &dst),
            Field::NotDstSets => self.excepted("destination", to, &dst),
            Field::NotDstNamedPorts => {
                format!("{port} is {}, which rule excepts", names(to, "destination", "notPorts"))
            }
            Field::DstIpPortSets => {
                format!("destination {} with {port} is not of {}", self.named(to), dst.selectors(self.labels(to)))
            }
        }
    }

    /// Of an end that is not among those selected.
    fn sets(&self, what: &str, end: End<'_>, side: &Side<'_>) -> String {
        let labels = self.labels(end);
        let is_excepted = |labels| Selector::parse(side.not_selector).is_ok_and(|parsed| parsed.matches(labels));
        if !side.not_selector.is_empty() && labels.is_some_and(is_excepted) {
            return self.excepted(what, end, side);
        }
        format!("{what} {} is not in {}", self.labelled(end), side.selectors(labels))
    }

    fn excepted(&self, what: &str, end: End<'_>, side: &Side<'_>) -> String {
        format!("{what} {} is in selector {}, which rule excepts", self.labelled(end), side.not_selector)
    }

    /// Prefixes of the other family alone are excepted from a rule for that family.
    fn not_nets(&self, what: &str, end: End<'_>, nets: &[String]) -> String {
        let holds = |net: &String| net.parse().is_ok_and(|net: Cidr| net.contains(end.address));
        let (end_text, nets_text) = (self.named(end), nets.join(", "));
        if nets.iter().any(holds) {
            return format!("{what} {end_text} is in {nets_text}, which rule excepts");
        }
        let family = other(Family::of(end.address));
        format!("{what} {end_text} is not {family}, and a rule that excepts {nets_text} is for {family} only")
    }

    /// Ports by their names, with the numbers that they have at an end.
    fn port_names(&self, end: End<'_>, names: Option<Vec<&str>>) -> String {
        let ports = end.workload.and_then(|endpoint| self.cluster.facts.workload(&endpoint.id.workload));
        let ports = ports.map_or(&[][..], |workload| workload.ports.as_slice());
        let texts = names.unwrap_or_default().into_iter().map(|name| {
            let named = ports.iter().filter(|port| port.name == name);
            let numbers: Vec<String> = named.map(|port| format!("{}/{}", port.port, port.protocol)).collect();
            if numbers.is_empty() {
                format!("{name} (no port of it)")
            } else {
                format!("{name} ({})", numbers.join(", "))
            }
        });
        let texts: Vec<String> = texts.collect();
        if texts.is_empty() { "a port by name".to_owned() } else { texts.join(" or ") }
    }

    fn port(&self) -> String {
        match self.service {
            Service::Port(_, port) => format!("port {port}"),
            Service::Icmp(protocol, _) | Service::Other(protocol) => format!("protocol {protocol} without ports"),
        }
    }

    fn icmp(&self) -> String {
        match self.service.header(self.source_port) {
            (protocol, Transport::Icmp { icmp_type, code }) => format!("{protocol} type {icmp_type} code {code}"),
            (protocol, Transport::Ports { .. } | Transport::Opaque) => format!("protocol {protocol}"),
        }
    }

    /// `10.0.0.7 (pod b/client)`, or an address that no workload has.
    fn named(&self, end: End<'_>) -> String {
        match end.workload {
            Some(endpoint) => format!("{} ({})", end.address, workload(&endpoint.id)),
            None => end.address.to_string(),
        }
    }

    /// `10.0.0.7 (pod b/client, app=web)`, or an address that no workload has.
    fn labelled(&self, end: End<'_>) -> String {
        let Some(endpoint) = end.workload else {
            return format!("{} (no workload)", end.address);
        };
        let labels = self.labels(end).into_iter().flat_map(Labels::iter);
        let own = labels.filter(|(key, _)| !key.starts_with(ADDED_LABELS)).map(|(key, value)| format!("{key}={value}"));
        let words: Vec<String> = [workload(&endpoint.id)].into_iter().chain(own).collect();
        format!("{} ({})", end.address, words.join(", "))
    }

    fn labels(&self, end: End<'_>) -> Option<&Labels> {
        self.cluster.labels(&end.workload?.id.workload)
    }
}

/// `pod b/client`; workloads of other orchestrators by their whole name.
fn workload(id: &WorkloadId) -> String {
    if id.orchestrator == "k8s" { format!("pod {}", id.workload) } else { format!("workload {}", id.workload) }
}

const fn other(family: Family) -> Family {
    match family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    }
}

fn icmp(rule: &felix::Rule) -> String {
    match rule.icmp {
        Some(oneof::Icmp::IcmpType(icmp_type)) => format!("ICMP type {icmp_type}"),
        Some(oneof::Icmp::IcmpTypeCode(m)) => format!("ICMP type {} code {}", m.r#type, m.code),
        None => "any ICMP type".to_owned(),
    }
}

fn not_icmp(rule: &felix::Rule) -> String {
    match rule.not_icmp {
        Some(oneof::NotIcmp::NotIcmpType(icmp_type)) => format!("ICMP type {icmp_type}"),
        Some(oneof::NotIcmp::NotIcmpTypeCode(m)) => format!("ICMP type {} code {}", m.r#type, m.code),
        None => "no ICMP type".to_owned(),
    }
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

    /// Numeric ports, and named ones: a selector beside them is part of their set.
    fn ports(&self, names: &str) -> String {
        let named = self.has_named_ports.then(|| match self.selectors(None) {
            selectors if selectors.is_empty() => names.to_owned(),
            selectors => format!("{names} of {selectors}"),
        });
        let numeric = (!self.ports.is_empty()).then(|| ranges(self.ports));
        numeric.into_iter().chain(named).collect::<Vec<_>>().join(" or ")
    }

    /// What selects endpoints here; without the selector of labels if these labels
    /// satisfy it and there is something else that they cannot satisfy.
    fn selectors(&self, labels: Option<&Labels>) -> String {
        let mut parts = Vec::new();
        let mut part = |label: &str, text: &str| {
            if !text.is_empty() {
                parts.push(format!("{label} {text}"));
            }
        };
        part("namespace selector", self.namespace_selector);
        if let Some(felix::ServiceAccountMatch { selector, names }) = self.service_accounts {
            part("service account selector", selector);
            part("service accounts", &names.join(", "));
        }
        let (namespace, service) = self.service;
        if !service.is_empty() {
            part("Service", &format!("{namespace}/{service}"));
        }
        // What the conversion of a Kubernetes policy puts first is not its author's.
        let selector = self.selector.strip_prefix(KUBERNETES_PREFIX).unwrap_or(self.selector);
        let is_met = |labels| Selector::parse(self.selector).is_ok_and(|parsed| parsed.matches(labels));
        let says_nothing_new = !parts.is_empty() && labels.is_some_and(is_met);
        if !selector.is_empty() && !says_nothing_new {
            parts.push(format!("selector {selector}"));
        }
        if !self.not_selector.is_empty() {
            parts.push(format!("everything but {}", self.not_selector));
        }
        parts.join(" with ")
    }
}

/// The ports that a written rule calls by name, in `ports` or `notPorts` of one side.
/// Rules of Kubernetes have ports of the destination only, without saying so.
fn port_names<'a>(rule: &'a Value, side: &str, list: &str) -> Vec<&'a str> {
    let items = |value: Option<&'a Value>| value.and_then(Value::as_array).into_iter().flatten();
    let of_calico = items(rule.get(side).and_then(|side| side.get(list))).filter_map(Value::as_str);
    let of_kubernetes = items(rule.get("ports")).chain(items(rule.get("protocols"))).filter_map(|item| {
        let name = ["port", "namedPort", "destinationNamedPort"].into_iter().find_map(|field| item.get(field));
        name.and_then(Value::as_str)
    });
    let of_kubernetes = of_kubernetes.filter(|_| (side, list) == ("destination", "ports"));
    // Others are numbers and ranges of them.
    let is_name = |text: &&str| !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    of_calico.chain(of_kubernetes).filter(is_name).collect()
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
