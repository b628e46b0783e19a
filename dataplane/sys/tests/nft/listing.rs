//! What `nft` makes of our objects, and listings while the ruleset changes.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use caracal_net::Protocol;
use caracal_sys::netns::NetNs;
use caracal_sys::nft::{
    Batch, CmpOp, Comment, Element, Expr, Field, Key, Lookup, MetaKey, NftSocket, PayloadBase, Place, QueryError, Reg,
    Rule, Set, SetData, SetKind, TableId, Value, Verdict,
};
use nix::errno::Errno;

use crate::sandbox::{Operations, Sandbox, addresses, dispatch, interface, ip, name, range, ranges};

/// `NFPROTO_IPV4` as `meta nfproto` loads it.
const NFPROTO_IPV4: u8 = 2;

#[test]
fn nft_prints_our_objects_in_its_own_words() {
    let cmp = |value: Value| Expr::Cmp { sreg: Reg::R0, op: CmpOp::Eq, value };
    let rule = Rule::new([
        Expr::Meta { key: MetaKey::NfProto, dreg: Reg::R0 },
        cmp(Value::bytes(&[NFPROTO_IPV4])),
        Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, dreg: Reg::R0 },
        Expr::Lookup { set: name("nets"), sreg: Reg::R0, yields: Lookup::Member },
        Expr::Meta { key: MetaKey::L4Proto, dreg: Reg::R0 },
        cmp(Protocol::TCP.into()),
        Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: Reg::R0 },
        cmp(443u16.into()),
        Expr::COUNTER,
        Expr::Verdict(Verdict::Accept),
    ])
    .with_comment(Comment::new("default.web/3").expect("short"));
    let service = Value::concat([Ipv4Addr::new(10, 0, 0, 1).into(), Protocol::UDP.into(), 53u16.into()]);
    let services = Set::new(name("services"), SetKind::Hash, [Field::Ipv4, Field::Protocol, Field::Port].as_slice());
    let classes = addresses("classes").with_data(SetData::Value(Field::Mark));
    Sandbox::run(|sandbox| {
        let headers = ["nets", "dispatch", "services", "classes"].map(|set| sandbox.header(set));
        sandbox.must(|batch| {
            batch.base("base").chain("leaf");
            batch.set(&ranges("nets")).set(&dispatch("dispatch")).set(&services).set(&classes);
            batch.put(&headers[0], &range(0x0a00_0000, 0x0b00_0000));
            batch.put(&headers[1], &[interface("cali1", Verdict::Jump(name("leaf")))]);
            batch.put(&headers[2], &[Element::at(service)]);
            batch.put(&headers[3], &[ip(0x0102_0304).with_value(caracal_net::Mark(16))]);
            batch.add_rule(&name("base"), Place::Last, &rule).expect("short");
        });
        let expected = "\
table inet t {
	set nets {
		type ipv4_addr
		flags interval
		elements = { 10.0.0.0/8 }
	}

	map dispatch {
		type ifname : verdict
		elements = { \"cali1\" : jump leaf }
	}

	set services {
		type ipv4_addr . inet_proto . inet_service
		elements = { 10.0.0.1 . udp . 53 }
	}

	map classes {
		type ipv4_addr : mark
		elements = { 1.2.3.4 : 0x00000010 }
	}

	chain base {
		type filter hook forward priority filter; policy accept;
		ip saddr @nets tcp dport 443 counter packets 0 bytes 0 accept comment \"default.web/3\"
	}

	chain leaf {
	}
}
";
        assert_eq!(sandbox.nft(&["list", "ruleset"]), expected);
    });
}

#[test]
fn what_is_not_there_is_told_apart_from_what_is_empty() {
    Sandbox::run(|sandbox| {
        let nowhere = TableId::inet(name("nowhere"));
        assert_eq!(sandbox.socket.table(&nowhere).expect("an answer"), None);
        assert!(sandbox.socket.table(&sandbox.table).expect("an answer").is_some());
        assert_eq!(sandbox.socket.sets(&sandbox.table).expect("a listing"), []);
        let missing = sandbox.socket.elements(&sandbox.table, &name("s"));
        assert!(matches!(missing, Err(QueryError::Refused { errno: Errno::ENOENT, .. })), "{missing:?}");
    });
}

#[test]
fn objects_of_other_tables_are_not_listed() {
    Sandbox::run(|sandbox| {
        sandbox.nft(&["add table inet other; add chain inet other c; add set inet other s { type mark; }"]);
        sandbox.nft(&["add rule inet other c accept; add counter inet other n"]);
        assert_eq!(sandbox.chain_names(), [""; 0]);
        assert_eq!(sandbox.socket.rules(&sandbox.table).expect("a listing"), []);
        assert_eq!(sandbox.socket.sets(&sandbox.table).expect("a listing"), []);
        assert_eq!(sandbox.socket.counters(&sandbox.table).expect("a listing"), []);
        assert_eq!(sandbox.socket.tables(sandbox.table.family).expect("a listing").len(), 2);
    });
}

/// Commits one change after another until told to stop.
fn keep_changing(table: &TableId, change: impl Fn(&mut Batch, u32), stop: &AtomicBool) {
    let mut socket = NftSocket::open().expect("a socket");
    let mut nth = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut batch = Batch::new(table);
        change(&mut batch, nth);
        socket.commit(&mut batch).expect("committed");
        nth += 1;
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Lists with `list` while somebody else commits `change`, and hands each listing to `check`.
fn list_under_change<T>(
    sandbox: &mut Sandbox,
    change: impl Fn(&mut Batch, u32) + Sync,
    list: impl Fn(&mut Sandbox) -> Result<T, QueryError>,
    check: impl Fn(T),
) {
    let namespace = NetNs::current().expect("the namespace");
    let (table, stop) = (sandbox.table.clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            namespace.enter().expect("the namespace can be entered");
            keep_changing(&table, &change, &stop);
        });
        let _stop = Stop(&stop);
        for _ in 0..20 {
            match list(sandbox) {
                Ok(listing) => check(listing),
                Err(QueryError::Restless { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    });
}

/// Tells the other thread to stop, also when a check fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_listing_of_rules_is_of_one_generation() {
    const RULES: usize = 500;
    let rewrite = |batch: &mut Batch, nth: u32| {
        batch.flush("c");
        for _ in 0..RULES {
            batch.rule("c", &[Expr::Counter { packets: u64::from(nth) + 1, bytes: 1 }]);
        }
    };
    Sandbox::run(|sandbox| {
        sandbox.must(|batch| {
            batch.chain("c");
            rewrite(batch, 0);
        });
        let list = |sandbox: &mut Sandbox| sandbox.socket.rules(&sandbox.table);
        list_under_change(sandbox, rewrite, list, |rules| {
            assert_eq!(rules.len(), RULES);
            assert!(rules.iter().all(|rule| rule.rule == rules[0].rule));
        });
    });
}

#[test]
fn a_listing_of_elements_is_of_one_generation() {
    const ELEMENTS: u32 = 2000;
    // Every generation has all addresses, in a block of its own.
    let block = |nth: u32| (nth * ELEMENTS..(nth + 1) * ELEMENTS).map(ip);
    Sandbox::run(|sandbox| {
        let header = sandbox.header("s");
        sandbox.must(|batch| {
            batch.set(&addresses("s")).put(&header, &block(0).collect::<Vec<_>>());
        });
        let shift = |batch: &mut Batch, nth: u32| {
            batch.delete_elements(&header, block(nth)).expect("short");
            batch.add_elements(&header, block(nth + 1)).expect("short");
        };
        let list = |sandbox: &mut Sandbox| sandbox.socket.elements(&sandbox.table, &name("s"));
        list_under_change(sandbox, shift, list, |elements| {
            let blocks = elements.iter().map(|element| match &element.key {
                Key::At(key) => u32::from_be_bytes(key.as_bytes().try_into().expect("an address")) / ELEMENTS,
                key => panic!("{key:?}"),
            });
            assert_eq!(elements.len() as u32, ELEMENTS);
            assert_eq!(blocks.collect::<std::collections::BTreeSet<_>>().len(), 1);
        });
    });
}

#[test]
fn a_listing_of_elements_is_whole_while_the_kernel_moves_them() {
    for elements in (3000..15_000).step_by(1000) {
        Sandbox::run(|sandbox| {
            let header = sandbox.header("s");
            let elements: Vec<Element> = (0..elements).map(ip).collect();
            sandbox.must(|batch| {
                batch.set(&addresses("s")).put(&header, &elements);
            });
            let listed = sandbox.socket.elements(&sandbox.table, &name("s")).expect("a listing");
            assert!(listed == elements, "{} of {}", listed.len(), elements.len());
        });
    }
}
