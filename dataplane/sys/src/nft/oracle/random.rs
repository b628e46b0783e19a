//! Random rules and elements, of every variant.

use caracal_net::Family;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::nft::*;

fn name() -> impl Strategy<Value = Name> {
    "[a-z][a-z0-9_-]{0,40}".prop_map(|text| Name::new(text).expect("a good name"))
}

fn comment() -> impl Strategy<Value = Comment> {
    "[ -~]{0,100}".prop_map(|text| Comment::new(text).expect("a good comment"))
}

fn reg() -> impl Strategy<Value = Reg> {
    (0u8..16).prop_map(|word| Reg::word(word).expect("a register"))
}

fn value() -> impl Strategy<Value = Value> {
    vec(any::<u8>(), 1..=VALUE_MAX).prop_map(|bytes| Value::bytes(&bytes))
}

/// Two values of one length.
fn values() -> impl Strategy<Value = (Value, Value)> {
    (1..=VALUE_MAX).prop_flat_map(|len| {
        let value = || vec(any::<u8>(), len).prop_map(|bytes| Value::bytes(&bytes));
        (value(), value())
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        select(vec![Verdict::Accept, Verdict::Drop, Verdict::Continue, Verdict::Break, Verdict::Return]),
        name().prop_map(Verdict::Jump),
        name().prop_map(Verdict::Goto),
    ]
}

fn lookup() -> impl Strategy<Value = Lookup> {
    prop_oneof![select(vec![Lookup::Member, Lookup::NotMember, Lookup::Verdict]), reg().prop_map(Lookup::Data),]
}

fn log() -> impl Strategy<Value = Expr> {
    let prefix = option::of("[a-z]{1,126}".prop_map(|text| LogPrefix::new(text).expect("a good prefix")));
    let target = prop_oneof![
        (0u32..8).prop_map(|level| LogTarget::Kernel { level }),
        any::<(u16, Option<u32>, Option<u16>)>().prop_map(|(group, snaplen, queue)| LogTarget::Group {
            group,
            snaplen,
            queue
        }),
    ];
    (prefix, target).prop_map(|(prefix, target)| Expr::Log { prefix, target })
}

fn reject() -> impl Strategy<Value = Expr> {
    prop_oneof![
        Just(Reject::TcpReset),
        any::<u8>().prop_map(Reject::Icmp),
        select(IcmpxCode::ALL).prop_map(Reject::Icmpx),
    ]
    .prop_map(Expr::Reject)
}

fn load() -> impl Strategy<Value = Expr> {
    prop_oneof![
        (select(PayloadBase::ALL), any::<u32>(), any::<u32>(), reg())
            .prop_map(|(base, offset, len, dreg)| Expr::Payload { base, offset, len, dreg }),
        (select(MetaKey::ALL), reg()).prop_map(|(key, dreg)| Expr::Meta { key, dreg }),
        (select(CtKey::ALL), option::of(select(CtDirection::ALL)), reg()).prop_map(|(key, direction, dreg)| Expr::Ct {
            key,
            direction,
            dreg
        }),
        (any::<u32>(), select(FibResult::ALL), reg()).prop_map(|(bits, result, dreg)| Expr::Fib {
            input: FibInput::from_bits(bits),
            result,
            dreg
        }),
        (reg(), value()).prop_map(|(dreg, value)| Expr::Immediate { dreg, value }),
    ]
}

fn test() -> impl Strategy<Value = Expr> {
    prop_oneof![
        (reg(), select(CmpOp::ALL), value()).prop_map(|(sreg, op, value)| Expr::Cmp { sreg, op, value }),
        (reg(), select(RangeOp::ALL), values()).prop_map(|(sreg, op, (first, last))| Expr::Range {
            sreg,
            op,
            first,
            last
        }),
        (reg(), reg(), values()).prop_map(|(sreg, dreg, (mask, xor))| Expr::Bitwise { sreg, dreg, mask, xor }),
        (name(), reg(), lookup()).prop_map(|(set, sreg, yields)| Expr::Lookup { set, sreg, yields }),
        (any::<u64>(), any::<u64>(), any::<u32>(), select(LimitUnit::ALL), select(LimitWhen::ALL))
            .prop_map(|(rate, period, burst, unit, when)| Expr::Limit { rate, period, burst, unit, when }),
    ]
}

fn act() -> impl Strategy<Value = Expr> {
    prop_oneof![
        (select(MetaKey::ALL), reg()).prop_map(|(key, sreg)| Expr::SetMeta { key, sreg }),
        (select(CtKey::ALL), reg()).prop_map(|(key, sreg)| Expr::SetCt { key, sreg }),
        verdict().prop_map(Expr::Verdict),
        any::<(u64, u64)>().prop_map(|(packets, bytes)| Expr::Counter { packets, bytes }),
        Just(Expr::COUNTER),
        log(),
        reject(),
        (select(ObjectKind::ALL), name()).prop_map(|(kind, name)| Expr::Object { kind, name }),
        Just(Expr::Notrack),
        (ports(), any::<u32>()).prop_map(|(ports, bits)| Expr::Masquerade { ports, flags: NatFlags::from_bits(bits) }),
        (select(&Family::ALL[..]), reg(), ports(), any::<u32>()).prop_map(|(family, address, ports, bits)| {
            Expr::SourceNat { family, address, ports, flags: NatFlags::from_bits(bits) }
        }),
    ]
}

fn ports() -> impl Strategy<Value = Option<(Reg, Reg)>> {
    option::of((reg(), reg()))
}

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    let exprs = vec(prop_oneof![load(), test(), act()], 0..8);
    (exprs, option::of(comment())).prop_map(|(exprs, comment)| Rule { exprs, comment })
}

pub(super) fn element() -> impl Strategy<Value = Element> {
    let key = prop_oneof![
        value().prop_map(Key::At),
        value().prop_map(Key::End),
        values().prop_map(|(first, last)| Key::Range(first, last)),
        Just(Key::CatchAll),
    ];
    let data = option::of(prop_oneof![value().prop_map(Data::Value), verdict().prop_map(Data::Verdict)]);
    (key, data, option::of(comment())).prop_map(|(key, data, comment)| Element { key, data, comment })
}
