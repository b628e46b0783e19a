//! A ruleset as kernel expressions: what `nft` makes of [`crate::text`], so that
//! both list the same.

use caracal_net::{Family, Port, PortRange, Protocol};
use caracal_sys::conntrack::REVOKED;
use caracal_sys::nft::{
    self, ChainType, CmpOp, CtDirection, CtKey, CtStatus, Expr, Field, IcmpxCode, LimitUnit, LimitWhen, LogTarget,
    Lookup, MetaKey, NatFlags, PayloadBase, Policy, RangeOp, Reg, Reject, SetData, Value,
};
use smallvec::smallvec;

use crate::flow_log::SNAPLEN;
use crate::ir::{
    Base, BaseKind, Chain, CtState, Element, End, Hook, IcmpField, IfName, Match, Op, Rate, Rule, SetKind, SetSpec,
    Side, Statement, Verdict, Via,
};

/// The syslog level "info".
const LOG_LEVEL: u32 = 6;

/// `IP_CT_DIR_ORIGINAL` of `linux/netfilter/nf_conntrack_tuple_common.h`.
const FROM_OPENER: u8 = 0;

/// A chain without its rules.
pub(crate) fn chain(chain: &Chain) -> nft::Chain {
    match chain.base {
        None => nft::Chain::regular(chain.name.clone()),
        Some(Base { kind, hook, priority }) => {
            let kind = match kind {
                BaseKind::Filter => ChainType::Filter,
                BaseKind::Nat => ChainType::Nat,
            };
            let hook = match hook {
                Hook::Prerouting => nft::Hook::Prerouting,
                Hook::Forward => nft::Hook::Forward,
                Hook::Input => nft::Hook::Input,
                Hook::Output => nft::Hook::Output,
                Hook::Postrouting => nft::Hook::Postrouting,
            };
            let base = nft::Base { kind, hook, priority: priority.0, policy: Policy::Accept };
            nft::Chain::base(chain.name.clone(), base)
        }
    }
}

/// A set or map without its elements.
pub(crate) fn set(spec: &SetSpec) -> nft::Set {
    let address = |family| match family {
        Family::V4 => Field::Ipv4,
        Family::V6 => Field::Ipv6,
    };
    let key: nft::Fields = match spec.kind {
        SetKind::Addrs(family) | SetKind::Nets(family) => smallvec![address(family)],
        SetKind::AddrPorts(family) => smallvec![address(family), Field::Protocol, Field::Port],
        SetKind::Ports | SetKind::PortRanges => smallvec![Field::Port],
        SetKind::Protocols => smallvec![Field::Protocol],
        SetKind::Interfaces => smallvec![Field::IfName],
        SetKind::WorkloadAddrs(family) | SetKind::WorkloadNets(family) => smallvec![Field::IfName, address(family)],
    };
    let kind = match spec.kind {
        SetKind::WorkloadNets(_) => nft::SetKind::Ranges,
        kind if kind.is_interval() => nft::SetKind::Interval,
        _ => nft::SetKind::Hash,
    };
    let set = nft::Set { size: spec.size, ..nft::Set::new(spec.name.clone(), kind, key) };
    match spec.kind {
        SetKind::Interfaces => set.with_data(SetData::Verdict),
        SetKind::Addrs(_)
        | SetKind::Nets(_)
        | SetKind::AddrPorts(_)
        | SetKind::Ports
        | SetKind::PortRanges
        | SetKind::Protocols
        | SetKind::WorkloadAddrs(_)
        | SetKind::WorkloadNets(_) => set,
    }
}

/// Whether a set of the kernel's is of a kind; how many elements it can hold does not matter.
pub(crate) fn is_of_kind(found: &nft::Set, kind: SetKind) -> bool {
    nft::Set { size: None, ..found.clone() } == set(&SetSpec::new(found.name.clone(), kind))
}

/// An element, as one or two of the kernel's: a range is its first key and the
/// first key behind it, if there is one.
pub(crate) fn element(element: &Element, kind: SetKind) -> impl Iterator<Item = nft::Element> + use<> {
    let (first, behind) = match element {
        Element::Addr(addr) => (nft::Element::at(*addr), None),
        Element::Net(first, last) => (nft::Element::at(*first), successor(*last).map(nft::Element::end)),
        Element::AddrPort(addr, protocol, port) => {
            let key = Value::concat([(*addr).into(), (*protocol).into(), (*port).into()]);
            (nft::Element::at(key), None)
        }
        Element::Ports(range) => {
            let behind = match kind.is_interval() {
                true => range.last().checked_add(1).map(nft::Element::end),
                false => None,
            };
            (nft::Element::at(range.first()), behind)
        }
        Element::Protocol(protocol) => (nft::Element::at(*protocol), None),
        Element::Interface(name, to) => {
            (nft::Element::at(caracal_sys::IfName::from(*name)).with_verdict(verdict(to)), None)
        }
        Element::WorkloadAddr(name, addr) => (nft::Element::at(source_key(name, *addr)), None),
        Element::WorkloadNet(name, first, last) => {
            let [first, last] = [first, last].map(|addr| source_key(name, *addr));
            (nft::Element::new(nft::Key::Range(first, last)), None)
        }
    };
    [Some(first), behind].into_iter().flatten()
}

fn source_key(interface: &IfName, addr: std::net::IpAddr) -> Value {
    Value::concat([caracal_sys::IfName::from(*interface).into(), addr.into()])
}

fn successor(addr: std::net::IpAddr) -> Option<std::net::IpAddr> {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    match addr {
        IpAddr::V4(addr) => addr.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(addr) => addr.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// A rule.
pub(crate) fn rule(rule: &Rule) -> nft::Rule {
    let mut out = Encoder { exprs: Vec::with_capacity(12), family: None, protocol: None };
    for condition in &rule.matches {
        out.condition(condition);
    }
    for statement in &rule.statements {
        out.statement(statement);
    }
    nft::Rule { exprs: out.exprs, comment: rule.comment.clone() }
}

fn verdict(verdict: &Verdict) -> nft::Verdict {
    match verdict {
        Verdict::Accept => nft::Verdict::Accept,
        Verdict::Drop => nft::Verdict::Drop,
        Verdict::Return => nft::Verdict::Return,
        Verdict::Jump(chain) => nft::Verdict::Jump(chain.clone()),
        Verdict::Goto(chain) => nft::Verdict::Goto(chain.clone()),
    }
}

struct Encoder {
    exprs: Vec<Expr>,
    /// The family that the rule has tested for.
    family: Option<Family>,
    /// The protocol that the rule has tested for.
    protocol: Option<Protocol>,
}

impl Encoder {
    fn condition(&mut self, condition: &Match) {
        match condition {
            Match::CtState(state) => {
                let states = match state {
                    CtState::Invalid => nft::CtState::INVALID,
                    CtState::Established => nft::CtState::ESTABLISHED,
                    CtState::Related => nft::CtState::RELATED,
                    CtState::EstablishedOrRelated => nft::CtState::ESTABLISHED | nft::CtState::RELATED,
                };
                self.exprs.push(Expr::Ct { key: CtKey::State, direction: None, dreg: Reg::R0 });
                self.mask(states.bits());
                self.compare(CmpOp::Ne, Value::host(0));
            }
            Match::Family(family) => self.need_family(*family),
            Match::Protocol(Op::Is, protocol) => self.need_protocol(*protocol),
            Match::Protocol(Op::IsNot, protocol) => {
                self.meta(MetaKey::L4Proto);
                self.compare(CmpOp::Ne, *protocol);
            }
            Match::ProtocolIn(op, set) => {
                self.meta(MetaKey::L4Proto);
                self.lookup(*op, set);
            }
            Match::Addr(side, op, net) => {
                let len = u32::from(net.len());
                self.need_family(net.family());
                let whole = u32::from(net.family().bits());
                // As nft does: of a prefix that ends at a byte only these bytes are loaded.
                let bytes = if len.is_multiple_of(8) { len / 8 } else { whole / 8 };
                self.address(*side, net.family(), bytes, Reg::R0);
                let value = Value::from(net.addr());
                if !len.is_multiple_of(8) {
                    let mask = Value::from(netmask(net.family(), net.len()));
                    let xor = Value::bytes(&vec![0; mask.as_bytes().len()]);
                    self.exprs.push(Expr::Bitwise { sreg: Reg::R0, dreg: Reg::R0, mask, xor });
                }
                let kept = usize::try_from(bytes).expect("at most 16");
                self.compare(equal(*op), Value::bytes(&value.as_bytes()[..kept]));
            }
            Match::AddrIn(side, op, family, set) => {
                self.need_family(*family);
                self.address(*side, *family, u32::from(family.bits()) / 8, Reg::R0);
                self.lookup(*op, set);
            }
            Match::SourceIn(family, set) => {
                self.need_family(*family);
                self.meta(MetaKey::IifName);
                // Behind the four words of the name.
                let address = Reg::word(4).expect("the key has at most eight words");
                self.address(Side::Src, *family, u32::from(family.bits()) / 8, address);
                self.lookup(Op::Is, set);
            }
            Match::EndIn(end, family, set) => {
                self.meta(MetaKey::IifName);
                // A connection of the other family has no such address, and leaves the rule.
                let key = match family {
                    Family::V4 => CtKey::SourceV4,
                    Family::V6 => CtKey::SourceV6,
                };
                let direction = match end {
                    End::Opener => CtDirection::Original,
                    End::Answerer => CtDirection::Reply,
                };
                let address = Reg::word(4).expect("the key has at most eight words");
                self.exprs.push(Expr::Ct { key, direction: Some(direction), dreg: address });
                self.lookup(Op::Is, set);
            }
            Match::Port(side, op, range) => {
                self.port(*side, Reg::R0);
                self.port_range(*op, range);
            }
            Match::PortIn(side, op, set) => {
                self.port(*side, Reg::R0);
                self.lookup(*op, set);
            }
            Match::AddrPortIn(side, op, family, set) => {
                self.need_family(*family);
                let bytes = family.bits() / 8;
                self.address(*side, *family, bytes.into(), Reg::R0);
                // Each field of a key starts at a word of four bytes.
                let word = |n| Reg::word(bytes / 4 + n).expect("the key has at most six words");
                self.exprs.push(Expr::Meta { key: MetaKey::L4Proto, dreg: word(0) });
                self.port(*side, word(1));
                self.lookup(*op, set);
            }
            Match::Icmp(family, field, op, value) => {
                match family {
                    Family::V4 => {
                        self.need_family(Family::V4);
                        self.need_protocol(Protocol::ICMP);
                    }
                    Family::V6 => self.need_protocol(Protocol::ICMPV6),
                }
                let offset = match field {
                    IcmpField::Type => 0,
                    IcmpField::Code => 1,
                };
                self.load(PayloadBase::Transport, offset, 1, Reg::R0);
                self.compare(equal(*op), Value::bytes(&[*value]));
            }
            Match::InterfacePrefix(via, prefix) => {
                self.meta(name_of(*via));
                self.compare(CmpOp::Eq, Value::bytes(prefix.as_bytes()));
            }
            Match::Interface(via, name) => {
                self.meta(name_of(*via));
                self.compare(CmpOp::Eq, caracal_sys::IfName::from(*name));
            }
            Match::MarkBit(bit) => {
                self.meta(MetaKey::Mark);
                self.mask(bit.0);
                self.compare(CmpOp::Eq, *bit);
            }
            Match::Local => {
                self.meta(MetaKey::Iif);
                self.compare(CmpOp::Eq, Value::host(0));
            }
            Match::FromOpener => {
                self.exprs.push(Expr::Ct { key: CtKey::Direction, direction: None, dreg: Reg::R0 });
                self.compare(CmpOp::Eq, Value::bytes(&[FROM_OPENER]));
            }
            Match::Translated => {
                self.exprs.push(Expr::Ct { key: CtKey::Status, direction: None, dreg: Reg::R0 });
                self.mask(CtStatus::DNAT.bits());
                self.compare(CmpOp::Ne, Value::host(0));
            }
            Match::Unrevoked => {
                self.exprs.push(Expr::Ct { key: CtKey::Labels, direction: None, dreg: Reg::R0 });
                self.bits(CmpOp::Eq, &REVOKED);
            }
            Match::TcpReset => {
                self.need_protocol(Protocol::TCP);
                // RFC 9293, 3.1: the flags are in byte 13, RST is the third from below.
                self.load(PayloadBase::Transport, 13, 1, Reg::R0);
                self.bits(CmpOp::Ne, &[0x04]);
            }
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Counter => self.exprs.push(Expr::COUNTER),
            Statement::Log(prefix) => self
                .exprs
                .push(Expr::Log { prefix: Some(prefix.clone()), target: LogTarget::Kernel { level: LOG_LEVEL } }),
            Statement::Nflog(group, prefix) => {
                let target = LogTarget::Group { group: *group, snaplen: Some(SNAPLEN), queue: None };
                self.exprs.push(Expr::Log { prefix: Some(prefix.clone()), target });
            }
            Statement::Limit(Rate { count, period, burst }) => self.exprs.push(Expr::Limit {
                rate: (*count).into(),
                period: period.seconds(),
                burst: *burst,
                unit: LimitUnit::Packets,
                when: LimitWhen::Within,
            }),
            Statement::Masquerade(ports) => {
                let (ports, flags) = self.nat_ports(*ports, [aligned(0), aligned(1)]);
                self.exprs.push(Expr::Masquerade { ports, flags });
            }
            Statement::SourceNat(addr, ports) => {
                let [address, first, last] = [0, 1, 2].map(aligned);
                self.exprs.push(Expr::Immediate { dreg: address, value: (*addr).into() });
                let (ports, flags) = self.nat_ports(*ports, [first, last]);
                let flags = flags | NatFlags::MAP_IPS;
                self.exprs.push(Expr::SourceNat { family: Family::V4, address, ports, flags });
            }
            Statement::SetMark(bit) => self.set_mark(!bit.0, bit.0),
            Statement::ClearMark(bit) => self.set_mark(!bit.0, 0),
            Statement::Notrack => self.exprs.push(Expr::Notrack),
            Statement::Revoke => {
                self.exprs.push(Expr::Immediate { dreg: Reg::R0, value: Value::bytes(&REVOKED) });
                self.exprs.push(Expr::SetCt { key: CtKey::Labels, sreg: Reg::R0 });
            }
            Statement::Dispatch(via, map) => {
                self.meta(name_of(*via));
                self.exprs.push(Expr::Lookup { set: map.clone(), sreg: Reg::R0, yields: Lookup::Verdict });
            }
            Statement::Reject => self.exprs.push(Expr::Reject(Reject::Icmpx(IcmpxCode::PortUnreachable))),
            Statement::ResetTcp => {
                self.need_protocol(Protocol::TCP);
                self.exprs.push(Expr::Reject(Reject::TcpReset));
            }
            Statement::Verdict(to) => self.exprs.push(Expr::Verdict(verdict(to))),
        }
    }

    /// Loads the range that a port is drawn from.
    fn nat_ports(&mut self, ports: Option<PortRange>, regs: [Reg; 2]) -> (Option<(Reg, Reg)>, NatFlags) {
        let Some(range) = ports else { return (None, NatFlags::RANDOM_FULLY) };
        let [first, last] = regs;
        self.exprs.push(Expr::Immediate { dreg: first, value: range.first().into() });
        let last = match range.first() == range.last() {
            true => first,
            false => {
                self.exprs.push(Expr::Immediate { dreg: last, value: range.last().into() });
                last
            }
        };
        (Some((first, last)), NatFlags::RANDOM_FULLY | NatFlags::PROTO_SPECIFIED)
    }

    fn need_family(&mut self, family: Family) {
        if self.family.replace(family) != Some(family) {
            self.meta(MetaKey::NfProto);
            self.compare(CmpOp::Eq, Value::bytes(&[nfproto(family)]));
        }
    }

    fn need_protocol(&mut self, protocol: Protocol) {
        if self.protocol.replace(protocol) != Some(protocol) {
            self.meta(MetaKey::L4Proto);
            self.compare(CmpOp::Eq, protocol);
        }
    }

    fn meta(&mut self, key: MetaKey) {
        self.exprs.push(Expr::Meta { key, dreg: Reg::R0 });
    }

    fn load(&mut self, base: PayloadBase, offset: u32, len: u32, dreg: Reg) {
        self.exprs.push(Expr::Payload { base, offset, len, dreg });
    }

    /// RFC 791: source at byte 12, destination at 16. RFC 8200: at 8 and 24.
    fn address(&mut self, side: Side, family: Family, bytes: u32, dreg: Reg) {
        let offset = match (family, side) {
            (Family::V4, Side::Src) => 12,
            (Family::V4, Side::Dst) => 16,
            (Family::V6, Side::Src) => 8,
            (Family::V6, Side::Dst) => 24,
        };
        self.load(PayloadBase::Network, offset, bytes, dreg);
    }

    fn port(&mut self, side: Side, dreg: Reg) {
        let offset = match side {
            Side::Src => 0,
            Side::Dst => 2,
        };
        self.load(PayloadBase::Transport, offset, 2, dreg);
    }

    fn port_range(&mut self, op: Op, range: &PortRange) {
        let (first, last): (Port, Port) = (range.first(), range.last());
        match op {
            _ if first == last => self.compare(equal(op), first),
            Op::Is => {
                self.compare(CmpOp::Ge, first);
                self.compare(CmpOp::Le, last);
            }
            Op::IsNot => self.exprs.push(Expr::Range {
                sreg: Reg::R0,
                op: RangeOp::Outside,
                first: first.into(),
                last: last.into(),
            }),
        }
    }

    fn lookup(&mut self, op: Op, set: &nft::Name) {
        let yields = match op {
            Op::Is => Lookup::Member,
            Op::IsNot => Lookup::NotMember,
        };
        self.exprs.push(Expr::Lookup { set: set.clone(), sreg: Reg::R0, yields });
    }

    fn mask(&mut self, bits: u32) {
        let (mask, xor) = (Value::host(bits), Value::host(0));
        self.exprs.push(Expr::Bitwise { sreg: Reg::R0, dreg: Reg::R0, mask, xor });
    }

    /// Compares some bits with none of them.
    fn bits(&mut self, op: CmpOp, bits: &[u8]) {
        let (mask, none) = (Value::bytes(bits), Value::bytes(&vec![0; bits.len()]));
        self.exprs.push(Expr::Bitwise { sreg: Reg::R0, dreg: Reg::R0, mask, xor: none.clone() });
        self.compare(op, none);
    }

    fn compare(&mut self, op: CmpOp, value: impl Into<Value>) {
        self.exprs.push(Expr::Cmp { sreg: Reg::R0, op, value: value.into() });
    }

    fn set_mark(&mut self, keep: u32, flip: u32) {
        self.meta(MetaKey::Mark);
        let (mask, xor) = (Value::host(keep), Value::host(flip));
        self.exprs.push(Expr::Bitwise { sreg: Reg::R0, dreg: Reg::R0, mask, xor });
        self.exprs.push(Expr::SetMeta { key: MetaKey::Mark, sreg: Reg::R0 });
    }
}

/// The registers of four words that nft uses, from the first.
fn aligned(n: u8) -> Reg {
    Reg::word(4 * n).expect("there are four of them")
}

const fn equal(op: Op) -> CmpOp {
    match op {
        Op::Is => CmpOp::Eq,
        Op::IsNot => CmpOp::Ne,
    }
}

const fn name_of(via: Via) -> MetaKey {
    match via {
        Via::In => MetaKey::IifName,
        Via::Out => MetaKey::OifName,
    }
}

/// `NFPROTO_IPV4` and `NFPROTO_IPV6` of `linux/netfilter.h`.
const fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

fn netmask(family: Family, len: u8) -> std::net::IpAddr {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let zeros = u32::from(family.bits() - len);
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::MAX.checked_shl(zeros).unwrap_or(0)).into(),
        Family::V6 => Ipv6Addr::from_bits(u128::MAX.checked_shl(zeros).unwrap_or(0)).into(),
    }
}
