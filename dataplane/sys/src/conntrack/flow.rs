//! A connection as policy sees it.

use std::net::{IpAddr, SocketAddr};

use caracal_net::{Port, Protocol};

use super::{
    CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_TUPLE_IP, CTA_TUPLE_ORIG, Entry, REVOKED, address,
};
use crate::wire::{Attr, Malformed};

/// `enum ctattr_tuple`.
const CTA_TUPLE_PROTO: u16 = 2;
/// `enum ctattr_l4proto`.
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTO_ICMP_TYPE: u16 = 5;
const CTA_PROTO_ICMP_CODE: u16 = 6;
const CTA_PROTO_ICMPV6_TYPE: u16 = 8;
const CTA_PROTO_ICMPV6_CODE: u16 = 9;

/// A connection by its first packet, as the forward and input hooks saw it: from
/// whom it came before SNAT, to whom it went after DNAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who opened it.
    pub source: IpAddr,
    /// Who answers.
    pub destination: IpAddr,
    /// Whom it called, if DNAT has somebody else answer; with port 0 for a
    /// protocol without ports.
    pub called: Option<SocketAddr>,
    /// The protocol.
    pub protocol: Protocol,
    /// What else tells it from others.
    pub key: FlowKey,
    /// Whether it bears the label [`REVOKED`].
    pub revoked: bool,
    /// Whether another connection called for it: it passes with that one, and is
    /// cut with it, whatever policy says of itself.
    pub related: bool,
    /// Whether it is one of two equals: a packet of who answers would have opened the
    /// same connection, the other way round, so that nothing tells an answer from a
    /// call of its own. So it is with gossip from port 7946 to port 7946 and with
    /// tunnels; not if a client chose a port, if the protocol says who opens (TCP,
    /// SCTP, DCCP, ICMP), if somebody translates it, or if a helper reads it.
    pub mutual: bool,
}

/// What tells connections between two hosts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKey {
    /// Ports, of a protocol that has them.
    Ports {
        /// Of who opened it.
        source: Port,
        /// Of who answers.
        destination: Port,
    },
    /// The ICMP or ICMPv6 type and code of the first packet.
    Icmp {
        /// The type.
        icmp_type: u8,
        /// The code.
        code: u8,
    },
    /// Nothing that the kernel tells of.
    Opaque,
}

#[derive(Default)]
struct Tuple {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: u8,
    source_port: Option<Port>,
    destination_port: Option<Port>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
}

impl Tuple {
    fn of(attr: Attr<'_>) -> Result<Self, Malformed> {
        let mut tuple = Self::default();
        for part in attr.nested() {
            let part = part?;
            for field in part.nested() {
                let field = field?;
                match (part.kind, field.kind) {
                    (CTA_TUPLE_IP, CTA_IP_V4_SRC | CTA_IP_V6_SRC) => tuple.source = Some(address(field)?),
                    (CTA_TUPLE_IP, CTA_IP_V4_DST | CTA_IP_V6_DST) => tuple.destination = Some(address(field)?),
                    (CTA_TUPLE_PROTO, CTA_PROTO_NUM) => tuple.protocol = field.u8()?,
                    (CTA_TUPLE_PROTO, CTA_PROTO_SRC_PORT) => tuple.source_port = Some(field.be16()?),
                    (CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT) => tuple.destination_port = Some(field.be16()?),
                    (CTA_TUPLE_PROTO, CTA_PROTO_ICMP_TYPE | CTA_PROTO_ICMPV6_TYPE) => {
                        tuple.icmp_type = Some(field.u8()?);
                    }
                    (CTA_TUPLE_PROTO, CTA_PROTO_ICMP_CODE | CTA_PROTO_ICMPV6_CODE) => {
                        tuple.icmp_code = Some(field.u8()?);
                    }
                    _ => {}
                }
            }
        }
        Ok(tuple)
    }

    /// To whom its packets go.
    fn called(&self) -> Option<SocketAddr> {
        self.destination.map(|addr| SocketAddr::new(addr, self.destination_port.unwrap_or_default()))
    }

    /// Of whom its packets are.
    fn answers(&self) -> Option<SocketAddr> {
        self.source.map(|addr| SocketAddr::new(addr, self.source_port.unwrap_or_default()))
    }
}

/// The original destination of an entry that is nested in another message, with
/// port 0 for a protocol without ports.
pub(crate) fn called(entry: Attr<'_>) -> Result<Option<SocketAddr>, Malformed> {
    for attr in entry.nested() {
        let attr = attr?;
        if attr.kind == CTA_TUPLE_ORIG {
            return Ok(Tuple::of(attr)?.called());
        }
    }
    Ok(None)
}

impl Flow {
    /// Reads a listed entry; `None` if it is of no family that has addresses, or of protocol 0.
    pub(super) fn of(entry: &Entry<'_>) -> Result<Option<Self>, Malformed> {
        let (original, reply) = (Tuple::of(entry.original)?, Tuple::of(entry.reply)?);
        let (Some(source), Some(destination)) = (original.source, reply.source) else { return Ok(None) };
        let Ok(protocol) = Protocol::from_number(original.protocol.into()) else { return Ok(None) };
        let key = match (original.source_port, reply.source_port, original.icmp_type, original.icmp_code) {
            (Some(source), Some(destination), _, _) => FlowKey::Ports { source, destination },
            (_, _, Some(icmp_type), Some(code)) => FlowKey::Icmp { icmp_type, code },
            _ => FlowKey::Opaque,
        };
        let is_translated = original.called() != reply.answers();
        let called = if is_translated { original.called() } else { None };
        let labels = entry.labels.map_or(&[][..], |labels| labels.payload);
        let revoked = labels.iter().zip(REVOKED).any(|(held, bit)| held & bit != 0);
        let related = entry.master.is_some();
        let is_alone = !related && entry.helper.is_none();
        let is_as_it_was_sent = !is_translated && original.answers() == reply.called();
        let mutual = is_alone && is_as_it_was_sent && are_equals(protocol, key);
        Ok(Some(Self { source, destination, called, protocol, key, revoked, related, mutual }))
    }
}

fn are_equals(protocol: Protocol, key: FlowKey) -> bool {
    let says_who_opens = [libc::IPPROTO_TCP, libc::IPPROTO_SCTP, libc::IPPROTO_DCCP];
    let is_told = says_who_opens.contains(&protocol.number().into());
    match key {
        FlowKey::Icmp { .. } => false,
        FlowKey::Ports { source, destination } => !is_told && source == destination,
        FlowKey::Opaque => !is_told,
    }
}
