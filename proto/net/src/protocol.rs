//! IP protocols by number and by the names that policy uses.

use std::fmt;
use std::str::FromStr;

/// A name or number is not a protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A name that policy does not know.
    #[error("{0:?} is not a protocol (TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or 1-255)")]
    Name(String),
    /// A number outside 1–255.
    #[error("protocol number {0} is not within 1-255")]
    Number(i64),
}

/// An IP protocol number (IANA "Assigned Internet Protocol Numbers"), 1–255.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(u8);

impl Protocol {
    /// Internet Control Message Protocol, 1.
    pub const ICMP: Self = Self(1);
    /// IPv4 in IP, 4 (RFC 2003).
    pub const IPIP: Self = Self(4);
    /// Transmission Control Protocol, 6.
    pub const TCP: Self = Self(6);
    /// User Datagram Protocol, 17.
    pub const UDP: Self = Self(17);
    /// Internet Control Message Protocol for IPv6, 58.
    pub const ICMPV6: Self = Self(58);
    /// Stream Control Transmission Protocol, 132.
    pub const SCTP: Self = Self(132);
    /// UDP-Lite, 136.
    pub const UDPLITE: Self = Self(136);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::ICMP, "icmp"),
        (Self::TCP, "tcp"),
        (Self::UDP, "udp"),
        (Self::ICMPV6, "icmpv6"),
        (Self::SCTP, "sctp"),
        (Self::UDPLITE, "udplite"),
    ];

    /// The protocol of a number.
    ///
    /// # Errors
    /// [`ProtocolError::Number`] outside 1–255.
    pub fn from_number(number: i64) -> Result<Self, ProtocolError> {
        match u8::try_from(number) {
            Ok(n) if n != 0 => Ok(Self(n)),
            _ => Err(ProtocolError::Number(number)),
        }
    }

    /// The protocol's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The protocol's name in lower case, if policy has a name for it.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(p, _)| *p == self).map(|(_, name)| *name)
    }

    /// Whether the protocol's header starts with a source and a destination port.
    #[must_use]
    pub fn has_ports(self) -> bool {
        [Self::TCP, Self::UDP, Self::SCTP, Self::UDPLITE].contains(&self)
    }
}

impl FromStr for Protocol {
    type Err = ProtocolError;

    /// Parses a name in any case, or a number.
    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        if let Some((p, _)) = Self::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
            return Ok(*p);
        }
        match text.parse::<i64>() {
            Ok(n) => Self::from_number(n),
            Err(_) => Err(ProtocolError::Name(text.to_owned())),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        for (text, want) in [("TCP", "tcp"), ("icmpv6", "icmpv6"), ("UDPLite", "udplite"), ("6", "tcp"), ("47", "47")] {
            assert_eq!(text.parse::<Protocol>().map(|p| p.to_string()), Ok(want.to_owned()));
        }
        assert_eq!("0".parse::<Protocol>(), Err(ProtocolError::Number(0)));
        assert_eq!("256".parse::<Protocol>(), Err(ProtocolError::Number(256)));
        assert_eq!("tpc".parse::<Protocol>(), Err(ProtocolError::Name("tpc".into())));
        assert!(Protocol::SCTP.has_ports() && !Protocol::ICMP.has_ports());
    }
}
