//! Who sends what to whom.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use caracal_net::{Port, Protocol, ProtocolError};
use caracal_program::Transport;
use caracal_proto::admin::ExplainRequest;
use serde::Deserialize;
use smol_str::SmolStr;

/// The source port unless one is asked for: the first of IANA's dynamic ports
/// (RFC 6335 §6).
pub const SOURCE_PORT: Port = 49152;

/// One end of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// A workload, `NAMESPACE/NAME`.
    Workload(SmolStr),
    /// A workload at one address; a sender may pretend to have another's.
    WorkloadAt(SmolStr, IpAddr),
    /// A host, `node:NAME`.
    Node(SmolStr),
    /// An address; if a workload or a host has it, that workload or host.
    Address(IpAddr),
}

/// What is sent: a protocol with the destination's port, or an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// A protocol with ports.
    Port(Protocol, Port),
    /// ICMP or ICMPv6; without a type an echo request.
    Icmp(Protocol, Option<(u8, u8)>),
    /// Another protocol.
    Other(Protocol),
}

/// A question cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Not a workload, not a host and not an address.
    #[error("{0:?} is neither NAMESPACE/POD nor an IP address")]
    Party(String),
    /// Not a port with a protocol.
    #[error("{0:?} is not PORT/PROTOCOL, for example 80/tcp, 53/udp, 8/icmp or /47")]
    Service(String),
    /// A port that is not a number of 16 bits.
    #[error("port {0:?} is not within 0-65535")]
    Port(String),
    /// Not an ICMP type and code.
    #[error("{0:?} is not an ICMP type (0-255), or a type and a code as 3:1")]
    Icmp(String),
    /// A protocol that does not exist.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// A protocol that has ports, without one.
    #[error("{0} has ports; write PORT/{0}")]
    NoPort(Protocol),
    /// A port of a protocol that has none.
    #[error("protocol {0} has no ports; write /{0}")]
    NoPorts(Protocol),
}

impl FromStr for Party {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        if let Ok(addr) = text.parse() {
            return Ok(Self::Address(addr));
        }
        let bad = || QuestionError::Party(text.to_owned());
        if let Some(node) = text.strip_prefix("node:") {
            return if node.is_empty() { Err(bad()) } else { Ok(Self::Node(node.into())) };
        }
        let (workload, address) = text.split_once('@').map_or((text, None), |(name, address)| (name, Some(address)));
        let is_name = |(namespace, name): (&str, &str)| !namespace.is_empty() && !name.is_empty();
        if !workload.split_once('/').is_some_and(is_name) {
            return Err(bad());
        }
        match address {
            None => Ok(Self::Workload(workload.into())),
            Some(address) => Ok(Self::WorkloadAt(workload.into(), address.parse().map_err(|_| bad())?)),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(name) => f.write_str(name),
            Self::WorkloadAt(name, addr) => write!(f, "{name}@{addr}"),
            Self::Node(name) => write!(f, "node:{name}"),
            Self::Address(addr) => addr.fmt(f),
        }
    }
}

impl FromStr for Service {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        let (number, protocol) = match text.split_once('/') {
            Some(parts) => parts,
            // A lone number would read as a port, and mean a protocol.
            None if text.bytes().all(|b| b.is_ascii_digit()) => return Err(QuestionError::Service(text.to_owned())),
            None => ("", text),
        };
        // `tcp/80` would read as a port called tcp of protocol 80.
        if number.starts_with(|first: char| first.is_ascii_alphabetic()) && number.parse::<Protocol>().is_ok() {
            return Err(QuestionError::Service(text.to_owned()));
        }
        let protocol: Protocol = protocol.parse()?;
        if protocol.has_ports() {
            return match number {
                "" => Err(QuestionError::NoPort(protocol)),
                _ => port(number).map(|port| Self::Port(protocol, port)),
            };
        }
        match (protocol, number) {
            (Protocol::ICMP | Protocol::ICMPV6, "") => Ok(Self::Icmp(protocol, None)),
            (Protocol::ICMP | Protocol::ICMPV6, _) => icmp(number).map(|kind| Self::Icmp(protocol, Some(kind))),
            (_, "") => Ok(Self::Other(protocol)),
            (_, _) => Err(QuestionError::NoPorts(protocol)),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "{port}/{protocol}"),
            Self::Icmp(protocol, None) => write!(f, "{protocol}"),
            Self::Icmp(protocol, Some((icmp_type, code))) => write!(f, "{icmp_type}:{code}/{protocol}"),
            Self::Other(protocol) => write!(f, "/{}", protocol.number()),
        }
    }
}

impl Service {
    /// The packet's protocol, and what follows its IP header.
    #[must_use]
    pub fn header(self, source_port: Port) -> (Protocol, Transport) {
        /// Echo request (RFC 792) and echo request of ICMPv6 (RFC 4443).
        const fn echo_request(protocol: Protocol) -> (u8, u8) {
            match protocol {
                Protocol::ICMPV6 => (128, 0),
                _ => (8, 0),
            }
        }
        match self {
            Self::Port(protocol, dst) => (protocol, Transport::Ports { src: source_port, dst }),
            Self::Icmp(protocol, kind) => {
                let (icmp_type, code) = kind.unwrap_or(echo_request(protocol));
                (protocol, Transport::Icmp { icmp_type, code })
            }
            Self::Other(protocol) => (protocol, Transport::Opaque),
        }
    }
}

fn port(text: &str) -> Result<Port, QuestionError> {
    digits(text).ok_or_else(|| QuestionError::Port(text.to_owned()))
}

/// Reads `TYPE` or `TYPE:CODE`.
fn icmp(text: &str) -> Result<(u8, u8), QuestionError> {
    let (icmp_type, code) = text.split_once(':').unwrap_or((text, "0"));
    digits(icmp_type).zip(digits(code)).ok_or_else(|| QuestionError::Icmp(text.to_owned()))
}

/// A number without a sign.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// What happens to a packet from one party to another?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who sends.
    pub from: Party,
    /// Who is to receive.
    pub to: Party,
    /// What is sent.
    pub service: Service,
    /// The source port; without meaning for protocols without ports.
    pub source_port: Port,
    /// The interface by which the packet comes to a node or leaves it, where that
    /// node has host endpoints of several.
    pub interface: Option<SmolStr>,
}

/// A question as a line of JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Line {
    from: String,
    to: String,
    port: String,
    source_port: Option<Port>,
    interface: Option<SmolStr>,
}

/// A line is not a question.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not of the right form.
    #[error("not a question: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A field cannot be understood.
    #[error("{field}: {error}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        error: QuestionError,
    },
}

impl Question {
    /// Reads a question that came over the admin API.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn from_request(request: &ExplainRequest) -> Result<Self, LineError> {
        let ExplainRequest { from, to, port, source_port, interface } = request;
        let field = |field| move |error| LineError::Field { field, error };
        let source = Port::try_from(*source_port);
        Ok(Self {
            from: from.parse().map_err(field("from"))?,
            to: to.parse().map_err(field("to"))?,
            service: port.parse().map_err(field("port"))?,
            source_port: source
                .map_err(|_| QuestionError::Port(source_port.to_string()))
                .map_err(field("source_port"))?,
            interface: (!interface.is_empty()).then(|| interface.into()),
        })
    }

    /// The question for the admin API.
    #[must_use]
    pub fn request(&self) -> ExplainRequest {
        let Self { from, to, service, source_port, interface } = self;
        ExplainRequest {
            from: from.to_string(),
            to: to.to_string(),
            port: service.to_string(),
            source_port: (*source_port).into(),
            interface: interface.as_ref().map(SmolStr::to_string).unwrap_or_default(),
        }
    }

    /// Reads a line such as `{"from": "shop/web", "to": "10.0.0.3", "port": "80/tcp"}`.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn from_line(line: &str) -> Result<Self, LineError> {
        let Line { from, to, port, source_port, interface } = serde_json::from_str(line)?;
        let field = |field| move |error| LineError::Field { field, error };
        Ok(Self {
            from: from.parse().map_err(field("from"))?,
            to: to.parse().map_err(field("to"))?,
            service: port.parse().map_err(field("port"))?,
            source_port: source_port.unwrap_or(SOURCE_PORT),
            interface,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties() {
        for (text, want) in [
            ("shop/web", Ok(Party::Workload("shop/web".into()))),
            ("10.0.0.1", Ok(Party::Address("10.0.0.1".parse().expect("an address")))),
            ("fd00::1", Ok(Party::Address("fd00::1".parse().expect("an address")))),
            ("node:n1", Ok(Party::Node("n1".into()))),
            ("shop/web@10.0.0.1", Ok(Party::WorkloadAt("shop/web".into(), "10.0.0.1".parse().expect("an address")))),
            ("shop/web@home", Err(QuestionError::Party("shop/web@home".to_owned()))),
            ("node:", Err(QuestionError::Party("node:".to_owned()))),
            ("web", Err(QuestionError::Party("web".to_owned()))),
            ("/web", Err(QuestionError::Party("/web".to_owned()))),
            ("shop/", Err(QuestionError::Party("shop/".to_owned()))),
        ] {
            assert_eq!(text.parse(), want);
        }
    }

    #[test]
    fn services() {
        for (text, want) in [
            ("80/tcp", "80/tcp"),
            ("53/UDP", "53/udp"),
            ("0/sctp", "0/sctp"),
            ("80/6", "80/tcp"),
            ("icmp", "icmp"),
            ("8/icmp", "8:0/icmp"),
            ("3:1/icmpv6", "3:1/icmpv6"),
            ("/47", "/47"),
            ("80", "\"80\" is not PORT/PROTOCOL, for example 80/tcp, 53/udp, 8/icmp or /47"),
            ("", "\"\" is not PORT/PROTOCOL, for example 80/tcp, 53/udp, 8/icmp or /47"),
            ("tcp/80", "\"tcp/80\" is not PORT/PROTOCOL, for example 80/tcp, 53/udp, 8/icmp or /47"),
            ("tcp", "tcp has ports; write PORT/tcp"),
            ("80/47", "protocol 47 has no ports; write /47"),
            ("65536/tcp", "port \"65536\" is not within 0-65535"),
            ("+80/tcp", "port \"+80\" is not within 0-65535"),
            ("256/icmp", "\"256\" is not an ICMP type (0-255), or a type and a code as 3:1"),
            ("80/tpc", "\"tpc\" is not a protocol (TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or 1-255)"),
        ] {
            let got = text.parse::<Service>().map_or_else(|e| e.to_string(), |s| s.to_string());
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn lines() {
        for (line, want) in [
            (r#"{"from": "a/b", "to": "10.0.0.1", "port": "80/tcp"}"#, "a/b 10.0.0.1 80/tcp 49152"),
            (r#"{"from": "a/b", "to": "c/d", "port": "53/udp", "sourcePort": 7}"#, "a/b c/d 53/udp 7"),
            (
                r#"{"from": "node:n", "to": "c/d", "port": "53/udp", "interface": "eth1"}"#,
                "node:n c/d 53/udp 49152 eth1",
            ),
            (
                r#"{"from": "a", "to": "c/d", "port": "53/udp"}"#,
                "from: \"a\" is neither NAMESPACE/POD nor an IP address",
            ),
            (r#"{"from": "a/b", "port": "53/udp"}"#, "not a question: missing field `to` at line 1 column 33"),
        ] {
            let got = Question::from_line(line).map_or_else(
                |error| error.to_string(),
                |Question { from, to, service, source_port, interface }| {
                    format!("{from} {to} {service} {source_port} {}", interface.unwrap_or_default())
                        .trim_end()
                        .to_owned()
                },
            );
            assert_eq!(got, want);
        }
    }
}
