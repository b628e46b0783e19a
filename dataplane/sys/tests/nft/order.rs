//! What the kernel accepts and refuses in one transaction, in which order.

use caracal_sys::nft::{Base, Batch, Chain, Change, Element, Expr, PayloadBase, Policy, Reg, SetHeader, Verdict};
use nix::errno::Errno;

use crate::sandbox::{
    FORWARD, Operations, Sandbox, addresses, dispatch, interface, ip, jump, lookup, name, range, ranges,
};

/// A set `s` that a rule of chain `c` uses.
fn used_set(sandbox: &mut Sandbox) {
    sandbox.must(|batch| {
        batch.chain("c").set(&addresses("s"));
        member(batch);
    });
}

/// A rule in chain `c` that looks into set `s`.
fn member(batch: &mut Batch) {
    let load = Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, dreg: Reg::R0 };
    batch.rule("c", &[load, lookup("s")]);
}

#[test]
fn a_set_goes_only_after_the_rules_that_use_it() {
    Sandbox::run(|sandbox| {
        used_set(sandbox);
        let first_set = sandbox.refused(|batch| {
            batch.drop_set("s").flush("c");
        });
        assert_eq!(first_set, [(Some(0), Errno::EBUSY)]);
        sandbox.must(|batch| {
            batch.flush("c").drop_set("s");
        });
    });
}

#[test]
fn a_set_is_replaced_under_its_own_name_in_one_transaction() {
    Sandbox::run(|sandbox| {
        used_set(sandbox);
        let header = sandbox.header("s");
        sandbox.must(|batch| {
            batch.flush("c").drop_set("s").set(&addresses("s")).put(&header, &[ip(1)]);
            member(batch);
        });
        assert_eq!(sandbox.socket.elements(&sandbox.table, &name("s")).expect("a listing"), [ip(1)]);
    });
}

#[test]
fn a_rule_names_only_sets_that_were_made_before_it() {
    Sandbox::run(|sandbox| {
        let refused = sandbox.refused(|batch| {
            batch.chain("c");
            member(batch);
            batch.set(&addresses("s"));
        });
        assert_eq!(refused, [(Some(1), Errno::ENOENT)]);
    });
}

#[test]
fn a_set_that_is_there_alike_is_no_error_and_one_that_differs_is() {
    Sandbox::run(|sandbox| {
        sandbox.must(|batch| {
            batch.set(&addresses("s")).set(&addresses("s"));
        });
        let differs = sandbox.refused(|batch| {
            batch.set(&ranges("s"));
        });
        assert_eq!(differs, [(Some(0), Errno::EEXIST)]);
    });
}

/// A map `m` that sends interface `i` to chain `a`; there is a chain `b` too.
fn mapped(sandbox: &mut Sandbox) -> SetHeader {
    let header = sandbox.header("m");
    sandbox.must(|batch| {
        batch.chain("a").chain("b").set(&dispatch("m")).put(&header, &[to("a")]);
    });
    header
}

fn to(chain: &str) -> Element {
    interface("i", Verdict::Jump(name(chain)))
}

#[test]
fn a_map_entry_changes_its_verdict_by_deletion_and_addition_in_one_transaction() {
    Sandbox::run(|sandbox| {
        let map = mapped(sandbox);
        let again = sandbox.refused(|batch| {
            batch.put(&map, &[to("b")]);
        });
        assert_eq!(again, [(Some(0), Errno::EEXIST)]);
        sandbox.must(|batch| {
            batch.take(&map, &[to("a")]).put(&map, &[to("b")]);
        });
        assert_eq!(sandbox.socket.elements(&sandbox.table, &name("m")).expect("a listing"), [to("b")]);
    });
}

#[test]
fn a_map_entry_is_deleted_by_its_key_alone() {
    Sandbox::run(|sandbox| {
        let map = mapped(sandbox);
        sandbox.must(|batch| {
            batch.take(&map, &[Element::new(to("a").key)]);
        });
        assert_eq!(sandbox.socket.elements(&sandbox.table, &name("m")).expect("a listing"), []);
    });
}

#[test]
fn a_chain_goes_only_after_the_map_entries_that_lead_to_it() {
    Sandbox::run(|sandbox| {
        let map = mapped(sandbox);
        let refused = sandbox.refused(|batch| {
            batch.drop_chain("a").take(&map, &[to("a")]);
        });
        assert_eq!(refused, [(Some(0), Errno::EBUSY)]);
        sandbox.must(|batch| {
            batch.take(&map, &[to("a")]).drop_chain("a");
        });
        assert_eq!(sandbox.chain_names(), ["b"]);
    });
}

#[test]
fn a_mapped_chain_is_replaced_under_its_own_name_in_one_transaction() {
    Sandbox::run(|sandbox| {
        let map = mapped(sandbox);
        sandbox.must(|batch| {
            batch.take(&map, &[to("a")]).flush("a").drop_chain("a");
            batch.chain("a").rule("a", &[jump("b")]).put(&map, &[to("a")]);
        });
        assert_eq!(sandbox.chain_names(), ["b", "a"]);
    });
}

#[test]
fn a_deletion_names_only_elements_that_are_there() {
    Sandbox::run(|sandbox| {
        let header = sandbox.header("s");
        sandbox.must(|batch| {
            batch.set(&addresses("s")).put(&header, &[ip(1), ip(3)]);
        });
        let missing = sandbox.refused(|batch| {
            batch.take(&header, &[ip(1), ip(2), ip(3)]);
        });
        assert_eq!(missing, [(Some(0), Errno::ENOENT)]);
        if !sandbox.socket.features().expect("the kernel answers").destroy {
            let unknown = sandbox.refused(|batch| {
                batch.destroy_elements(&header, [ip(1), ip(2)]).expect("short");
            });
            assert_eq!(unknown, [(Some(0), Errno::EINVAL)]);
            return;
        }
        sandbox.must(|batch| {
            batch.destroy_elements(&header, [ip(1), ip(2)]).expect("short");
        });
        assert_eq!(sandbox.socket.elements(&sandbox.table, &name("s")).expect("a listing"), [ip(3)]);
    });
}

#[test]
fn an_element_that_is_there_is_added_again_without_effect() {
    Sandbox::run(|sandbox| {
        let header = sandbox.header("s");
        for _ in 0..2 {
            sandbox.must(|batch| {
                batch.set(&addresses("s")).put(&header, &[ip(1)]);
            });
        }
        assert_eq!(sandbox.socket.elements(&sandbox.table, &name("s")).expect("a listing"), [ip(1)]);
    });
}

#[test]
fn ranges_must_not_overlap() {
    Sandbox::run(|sandbox| {
        let header = sandbox.header("r");
        sandbox.must(|batch| {
            batch.set(&ranges("r")).put(&header, &range(10, 20));
        });
        for (first, behind) in [(15, 25), (5, 15), (12, 14), (5, 25)] {
            let refused = sandbox.refused(|batch| {
                batch.put(&header, &range(first, behind));
            });
            assert_eq!(refused[0], (Some(0), Errno::EEXIST), "{first}..{behind}");
        }
        sandbox.must(|batch| {
            batch.put(&header, &range(20, 30)).put(&header, &range(5, 10));
        });
        let mut listed = sandbox.socket.elements(&sandbox.table, &name("r")).expect("a listing");
        listed.sort();
        let mut expected = [range(5, 10), range(10, 20), range(20, 30)].concat();
        expected.sort();
        assert_eq!(listed, expected);
    });
}

#[test]
fn a_range_changes_its_bounds_by_deletion_and_addition_in_one_transaction() {
    Sandbox::run(|sandbox| {
        let header = sandbox.header("r");
        sandbox.must(|batch| {
            batch.set(&ranges("r")).put(&header, &range(10, 20));
        });
        sandbox.must(|batch| {
            batch.take(&header, &range(10, 20)).put(&header, &range(10, 30));
        });
        let mut listed = sandbox.socket.elements(&sandbox.table, &name("r")).expect("a listing");
        listed.sort();
        assert_eq!(listed, range(10, 30));
    });
}

#[test]
fn a_loop_of_jumps_is_refused_where_a_base_chain_reaches_it() {
    Sandbox::run(|sandbox| {
        sandbox.must(|batch| {
            batch.chain("a").chain("b").rule("a", &[jump("b")]).rule("b", &[jump("a")]);
        });
        let refused = sandbox.refused(|batch| {
            batch.base("base").rule("base", &[jump("a")]);
        });
        assert!(refused.contains(&(Some(1), Errno::EMLINK)), "{refused:?}");
    });
}

#[test]
fn jumps_go_sixteen_deep_at_most() {
    let chain = |depth: usize| format!("c{depth}");
    let stack = |batch: &mut Batch, depth: usize| {
        batch.base("c0");
        for depth in 1..=depth {
            batch.chain(&chain(depth)).rule(&chain(depth - 1), &[jump(&chain(depth))]);
        }
    };
    Sandbox::run(|sandbox| {
        sandbox.must(|batch| stack(batch, 15));
        let errors = sandbox.refused(|batch| {
            batch.chain("c16").rule("c15", &[jump("c16")]);
        });
        assert_eq!(errors, [(Some(1), Errno::EMLINK)]);
    });
}

#[test]
fn a_base_chain_changes_its_policy_in_place_but_not_its_priority() {
    Sandbox::run(|sandbox| {
        let base = |priority, policy| Chain::base(name("base"), Base { priority, policy, ..FORWARD });
        sandbox.must(|batch| {
            batch.add_chain(&base(0, Policy::Accept)).expect("short");
        });
        let dropping = base(0, Policy::Drop);
        sandbox.must(|batch| {
            batch.add_chain(&dropping).expect("short");
        });
        assert_eq!(sandbox.socket.chains(&sandbox.table).expect("a listing")[0].chain, dropping);
        let moved = sandbox.refused(|batch| {
            batch.add_chain(&base(1, Policy::Drop)).expect("short");
        });
        // Kernels before 6.4 call it one that exists.
        assert!(moved == [(Some(0), Errno::EOPNOTSUPP)] || moved == [(Some(0), Errno::EEXIST)], "{moved:?}");
    });
}

#[test]
fn a_chain_with_rules_of_its_own_is_flushed_before_it_is_deleted() {
    Sandbox::run(|sandbox| {
        sandbox.must(|batch| {
            batch.chain("a").chain("b").rule("a", &[jump("b")]);
        });
        sandbox.must(|batch| {
            batch.flush("a").drop_chain("a").drop_chain("b");
        });
        assert_eq!(sandbox.chain_names(), [""; 0]);
    });
}

#[test]
fn a_constant_set_is_filled_before_a_rule_uses_it() {
    Sandbox::run(|sandbox| {
        let header = sandbox.header("s");
        let mut constant = addresses("s");
        constant.change = Change::Constant;
        sandbox.must(|batch| {
            batch.chain("c").set(&constant).put(&header, &[ip(1)]);
            member(batch);
        });
        let refused = sandbox.refused(|batch| {
            batch.put(&header, &[ip(2)]);
        });
        assert_eq!(refused, [(Some(0), Errno::EBUSY)]);
    });
}

#[test]
fn a_sized_set_refuses_one_element_more() {
    Sandbox::run(|sandbox| {
        let header = sandbox.header("s");
        sandbox.must(|batch| {
            batch.set(&addresses("s").with_size(2)).put(&header, &[ip(1), ip(2)]);
        });
        let refused = sandbox.refused(|batch| {
            batch.put(&header, &[ip(3)]);
        });
        assert_eq!(refused, [(Some(0), Errno::ENFILE)]);
    });
}
