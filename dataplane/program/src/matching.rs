//! Whether a rule matches a packet, field by field.

use std::fmt;
use std::net::IpAddr;

use caracal_net::{Cidr, Family, Port, PortRange, Protocol};

use crate::{IcmpMatch, IpSet, Packet, PolicyStore, Rule, SetId, SideMatch, Transport};

/// A field of a rule that a packet must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The address family.
    Family,
    /// The protocol.
    Protocol,
    /// The protocol that must not match.
    NotProtocol,
    /// The ICMP type and code.
    Icmp,
    /// The ICMP type and code that must not match.
    NotIcmp,
    /// The source's prefixes.
    SrcNets,
    /// The prefixes that must not hold the source.
    NotSrcNets,
    /// The source's ports, numeric and named.
    SrcPorts,
    /// The ports that must not match the source, numeric.
    NotSrcPorts,
    /// The sets that must hold the source.
    SrcSets,
    /// The sets that must not hold the source.
    NotSrcSets,
    /// The named ports that must not match the source.
    NotSrcNamedPorts,
    /// The destination's prefixes.
    DstNets,
    /// The prefixes that must not hold the destination.
    NotDstNets,
    /// The destination's ports, numeric and named.
    DstPorts,
    /// The ports that must not match the destination, numeric.
    NotDstPorts,
    /// The sets that must hold the destination.
    DstSets,
    /// The sets that must not hold the destination.
    NotDstSets,
    /// The named ports that must not match the destination.
    NotDstNamedPorts,
    /// The services that must hold the destination.
    DstIpPortSets,
}

impl Field {
    /// Every field, those that cost least to test first.
    pub const ALL: [Self; 20] = [
        Self::Family,
        Self::Protocol,
        Self::NotProtocol,
        Self::Icmp,
        Self::NotIcmp,
        Self::SrcPorts,
        Self::NotSrcPorts,
        Self::DstPorts,
        Self::NotDstPorts,
        Self::SrcNets,
        Self::NotSrcNets,
        Self::DstNets,
        Self::NotDstNets,
        Self::SrcSets,
        Self::NotSrcSets,
        Self::NotSrcNamedPorts,
        Self::DstSets,
        Self::NotDstSets,
        Self::NotDstNamedPorts,
        Self::DstIpPortSets,
    ];

    /// The field's name in answers of the program.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Family => "family",
            Self::Protocol => "protocol",
            Self::NotProtocol => "not-protocol",
            Self::Icmp => "icmp",
            Self::NotIcmp => "not-icmp",
            Self::SrcNets => "source-nets",
            Self::NotSrcNets => "not-source-nets",
            Self::SrcPorts => "source-ports",
            Self::NotSrcPorts => "not-source-ports",
            Self::SrcSets => "source-selector",
            Self::NotSrcSets => "not-source-selector",
            Self::NotSrcNamedPorts => "not-source-named-ports",
            Self::DstNets => "destination-nets",
            Self::NotDstNets => "not-destination-nets",
            Self::DstPorts => "destination-ports",
            Self::NotDstPorts => "not-destination-ports",
            Self::DstSets => "destination-selector",
            Self::NotDstSets => "not-destination-selector",
            Self::NotDstNamedPorts => "not-destination-named-ports",
            Self::DstIpPortSets => "destination-service",
        }
    }

    /// Whether the packet satisfies this field of the rule; a field that the
    /// rule leaves empty is always satisfied.
    #[must_use]
    pub fn holds(self, rule: &Rule, packet: &Packet, store: &PolicyStore) -> bool {
        self.holds_among(rule, packet, store)
    }

    /// As [`Field::holds`], with the sets from elsewhere.
    pub(crate) fn holds_among(self, rule: &Rule, packet: &Packet, sets: &impl Sets) -> bool {
        let src = Side::source(rule, packet, sets);
        let dst = Side::destination(rule, packet, sets);
        let protocol = packet.protocol();
        match self {
            Self::Family => rule.family.is_none_or(|family| family == packet.family()),
            Self::Protocol => rule.protocol.is_none_or(|wanted| wanted == protocol),
            Self::NotProtocol => rule.not_protocol.is_none_or(|refused| refused != protocol),
            Self::Icmp => rule.icmp.is_none_or(|wanted| is_icmp(wanted, packet)),
            Self::NotIcmp => rule.not_icmp.is_none_or(|refused| !is_icmp(refused, packet)),
            Self::SrcNets => src.nets(),
            Self::NotSrcNets => src.not_nets(),
            Self::SrcPorts => src.ports(),
            Self::NotSrcPorts => src.not_ports(),
            Self::SrcSets => src.sets(),
            Self::NotSrcSets => src.not_sets(),
            Self::NotSrcNamedPorts => src.not_named_ports(),
            Self::DstNets => dst.nets(),
            Self::NotDstNets => dst.not_nets(),
            Self::DstPorts => dst.ports(),
            Self::NotDstPorts => dst.not_ports(),
            Self::DstSets => dst.sets(),
            Self::NotDstSets => dst.not_sets(),
            Self::NotDstNamedPorts => dst.not_named_ports(),
            Self::DstIpPortSets => rule.dst_ip_port_sets.iter().all(|id| dst.in_port_set(id)),
        }
    }

    /// Whether the rule says anything in this field.
    pub(crate) const fn is_asked_by(self, rule: &Rule) -> bool {
        let Rule { family, protocol, not_protocol, icmp, not_icmp, src, dst, dst_ip_port_sets, .. } = rule;
        match self {
            Self::Family => family.is_some(),
            Self::Protocol => protocol.is_some(),
            Self::NotProtocol => not_protocol.is_some(),
            Self::Icmp => icmp.is_some(),
            Self::NotIcmp => not_icmp.is_some(),
            Self::SrcNets => !src.nets.is_empty(),
            Self::NotSrcNets => !src.not_nets.is_empty(),
            Self::SrcPorts => !(src.ports.is_empty() && src.named_port_sets.is_empty()),
            Self::NotSrcPorts => !src.not_ports.is_empty(),
            Self::SrcSets => !src.sets.is_empty(),
            Self::NotSrcSets => !src.not_sets.is_empty(),
            Self::NotSrcNamedPorts => !src.not_named_port_sets.is_empty(),
            Self::DstNets => !dst.nets.is_empty(),
            Self::NotDstNets => !dst.not_nets.is_empty(),
            Self::DstPorts => !(dst.ports.is_empty() && dst.named_port_sets.is_empty()),
            Self::NotDstPorts => !dst.not_ports.is_empty(),
            Self::DstSets => !dst.sets.is_empty(),
            Self::NotDstSets => !dst.not_sets.is_empty(),
            Self::NotDstNamedPorts => !dst.not_named_port_sets.is_empty(),
            Self::DstIpPortSets => !dst_ip_port_sets.is_empty(),
        }
    }

    /// Whether the field looks at the port that the packet comes from.
    pub(crate) const fn reads_source_port(self) -> bool {
        matches!(self, Self::SrcPorts | Self::NotSrcPorts | Self::NotSrcNamedPorts)
    }
}

/// Where the sets that rules name are found.
pub(crate) trait Sets {
    fn named(&self, id: &SetId) -> Option<&IpSet>;
}

impl Sets for PolicyStore {
    fn named(&self, id: &SetId) -> Option<&IpSet> {
        self.ip_set(id)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Rule {
    /// Whether every field of the rule is satisfied.
    #[must_use]
    pub fn matches(&self, packet: &Packet, store: &PolicyStore) -> bool {
        Field::ALL.into_iter().all(|field| field.holds(self, packet, store))
    }

    /// The fields that the packet does not satisfy; none if the rule matches.
    #[must_use]
    pub fn mismatches(&self, packet: &Packet, store: &PolicyStore) -> Vec<Field> {
        Field::ALL.into_iter().filter(|field| !field.holds(self, packet, store)).collect()
    }

    /// The sets that the rule names, in no particular order, repeated as it
    /// repeats them.
    pub fn set_ids(&self) -> impl Iterator<Item = &SetId> {
        self.src.set_lists().into_iter().chain(self.dst.set_lists()).chain([&self.dst_ip_port_sets]).flatten()
    }
}

impl SideMatch {
    fn set_lists(&self) -> [&Vec<SetId>; 4] {
        let Self { sets, not_sets, named_port_sets, not_named_port_sets, nets: _, not_nets: _, ports: _, not_ports: _ } =
            self;
        [sets, not_sets, named_port_sets, not_named_port_sets]
    }
}

/// An ICMP match is one of the packet's own family: type 8 of ICMP is not type
/// 8 of ICMPv6, and neither is a header of another protocol.
fn is_icmp(wanted: IcmpMatch, packet: &Packet) -> bool {
    let own = match packet.family() {
        Family::V4 => Protocol::ICMP,
        Family::V6 => Protocol::ICMPV6,
    };
    match packet.transport() {
        Transport::Icmp { icmp_type, code } => {
            packet.protocol() == own
                && wanted.icmp_type == icmp_type
                && wanted.code.is_none_or(|wanted_code| wanted_code == code)
        }
        Transport::Ports { .. } | Transport::Opaque => false,
    }
}

/// One side of a rule against the same side of a packet.
struct Side<'a, S> {
    wanted: &'a SideMatch,
    addr: IpAddr,
    /// The port, if the packet's protocol has ports.
    port: Option<Port>,
    protocol: Protocol,
    all_sets: &'a S,
}

impl<'a, S: Sets> Side<'a, S> {
    fn source(rule: &'a Rule, packet: &Packet, sets: &'a S) -> Self {
        Self::new(&rule.src, packet.src(), packet, sets, |src, _| src)
    }

    fn destination(rule: &'a Rule, packet: &Packet, sets: &'a S) -> Self {
        Self::new(&rule.dst, packet.dst(), packet, sets, |_, dst| dst)
    }

    fn new(
        wanted: &'a SideMatch,
        addr: IpAddr,
        packet: &Packet,
        all_sets: &'a S,
        pick: impl Fn(Port, Port) -> Port,
    ) -> Self {
        let port = match packet.transport() {
            Transport::Ports { src, dst } if packet.protocol().has_ports() => Some(pick(src, dst)),
            Transport::Ports { .. } | Transport::Icmp { .. } | Transport::Opaque => None,
        };
        Self { wanted, addr, port, protocol: packet.protocol(), all_sets }
    }

    fn nets(&self) -> bool {
        self.wanted.nets.is_empty() || self.in_nets(&self.wanted.nets)
    }

    /// Prefixes of the other family say nothing about the packet. When no prefix
    /// is left of the packet's family, Felix programs no rule for that family
    /// (`FilterRuleToIPVersion`), so the rule does not match.
    fn not_nets(&self) -> bool {
        let refused = &self.wanted.not_nets;
        let family = Family::of(self.addr);
        refused.is_empty() || (refused.iter().any(|net| net.family() == family) && !self.in_nets(refused))
    }

    fn in_nets(&self, nets: &[Cidr]) -> bool {
        nets.iter().any(|net| net.contains(self.addr))
    }

    /// Numeric ports and named ports are alternatives.
    fn ports(&self) -> bool {
        let SideMatch { ports, named_port_sets, .. } = self.wanted;
        (ports.is_empty() && named_port_sets.is_empty())
            || self.in_ports(ports)
            || named_port_sets.iter().any(|id| self.in_port_set(id))
    }

    fn not_ports(&self) -> bool {
        !self.in_ports(&self.wanted.not_ports)
    }

    fn not_named_ports(&self) -> bool {
        !self.wanted.not_named_port_sets.iter().any(|id| self.in_port_set(id))
    }

    fn in_ports(&self, ranges: &[PortRange]) -> bool {
        self.port.is_some_and(|port| ranges.iter().any(|range| range.contains(port)))
    }

    fn sets(&self) -> bool {
        self.wanted.sets.iter().all(|id| self.in_set(id))
    }

    fn not_sets(&self) -> bool {
        !self.wanted.not_sets.iter().any(|id| self.in_set(id))
    }

    fn in_set(&self, id: &SetId) -> bool {
        self.set(id).is_some_and(|set| set.holds(self.addr))
    }

    fn in_port_set(&self, id: &SetId) -> bool {
        let Some(port) = self.port else { return false };
        self.set(id).is_some_and(|set| set.holds_port(self.addr, self.protocol, port))
    }

    fn set(&self, id: &SetId) -> Option<&IpSet> {
        self.all_sets.named(id)
    }
}

#[cfg(test)]
mod tests;
