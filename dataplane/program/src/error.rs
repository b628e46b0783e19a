//! Why a message was refused.

use std::fmt;

use caracal_net::{CidrError, PortError, ProtocolError};

use crate::Direction;

/// A message of the control half cannot be understood. What the store held of
/// the object stays as it was; every other object is untouched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} of {object}: {}{field}: {fault}", rule.map(|place| format!("{place}, ")).unwrap_or_default())]
pub struct ProgramError {
    /// The message, as the protocol file names it.
    pub message: &'static str,
    /// The object that the message is about.
    pub object: String,
    /// The rule, if the fault is in one.
    pub rule: Option<RulePlace>,
    /// The field, as the protocol file names it.
    pub field: &'static str,
    /// What is wrong with it.
    #[source]
    pub fault: Fault,
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RulePlace {
    /// Inbound or outbound rules.
    pub direction: Direction,
    /// The rule's index among them.
    pub index: usize,
}

impl fmt::Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = match self.direction {
            Direction::Ingress => "inbound",
            Direction::Egress => "outbound",
        };
        write!(f, "{list} rule {}", self.index)
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The field must be set.
    #[error("is missing")]
    Missing,
    /// Not an action.
    #[error("{0:?} is not an action (allow, deny, log or next-tier)")]
    Action(String),
    /// Not an end of a tier.
    #[error("{0:?} is not a default action (Deny, Pass or empty)")]
    DefaultAction(String),
    /// An enumeration has no such number.
    #[error("{0} is not a value of the enumeration")]
    Enumeration(i32),
    /// Not a protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// Not a port or a range of ports.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Not a prefix.
    #[error(transparent)]
    Cidr(#[from] CidrError),
    /// Not an address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// Not a MAC address.
    #[error("{0:?} is not a MAC address (six pairs of hexadecimal digits with colons)")]
    Mac(String),
    /// An ICMP type or code outside of a byte.
    #[error("{0} is not within 0-255")]
    Byte(i32),
    /// Not an address with protocol and port.
    #[error("{0:?} is not an address with protocol and port (192.0.2.1,tcp:80)")]
    IpPort(String),
    /// Not a tunnel's mode.
    #[error("{0:?} is not a tunnel's mode (always, cross-subnet or empty)")]
    TunnelMode(String),
    /// A change of a set that was never sent.
    #[error("the set is not known; send all of it first")]
    UnknownSet,
}
