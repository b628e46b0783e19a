//! Ids of IP sets: hashes of what the set is made from.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha224};

/// The id of the IP set that `content` describes:
/// `prefix:` and the SHA-224 of `prefix:content` in unpadded URL-safe base64.
///
/// The prefix says what the content is: `s` a canonical selector, `n` a
/// [named port](canonical_named_port_id), `svc` and `svcnoport` a service as
/// `namespace/name`, with and without its ports.
#[must_use]
pub fn set_id(prefix: &str, content: &str) -> String {
    let hash = Sha224::new().chain_update(prefix).chain_update(":").chain_update(content).finalize();
    format!("{prefix}:{}", URL_SAFE_NO_PAD.encode(hash))
}

/// The protocol of a named port, as its set's id spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamedPortProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// The rule names no protocol: a port of any protocol counts.
    Any,
}

impl fmt::Display for NamedPortProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Any => "any",
        })
    }
}

/// The id of the set of addresses and ports of the endpoints that a selector
/// with the id `selector_id` selects and that call a port `port_name`.
#[must_use]
pub fn canonical_named_port_id(selector_id: &str, protocol: NamedPortProtocol, port_name: &str) -> String {
    set_id("n", &format!("{selector_id},{protocol},{port_name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_ports_and_services() {
        let all = set_id("s", "all()");
        assert_eq!(all, "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug");
        for (id, expected) in [
            (
                canonical_named_port_id(&all, NamedPortProtocol::Tcp, "tcpport"),
                "n:RMAIMXhhyW5sWWm_0o9euzK6TlyAbtjf6Ta9Jw",
            ),
            (canonical_named_port_id(&all, NamedPortProtocol::Any, "http"), "n:FvKMFOOSYvkZZJ0ch1bwT7bt3AAgySwlMLqMDA"),
            (set_id("svc", "default/nginx"), "svc:RETMWMZ3VCy3Kifv2Qin5MvOA9hFePnt82nebg"),
            (set_id("svcnoport", "default/nginx"), "svcnoport:7qoSZcUIUv_1K0tLMunb3ADnwH1Rn1sMcVoK0w"),
        ] {
            assert_eq!(id, expected);
        }
    }
}
