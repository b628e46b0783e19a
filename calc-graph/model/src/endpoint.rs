//! Endpoints, profiles, tiers, network sets and nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use caracal_net::{Cidr, Port, Protocol};
use smol_str::SmolStr;

use crate::{Labels, Rule, TierAction};

/// A named port of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointPort {
    /// The port's name; never empty.
    pub name: SmolStr,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The port's number.
    pub port: Port,
}

/// A one-to-one address translation (floating IP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nat {
    /// The address that others use.
    pub external: IpAddr,
    /// The endpoint's own address.
    pub internal: IpAddr,
}

/// Limits on one direction of a workload's traffic; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QosLimits {
    /// Bits per second.
    pub bandwidth: i64,
    /// Bits above the bandwidth.
    pub burst: i64,
    /// Bits per second within a burst.
    pub peakrate: i64,
    /// Bytes that may go at once within a burst.
    pub minburst: i64,
    /// Packets per second.
    pub packet_rate: i64,
    /// Packets above the rate.
    pub packet_burst: i64,
    /// Connections at a time.
    pub max_connections: i64,
}

/// Limits and marks on a workload's traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qos {
    /// Traffic towards the workload.
    pub ingress: QosLimits,
    /// Traffic from the workload.
    pub egress: QosLimits,
    /// The differentiated services code point of what it sends (RFC 2474), 0–63.
    pub dscp: Option<u8>,
}

/// A workload's interface: a pod, or a virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadEndpoint {
    /// `active`, or another text for an endpoint that is administratively down.
    pub state: SmolStr,
    /// The host's side of the interface, for example `cali12345678901`.
    pub interface: SmolStr,
    /// The interface's MAC address; empty if unknown.
    pub mac: SmolStr,
    /// Profiles, in order.
    pub profiles: Vec<SmolStr>,
    /// IPv4 addresses; the prefix length is as the source gave it.
    pub ipv4_nets: Vec<Cidr>,
    /// IPv6 addresses; the prefix length is as the source gave it.
    pub ipv6_nets: Vec<Cidr>,
    /// Floating IPs.
    pub nats: Vec<Nat>,
    /// Own labels, without those inherited from profiles.
    pub labels: Labels,
    /// Named ports.
    pub ports: Vec<EndpointPort>,
    /// Prefixes that the workload may use as source though they are not its own.
    pub allowed_source_prefixes: Vec<Cidr>,
    /// Annotations that go to the dataplane.
    pub annotations: BTreeMap<SmolStr, SmolStr>,
    /// Limits and marks.
    pub qos: Qos,
}

/// An interface of a host that policy applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEndpoint {
    /// The interface; `*` for all of them, empty to go by `expected_ips`.
    pub interface: SmolStr,
    /// Addresses by which the interface is found.
    pub expected_ips: Vec<IpAddr>,
    /// Profiles, in order.
    pub profiles: Vec<SmolStr>,
    /// Own labels.
    pub labels: Labels,
    /// Named ports.
    pub ports: Vec<EndpointPort>,
    /// The differentiated services code point of what it sends (RFC 2474), 0–63.
    pub dscp: Option<u8>,
}

/// Labels that endpoints inherit, and rules that apply when no policy decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Labels that each endpoint with this profile inherits.
    pub labels: Labels,
    /// Rules for traffic towards the endpoint.
    pub inbound_rules: Vec<Rule>,
    /// Rules for traffic from the endpoint.
    pub outbound_rules: Vec<Rule>,
}

/// A tier of policies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tier {
    /// Position among tiers; `None` is last.
    pub order: Option<f64>,
    /// What happens at the end of the tier.
    pub default_action: TierAction,
}

/// Prefixes with labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSet {
    /// Own labels.
    pub labels: Labels,
    /// Profiles whose labels it inherits: its namespace's.
    pub profiles: Vec<SmolStr>,
    /// The prefixes.
    pub nets: Vec<Cidr>,
}

/// What the dataplane must know of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The IPv4 address and its prefix length, host part kept: `192.0.2.1/24`.
    pub ipv4: SmolStr,
    /// The IPv6 address and its prefix length, host part kept.
    pub ipv6: SmolStr,
    /// The node's AS number in decimal; empty if it has none.
    pub as_number: SmolStr,
    /// The node's labels.
    pub labels: Labels,
}
