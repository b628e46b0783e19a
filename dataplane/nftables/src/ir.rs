//! A ruleset as values: what the lowering produces, and what both back-ends,
//! nft's own syntax (`text`) and netlink (`encode`), print.
//!
//! A value here means the same in both: a match carries no register, no offset
//! and no order of dependencies.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use caracal_net::{Cidr, Family, Mark, Port, PortRange, Priority, Protocol};
pub use caracal_sys::nft::{Comment, LogPrefix, Name};
use smol_str::SmolStr;

pub use crate::settings::{Rate, RatePeriod};

/// The one table, of family `inet`.
pub const TABLE: &str = "caracal";

/// The connection tracking label of connections that policy denies now, as nft
/// numbers it: the bit of [`caracal_sys::conntrack::REVOKED`].
pub const REVOKED_LABEL: u8 = 127;

/// The name of a network interface that both the kernel and nft's syntax can spell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfName(caracal_sys::IfName);

/// A text cannot name a workload's interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name a workload's interface (1 to 15 printable characters, none of them a space, a slash, a colon, a quote, a backslash or an asterisk)"
)]
pub struct IfNameError(String);

impl IfName {
    /// Checks a name.
    ///
    /// The kernel refuses slashes, colons and spaces. Quotes, backslashes and
    /// asterisks are refused here: nft's syntax has no way to write them.
    ///
    /// # Errors
    /// When the text is too long, empty, or has a character that no interface may have.
    pub fn new(text: &str) -> Result<Self, IfNameError> {
        let legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'*');
        match caracal_sys::IfName::new(text) {
            Ok(name) if text.bytes().all(legal) => Ok(Self(name)),
            Ok(_) | Err(_) => Err(IfNameError(text.to_owned())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<IfName> for caracal_sys::IfName {
    fn from(name: IfName) -> Self {
        name.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A netfilter hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Packets as they come in, before routing.
    Prerouting,
    /// Packets that pass through this host.
    Forward,
    /// Packets to this host itself.
    Input,
    /// Packets of this host itself.
    Output,
    /// Packets as they leave, after routing.
    Postrouting,
}

/// What a base chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BaseKind {
    /// Judges every packet.
    Filter,
    /// Translates addresses: the first packet of a connection comes by.
    Nat,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    /// What it is for.
    pub kind: BaseKind,
    /// Where the kernel calls it.
    pub hook: Hook,
    /// When, among the chains of the hook.
    pub priority: Priority,
}

/// A chain and its rules. Every base chain's policy is accept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// Its name.
    pub name: Name,
    /// Its hook, if it is a base chain.
    pub base: Option<Base>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// A rule: if every match holds, the statements are carried out in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What must hold.
    pub matches: Vec<Match>,
    /// What is done.
    pub statements: Vec<Statement>,
    /// Where the rule comes from, for people; see [`crate::names::comment`].
    pub comment: Option<Comment>,
}

/// Whether a value must be, or must not be, what a match says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// It must be.
    Is,
    /// It must not be.
    IsNot,
}

/// A side of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The source.
    Src,
    /// The destination.
    Dst,
}

/// An interface of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// The interface it came in by.
    In,
    /// The interface it leaves by.
    Out,
}

/// A set of connection tracking states (`NF_CT_STATE_*_BIT` of `nf_conntrack_tuple_common.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CtState {
    /// Packets that no connection explains.
    Invalid,
    /// Packets of a connection seen in both directions.
    Established,
    /// Packets of a connection that another one called for, and ICMP errors about one.
    Related,
    /// Packets of a connection seen in both directions, and of connections related to one.
    EstablishedOrRelated,
}

/// An end of a connection, as its packets are addressed on this end's side of any translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Who sent the first packet.
    Opener,
    /// Who answers.
    Answerer,
}

/// A field of the ICMP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpField {
    /// The type.
    Type,
    /// The code.
    Code,
}

/// One condition on a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// The connection's state.
    CtState(CtState),
    /// The address family.
    Family(Family),
    /// The transport protocol.
    Protocol(Op, Protocol),
    /// The transport protocol and a named set.
    ProtocolIn(Op, Name),
    /// An address and a prefix; implies the prefix's family.
    Addr(Side, Op, Cidr),
    /// An address and a named set of addresses; implies the family.
    AddrIn(Side, Op, Family, Name),
    /// The interface that the packet came in by with its source address, and a
    /// named set of such; implies the family.
    SourceIn(Family, Name),
    /// The interface that the packet came in by with the address of an end of the
    /// packet's connection, and a named set as above; implies the family.
    EndIn(End, Family, Name),
    /// A port and a range; the protocol must have been matched before.
    Port(Side, Op, PortRange),
    /// A port and a named set; the protocol must have been matched before.
    PortIn(Side, Op, Name),
    /// Address, protocol and port of a side, and a named set of such; implies the family.
    AddrPortIn(Side, Op, Family, Name),
    /// A field of the ICMP header of a family; implies the family's ICMP protocol.
    Icmp(Family, IcmpField, Op, u8),
    /// The interface's name starts with this text.
    InterfacePrefix(Via, SmolStr),
    /// The interface's name is this.
    Interface(Via, IfName),
    /// A bit of the packet mark is set.
    MarkBit(Mark),
    /// This host itself made the packet: no interface brought it in. From Linux
    /// 5.7 on the postrouting hook knows the interface of a forwarded packet.
    Local,
    /// The packet is of who sent the first one of its connection.
    FromOpener,
    /// DNAT has given the connection another destination (`IPS_DST_NAT`).
    Translated,
    /// The connection is none of those that policy allowed once and denies now:
    /// it does not bear the label [`REVOKED_LABEL`].
    Unrevoked,
    /// A TCP segment that ends its connection at once.
    TcpReset,
}

/// Something a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// Counts packets and bytes.
    Counter,
    /// Writes the packet to the kernel log after a prefix, at level "info", and goes on.
    Log(LogPrefix),
    /// Sends the headers of the packet after a prefix to the listeners of an NFLOG
    /// group, and goes on.
    Nflog(u16, LogPrefix),
    /// Goes on within a rate, and leaves the rule above it.
    Limit(Rate),
    /// Gives the connection the address of the interface that it leaves by as its
    /// source, and a port at random, of a range if there is one.
    Masquerade(Option<PortRange>),
    /// Gives the connection this source, and a port as above.
    SourceNat(Ipv4Addr, Option<PortRange>),
    /// Sets a bit of the packet mark.
    SetMark(Mark),
    /// Clears a bit of the packet mark.
    ClearMark(Mark),
    /// Keeps the packet out of connection tracking.
    Notrack,
    /// Labels the connection as one that policy denies now.
    Revoke,
    /// Looks an interface up in a verdict map; goes on after a miss.
    Dispatch(Via, Name),
    /// Refuses the packet with an ICMP "port unreachable" of its family.
    Reject,
    /// Refuses a TCP segment with a reset; implies the protocol.
    ResetTcp,
    /// Ends the rule with a verdict.
    Verdict(Verdict),
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It leaves the base chain and meets the next one of the hook.
    Accept,
    /// It is gone.
    Drop,
    /// It goes back to the rule after the last jump.
    Return,
    /// It walks another chain and comes back.
    Jump(Name),
    /// It walks another chain and comes back to this chain's caller.
    Goto(Name),
}

/// What a set holds, and in what structure of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetKind {
    /// Addresses, hashed.
    Addrs(Family),
    /// Ranges of addresses; they must not overlap.
    Nets(Family),
    /// Addresses with a protocol and a port, hashed.
    AddrPorts(Family),
    /// Single ports; the kernel keeps them in a bitmap.
    Ports,
    /// Ranges of ports; they must not overlap.
    PortRanges,
    /// Transport protocols.
    Protocols,
    /// Interfaces with a verdict: a map.
    Interfaces,
    /// Interfaces with an address each, hashed.
    WorkloadAddrs(Family),
    /// Interfaces with a range of addresses each; the ranges of one interface
    /// must not overlap.
    WorkloadNets(Family),
}

/// A named set, without its elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetSpec {
    /// Its name.
    pub name: Name,
    /// What it holds.
    pub kind: SetKind,
    /// The most elements that it can hold, if that is bounded: the kernel then has its
    /// table of hashes from the start, and need not make it anew as it fills.
    pub size: Option<u32>,
}

impl SetSpec {
    /// A set that holds any number of elements.
    #[must_use]
    pub const fn new(name: Name, kind: SetKind) -> Self {
        Self { name, kind, size: None }
    }
}

/// An element of a set. Its kind must be the set's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Element {
    /// An address.
    Addr(IpAddr),
    /// All addresses from the first to the last, both of one family.
    Net(IpAddr, IpAddr),
    /// An address with a protocol and a port.
    AddrPort(IpAddr, Protocol, Port),
    /// A port or a range of ports.
    Ports(PortRange),
    /// A transport protocol.
    Protocol(Protocol),
    /// An interface and what becomes of its packets.
    Interface(IfName, Verdict),
    /// An interface and an address.
    WorkloadAddr(IfName, IpAddr),
    /// An interface and all addresses from the first to the last, both of one family.
    WorkloadNet(IfName, IpAddr, IpAddr),
}

impl Element {
    /// The interface that the element is about.
    #[must_use]
    pub const fn interface(&self) -> Option<&IfName> {
        match self {
            Self::Interface(name, _) | Self::WorkloadAddr(name, _) | Self::WorkloadNet(name, ..) => Some(name),
            Self::Addr(_) | Self::Net(..) | Self::AddrPort(..) | Self::Ports(_) | Self::Protocol(_) => None,
        }
    }

    /// The element of an interval set that holds the addresses of a prefix.
    #[must_use]
    pub fn net(cidr: &Cidr) -> Self {
        Self::Net(cidr.addr(), cidr.last_addr())
    }
}

/// A set with its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Name and kind.
    pub spec: SetSpec,
    /// The elements, in the order in which they are printed.
    pub elements: Vec<Element>,
}

/// A whole table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Sets and maps.
    pub sets: Vec<Set>,
    /// Chains; a chain may jump to a later one.
    pub chains: Vec<Chain>,
}

impl Rule {
    /// An empty rule: it matches every packet and does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, condition: Match) -> Self {
        self.matches.push(condition);
        self
    }

    /// Adds something to do.
    #[must_use]
    pub fn then(mut self, statement: Statement) -> Self {
        self.statements.push(statement);
        self
    }

    /// Ends the rule with a verdict.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.then(Statement::Verdict(verdict))
    }

    /// Says where the rule comes from.
    #[must_use]
    pub fn comment(mut self, comment: Comment) -> Self {
        self.comment = Some(comment);
        self
    }
}

impl SetKind {
    /// Whether each element is about one interface.
    #[must_use]
    pub const fn is_of_interfaces(self) -> bool {
        match self {
            Self::Interfaces | Self::WorkloadAddrs(_) | Self::WorkloadNets(_) => true,
            Self::Addrs(_) | Self::Nets(_) | Self::AddrPorts(_) | Self::Ports | Self::PortRanges | Self::Protocols => {
                false
            }
        }
    }

    /// Whether the kernel keeps ranges, in a structure that is rebuilt at each change.
    #[must_use]
    pub const fn is_interval(self) -> bool {
        match self {
            Self::Nets(_) | Self::PortRanges | Self::WorkloadNets(_) => true,
            Self::Addrs(_)
            | Self::AddrPorts(_)
            | Self::Ports
            | Self::Protocols
            | Self::Interfaces
            | Self::WorkloadAddrs(_) => false,
        }
    }
}
