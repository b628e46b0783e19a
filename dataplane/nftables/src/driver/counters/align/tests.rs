//! Edits are carried out on a list, and what that holds is compared.

use caracal_net::Protocol;
use proptest::prelude::*;

use super::*;
use crate::encode;
use crate::ir::{Match, Op, Rule, Statement, Verdict};
use crate::names;

/// A rule that does one of a few things, with one of a few comments.
fn rule((deed, comment): (u8, u8)) -> Rule {
    Rule::new()
        .when(Match::Protocol(Op::Is, Protocol::from_number(i64::from(deed) + 1).expect("a number")))
        .then(Statement::Counter)
        .verdict(Verdict::Accept)
        .comment(names::comment(&format!("comment {comment}")))
}

/// Rules that the kernel has, each with a count of its own.
fn olds(rules: &[(u8, u8)]) -> Vec<Old> {
    let old = |(at, rule): (usize, &(u8, u8))| {
        let counted = Count { packets: at as u64 + 1, bytes: 0 };
        let encoded = encode::rule(&self::rule(*rule));
        Old { handle: Handle(100 + at as u64), deed: Deed::of(&encoded), rule: encoded, counted }
    };
    rules.iter().enumerate().map(old).collect()
}

fn news(rules: &[(u8, u8)]) -> Vec<New> {
    rules.iter().map(|rule| New::of(&self::rule(*rule))).collect()
}

/// The chain after edits, as the kernel carries them out, and how many of its rules were not touched.
fn carried_out(old: &[Old], edits: &[Edit]) -> (Vec<(Rule, Count)>, usize) {
    let mut chain: Vec<(Option<Handle>, Option<Rule>, Count)> =
        old.iter().map(|old| (Some(old.handle), None, old.counted)).collect();
    let find = |chain: &[(Option<Handle>, Option<Rule>, Count)], handle: Handle| {
        chain.iter().position(|(held, ..)| *held == Some(handle)).expect("a rule that is there")
    };
    for edit in edits {
        match edit {
            Edit::Delete(handle) => drop(chain.remove(find(&chain, *handle))),
            Edit::Insert { rule, before, counted } => {
                let at = before.map_or(chain.len(), |handle| find(&chain, handle));
                chain.insert(at, (None, Some(rule.clone()), *counted));
            }
            Edit::Replace { rule, instead_of, counted } => {
                let at = find(&chain, *instead_of);
                chain[at] = (None, Some(rule.clone()), *counted);
            }
        }
    }
    let untouched = chain.iter().filter(|(handle, ..)| handle.is_some()).count();
    let rules = chain.into_iter().map(|(handle, rule, count)| {
        let of = |handle: Handle| old.iter().position(|old| old.handle == handle).expect("one of the old");
        (rule.unwrap_or_else(|| OLD_RULE.with(|rules| rules.borrow()[of(handle.expect("an old one"))].clone())), count)
    });
    (rules.collect(), untouched)
}

thread_local! {
    /// What the old rules were made of.
    static OLD_RULE: std::cell::RefCell<Vec<Rule>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn check(old: &[(u8, u8)], new: &[(u8, u8)]) -> (Option<Vec<Edit>>, usize) {
    OLD_RULE.with(|rules| *rules.borrow_mut() = old.iter().map(|rule| self::rule(*rule)).collect());
    let olds = olds(old);
    let edits = edits(&olds, &news(new)).map(|way| way.edits);
    let Some(list) = &edits else {
        assert!(old.iter().all(|(deed, _)| new.iter().all(|(new, _)| new != deed)));
        return (None, 0);
    };
    let (rules, untouched) = carried_out(&olds, list);
    let wanted: Vec<Rule> = new.iter().map(|new| rule(*new)).collect();
    assert_eq!(rules.iter().map(|(rule, _)| rule.clone()).collect::<Vec<_>>(), wanted);
    // The n-th rule of a kind goes on from the n-th of that kind.
    for (at, (deed, _)) in new.iter().enumerate() {
        let nth = new[..at].iter().filter(|(other, _)| other == deed).count();
        let from = old.iter().enumerate().filter(|(_, (other, _))| other == deed).nth(nth);
        assert_eq!(rules[at].1.packets, from.map_or(0, |(at, _)| at as u64 + 1), "rule {at} of {new:?} after {old:?}");
    }
    (edits, untouched)
}

#[test]
fn what_stays_is_not_touched() {
    let old = [(1, 0), (2, 0), (3, 0)];
    for (what, new, untouched) in [
        ("one more behind", &[(1, 0), (2, 0), (3, 0), (4, 0)][..], 3),
        ("one less", &[(1, 0), (3, 0)], 2),
        ("another in the middle", &[(1, 0), (4, 0), (3, 0)], 2),
        ("one more in front", &[(4, 0), (1, 0), (2, 0), (3, 0)], 3),
        ("the first becomes the last", &[(2, 0), (3, 0), (1, 0)], 2),
        ("another comment", &[(1, 0), (2, 1), (3, 0)], 2),
    ] {
        let (edits, left) = check(&old, new);
        assert_eq!(left, untouched, "{what}: {edits:?}");
    }
    assert_eq!(check(&old, &[(4, 0)]).0, None);
    assert_eq!(check(&old, &old).0, Some(Vec::new()));
}

proptest! {
    #[test]
    fn edits_lead_to_the_new_rules_and_each_counts_on(
        old in prop::collection::vec((0..6_u8, 0..3_u8), 0..12),
        new in prop::collection::vec((0..6_u8, 0..3_u8), 0..12),
    ) {
        check(&old, &new);
    }
}
