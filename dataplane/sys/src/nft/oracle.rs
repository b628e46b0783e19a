//! The encoder against libnftnl: the same objects give the same bytes. And
//! without the kernel: what is encoded is decoded.

mod libnftnl;
mod random;

use std::ffi::CString;

use libnftnl::{Attributes, text, word};
use nftnl_sys as sys;
use proptest::prelude::*;

use super::*;
use crate::wire::{Attrs, HEADER, Messages, NFGEN};

fn table() -> TableId {
    TableId::inet(name("t"))
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

/// The attributes of the one message that `fill` writes.
fn ours(fill: impl FnOnce(&mut Batch)) -> Vec<u8> {
    let mut batch = Batch::new(&table());
    let start = batch.len();
    fill(&mut batch);
    assert_eq!(batch.messages(), 1);
    batch.unclosed()[start + HEADER + NFGEN..].to_vec()
}

fn double(number: u64) -> Vec<u8> {
    number.to_ne_bytes().to_vec()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.as_bytes().to_vec()
}

/// The attributes that libnftnl has for a verdict, and those of its chain.
fn verdict(verdict: &Verdict, code: u32, chain: u32) -> Attributes<'static> {
    let (number, to) = match verdict {
        Verdict::Accept => (libc::NF_ACCEPT, None),
        Verdict::Drop => (libc::NF_DROP, None),
        Verdict::Continue => (libc::NFT_CONTINUE, None),
        Verdict::Break => (libc::NFT_BREAK, None),
        Verdict::Return => (libc::NFT_RETURN, None),
        Verdict::Jump(to) => (libc::NFT_JUMP, Some(to)),
        Verdict::Goto(to) => (libc::NFT_GOTO, Some(to)),
    };
    let mut attributes = vec![(code, word(number.cast_unsigned()))];
    attributes.extend(to.map(|to| (chain, text(to))));
    attributes
}

/// An expression in libnftnl's terms.
fn in_their_terms(expr: &Expr) -> (CString, Attributes<'static>) {
    let reg = |reg: &Reg| word(reg.number());
    let attributes = match expr {
        Expr::Payload { base, offset, len, dreg } => vec![
            (sys::NFTNL_EXPR_PAYLOAD_DREG, reg(dreg)),
            (sys::NFTNL_EXPR_PAYLOAD_BASE, word(base.code())),
            (sys::NFTNL_EXPR_PAYLOAD_OFFSET, word(*offset)),
            (sys::NFTNL_EXPR_PAYLOAD_LEN, word(*len)),
        ],
        Expr::Meta { key, dreg } => {
            vec![(sys::NFTNL_EXPR_META_KEY, word(key.code())), (sys::NFTNL_EXPR_META_DREG, reg(dreg))]
        }
        Expr::SetMeta { key, sreg } => {
            vec![(sys::NFTNL_EXPR_META_KEY, word(key.code())), (sys::NFTNL_EXPR_META_SREG, reg(sreg))]
        }
        Expr::Ct { key, direction, dreg } => {
            let mut attributes = vec![(sys::NFTNL_EXPR_CT_KEY, word(key.code())), (sys::NFTNL_EXPR_CT_DREG, reg(dreg))];
            attributes.extend(direction.map(|direction| (sys::NFTNL_EXPR_CT_DIR, vec![direction.code() as u8])));
            attributes
        }
        Expr::SetCt { key, sreg } => {
            vec![(sys::NFTNL_EXPR_CT_KEY, word(key.code())), (sys::NFTNL_EXPR_CT_SREG, reg(sreg))]
        }
        Expr::Cmp { sreg, op, value } => vec![
            (sys::NFTNL_EXPR_CMP_SREG, reg(sreg)),
            (sys::NFTNL_EXPR_CMP_OP, word(op.code())),
            (sys::NFTNL_EXPR_CMP_DATA, bytes(value)),
        ],
        Expr::Range { sreg, op, first, last } => vec![
            (sys::NFTNL_EXPR_RANGE_SREG, reg(sreg)),
            (sys::NFTNL_EXPR_RANGE_OP, word(op.code())),
            (sys::NFTNL_EXPR_RANGE_FROM_DATA, bytes(first)),
            (sys::NFTNL_EXPR_RANGE_TO_DATA, bytes(last)),
        ],
        Expr::Bitwise { sreg, dreg, mask, xor } => vec![
            (sys::NFTNL_EXPR_BITWISE_SREG, reg(sreg)),
            (sys::NFTNL_EXPR_BITWISE_DREG, reg(dreg)),
            (sys::NFTNL_EXPR_BITWISE_LEN, word(mask.as_bytes().len() as u32)),
            (sys::NFTNL_EXPR_BITWISE_MASK, bytes(mask)),
            (sys::NFTNL_EXPR_BITWISE_XOR, bytes(xor)),
        ],
        Expr::Lookup { set, sreg, yields } => {
            let mut attributes =
                vec![(sys::NFTNL_EXPR_LOOKUP_SREG, reg(sreg)), (sys::NFTNL_EXPR_LOOKUP_SET, text(set))];
            match yields {
                Lookup::Member => {}
                Lookup::NotMember => attributes.push((sys::NFTNL_EXPR_LOOKUP_FLAGS, word(1))),
                Lookup::Data(dreg) => attributes.push((sys::NFTNL_EXPR_LOOKUP_DREG, reg(dreg))),
                Lookup::Verdict => attributes.push((sys::NFTNL_EXPR_LOOKUP_DREG, word(0))),
            }
            attributes
        }
        Expr::Immediate { dreg, value } => {
            vec![(sys::NFTNL_EXPR_IMM_DREG, reg(dreg)), (sys::NFTNL_EXPR_IMM_DATA, bytes(value))]
        }
        Expr::Verdict(what) => {
            let mut attributes = verdict(what, sys::NFTNL_EXPR_IMM_VERDICT, sys::NFTNL_EXPR_IMM_CHAIN);
            attributes.push((sys::NFTNL_EXPR_IMM_DREG, word(0)));
            attributes
        }
        Expr::Counter { packets, bytes } => {
            [(sys::NFTNL_EXPR_CTR_PACKETS, double(*packets)), (sys::NFTNL_EXPR_CTR_BYTES, double(*bytes))]
                .into_iter()
                .filter(|(_, number)| number.iter().any(|&byte| byte != 0))
                .collect()
        }
        Expr::Log { prefix, target } => {
            let mut attributes: Attributes<'_> =
                prefix.iter().map(|prefix| (sys::NFTNL_EXPR_LOG_PREFIX, text(prefix))).collect();
            match target {
                LogTarget::Kernel { level } => attributes.push((sys::NFTNL_EXPR_LOG_LEVEL, word(*level))),
                LogTarget::Group { group, snaplen, queue } => {
                    attributes.push((sys::NFTNL_EXPR_LOG_GROUP, group.to_ne_bytes().to_vec()));
                    attributes.extend(snaplen.map(|len| (sys::NFTNL_EXPR_LOG_SNAPLEN, word(len))));
                    attributes.extend(queue.map(|len| (sys::NFTNL_EXPR_LOG_QTHRESHOLD, len.to_ne_bytes().to_vec())));
                }
            }
            attributes
        }
        Expr::Limit { rate, period, burst, unit, when } => vec![
            (sys::NFTNL_EXPR_LIMIT_RATE, double(*rate)),
            (sys::NFTNL_EXPR_LIMIT_UNIT, double(*period)),
            (sys::NFTNL_EXPR_LIMIT_BURST, word(*burst)),
            (sys::NFTNL_EXPR_LIMIT_TYPE, word(unit.code())),
            (sys::NFTNL_EXPR_LIMIT_FLAGS, word(when.code())),
        ],
        Expr::Reject(Reject::TcpReset) => vec![(sys::NFTNL_EXPR_REJECT_TYPE, word(1))],
        Expr::Reject(Reject::Icmp(code)) => {
            vec![(sys::NFTNL_EXPR_REJECT_TYPE, word(0)), (sys::NFTNL_EXPR_REJECT_CODE, vec![*code])]
        }
        Expr::Reject(Reject::Icmpx(code)) => {
            vec![(sys::NFTNL_EXPR_REJECT_TYPE, word(2)), (sys::NFTNL_EXPR_REJECT_CODE, vec![code.code() as u8])]
        }
        Expr::Object { kind, name } => {
            vec![(sys::NFTNL_EXPR_OBJREF_IMM_TYPE, word(kind.code())), (sys::NFTNL_EXPR_OBJREF_IMM_NAME, text(name))]
        }
        Expr::Fib { input, result, dreg } => vec![
            (sys::NFTNL_EXPR_FIB_FLAGS, word(input.bits())),
            (sys::NFTNL_EXPR_FIB_RESULT, word(result.code())),
            (sys::NFTNL_EXPR_FIB_DREG, reg(dreg)),
        ],
        Expr::Masquerade { ports, flags } => {
            let ports = ports.iter().flat_map(|(first, last)| {
                [(sys::NFTNL_EXPR_MASQ_REG_PROTO_MIN, reg(first)), (sys::NFTNL_EXPR_MASQ_REG_PROTO_MAX, reg(last))]
            });
            let flags = (flags.bits() != 0).then(|| (sys::NFTNL_EXPR_MASQ_FLAGS, word(flags.bits())));
            flags.into_iter().chain(ports).collect()
        }
        Expr::SourceNat { family, address, ports, flags } => {
            let number = match family {
                caracal_net::Family::V4 => libc::NFPROTO_IPV4,
                caracal_net::Family::V6 => libc::NFPROTO_IPV6,
            };
            let mut attributes = vec![
                (sys::NFTNL_EXPR_NAT_TYPE, word(0)),
                (sys::NFTNL_EXPR_NAT_FAMILY, word(number.cast_unsigned())),
                (sys::NFTNL_EXPR_NAT_REG_ADDR_MIN, reg(address)),
            ];
            attributes.extend(ports.iter().flat_map(|(first, last)| {
                [(sys::NFTNL_EXPR_NAT_REG_PROTO_MIN, reg(first)), (sys::NFTNL_EXPR_NAT_REG_PROTO_MAX, reg(last))]
            }));
            attributes.extend((flags.bits() != 0).then(|| (sys::NFTNL_EXPR_NAT_FLAGS, word(flags.bits()))));
            attributes
        }
        Expr::Notrack | Expr::Raw { .. } => vec![],
    };
    (CString::new(expr.name()).expect("no NUL inside"), attributes)
}

/// A comment as user data.
fn commented(comment: &Comment) -> Vec<u8> {
    let content = text(comment);
    [&[0, content.len() as u8], &content[..]].concat()
}

fn their_rule(rule: &Rule) -> Vec<u8> {
    let mut attributes = vec![(sys::NFTNL_RULE_TABLE, text("t")), (sys::NFTNL_RULE_CHAIN, text("c"))];
    attributes.extend(rule.comment.iter().map(|comment| (sys::NFTNL_RULE_USERDATA, commented(comment))));
    let exprs: Vec<_> = rule.exprs.iter().map(in_their_terms).collect();
    libnftnl::rule(&attributes, &exprs)
}

fn our_rule(rule: &Rule) -> Vec<u8> {
    ours(|batch| {
        batch.add_rule(&name("c"), Place::Last, rule).expect("short");
    })
}

fn their_element(element: &Element) -> Attributes<'static> {
    let mut attributes = match &element.key {
        Key::At(key) => vec![(sys::NFTNL_SET_ELEM_KEY, bytes(key))],
        Key::End(key) => vec![(sys::NFTNL_SET_ELEM_FLAGS, word(1)), (sys::NFTNL_SET_ELEM_KEY, bytes(key))],
        Key::Range(first, last) => {
            vec![(sys::NFTNL_SET_ELEM_KEY, bytes(first)), (sys::NFTNL_SET_ELEM_KEY_END, bytes(last))]
        }
        Key::CatchAll => vec![(sys::NFTNL_SET_ELEM_FLAGS, word(2))],
    };
    match &element.data {
        None => {}
        Some(Data::Value(value)) => attributes.push((sys::NFTNL_SET_ELEM_DATA, bytes(value))),
        Some(Data::Verdict(what)) => {
            attributes.extend(verdict(what, sys::NFTNL_SET_ELEM_VERDICT, sys::NFTNL_SET_ELEM_CHAIN));
        }
    }
    attributes.extend(element.comment.iter().map(|comment| (sys::NFTNL_SET_ELEM_USERDATA, commented(comment))));
    attributes
}

fn their_set(flags: u32, key: u32, len: u32, rest: Attributes<'static>) -> Vec<u8> {
    let mut attributes = vec![
        (sys::NFTNL_SET_TABLE, text("t")),
        (sys::NFTNL_SET_NAME, text("s")),
        (sys::NFTNL_SET_FLAGS, word(flags)),
        (sys::NFTNL_SET_KEY_TYPE, word(key)),
        (sys::NFTNL_SET_KEY_LEN, word(len)),
        (sys::NFTNL_SET_ID, word(2)),
    ];
    attributes.extend(rest);
    libnftnl::set(&attributes, &[]).0
}

fn our_set(set: &Set) -> Vec<u8> {
    ours(|batch| {
        batch.add_set(set).expect("short");
    })
}

/// User data of a set that says how its keys, and its data, are laid out.
fn orders(key: u32, data: Option<u32>) -> (u32, Vec<u8>) {
    let mut content = [vec![0, 4], word(key)].concat();
    if let Some(data) = data {
        content.extend([vec![1, 4], word(data)].concat());
    }
    (sys::NFTNL_SET_USERDATA, content)
}

#[test]
fn sets_are_the_bytes_of_libnftnl() {
    let set = |kind, key: &[Field]| Set::new(name("s"), kind, key);
    let service = [Field::Ipv4, Field::Protocol, Field::Port];
    let services = 7 << 12 | 12 << 6 | 13;
    let fields = (sys::NFTNL_SET_DESC_CONCAT, vec![4, 1, 2]);
    let size = |size| (sys::NFTNL_SET_DESC_SIZE, word(size));
    let data = |kind, len| vec![(sys::NFTNL_SET_DATA_TYPE, word(kind)), (sys::NFTNL_SET_DATA_LEN, word(len))];
    let verdicts = [data(0xffff_ff00, 0), vec![orders(1, None)]].concat();
    let marks = [data(19, 4), vec![orders(2, Some(1))]].concat();
    let cases = [
        (set(SetKind::Hash, &[Field::Ipv4]), their_set(0, 7, 4, vec![orders(2, None)])),
        (set(SetKind::Interval, &[Field::Ipv6]), their_set(4, 8, 16, vec![orders(2, None)])),
        (set(SetKind::Hash, &[Field::Mark]).with_size(9), their_set(0, 19, 4, vec![size(9), orders(1, None)])),
        (set(SetKind::Hash, &service), their_set(0, services, 12, vec![orders(2, None)])),
        (
            set(SetKind::Ranges, &service).with_size(7),
            their_set(0x84, services, 12, vec![size(7), fields, orders(2, None)]),
        ),
        (set(SetKind::Hash, &[Field::IfName]).with_data(SetData::Verdict), their_set(8, 41, 16, verdicts)),
        (set(SetKind::Hash, &[Field::Ipv4]).with_data(SetData::Value(Field::Mark)), their_set(8, 7, 4, marks)),
    ];
    for (set, theirs) in cases {
        assert_eq!(our_set(&set), theirs, "{set:?}");
    }
}

#[test]
fn chains_are_the_bytes_of_libnftnl() {
    let regular = vec![(sys::NFTNL_CHAIN_TABLE, text("t")), (sys::NFTNL_CHAIN_NAME, text("c"))];
    let based = [
        regular.clone(),
        vec![
            (sys::NFTNL_CHAIN_HOOKNUM, word(2)),
            (sys::NFTNL_CHAIN_PRIO, word((-5i32).cast_unsigned())),
            (sys::NFTNL_CHAIN_POLICY, word(0)),
            (sys::NFTNL_CHAIN_TYPE, text("filter")),
        ],
    ]
    .concat();
    let base = Base { kind: ChainType::Filter, hook: Hook::Forward, priority: -5, policy: Policy::Drop };
    for (chain, theirs) in [(Chain::regular(name("c")), regular), (Chain::base(name("c"), base), based)] {
        let ours = ours(|batch| {
            batch.add_chain(&chain).expect("short");
        });
        assert_eq!(ours, libnftnl::chain(&theirs), "{chain:?}");
    }
}

proptest! {
    #[test]
    fn rules_are_the_bytes_of_libnftnl(rule in random::rule()) {
        prop_assert_eq!(our_rule(&rule), their_rule(&rule));
    }

    // One only: libnftnl numbers the elements of a list, which the kernel ignores.
    #[test]
    fn an_element_is_the_bytes_of_libnftnl(element in random::element()) {
        let attributes = vec![(sys::NFTNL_SET_TABLE, text("t")), (sys::NFTNL_SET_NAME, text("s"))];
        let ours = ours(|batch| {
            batch.add_elements(&SetHeader::new(&table(), &name("s")), [element.clone()]).expect("short");
        });
        prop_assert_eq!(ours, libnftnl::set(&attributes, &[their_element(&element)]).1);
    }

    #[test]
    fn a_rule_is_decoded_as_it_was_encoded(rule in random::rule()) {
        // The kernel adds the handle; the last attribute here.
        let mut bytes = our_rule(&rule);
        bytes.extend([12, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        let listed = ListedRule::decode(Attrs(&bytes)).expect("well formed");
        prop_assert_eq!(listed, ListedRule { chain: name("c"), handle: Handle(9), rule });
    }

    #[test]
    fn decoding_any_bytes_ends_without_panic(bytes: Vec<u8>) {
        for message in Messages(&bytes).flatten() {
            if let Ok((_, attrs)) = message.netfilter() {
                decode_all(attrs);
            }
        }
        decode_all(Attrs(&bytes));
    }

    #[test]
    fn decoding_a_spoilt_rule_ends_without_panic(rule in random::rule(), at: proptest::sample::Index, byte: u8) {
        let mut bytes = our_rule(&rule);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        decode_all(Attrs(&bytes));
    }
}

/// Hands the bytes to every decoder; what they make of them does not matter.
fn decode_all(attrs: Attrs<'_>) -> usize {
    [
        ListedRule::decode(attrs).is_ok(),
        ListedChain::decode(attrs).is_ok(),
        ListedSet::decode(attrs).is_ok(),
        ListedTable::decode(attrs).is_ok(),
        Element::decode(attrs).is_ok(),
        Counter::decode(attrs).is_ok(),
    ]
    .into_iter()
    .filter(|&decoded| decoded)
    .count()
}
