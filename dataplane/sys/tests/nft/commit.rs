//! Transactions as a whole: sizes, errors, generations.

use caracal_sys::nft::{CommitError, Element, Expr, Guard, Op, Place, Rule, Verdict};
use nix::errno::Errno;

use crate::sandbox::{Operations, Sandbox, addresses, ip, jump, name};

fn accept() -> Rule {
    Rule::new([Expr::COUNTER, Expr::Verdict(Verdict::Accept)])
}

#[test]
fn a_batch_larger_than_the_default_send_buffer_is_committed_as_one() {
    const RULES: usize = 5000;
    Sandbox::run(|sandbox| {
        let mut batch = sandbox.batch(|batch| {
            batch.chain("c");
            for _ in 0..RULES {
                batch.add_rule(&name("c"), Place::Last, &accept()).expect("short");
            }
        });
        assert!(batch.len() > 2 * 212_992, "{} bytes", batch.len());
        let before = sandbox.socket.generation().expect("an answer");
        let commit = sandbox.socket.commit(&mut batch).expect("committed");
        assert_eq!(commit.messages, RULES + 1);
        assert_eq!(sandbox.socket.generation().expect("an answer"), before + 1);
        assert_eq!(sandbox.socket.rules(&sandbox.table).expect("a listing").len(), RULES);
    });
}

#[test]
fn elements_beyond_one_message_are_split_and_all_arrive() {
    const ELEMENTS: u32 = 10_000;
    Sandbox::run(|sandbox| {
        let header = sandbox.header("s");
        let elements: Vec<Element> = (0..ELEMENTS).map(ip).collect();
        let mut batch = sandbox.batch(|batch| {
            batch.set(&addresses("s")).put(&header, &elements);
        });
        assert!(batch.messages() > 3, "{} messages", batch.messages());
        sandbox.socket.commit(&mut batch).expect("committed");
        let mut listed = sandbox.socket.elements(&sandbox.table, &name("s")).expect("a listing");
        listed.sort();
        assert_eq!(listed, elements);
    });
}

#[test]
fn a_refusal_names_the_operation_and_the_element() {
    const MISSING: usize = 7000;
    Sandbox::run(|sandbox| {
        let header = sandbox.header("s");
        let elements: Vec<Element> = (0..10_000).map(ip).collect();
        sandbox.must(|batch| {
            batch.chain("c").set(&addresses("s")).put(&header, &elements).take(&header, &elements[MISSING..=MISSING]);
        });
        let outcome = sandbox.try_commit(|batch| {
            batch.rule("c", &accept().exprs).take(&header, &elements).drop_chain("nowhere");
        });
        let Err(CommitError::Refused(refused)) = outcome else { panic!("{outcome:?}") };
        let found: Vec<_> = refused.iter().map(|r| (r.op, r.element, r.errno, r.to_string())).collect();
        let expected = [
            (
                Some(Op(1)),
                Some(MISSING),
                Errno::ENOENT,
                "delete elements of s[7000]: ENOENT: No such file or directory",
            ),
            (Some(Op(2)), None, Errno::ENOENT, "delete chain nowhere: ENOENT: No such file or directory"),
        ];
        assert_eq!(found, expected.map(|(op, element, errno, text)| (op, element, errno, text.to_owned())));
        assert_eq!(sandbox.socket.rules(&sandbox.table).expect("a listing"), [], "the good ones are undone");
    });
}

#[test]
fn many_refusals_are_reported_and_nothing_is_left_over_for_the_next_commit() {
    const BAD: usize = 3000;
    Sandbox::run(|sandbox| {
        let refused = sandbox.refused(|batch| {
            for _ in 0..BAD {
                batch.drop_chain("nowhere");
            }
        });
        assert_eq!(refused.len(), BAD);
        sandbox.must(|batch| {
            batch.chain("c");
        });
    });
}

#[test]
fn a_check_finds_faults_and_changes_nothing() {
    Sandbox::run(|sandbox| {
        let good = sandbox.batch(|batch| {
            batch.chain("c");
        });
        let bad = sandbox.batch(|batch| {
            batch.chain("c").drop_chain("nowhere");
        });
        let before = sandbox.socket.generation().expect("an answer");
        sandbox.socket.check(&good).expect("it would do");
        let outcome = sandbox.socket.check(&bad);
        assert!(matches!(outcome, Err(CommitError::Refused(refused)) if refused[0].op == Some(Op(1))));
        assert_eq!(sandbox.socket.generation().expect("an answer"), before);
        assert_eq!(sandbox.chain_names(), [""; 0]);
    });
}

#[test]
fn a_check_finds_faults_that_show_only_in_the_whole() {
    Sandbox::run(|sandbox| {
        let endless = sandbox.batch(|batch| {
            batch.base("base").chain("c");
            batch.rule("c", &[jump("c")]).rule("base", &[jump("c")]);
        });
        let outcome = sandbox.socket.check(&endless);
        let Err(CommitError::Refused(refused)) = outcome else { panic!("{outcome:?}") };
        assert!(refused.iter().all(|refused| refused.errno == Errno::EMLINK), "{refused:?}");
        assert_eq!(sandbox.chain_names(), [""; 0]);
    });
}

#[test]
fn a_guarded_batch_is_committed_only_on_its_generation() {
    Sandbox::run(|sandbox| {
        let seen = sandbox.socket.generation().expect("an answer");
        let add = |chain: &'static str| {
            move |batch: &mut caracal_sys::nft::Batch| {
                batch.chain(chain);
            }
        };
        sandbox.try_guarded(Guard::Generation(seen), add("a")).expect("nobody came between");
        let stale = sandbox.try_guarded(Guard::Generation(seen), add("b"));
        assert!(matches!(stale, Err(CommitError::Stale)), "{stale:?}");
        assert_eq!(sandbox.chain_names(), ["a"]);
    });
}

#[test]
fn every_commit_raises_the_generation_by_one_and_an_empty_one_does_not() {
    Sandbox::run(|sandbox| {
        let before = sandbox.socket.generation().expect("an answer");
        sandbox.must(|_| {});
        assert_eq!(sandbox.socket.generation().expect("an answer"), before);
        for (nth, chain) in (1..).zip(["a", "a", "b"]) {
            sandbox.must(|batch| {
                batch.chain(chain);
            });
            assert_eq!(sandbox.socket.generation().expect("an answer"), before + nth);
        }
    });
}

#[test]
fn a_batch_is_used_on_after_a_refusal_and_after_a_restart() {
    Sandbox::run(|sandbox| {
        let mut batch = sandbox.batch(|batch| {
            batch.drop_chain("c");
        });
        sandbox.socket.commit(&mut batch).expect_err("there is no chain");
        sandbox.must(|batch| {
            batch.chain("c");
        });
        sandbox.socket.commit(&mut batch).expect("now there is one");
        batch.restart(Guard::Any);
        assert!(batch.is_empty());
        batch.chain("d");
        sandbox.socket.commit(&mut batch).expect("committed");
        assert_eq!(sandbox.chain_names(), ["d"]);
    });
}

#[test]
fn an_empty_list_of_elements_deletes_nothing() {
    Sandbox::run(|sandbox| {
        let header = sandbox.header("s");
        sandbox.must(|batch| {
            batch.set(&addresses("s")).put(&header, &[ip(1)]);
        });
        sandbox.must(|batch| {
            batch.take(&header, &[]).chain("c");
        });
        assert_eq!(sandbox.socket.elements(&sandbox.table, &name("s")).expect("a listing").len(), 1);
        sandbox.must(|batch| {
            batch.flush_set(&name("s")).expect("short");
        });
        assert_eq!(sandbox.socket.elements(&sandbox.table, &name("s")).expect("a listing").len(), 0);
    });
}

#[test]
fn a_rule_too_long_for_a_message_is_refused_before_it_is_sent() {
    Sandbox::run(|sandbox| {
        let long = Rule::new(vec![Expr::Verdict(Verdict::Continue); 2000]);
        sandbox.must(|batch| {
            batch.chain("c");
            batch.add_rule(&name("c"), Place::Last, &long).expect_err("over 64 KiB");
            batch.chain("d");
        });
        assert_eq!(sandbox.chain_names(), ["c", "d"]);
    });
}

#[test]
fn rules_go_where_they_are_put() {
    Sandbox::run(|sandbox| {
        let chain = name("c");
        let numbered = |number| Rule::new([Expr::Counter { packets: number, bytes: number }]);
        sandbox.must(|batch| {
            batch.chain("c");
            batch.add_rule(&chain, Place::Last, &numbered(2)).expect("short");
            batch.add_rule(&chain, Place::First, &numbered(1)).expect("short");
            batch.add_rule(&chain, Place::Last, &numbered(5)).expect("short");
        });
        let handles: Vec<_> =
            sandbox.socket.rules(&sandbox.table).expect("a listing").iter().map(|rule| rule.handle).collect();
        sandbox.must(|batch| {
            batch.add_rule(&chain, Place::Behind(handles[1]), &numbered(3)).expect("short");
            batch.add_rule(&chain, Place::Before(handles[2]), &numbered(4)).expect("short");
            batch.add_rule(&chain, Place::Instead(handles[2]), &numbered(6)).expect("short");
            batch.delete_rule(&chain, handles[0]).expect("short");
        });
        let listed = sandbox.socket.rules_of(&sandbox.table, &chain).expect("a listing");
        let order: Vec<Rule> = listed.into_iter().map(|listed| listed.rule).collect();
        assert_eq!(order, [2, 3, 4, 6].map(numbered));
    });
}
