//! Nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use caracal_model as model;
use caracal_model::{Kind, Object};
use caracal_net::Family;
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use super::Converted;
use crate::resource::Node;

/// The node's BGP addresses with the prefix length of their network, and its AS number.
const IPV4_ADDRESS: &str = "projectcalico.org/IPv4Address";
const IPV6_ADDRESS: &str = "projectcalico.org/IPv6Address";
const AS_NUMBER: &str = "projectcalico.org/ASNumber";
/// The labels that the node has in Calico only, a JSON object of texts.
const CALICO_LABELS: &str = "projectcalico.org/labels";

/// Converts a node.
pub(super) fn convert(node: &Node) -> Converted {
    let annotation = |name: &str| node.metadata.annotations.get(name).map(String::as_str);
    let converted = model::Node {
        ipv4: annotation(IPV4_ADDRESS)
            .and_then(|text| with_length(text, Family::V4))
            .unwrap_or_else(|| status_address(node, Family::V4)),
        ipv6: annotation(IPV6_ADDRESS)
            .and_then(|text| with_length(text, Family::V6))
            .unwrap_or_else(|| status_address(node, Family::V6)),
        as_number: annotation(AS_NUMBER).and_then(as_number).map(|n| n.to_smolstr()).unwrap_or_default(),
        labels: annotation(CALICO_LABELS)
            .map_or_else(BTreeMap::new, calico_labels)
            .iter()
            .chain(&node.metadata.labels)
            .collect(),
    };
    Converted::object(Kind::Node, Object::Node(node.metadata.name.clone(), converted))
}

/// Calico's own labels; none if they cannot be read. Kubernetes' win over them.
fn calico_labels(text: &str) -> BTreeMap<SmolStr, SmolStr> {
    serde_json::from_str(text).unwrap_or_default()
}

/// `address/length` with the host part kept; an address alone gets its full length.
fn with_length(text: &str, family: Family) -> Option<SmolStr> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, length.parse::<u8>().ok()?),
        None => (text, family.bits()),
    };
    let address: IpAddr = address.parse().ok()?;
    (Family::of(address) == family && length <= family.bits()).then(|| format_smolstr!("{address}/{length}"))
}

/// The node's own address as Kubernetes reports it, the internal one before the external.
fn status_address(node: &Node, family: Family) -> SmolStr {
    ["InternalIP", "ExternalIP"]
        .iter()
        .flat_map(|kind| node.status.addresses.iter().filter(move |entry| entry.kind == *kind))
        .find_map(|entry| with_length(&entry.address, family))
        .unwrap_or_default()
}

/// `65000` or `HIGH.LOW` (RFC 5396 asdot).
fn as_number(text: &str) -> Option<u32> {
    match text.split_once('.') {
        Some((high, low)) => Some(u32::from(high.parse::<u16>().ok()?) << 16 | u32::from(low.parse::<u16>().ok()?)),
        None => text.parse().ok(),
    }
}
