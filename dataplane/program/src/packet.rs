//! What a packet shows to policy.

use std::net::IpAddr;

use caracal_net::{Family, Port, Protocol};

/// What follows a packet's IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A header that starts with two ports.
    Ports {
        /// The source port.
        src: Port,
        /// The destination port.
        dst: Port,
    },
    /// An ICMP or ICMPv6 header.
    Icmp {
        /// The type.
        icmp_type: u8,
        /// The code.
        code: u8,
    },
    /// Nothing that policy looks at.
    Opaque,
}

/// The source and the destination of a packet are of different families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source {src} and destination {dst} are of different address families; give addresses of one family")]
pub struct MixedFamilies {
    /// The source.
    pub src: IpAddr,
    /// The destination.
    pub dst: IpAddr,
}

/// The first packet of a connection. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    src: IpAddr,
    dst: IpAddr,
    protocol: Protocol,
    transport: Transport,
}

impl Packet {
    /// Builds a packet.
    ///
    /// # Errors
    /// [`MixedFamilies`] if one address is IPv4 and the other IPv6.
    pub fn new(src: IpAddr, dst: IpAddr, protocol: Protocol, transport: Transport) -> Result<Self, MixedFamilies> {
        if Family::of(src) != Family::of(dst) {
            return Err(MixedFamilies { src, dst });
        }
        Ok(Self { src, dst, protocol, transport })
    }

    /// The family of both addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.src)
    }

    /// The source address.
    #[must_use]
    pub const fn src(&self) -> IpAddr {
        self.src
    }

    /// The destination address.
    #[must_use]
    pub const fn dst(&self) -> IpAddr {
        self.dst
    }

    /// The protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What follows the IP header.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The other way round, as an answer comes.
    #[must_use]
    pub const fn answer(&self) -> Self {
        let transport = match self.transport {
            Transport::Ports { src, dst } => Transport::Ports { src: dst, dst: src },
            other @ (Transport::Icmp { .. } | Transport::Opaque) => other,
        };
        Self { src: self.dst, dst: self.src, protocol: self.protocol, transport }
    }

    /// The same from port 0: one for all that differ in their source port only.
    pub(crate) const fn without_source_port(&self) -> Self {
        let transport = match self.transport {
            Transport::Ports { src: _, dst } => Transport::Ports { src: 0, dst },
            other @ (Transport::Icmp { .. } | Transport::Opaque) => other,
        };
        Self { transport, ..*self }
    }
}
