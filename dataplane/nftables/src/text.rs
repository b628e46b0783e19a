//! A ruleset in nft's own syntax.
//!
//! `nft -f -` loads the text, and what it loads lists the same as what
//! [`crate::encode`] programs.

use std::fmt::{self, Display};

use caracal_net::{Family, PortRange, Protocol};

use crate::flow_log::SNAPLEN;
use crate::ir::{
    Base, BaseKind, Chain, CtState, Element, End, Hook, IcmpField, Match, Op, REVOKED_LABEL, Rate, Rule, Ruleset, Set,
    SetKind, Side, Statement, TABLE, Verdict, Via,
};
use crate::layout;

impl Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{\n\tcomment \"{}\"", layout::comment())?;
        for set in &self.sets {
            writeln!(f)?;
            set.fmt(f)?;
        }
        for chain in &self.chains {
            writeln!(f)?;
            chain.fmt(f)?;
        }
        f.write_str("}\n")
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, of) = match self.spec.kind {
            SetKind::Addrs(family) | SetKind::Nets(family) => ("set", format!("{}_addr", word_of(family))),
            SetKind::AddrPorts(family) => ("set", format!("{}_addr . inet_proto . inet_service", word_of(family))),
            SetKind::Ports | SetKind::PortRanges => ("set", "inet_service".to_owned()),
            SetKind::Protocols => ("set", "inet_proto".to_owned()),
            SetKind::Interfaces => ("map", "ifname : verdict".to_owned()),
            SetKind::WorkloadAddrs(family) | SetKind::WorkloadNets(family) => {
                ("set", format!("ifname . {}_addr", word_of(family)))
            }
        };
        writeln!(f, "\t{word} {} {{", self.spec.name)?;
        writeln!(f, "\t\ttype {of}")?;
        if let Some(size) = self.spec.size {
            writeln!(f, "\t\tsize {size}")?;
        }
        if self.spec.kind.is_interval() {
            writeln!(f, "\t\tflags interval")?;
        }
        if !self.elements.is_empty() {
            f.write_str("\t\telements = {\n")?;
            for element in &self.elements {
                writeln!(f, "\t\t\t{element},")?;
            }
            f.write_str("\t\t}\n")?;
        }
        f.write_str("\t}\n")
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Net(first, last) if first == last => first.fmt(f),
            Self::Net(first, last) => write!(f, "{first}-{last}"),
            Self::AddrPort(addr, protocol, port) => write!(f, "{addr} . {} . {port}", protocol.number()),
            Self::Ports(range) => Ports(range).fmt(f),
            Self::Protocol(protocol) => protocol.number().fmt(f),
            Self::Interface(name, verdict) => write!(f, "\"{name}\" : {verdict}"),
            Self::WorkloadAddr(name, addr) => write!(f, "\"{name}\" . {addr}"),
            Self::WorkloadNet(name, first, last) if first == last => write!(f, "\"{name}\" . {first}"),
            Self::WorkloadNet(name, first, last) => write!(f, "\"{name}\" . {first}-{last}"),
        }
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.name)?;
        if let Some(Base { kind, hook, priority }) = self.base {
            let kind = match kind {
                BaseKind::Filter => "filter",
                BaseKind::Nat => "nat",
            };
            writeln!(f, "\t\ttype {kind} hook {hook} priority {}; policy accept;", priority.0)?;
        }
        for rule in &self.rules {
            writeln!(f, "\t\t{rule}")?;
        }
        f.write_str("\t}\n")
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Forward => "forward",
            Self::Input => "input",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        })
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sep = "";
        for condition in &self.matches {
            write!(f, "{sep}{condition}")?;
            sep = " ";
        }
        for statement in &self.statements {
            write!(f, "{sep}{statement}")?;
            sep = " ";
        }
        match &self.comment {
            Some(comment) => write!(f, "{sep}comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CtState(CtState::Invalid) => f.write_str("ct state invalid"),
            Self::CtState(CtState::Established) => f.write_str("ct state established"),
            Self::CtState(CtState::Related) => f.write_str("ct state related"),
            Self::CtState(CtState::EstablishedOrRelated) => f.write_str("ct state established,related"),
            Self::Family(family) => write!(f, "meta nfproto {}", word_of(*family)),
            Self::Protocol(op, protocol) => write!(f, "meta l4proto {op}{}", ProtocolWord(*protocol)),
            Self::ProtocolIn(op, set) => write!(f, "meta l4proto {op}@{set}"),
            Self::Addr(side, op, net) => {
                let (header, field) = (header_of(net.family()), addr_of(*side));
                match net.is_host() {
                    true => write!(f, "{header} {field} {op}{}", net.addr()),
                    false => write!(f, "{header} {field} {op}{net}"),
                }
            }
            Self::AddrIn(side, op, family, set) => write!(f, "{} {} {op}@{set}", header_of(*family), addr_of(*side)),
            Self::SourceIn(family, set) => write!(f, "iifname . {} saddr @{set}", header_of(*family)),
            Self::EndIn(end, family, set) => {
                let direction = match end {
                    End::Opener => "original",
                    End::Answerer => "reply",
                };
                write!(f, "iifname . ct {direction} {} saddr @{set}", header_of(*family))
            }
            Self::Port(side, op, range) => write!(f, "th {} {op}{}", port_of(*side), Ports(range)),
            Self::PortIn(side, op, set) => write!(f, "th {} {op}@{set}", port_of(*side)),
            Self::AddrPortIn(side, op, family, set) => {
                let (header, addr, port) = (header_of(*family), addr_of(*side), port_of(*side));
                write!(f, "{header} {addr} . meta l4proto . th {port} {op}@{set}")
            }
            Self::Icmp(family, field, op, value) => {
                let header = match family {
                    Family::V4 => "icmp",
                    Family::V6 => "icmpv6",
                };
                let field = match field {
                    IcmpField::Type => "type",
                    IcmpField::Code => "code",
                };
                write!(f, "{header} {field} {op}{value}")
            }
            Self::InterfacePrefix(via, prefix) => write!(f, "{} \"{prefix}*\"", interface_of(*via)),
            Self::Interface(via, name) => write!(f, "{} \"{name}\"", interface_of(*via)),
            Self::MarkBit(bit) => write!(f, "meta mark & {0:#010x} == {0:#010x}", bit.0),
            Self::Local => f.write_str("iif 0"),
            Self::FromOpener => f.write_str("ct direction original"),
            Self::Translated => f.write_str("ct status dnat"),
            Self::Unrevoked => write!(f, "ct label ! {REVOKED_LABEL}"),
            Self::TcpReset => f.write_str("tcp flags rst"),
        }
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter => f.write_str("counter"),
            Self::Log(prefix) => write!(f, "log prefix \"{prefix}\" level info"),
            Self::Nflog(group, prefix) => write!(f, "log prefix \"{prefix}\" group {group} snaplen {SNAPLEN}"),
            Self::Limit(Rate { count, period, burst }) => {
                write!(f, "limit rate {count}/{} burst {burst} packets", period.word())
            }
            Self::Masquerade(None) => f.write_str("masquerade fully-random"),
            Self::Masquerade(Some(ports)) => write!(f, "masquerade to :{} fully-random", Ports(ports)),
            Self::SourceNat(addr, None) => write!(f, "snat ip to {addr} fully-random"),
            Self::SourceNat(addr, Some(ports)) => write!(f, "snat ip to {addr}:{} fully-random", Ports(ports)),
            Self::SetMark(bit) => write!(f, "meta mark set meta mark | {:#010x}", bit.0),
            Self::ClearMark(bit) => write!(f, "meta mark set meta mark & {:#010x}", !bit.0),
            Self::Notrack => f.write_str("notrack"),
            Self::Revoke => write!(f, "ct label set {REVOKED_LABEL}"),
            Self::Dispatch(via, map) => write!(f, "{} vmap @{map}", interface_of(*via)),
            Self::Reject => f.write_str("reject with icmpx type port-unreachable"),
            Self::ResetTcp => f.write_str("meta l4proto tcp reject with tcp reset"),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl Display for Op {
    /// Nothing, or `!= `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is => Ok(()),
            Self::IsNot => f.write_str("!= "),
        }
    }
}

struct Ports<'a>(&'a PortRange);

impl Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first() == self.0.last() {
            true => self.0.first().fmt(f),
            false => write!(f, "{}-{}", self.0.first(), self.0.last()),
        }
    }
}

/// A protocol by a name that every nft knows, else by number.
struct ProtocolWord(Protocol);

impl Display for ProtocolWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.name() {
            Some(name) => f.write_str(name),
            None => self.0.number().fmt(f),
        }
    }
}

const fn word_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

const fn header_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

const fn addr_of(side: Side) -> &'static str {
    match side {
        Side::Src => "saddr",
        Side::Dst => "daddr",
    }
}

const fn port_of(side: Side) -> &'static str {
    match side {
        Side::Src => "sport",
        Side::Dst => "dport",
    }
}

const fn interface_of(via: Via) -> &'static str {
    match via {
        Via::In => "iifname",
        Via::Out => "oifname",
    }
}
