//! What connection tracking makes of the first packet of a connection.

use caracal_net::{Family, Protocol};

use crate::{Packet, Transport};

/// What connection tracking takes a packet for that belongs to no connection yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPacket {
    /// A connection may begin so.
    New,
    /// It is of no connection and does no harm: neighbour discovery and the like.
    Untracked,
    /// No connection begins so.
    Invalid,
}

/// The requests of ICMP that begin something: echo, timestamp, information and
/// address mask (`valid_new` in `nf_conntrack_proto_icmp.c` of the kernel).
const REQUESTS: [u8; 4] = [8, 13, 15, 17];

/// The requests of ICMPv6: echo, node information (`valid_new` in `nf_conntrack_proto_icmpv6.c`).
const REQUESTS_V6: [u8; 2] = [128, 139];

/// The messages of ICMPv6 that are left alone: of listeners, routers and
/// neighbours (`noct_valid_new` in `nf_conntrack_proto_icmpv6.c`). Kernels that do not
/// know the last three, the discovery of multicast routers (RFC 4286), find them invalid.
const LEFT_ALONE_V6: [u8; 11] = [130, 131, 132, 133, 134, 135, 136, 143, 151, 152, 153];

impl FirstPacket {
    /// What a packet is taken for, if its header is whole and a TCP segment bears SYN alone.
    ///
    /// An answer or an error message of ICMP is invalid unless it belongs to a
    /// connection, and then it is not the first packet. Of UDP-Lite every packet is a first
    /// one: no connection of it is known, and none of its packets is refused for that.
    #[must_use]
    pub fn of(packet: &Packet) -> Self {
        let Transport::Icmp { icmp_type, .. } = packet.transport() else { return Self::New };
        let is_request = match (packet.family(), packet.protocol()) {
            (Family::V4, Protocol::ICMP) => REQUESTS.contains(&icmp_type),
            (Family::V6, Protocol::ICMPV6) if LEFT_ALONE_V6.contains(&icmp_type) => return Self::Untracked,
            (Family::V6, Protocol::ICMPV6) => REQUESTS_V6.contains(&icmp_type),
            // The ICMP of the other family.
            (Family::V4 | Family::V6, _) => false,
        };
        if is_request { Self::New } else { Self::Invalid }
    }
}
