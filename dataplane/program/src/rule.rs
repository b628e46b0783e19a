//! Rules in typed form.

use std::sync::Arc;

use caracal_net::{Cidr, Family, Port, PortRange, Protocol};

/// What a rule does with a packet that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Let it through.
    Allow,
    /// Refuse it.
    Deny,
    /// Leave the tier.
    Pass,
    /// Log it and go on.
    Log,
}

/// The id of an IP set, as the control half names it.
pub type SetId = Arc<str>;

/// An ICMP type and code; families are told apart by the rule's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IcmpMatch {
    /// The type.
    pub icmp_type: u8,
    /// The code; `None` matches every code.
    pub code: Option<u8>,
}

/// What one side of a packet must be. Every populated field must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SideMatch {
    /// Prefixes, one of which must hold the address; empty matches all.
    pub nets: Vec<Cidr>,
    /// Prefixes, none of which may hold the address.
    pub not_nets: Vec<Cidr>,
    /// Numeric ports; together with `named_port_sets` they are alternatives.
    pub ports: Vec<PortRange>,
    /// Ports, none of which may match.
    pub not_ports: Vec<PortRange>,
    /// Sets, all of which must hold the address.
    pub sets: Vec<SetId>,
    /// Sets, none of which may hold the address.
    pub not_sets: Vec<SetId>,
    /// Sets of (address, protocol, port): alternatives to `ports`.
    pub named_port_sets: Vec<SetId>,
    /// Sets of (address, protocol, port), none of which may match.
    pub not_named_port_sets: Vec<SetId>,
}

/// A rule of a policy or a profile, ready to be evaluated or lowered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What to do on a match.
    pub action: Action,
    /// Restricts the rule to one address family.
    pub family: Option<Family>,
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// A protocol that must not match.
    pub not_protocol: Option<Protocol>,
    /// The ICMP type and code.
    pub icmp: Option<IcmpMatch>,
    /// An ICMP type and code that must not match.
    pub not_icmp: Option<IcmpMatch>,
    /// The packet's source.
    pub src: SideMatch,
    /// The packet's destination.
    pub dst: SideMatch,
    /// Sets of (address, protocol, port), all of which must hold the destination.
    pub dst_ip_port_sets: Vec<SetId>,
    /// The control half's id of the rule; opaque.
    pub rule_id: Arc<str>,
}

/// A member of an IP set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// A prefix.
    Net(Cidr),
    /// An address with a protocol and a port.
    IpPort(std::net::IpAddr, Protocol, Port),
}
