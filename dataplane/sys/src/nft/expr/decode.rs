//! Expressions as the kernel lists them.

use caracal_net::Family;
use libc::{NFT_REJECT_ICMP_UNREACH, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_TCP_RST};

use super::{
    CmpOp, CtDirection, CtKey, Expr, FibInput, FibResult, IcmpxCode, LimitUnit, LimitWhen, LogTarget, Lookup, MetaKey,
    NatFlags, ObjectKind, PayloadBase, RangeOp, Reject, bitwise, cmp, ct, fib, immediate, limit, log, lookup, masq,
    meta, nat, nfproto, objref, payload, range, reject,
};
use crate::nft::name::{LogPrefix, Name};
use crate::nft::uapi::{NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS, NFTA_DATA_VERDICT, NFTA_EXPR_DATA, NFTA_EXPR_NAME};
use crate::nft::value::{Reg, Value, Verdict};
use crate::wire::{Attr, Attrs, Malformed};

/// The attributes of one expression by number; the highest number is 7.
struct Fields<'a>([Option<Attr<'a>>; 8]);

impl<'a> Fields<'a> {
    /// `None` if there is an attribute that this file does not know.
    fn read(attrs: Attrs<'a>, known: &[u16]) -> Result<Option<Self>, Malformed> {
        let mut fields = [None; 8];
        for attr in attrs {
            let attr = attr?;
            if !known.contains(&attr.kind) {
                return Ok(None);
            }
            fields[usize::from(attr.kind)] = Some(attr);
        }
        Ok(Some(Self(fields)))
    }

    fn get(&self, kind: u16) -> Option<Attr<'a>> {
        self.0[usize::from(kind)]
    }

    fn must(&self, kind: u16) -> Result<Attr<'a>, Malformed> {
        self.get(kind).ok_or(Malformed("an expression lacks an attribute"))
    }

    fn u32(&self, kind: u16) -> Result<u32, Malformed> {
        self.must(kind)?.be32()
    }

    fn reg(&self, kind: u16) -> Result<Reg, Malformed> {
        Reg::from_number(self.u32(kind)?)?.ok_or(Malformed("the verdict register holds no data"))
    }

    fn value(&self, kind: u16) -> Result<Value, Malformed> {
        Value::decode(self.must(kind)?.nested())
    }

    /// The registers of a range of ports, if there is one.
    fn ports(&self, first: u16, last: u16) -> Result<Option<(Reg, Reg)>, Malformed> {
        if self.get(first).is_none() {
            return Ok(None);
        }
        let first = self.reg(first)?;
        Ok(Some((first, if self.get(last).is_some() { self.reg(last)? } else { first })))
    }

    fn nat_flags(&self, kind: u16) -> Result<NatFlags, Malformed> {
        self.get(kind).map_or(Ok(0), |attr| attr.be32()).map(NatFlags::from_bits)
    }

    fn name(&self, kind: u16) -> Result<Name, Malformed> {
        name(self.must(kind)?.text()?)
    }
}

fn name(text: &str) -> Result<Name, Malformed> {
    Name::new(text).map_err(|_| Malformed("an empty name"))
}

impl Expr {
    /// Decodes one element of a rule's expression list. What has no variant, or
    /// an attribute or number that its variant lacks, becomes [`Expr::Raw`].
    pub(crate) fn decode(element: Attrs<'_>) -> Result<Self, Malformed> {
        let mut title = None;
        let mut data = None;
        for attr in element {
            let attr = attr?;
            match attr.kind {
                NFTA_EXPR_NAME => title = Some(attr.text()?),
                NFTA_EXPR_DATA => data = Some(attr.payload),
                _ => {}
            }
        }
        let title = title.ok_or(Malformed("an expression without a name"))?;
        if let Some(expr) = Self::decode_known(title, Attrs(data.unwrap_or_default()))? {
            return Ok(expr);
        }
        Ok(Self::Raw { name: name(title)?, data: data.map(Into::into) })
    }

    fn decode_known(title: &str, attrs: Attrs<'_>) -> Result<Option<Self>, Malformed> {
        match title {
            "payload" => decode_payload(attrs),
            "meta" => decode_meta(attrs),
            "ct" => decode_ct(attrs),
            "cmp" => decode_cmp(attrs),
            "range" => decode_range(attrs),
            "bitwise" => decode_bitwise(attrs),
            "lookup" => decode_lookup(attrs),
            "immediate" => decode_immediate(attrs),
            "counter" => decode_counter(attrs),
            "log" => decode_log(attrs),
            "limit" => decode_limit(attrs),
            "reject" => decode_reject(attrs),
            "objref" => decode_object(attrs),
            "fib" => decode_fib(attrs),
            "notrack" => Ok(Some(Self::Notrack)),
            "masq" => decode_masquerade(attrs),
            "nat" => decode_nat(attrs),
            _ => Ok(None),
        }
    }
}

/// Packets and bytes, if an element of a rule's expression list is a counter.
pub(in crate::nft) fn counted(element: Attrs<'_>) -> Result<Option<(u64, u64)>, Malformed> {
    let mut is_counter = false;
    for attr in element {
        let attr = attr?;
        match attr.kind {
            NFTA_EXPR_NAME => is_counter = attr.text()? == "counter",
            NFTA_EXPR_DATA if is_counter => {
                return Ok(match decode_counter(attr.nested())? {
                    Some(Expr::Counter { packets, bytes }) => Some((packets, bytes)),
                    Some(_) | None => None,
                });
            }
            _ => {}
        }
    }
    Ok(None)
}

type Decoded = Result<Option<Expr>, Malformed>;

fn decode_payload(attrs: Attrs<'_>) -> Decoded {
    let known = [payload::DREG, payload::BASE, payload::OFFSET, payload::LEN];
    let Some(fields) = Fields::read(attrs, &known)? else { return Ok(None) };
    let Some(base) = PayloadBase::from_code(fields.u32(payload::BASE)?) else { return Ok(None) };
    Ok(Some(Expr::Payload {
        base,
        offset: fields.u32(payload::OFFSET)?,
        len: fields.u32(payload::LEN)?,
        dreg: fields.reg(payload::DREG)?,
    }))
}

fn decode_meta(attrs: Attrs<'_>) -> Decoded {
    let Some(fields) = Fields::read(attrs, &[meta::DREG, meta::KEY, meta::SREG])? else { return Ok(None) };
    let Some(key) = MetaKey::from_code(fields.u32(meta::KEY)?) else { return Ok(None) };
    Ok(Some(if fields.get(meta::SREG).is_some() {
        Expr::SetMeta { key, sreg: fields.reg(meta::SREG)? }
    } else {
        Expr::Meta { key, dreg: fields.reg(meta::DREG)? }
    }))
}

fn decode_ct(attrs: Attrs<'_>) -> Decoded {
    let known = [ct::DREG, ct::KEY, ct::DIRECTION, ct::SREG];
    let Some(fields) = Fields::read(attrs, &known)? else { return Ok(None) };
    let Some(key) = CtKey::from_code(fields.u32(ct::KEY)?) else { return Ok(None) };
    let direction = match fields.get(ct::DIRECTION) {
        None => None,
        Some(attr) => match CtDirection::from_code(attr.u8()?.into()) {
            None => return Ok(None),
            known => known,
        },
    };
    Ok(match (fields.get(ct::SREG), direction) {
        (Some(_), Some(_)) => None,
        (Some(_), None) => Some(Expr::SetCt { key, sreg: fields.reg(ct::SREG)? }),
        (None, direction) => Some(Expr::Ct { key, direction, dreg: fields.reg(ct::DREG)? }),
    })
}

fn decode_cmp(attrs: Attrs<'_>) -> Decoded {
    let Some(fields) = Fields::read(attrs, &[cmp::SREG, cmp::OP, cmp::DATA])? else { return Ok(None) };
    let Some(op) = CmpOp::from_code(fields.u32(cmp::OP)?) else { return Ok(None) };
    Ok(Some(Expr::Cmp { sreg: fields.reg(cmp::SREG)?, op, value: fields.value(cmp::DATA)? }))
}

fn decode_range(attrs: Attrs<'_>) -> Decoded {
    let known = [range::SREG, range::OP, range::FROM, range::TO];
    let Some(fields) = Fields::read(attrs, &known)? else { return Ok(None) };
    let Some(op) = RangeOp::from_code(fields.u32(range::OP)?) else { return Ok(None) };
    Ok(Some(Expr::Range {
        sreg: fields.reg(range::SREG)?,
        op,
        first: fields.value(range::FROM)?,
        last: fields.value(range::TO)?,
    }))
}

fn decode_bitwise(attrs: Attrs<'_>) -> Decoded {
    /// `NFT_BITWISE_MASK_XOR`; kernels before 5.6 know no other and do not list it.
    const MASK_XOR: u32 = 0;
    let known = [bitwise::SREG, bitwise::DREG, bitwise::LEN, bitwise::MASK, bitwise::XOR, bitwise::OP];
    let Some(fields) = Fields::read(attrs, &known)? else { return Ok(None) };
    if let Some(op) = fields.get(bitwise::OP)
        && op.be32()? != MASK_XOR
    {
        return Ok(None);
    }
    Ok(Some(Expr::Bitwise {
        sreg: fields.reg(bitwise::SREG)?,
        dreg: fields.reg(bitwise::DREG)?,
        mask: fields.value(bitwise::MASK)?,
        xor: fields.value(bitwise::XOR)?,
    }))
}

fn decode_lookup(attrs: Attrs<'_>) -> Decoded {
    let known = [lookup::SET, lookup::SREG, lookup::DREG, lookup::FLAGS];
    let Some(fields) = Fields::read(attrs, &known)? else { return Ok(None) };
    let flags = fields.get(lookup::FLAGS).map_or(Ok(0), |attr| attr.be32())?;
    let yields = match (fields.get(lookup::DREG), flags) {
        (None, 0) => Lookup::Member,
        (None, f) if f == libc::NFT_LOOKUP_F_INV.cast_unsigned() => Lookup::NotMember,
        (Some(dreg), 0) => Reg::from_number(dreg.be32()?)?.map_or(Lookup::Verdict, Lookup::Data),
        _ => return Ok(None),
    };
    Ok(Some(Expr::Lookup { set: fields.name(lookup::SET)?, sreg: fields.reg(lookup::SREG)?, yields }))
}

fn decode_immediate(attrs: Attrs<'_>) -> Decoded {
    let Some(fields) = Fields::read(attrs, &[immediate::DREG, immediate::DATA])? else { return Ok(None) };
    if let Some(dreg) = Reg::from_number(fields.u32(immediate::DREG)?)? {
        return Ok(Some(Expr::Immediate { dreg, value: fields.value(immediate::DATA)? }));
    }
    let data = fields.must(immediate::DATA)?.nested().next();
    match data.transpose()? {
        Some(verdict) if verdict.kind == NFTA_DATA_VERDICT => Ok(Verdict::decode(verdict.nested())?.map(Expr::Verdict)),
        _ => Err(Malformed("the verdict register loaded without a verdict")),
    }
}

fn decode_counter(attrs: Attrs<'_>) -> Decoded {
    /// `NFTA_COUNTER_PAD`: alignment, without content.
    const PAD: u16 = 3;
    let Some(fields) = Fields::read(attrs, &[NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS, PAD])? else { return Ok(None) };
    let count = |kind| fields.get(kind).map_or(Ok(0), |attr| attr.be64());
    Ok(Some(Expr::Counter { packets: count(NFTA_COUNTER_PACKETS)?, bytes: count(NFTA_COUNTER_BYTES)? }))
}

fn decode_log(attrs: Attrs<'_>) -> Decoded {
    let known = [log::GROUP, log::PREFIX, log::SNAPLEN, log::QTHRESHOLD, log::LEVEL, log::FLAGS];
    let Some(fields) = Fields::read(attrs, &known)? else { return Ok(None) };
    let flags = fields.get(log::FLAGS).map_or(Ok(0), |attr| attr.be32())?;
    let prefix = match fields.get(log::PREFIX) {
        None => None,
        Some(attr) => match LogPrefix::new(attr.text()?) {
            Ok(prefix) => Some(prefix),
            Err(_) => return Ok(None),
        },
    };
    let target = match (fields.get(log::GROUP), fields.get(log::LEVEL)) {
        (Some(group), None) => LogTarget::Group {
            group: group.be16()?,
            snaplen: fields.get(log::SNAPLEN).map(|attr| attr.be32()).transpose()?,
            queue: fields.get(log::QTHRESHOLD).map(|attr| attr.be16()).transpose()?,
        },
        (None, Some(level)) => LogTarget::Kernel { level: level.be32()? },
        _ => return Ok(None),
    };
    Ok((flags == 0).then_some(Expr::Log { prefix, target }))
}

fn decode_limit(attrs: Attrs<'_>) -> Decoded {
    /// `NFTA_LIMIT_PAD`: alignment, without content.
    const PAD: u16 = 6;
    let known = [limit::RATE, limit::UNIT, limit::BURST, limit::TYPE, limit::FLAGS, PAD];
    let Some(fields) = Fields::read(attrs, &known)? else { return Ok(None) };
    let unit = LimitUnit::from_code(fields.u32(limit::TYPE)?);
    let when = LimitWhen::from_code(fields.u32(limit::FLAGS)?);
    let (Some(unit), Some(when)) = (unit, when) else { return Ok(None) };
    Ok(Some(Expr::Limit {
        rate: fields.must(limit::RATE)?.be64()?,
        period: fields.must(limit::UNIT)?.be64()?,
        burst: fields.u32(limit::BURST)?,
        unit,
        when,
    }))
}

fn decode_reject(attrs: Attrs<'_>) -> Decoded {
    let Some(fields) = Fields::read(attrs, &[reject::TYPE, reject::CODE])? else { return Ok(None) };
    Ok(match fields.u32(reject::TYPE)?.cast_signed() {
        NFT_REJECT_TCP_RST => Some(Expr::Reject(Reject::TcpReset)),
        NFT_REJECT_ICMP_UNREACH => Some(Expr::Reject(Reject::Icmp(fields.must(reject::CODE)?.u8()?))),
        NFT_REJECT_ICMPX_UNREACH => {
            IcmpxCode::from_code(fields.must(reject::CODE)?.u8()?.into()).map(|code| Expr::Reject(Reject::Icmpx(code)))
        }
        _ => None,
    })
}

fn decode_object(attrs: Attrs<'_>) -> Decoded {
    let Some(fields) = Fields::read(attrs, &[objref::TYPE, objref::NAME])? else { return Ok(None) };
    let Some(kind) = ObjectKind::from_code(fields.u32(objref::TYPE)?) else { return Ok(None) };
    Ok(Some(Expr::Object { kind, name: fields.name(objref::NAME)? }))
}

fn decode_fib(attrs: Attrs<'_>) -> Decoded {
    let Some(fields) = Fields::read(attrs, &[fib::DREG, fib::RESULT, fib::FLAGS])? else { return Ok(None) };
    let Some(result) = FibResult::from_code(fields.u32(fib::RESULT)?) else { return Ok(None) };
    Ok(Some(Expr::Fib { input: FibInput::from_bits(fields.u32(fib::FLAGS)?), result, dreg: fields.reg(fib::DREG)? }))
}

fn decode_masquerade(attrs: Attrs<'_>) -> Decoded {
    let Some(fields) = Fields::read(attrs, &[masq::FLAGS, masq::FIRST, masq::LAST])? else { return Ok(None) };
    let ports = fields.ports(masq::FIRST, masq::LAST)?;
    Ok(Some(Expr::Masquerade { ports, flags: fields.nat_flags(masq::FLAGS)? }))
}

/// Only for a source, and one address.
fn decode_nat(attrs: Attrs<'_>) -> Decoded {
    let known = [nat::TYPE, nat::FAMILY, nat::ADDRESS, nat::LAST_ADDRESS, nat::FIRST, nat::LAST, nat::FLAGS];
    let Some(fields) = Fields::read(attrs, &known)? else { return Ok(None) };
    let number = fields.u32(nat::FAMILY)?;
    let family = Family::ALL.into_iter().find(|family| nfproto(*family) == number);
    let (Some(family), nat::SOURCE, Some(_)) = (family, fields.u32(nat::TYPE)?, fields.get(nat::ADDRESS)) else {
        return Ok(None);
    };
    let address = fields.reg(nat::ADDRESS)?;
    if fields.get(nat::LAST_ADDRESS).is_some() && fields.reg(nat::LAST_ADDRESS)? != address {
        return Ok(None);
    }
    let ports = fields.ports(nat::FIRST, nat::LAST)?;
    Ok(Some(Expr::SourceNat { family, address, ports, flags: fields.nat_flags(nat::FLAGS)? }))
}
