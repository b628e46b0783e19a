//! Expressions: the instructions of a rule.

mod bits;
mod codes;
mod decode;

pub use bits::{CtState, CtStatus, FibInput, NatFlags};
use caracal_net::Family;
pub use codes::{
    CmpOp, CtDirection, CtKey, FibResult, IcmpxCode, LimitUnit, LimitWhen, MetaKey, ObjectKind, PayloadBase, RangeOp,
};
pub(super) use decode::counted;
use libc::{NFT_REJECT_ICMP_UNREACH, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_TCP_RST};

use super::name::{LogPrefix, Name};
use super::uapi::{NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_LIST_ELEM};
use super::value::{Reg, Value, Verdict};
use crate::wire::Writer;

/// What a lookup in a set or map does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// Goes on if the key is in the set.
    Member,
    /// Goes on if the key is not in the set.
    NotMember,
    /// Puts the key's data into a register; leaves the rule if there is none.
    Data(Reg),
    /// Does the key's verdict; leaves the rule if there is none.
    Verdict,
}

/// Where a log message goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogTarget {
    /// The kernel's own log, at a syslog level from 0 (emergency) to 7 (debug).
    Kernel {
        /// The syslog level.
        level: u32,
    },
    /// The listeners of an NFLOG group.
    Group {
        /// The group's number.
        group: u16,
        /// The bytes of each packet that are sent along; all if `None`.
        snaplen: Option<u32>,
        /// The messages that are queued before they are sent; the kernel's default if `None`.
        queue: Option<u16>,
    },
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// A TCP reset. Only for packets known to be TCP.
    TcpReset,
    /// An ICMP or ICMPv6 error with the given code, for a rule of one family.
    Icmp(u8),
    /// An ICMP or ICMPv6 error, as the packet's family has it.
    Icmpx(IcmpxCode),
}

/// One expression (`linux/netfilter/nf_tables.h`). Registers are written by one
/// and read by later ones of the same rule; an expression that does not match
/// leaves the rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// Loads bytes of a header.
    Payload {
        /// The header.
        base: PayloadBase,
        /// Where the bytes start in the header.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// Where they go.
        dreg: Reg,
    },
    /// Loads a property of the packet.
    Meta {
        /// The property.
        key: MetaKey,
        /// Where it goes.
        dreg: Reg,
    },
    /// Sets a property of the packet: the mark, the trace flag.
    SetMeta {
        /// The property.
        key: MetaKey,
        /// What it becomes.
        sreg: Reg,
    },
    /// Loads a property of the connection.
    Ct {
        /// The property.
        key: CtKey,
        /// For addresses and ports: of which direction.
        direction: Option<CtDirection>,
        /// Where it goes.
        dreg: Reg,
    },
    /// Sets a property of the connection: the mark, the labels.
    SetCt {
        /// The property.
        key: CtKey,
        /// What it becomes.
        sreg: Reg,
    },
    /// Compares a register with a constant.
    Cmp {
        /// The register.
        sreg: Reg,
        /// The comparison.
        op: CmpOp,
        /// The constant.
        value: Value,
    },
    /// Compares a register with a range of constants.
    Range {
        /// The register.
        sreg: Reg,
        /// Inside or outside.
        op: RangeOp,
        /// The first value of the range.
        first: Value,
        /// The last value of the range.
        last: Value,
    },
    /// `dreg = (sreg & mask) ^ xor`; mask and xor are of one length.
    Bitwise {
        /// The operand.
        sreg: Reg,
        /// The result.
        dreg: Reg,
        /// Bits that stay.
        mask: Value,
        /// Bits that are turned over then.
        xor: Value,
    },
    /// Looks a register up in a set or map of the same table.
    Lookup {
        /// The set or map.
        set: Name,
        /// Where the key starts.
        sreg: Reg,
        /// What is done with what is found.
        yields: Lookup,
    },
    /// Loads a constant.
    Immediate {
        /// Where it goes.
        dreg: Reg,
        /// The constant.
        value: Value,
    },
    /// Ends the rule with a verdict.
    Verdict(Verdict),
    /// Counts what comes by. What a rule is created with is where counting starts.
    Counter {
        /// Packets so far.
        packets: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// Logs the packet.
    Log {
        /// What the message starts with.
        prefix: Option<LogPrefix>,
        /// Where it goes.
        target: LogTarget,
    },
    /// Goes on within, or above, a rate.
    Limit {
        /// Units per period.
        rate: u64,
        /// The period in seconds.
        period: u64,
        /// Units allowed above the rate at once.
        burst: u32,
        /// Packets or bytes.
        unit: LimitUnit,
        /// Within or above.
        when: LimitWhen,
    },
    /// Refuses the packet with an answer.
    Reject(Reject),
    /// Uses a named object.
    Object {
        /// The object's kind.
        kind: ObjectKind,
        /// The object's name.
        name: Name,
    },
    /// Looks the packet up in the routing table.
    Fib {
        /// What of the packet is looked up.
        input: FibInput,
        /// What is wanted.
        result: FibResult,
        /// Where it goes.
        dreg: Reg,
    },
    /// Keeps the packet out of connection tracking.
    Notrack,
    /// Gives the connection the address of the interface that it leaves by as
    /// its source. Only in a chain of the kind [`super::ChainType::Nat`].
    Masquerade {
        /// Where the first and the last of the ports are that it may get; any if `None`.
        ports: Option<(Reg, Reg)>,
        /// How.
        flags: NatFlags,
    },
    /// Gives the connection another source. Only in a chain of that kind too.
    SourceNat {
        /// Of the address.
        family: Family,
        /// Where the address is.
        address: Reg,
        /// Where the first and the last of the ports are that it may get; any if `None`.
        ports: Option<(Reg, Reg)>,
        /// How.
        flags: NatFlags,
    },
    /// An expression that has no variant here, as the kernel listed it.
    Raw {
        /// The expression's name.
        name: Name,
        /// Its attributes; `None` if it has none.
        data: Option<Box<[u8]>>,
    },
}

impl Expr {
    /// A counter that starts from zero.
    pub const COUNTER: Self = Self::Counter { packets: 0, bytes: 0 };

    /// The kernel's name of the expression.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Payload { .. } => "payload",
            Self::Meta { .. } | Self::SetMeta { .. } => "meta",
            Self::Ct { .. } | Self::SetCt { .. } => "ct",
            Self::Cmp { .. } => "cmp",
            Self::Range { .. } => "range",
            Self::Bitwise { .. } => "bitwise",
            Self::Lookup { .. } => "lookup",
            Self::Immediate { .. } | Self::Verdict(_) => "immediate",
            Self::Counter { .. } => "counter",
            Self::Log { .. } => "log",
            Self::Limit { .. } => "limit",
            Self::Reject(_) => "reject",
            Self::Object { .. } => "objref",
            Self::Fib { .. } => "fib",
            Self::Notrack => "notrack",
            Self::Masquerade { .. } => "masq",
            Self::SourceNat { .. } => "nat",
            Self::Raw { name, .. } => name,
        }
    }

    /// Encodes as one element of a rule's expression list.
    pub(crate) fn encode(&self, out: &mut Writer) {
        let element = out.open(NFTA_LIST_ELEM);
        out.text(NFTA_EXPR_NAME, self.name());
        if !matches!(self, Self::Notrack | Self::Raw { data: None, .. }) {
            out.nest(NFTA_EXPR_DATA, |out| self.encode_data(out));
        }
        out.close(element);
    }

    fn encode_data(&self, out: &mut Writer) {
        match self {
            Self::Payload { base, offset, len, dreg } => {
                out.be32(payload::DREG, dreg.number());
                out.be32(payload::BASE, base.code());
                out.be32(payload::OFFSET, *offset);
                out.be32(payload::LEN, *len);
            }
            Self::Meta { key, dreg } => {
                out.be32(meta::KEY, key.code());
                out.be32(meta::DREG, dreg.number());
            }
            Self::SetMeta { key, sreg } => {
                out.be32(meta::KEY, key.code());
                out.be32(meta::SREG, sreg.number());
            }
            Self::Ct { key, direction, dreg } => {
                out.be32(ct::KEY, key.code());
                out.be32(ct::DREG, dreg.number());
                if let Some(direction) = direction {
                    out.attr(ct::DIRECTION, &[direction.code() as u8]);
                }
            }
            Self::SetCt { key, sreg } => {
                out.be32(ct::KEY, key.code());
                out.be32(ct::SREG, sreg.number());
            }
            Self::Cmp { sreg, op, value } => {
                out.be32(cmp::SREG, sreg.number());
                out.be32(cmp::OP, op.code());
                value.encode(out, cmp::DATA);
            }
            Self::Range { sreg, op, first, last } => {
                out.be32(range::SREG, sreg.number());
                out.be32(range::OP, op.code());
                first.encode(out, range::FROM);
                last.encode(out, range::TO);
            }
            Self::Bitwise { sreg, dreg, mask, xor } => {
                out.be32(bitwise::SREG, sreg.number());
                out.be32(bitwise::DREG, dreg.number());
                out.be32(bitwise::LEN, u32::try_from(mask.as_bytes().len()).unwrap_or(u32::MAX));
                mask.encode(out, bitwise::MASK);
                xor.encode(out, bitwise::XOR);
            }
            Self::Lookup { set, sreg, yields } => {
                out.be32(lookup::SREG, sreg.number());
                match yields {
                    Lookup::Data(dreg) => out.be32(lookup::DREG, dreg.number()),
                    Lookup::Verdict => out.be32(lookup::DREG, libc::NFT_REG_VERDICT.cast_unsigned()),
                    Lookup::Member | Lookup::NotMember => {}
                }
                out.text(lookup::SET, set);
                if *yields == Lookup::NotMember {
                    out.be32(lookup::FLAGS, libc::NFT_LOOKUP_F_INV.cast_unsigned());
                }
            }
            Self::Immediate { dreg, value } => {
                out.be32(immediate::DREG, dreg.number());
                value.encode(out, immediate::DATA);
            }
            Self::Verdict(verdict) => {
                out.be32(immediate::DREG, libc::NFT_REG_VERDICT.cast_unsigned());
                verdict.encode(out, immediate::DATA);
            }
            Self::Counter { packets, bytes } => {
                if *bytes != 0 {
                    out.be64(NFTA_COUNTER_BYTES, *bytes);
                }
                if *packets != 0 {
                    out.be64(NFTA_COUNTER_PACKETS, *packets);
                }
            }
            Self::Log { prefix, target } => encode_log(out, prefix.as_ref(), target),
            Self::Limit { rate, period, burst, unit, when } => {
                out.be64(limit::RATE, *rate);
                out.be64(limit::UNIT, *period);
                out.be32(limit::BURST, *burst);
                out.be32(limit::TYPE, unit.code());
                out.be32(limit::FLAGS, when.code());
            }
            Self::Reject(Reject::TcpReset) => out.be32(reject::TYPE, NFT_REJECT_TCP_RST.cast_unsigned()),
            Self::Reject(Reject::Icmp(code)) => {
                out.be32(reject::TYPE, NFT_REJECT_ICMP_UNREACH.cast_unsigned());
                out.attr(reject::CODE, &[*code]);
            }
            Self::Reject(Reject::Icmpx(code)) => {
                out.be32(reject::TYPE, NFT_REJECT_ICMPX_UNREACH.cast_unsigned());
                out.attr(reject::CODE, &[code.code() as u8]);
            }
            Self::Object { kind, name } => {
                out.be32(objref::TYPE, kind.code());
                // Without a NUL, as libnftnl has it; the kernel takes both.
                out.attr(objref::NAME, name.as_bytes());
            }
            Self::Fib { input, result, dreg } => {
                out.be32(fib::FLAGS, input.bits());
                out.be32(fib::RESULT, result.code());
                out.be32(fib::DREG, dreg.number());
            }
            Self::Notrack => {}
            Self::Masquerade { ports, flags } => {
                if flags.bits() != 0 {
                    out.be32(masq::FLAGS, flags.bits());
                }
                if let Some((first, last)) = ports {
                    out.be32(masq::FIRST, first.number());
                    out.be32(masq::LAST, last.number());
                }
            }
            Self::SourceNat { family, address, ports, flags } => {
                out.be32(nat::TYPE, nat::SOURCE);
                out.be32(nat::FAMILY, nfproto(*family));
                out.be32(nat::ADDRESS, address.number());
                if let Some((first, last)) = ports {
                    out.be32(nat::FIRST, first.number());
                    out.be32(nat::LAST, last.number());
                }
                if flags.bits() != 0 {
                    out.be32(nat::FLAGS, flags.bits());
                }
            }
            Self::Raw { data, .. } => out.raw(data.as_deref().unwrap_or_default()),
        }
    }
}

/// `NFPROTO_*` of `linux/netfilter.h`.
const fn nfproto(family: Family) -> u32 {
    (match family {
        Family::V4 => libc::NFPROTO_IPV4,
        Family::V6 => libc::NFPROTO_IPV6,
    })
    .cast_unsigned()
}

fn encode_log(out: &mut Writer, prefix: Option<&LogPrefix>, target: &LogTarget) {
    if let Some(prefix) = prefix {
        out.text(log::PREFIX, prefix);
    }
    match target {
        LogTarget::Kernel { level } => out.be32(log::LEVEL, *level),
        LogTarget::Group { group, snaplen, queue } => {
            out.be16(log::GROUP, *group);
            if let Some(snaplen) = snaplen {
                out.be32(log::SNAPLEN, *snaplen);
            }
            if let Some(queue) = queue {
                out.be16(log::QTHRESHOLD, *queue);
            }
        }
    }
}

/// Attribute numbers of each expression: `enum nft_<name>_attributes`. A value
/// of one of them stands behind the semicolon (`enum nft_nat_types`).
macro_rules! attributes {
    ($($name:ident { $($attribute:ident = $number:literal),+ $(; $value:ident = $code:literal)? })+) => {
        $(mod $name {
            $(pub(super) const $attribute: u16 = $number;)+
            $(pub(super) const $value: u32 = $code;)?
        })+
    };
}

attributes! {
    payload { DREG = 1, BASE = 2, OFFSET = 3, LEN = 4 }
    meta { DREG = 1, KEY = 2, SREG = 3 }
    ct { DREG = 1, KEY = 2, DIRECTION = 3, SREG = 4 }
    cmp { SREG = 1, OP = 2, DATA = 3 }
    range { SREG = 1, OP = 2, FROM = 3, TO = 4 }
    bitwise { SREG = 1, DREG = 2, LEN = 3, MASK = 4, XOR = 5, OP = 6 }
    lookup { SET = 1, SREG = 2, DREG = 3, FLAGS = 5 }
    immediate { DREG = 1, DATA = 2 }
    log { GROUP = 1, PREFIX = 2, SNAPLEN = 3, QTHRESHOLD = 4, LEVEL = 5, FLAGS = 6 }
    limit { RATE = 1, UNIT = 2, BURST = 3, TYPE = 4, FLAGS = 5 }
    reject { TYPE = 1, CODE = 2 }
    objref { TYPE = 1, NAME = 2 }
    fib { DREG = 1, RESULT = 2, FLAGS = 3 }
    masq { FLAGS = 1, FIRST = 2, LAST = 3 }
    nat { TYPE = 1, FAMILY = 2, ADDRESS = 3, LAST_ADDRESS = 4, FIRST = 5, LAST = 6, FLAGS = 7; SOURCE = 0 }
}
