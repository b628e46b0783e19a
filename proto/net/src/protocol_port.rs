//! A port of a protocol, maybe of some peers only.

use std::fmt;
use std::str::FromStr;

use crate::{Cidr, Port, Protocol};

/// A text is not a port of a protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not [tcp:|udp:][cidr:]port, with an IPv6 CIDR in square brackets")]
pub struct ProtocolPortError(String);

/// A port of TCP or UDP that peers in a prefix, or all of them, may use: an item
/// of Felix's `FailsafeInboundHostPorts` and `FailsafeOutboundHostPorts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProtocolPort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The peers; all if `None`.
    pub net: Option<Cidr>,
    /// The port.
    pub port: Port,
}

impl FromStr for ProtocolPort {
    type Err = ProtocolPortError;

    /// Parses `22`, which is TCP, `udp:53`, `tcp:10.0.0.0/8:80`, `udp:[fd00::/8]:53`.
    fn from_str(text: &str) -> Result<Self, ProtocolPortError> {
        let wrong = || ProtocolPortError(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let (protocol, rest) = match (lower.strip_prefix("tcp:"), lower.strip_prefix("udp:")) {
            (_, Some(rest)) => (Protocol::UDP, rest),
            (Some(rest), None) => (Protocol::TCP, rest),
            (None, None) => (Protocol::TCP, lower.as_str()),
        };
        let (net, port) = match rest.rsplit_once(':') {
            Some((net, port)) => (Some(net), port),
            None => (None, rest),
        };
        let port = port.parse().map_err(|_| wrong())?;
        let Some(net) = net else { return Ok(Self { protocol, net: None, port }) };
        let bracketed = net.strip_prefix('[').and_then(|net| net.strip_suffix(']'));
        if bracketed.is_none() && net.contains(':') {
            return Err(wrong());
        }
        let net = bracketed.unwrap_or(net).parse().map_err(|_| wrong())?;
        Ok(Self { protocol, net: Some(net), port })
    }
}

impl fmt::Display for ProtocolPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, net, port } = self;
        match net {
            None => write!(f, "{protocol}:{port}"),
            Some(net) if net.addr().is_ipv6() => write!(f, "{protocol}:[{net}]:{port}"),
            Some(net) => write!(f, "{protocol}:{net}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        for (text, written) in [
            ("22", "tcp:22"),
            ("TCP:179", "tcp:179"),
            ("udp:53", "udp:53"),
            ("tcp:10.0.0.0/8:80", "tcp:10.0.0.0/8:80"),
            ("udp:[fd00::/8]:53", "udp:[fd00::/8]:53"),
        ] {
            let port: ProtocolPort = text.parse().expect("a port");
            assert_eq!(port.to_string(), written);
            assert_eq!(written.parse(), Ok(port));
        }
        for bad in ["", "sctp:80", "tcp:fd00::/8:80", "70000", "tcp:10.0.0.0/33:80", "udp:"] {
            assert_eq!(bad.parse::<ProtocolPort>(), Err(ProtocolPortError(bad.to_owned())));
        }
    }
}
