//! What rules do to packets, where the shape of our rulesets depends on it.

use std::io;
use std::net::UdpSocket;
use std::process::Command;

use caracal_net::Protocol;
use caracal_sys::nft::{
    Base, Batch, Chain, CmpOp, Element, Expr, Hook, Lookup, MetaKey, Name, Place, Policy, Reg, Rule, Verdict,
};

use crate::sandbox::{FORWARD, Operations, Sandbox, dispatch, interface, jump, name};

/// A namespace with a loopback, in which packets can be sent.
fn with_loopback(work: impl FnOnce(&mut Sandbox) + Send) {
    Sandbox::run(|sandbox| {
        let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip is installed");
        assert!(status.success());
        work(sandbox);
    });
}

/// A base chain that every packet of the namespace goes through.
fn output(batch: &mut Batch, chain: &str, priority: i32, policy: Policy) {
    let base = Base { hook: Hook::Output, priority, policy, ..FORWARD };
    batch.add_chain(&Chain::base(name(chain), base)).expect("short");
}

/// Whether one datagram passes. It is sent to a socket that is there, so that no
/// answer follows it.
fn passes() -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("the loopback is up");
    match socket.send_to(b"x", socket.local_addr().expect("it is bound")) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => false,
        Err(error) => panic!("{error}"),
    }
}

fn goto(chain: &str) -> Expr {
    Expr::Verdict(Verdict::Goto(name(chain)))
}

const DROP: Expr = Expr::Verdict(Verdict::Drop);
const ACCEPT: Expr = Expr::Verdict(Verdict::Accept);

/// Looks the outgoing interface up in the map `m`.
fn by_interface() -> [Expr; 2] {
    let load = Expr::Meta { key: MetaKey::OifName, dreg: Reg::R0 };
    [load, Expr::Lookup { set: name("m"), sreg: Reg::R0, yields: Lookup::Verdict }]
}

#[test]
fn a_jump_through_an_empty_chain_comes_back() {
    with_loopback(|sandbox| {
        sandbox.must(|batch| {
            output(batch, "base", 0, Policy::Accept);
            batch.chain("empty").rule("base", &[jump("empty")]).rule("base", &[DROP]);
        });
        assert!(!passes());
    });
}

#[test]
fn a_goto_from_a_base_chain_does_not_come_back_to_it() {
    with_loopback(|sandbox| {
        sandbox.must(|batch| {
            output(batch, "base", 0, Policy::Accept);
            batch.chain("empty").rule("base", &[goto("empty")]).rule("base", &[DROP]);
        });
        assert!(passes(), "the policy decides, not the rule behind");
    });
}

#[test]
fn a_goto_from_a_jumped_chain_comes_back_behind_the_jump() {
    with_loopback(|sandbox| {
        sandbox.must(|batch| {
            output(batch, "base", 0, Policy::Accept);
            batch.chain("stub").chain("program");
            batch.rule("base", &[jump("stub")]).rule("base", &[DROP]);
            batch.rule("stub", &[goto("program")]).rule("stub", &[ACCEPT]);
        });
        assert!(!passes());
    });
}

#[test]
fn a_verdict_map_decides_what_it_has_and_leaves_the_rest() {
    with_loopback(|sandbox| {
        let map = sandbox.header("m");
        sandbox.must(|batch| {
            output(batch, "base", 0, Policy::Accept);
            batch.chain("leaf").rule("leaf", &[ACCEPT]).set(&dispatch("m"));
            batch.rule("base", &by_interface()).rule("base", &[DROP]);
        });
        assert!(!passes(), "no entry");
        let entry = [interface("lo", Verdict::Jump(name("leaf")))];
        sandbox.must(|batch| {
            batch.put(&map, &[interface("other", Verdict::Accept)]).put(&map, &entry);
        });
        assert!(passes(), "an entry that accepts");
        sandbox.must(|batch| {
            batch.flush("leaf");
        });
        assert!(!passes(), "an entry of an empty chain");
        sandbox.must(|batch| {
            batch.take(&map, &[Element::new(entry[0].key.clone())]);
        });
        assert!(!passes(), "no entry again");
    });
}

#[test]
fn accept_ends_one_base_chain_and_drop_ends_all() {
    with_loopback(|sandbox| {
        for (first, second, expected) in [(ACCEPT, ACCEPT, true), (ACCEPT, DROP, false), (DROP, ACCEPT, false)] {
            sandbox.must(|batch| {
                output(batch, "first", 0, Policy::Accept);
                output(batch, "second", 1, Policy::Accept);
                batch.flush("first").flush("second");
                batch.rule("first", std::slice::from_ref(&first)).rule("second", std::slice::from_ref(&second));
            });
            assert_eq!(passes(), expected, "{first:?} {second:?}");
        }
    });
}

fn packets(sandbox: &mut Sandbox, chain: &Name) -> Vec<u64> {
    let rules = sandbox.socket.rules_of(&sandbox.table, chain).expect("a listing");
    let counters = rules.iter().flat_map(|listed| &listed.rule.exprs);
    counters.filter_map(|expr| if let Expr::Counter { packets, .. } = expr { Some(*packets) } else { None }).collect()
}

#[test]
fn a_counter_goes_on_from_the_values_it_is_made_with() {
    with_loopback(|sandbox| {
        let chain = name("base");
        sandbox.must(|batch| {
            output(batch, "base", 0, Policy::Accept);
            // The kernel itself sends IPv6 on an interface that has just come up.
            let datagram = [
                Expr::Meta { key: MetaKey::L4Proto, dreg: Reg::R0 },
                Expr::Cmp { sreg: Reg::R0, op: CmpOp::Eq, value: Protocol::UDP.into() },
            ];
            batch.rule("base", &[&datagram[..], &[Expr::Counter { packets: 100, bytes: 1 }]].concat());
        });
        assert!(passes() && passes());
        assert_eq!(packets(sandbox, &chain), [102]);

        let counted = sandbox.socket.rules_of(&sandbox.table, &chain).expect("a listing").remove(0);
        let renewed = Rule::new(counted.rule.exprs);
        sandbox.must(|batch| {
            batch.flush("base");
            batch.add_rule(&chain, Place::Last, &renewed).expect("short");
        });
        assert!(passes());
        assert_eq!(packets(sandbox, &chain), [103]);
    });
}

#[test]
fn a_chain_is_rewritten_while_map_entries_lead_to_it() {
    with_loopback(|sandbox| {
        let map = sandbox.header("m");
        sandbox.must(|batch| {
            output(batch, "base", 0, Policy::Accept);
            batch.chain("stub").chain("open").chain("shut").set(&dispatch("m"));
            batch.rule("open", &[ACCEPT]).rule("stub", &[goto("shut")]);
            batch.put(&map, &[interface("lo", Verdict::Jump(name("stub")))]);
            batch.rule("base", &by_interface()).rule("base", &[DROP]);
        });
        for (program, expected) in [("open", true), ("shut", false), ("open", true)] {
            sandbox.must(|batch| {
                batch.flush("stub").rule("stub", &[goto(program)]);
            });
            assert_eq!(passes(), expected, "{program}");
        }
    });
}
