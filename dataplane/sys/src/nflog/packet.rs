//! The ends of a packet, by its headers.

use std::net::IpAddr;

use caracal_net::{Port, Protocol};

use crate::wire::Malformed;

pub use crate::conntrack::FlowKey as Key;

/// Who sends to whom. The reply of a connection has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The number of the transport protocol.
    pub protocol: u8,
    /// What else tells it from others.
    pub key: Key,
}

/// Numbers of extension headers that say which header is next (RFC 8200, 4.1):
/// hop-by-hop options, routing, destination options.
const OPTIONS: [u8; 3] = [0, 43, 60];
/// The fragment header (RFC 8200, 4.5).
const FRAGMENT: u8 = 44;

impl Tuple {
    /// Reads the beginning of a packet, from its network header on. What the
    /// snapshot does not reach, or a fragment does not have, is left out.
    pub(super) fn of_packet(packet: &[u8]) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("a packet is cut short");
        match packet.first().ok_or(SHORT)? >> 4 {
            4 => {
                let header: &[u8; 20] = packet.first_chunk().ok_or(SHORT)?;
                let rest = packet.get(usize::from(header[0] & 0xf) * 4..).unwrap_or_default();
                let is_first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
                let [source, destination] = [12, 16].map(|at| quad(&header[at..]));
                let (source, destination) = (source.ok_or(SHORT)?, destination.ok_or(SHORT)?);
                Ok(Self::new(source, destination, header[9], if is_first { rest } else { &[] }))
            }
            6 => {
                let header: &[u8; 40] = packet.first_chunk().ok_or(SHORT)?;
                let [source, destination] = [8, 24].map(|at| sixteen(&header[at..]));
                let (source, destination) = (source.ok_or(SHORT)?, destination.ok_or(SHORT)?);
                let (protocol, rest) = transport(header[6], &packet[40..]);
                Ok(Self::new(source, destination, protocol, rest))
            }
            _ => Err(Malformed("a packet of neither IPv4 nor IPv6")),
        }
    }

    fn new(source: IpAddr, destination: IpAddr, protocol: u8, transport: &[u8]) -> Self {
        let is = |known: Protocol| known.number() == protocol;
        let has_ports = Protocol::from_number(protocol.into()).is_ok_and(Protocol::has_ports);
        let key = match *transport {
            [a, b, c, d, ..] if has_ports => {
                Key::Ports { source: Port::from_be_bytes([a, b]), destination: Port::from_be_bytes([c, d]) }
            }
            [icmp_type, code, ..] if is(Protocol::ICMP) || is(Protocol::ICMPV6) => Key::Icmp { icmp_type, code },
            _ => Key::Opaque,
        };
        Self { source, destination, protocol, key }
    }
}

/// The transport protocol behind the extension headers, and its header as far as
/// it is there.
fn transport(mut next: u8, mut rest: &[u8]) -> (u8, &[u8]) {
    loop {
        let len = match (next, rest) {
            (kind, [_, len, ..]) if OPTIONS.contains(&kind) => (usize::from(*len) + 1) * 8,
            (FRAGMENT, [protocol, _, high, low, ..]) if u16::from_be_bytes([*high, *low]) >> 3 != 0 => {
                return (*protocol, &[]);
            }
            (FRAGMENT, [_, _, _, _, ..]) => 8,
            _ => return (next, rest),
        };
        (next, rest) = (rest[0], rest.get(len..).unwrap_or_default());
    }
}

fn quad(bytes: &[u8]) -> Option<IpAddr> {
    bytes.first_chunk().map(|bytes: &[u8; 4]| IpAddr::from(*bytes))
}

fn sixteen(bytes: &[u8]) -> Option<IpAddr> {
    bytes.first_chunk().map(|bytes: &[u8; 16]| IpAddr::from(*bytes))
}
