//! Rules and peers that mean one packet and no other.

use std::net::IpAddr;

use caracal_net::{Family, Protocol};
use caracal_program::{Direction, Transport};
use serde_json::{Map, Value, json};

use super::{Denial, Party};
use crate::explain::pick::Pick;
use crate::explain::{SOURCE_PORT, Service};

/// How the ends of a packet are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Workloads by their labels, where those tell them from all others.
    Labels,
    /// By addresses: workloads with equal labels, or of namespaces that no
    /// manifest describes, cannot be told apart otherwise.
    Addresses,
}

/// Whether a rule names the end whose policy it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Near {
    /// The policy may apply to others as well.
    Named,
    /// The policy applies to that end alone, if its labels are its own.
    OfPolicy,
}

/// A rule of Calico's policies that allows the packet; `namespace` is the policy's,
/// if it has one.
pub(super) fn calico(denial: &Denial, style: Style, near: Near, namespace: Option<&str>) -> Value {
    let near_side = match near {
        Near::OfPolicy if style == Style::Labels && is_exact(&denial.near) => Map::new(),
        Near::OfPolicy | Near::Named => entity(&denial.near, style, namespace),
    };
    let far_side = entity(&denial.far, style, namespace);
    let (source, mut destination) = match denial.direction {
        Direction::Egress => (near_side, far_side),
        Direction::Ingress => (far_side, near_side),
    };
    let mut rule = Map::new();
    rule.insert("action".to_owned(), "Allow".into());
    let (protocol, transport) = denial.service.header(SOURCE_PORT);
    rule.insert("protocol".to_owned(), protocol_name(protocol));
    match transport {
        Transport::Ports { dst, .. } => drop(destination.insert("ports".to_owned(), json!([dst]))),
        Transport::Icmp { icmp_type, code } => {
            rule.insert("icmp".to_owned(), json!({"type": icmp_type, "code": code}));
        }
        Transport::Opaque => {}
    }
    for (side, entity) in [("source", source), ("destination", destination)] {
        if !entity.is_empty() {
            rule.insert(side.to_owned(), entity.into());
        }
    }
    rule.into()
}

fn is_exact(party: &Party) -> bool {
    party.workload.as_ref().is_some_and(|(_, pick)| pick.is_exact)
}

/// How Calico spells a protocol; by number what has no name there.
fn protocol_name(protocol: Protocol) -> Value {
    match protocol {
        Protocol::TCP => "TCP".into(),
        Protocol::UDP => "UDP".into(),
        Protocol::SCTP => "SCTP".into(),
        Protocol::UDPLITE => "UDPLite".into(),
        Protocol::ICMP => "ICMP".into(),
        Protocol::ICMPV6 => "ICMPv6".into(),
        other => other.number().into(),
    }
}

/// One side of one of Calico's rules.
fn entity(party: &Party, style: Style, namespace: Option<&str>) -> Map<String, Value> {
    let mut entity = Map::new();
    match &party.workload {
        Some((_, pick)) if style == Style::Labels && pick.is_exact => {
            if namespace != Some(pick.namespace.as_str()) {
                let selector = format!("projectcalico.org/name == '{}'", pick.namespace);
                entity.insert("namespaceSelector".to_owned(), selector.into());
            }
            entity.insert("selector".to_owned(), pick.calico().into());
        }
        Some(_) | None => drop(entity.insert("nets".to_owned(), json!([host(party.address)]))),
    }
    entity
}

/// The prefix of one address.
pub(super) fn host(address: IpAddr) -> String {
    match Family::of(address) {
        Family::V4 => format!("{address}/32"),
        Family::V6 => format!("{address}/128"),
    }
}

/// One of Kubernetes' rules that allows the packet, if Kubernetes can say so.
pub(super) fn kubernetes(denial: &Denial, style: Style, namespace: &str) -> Option<Value> {
    let Service::Port(protocol, port) = denial.service else { return None };
    let ports = json!([{"protocol": kubernetes_protocol(protocol)?, "port": port}]);
    let peer = match (&denial.far.workload, style) {
        (Some((_, pick)), Style::Labels) if pick.is_exact => {
            let mut peer = Map::new();
            if pick.namespace != namespace {
                peer.insert("namespaceSelector".to_owned(), namespace_selector(pick));
            }
            peer.insert("podSelector".to_owned(), pick.kubernetes());
            peer.into()
        }
        _ => json!({"ipBlock": {"cidr": host(denial.far.address)}}),
    };
    Some(match denial.direction {
        Direction::Ingress => json!({"from": [peer], "ports": ports}),
        Direction::Egress => json!({"to": [peer], "ports": ports}),
    })
}

/// A rule of a ClusterNetworkPolicy that accepts the packet, if it can say so: it
/// knows no addresses as sources.
pub(super) fn cluster(denial: &Denial) -> Option<Value> {
    let Service::Port(protocol, port) = denial.service else { return None };
    let protocol = kubernetes_protocol(protocol)?.to_ascii_lowercase();
    let protocols = json!([{protocol: {"destinationPort": {"number": port}}}]);
    let peer = match &denial.far.workload {
        Some((_, pick)) if pick.is_exact => {
            json!({"pods": {"namespaceSelector": namespace_selector(pick), "podSelector": pick.kubernetes()}})
        }
        Some(_) | None if denial.direction == Direction::Egress => json!({"networks": [host(denial.far.address)]}),
        Some(_) | None => return None,
    };
    Some(match denial.direction {
        Direction::Ingress => json!({"action": "Accept", "from": [peer], "protocols": protocols}),
        Direction::Egress => json!({"action": "Accept", "to": [peer], "protocols": protocols}),
    })
}

/// The namespace of a workload, as Kubernetes selects it.
pub(super) fn namespace_selector(pick: &Pick) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": pick.namespace}})
}

fn kubernetes_protocol(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::TCP => Some("TCP"),
        Protocol::UDP => Some("UDP"),
        Protocol::SCTP => Some("SCTP"),
        _ => None,
    }
}
