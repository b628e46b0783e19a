//! Labels by the hash of key and value: which of them endpoints have, and which
//! policies require them.
//!
//! A cluster has many policies that select by a value which no endpoint of this
//! node has; they are found here when it comes. Memory: 8 bytes per policy
//! and label set, a table entry per hash and label of a local endpoint.
//! Invariant: two labels with one hash count as one, so that who asks may be
//! told of a label too many, never of one too few.

use caracal_selector::Expr;
use hashbrown::HashTable;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::ids::{LabelsIx, PolicyIx};
use crate::interner::hash_of;
use crate::label_store::LabelStore;

/// The hash of a label's key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PairHash(std::num::NonZero<u32>);

impl PairHash {
    fn of(key: &str, value: &[u8]) -> Self {
        let hash = (hash_of(&(key, value)) >> 32) as u32;
        Self(std::num::NonZero::new(hash).unwrap_or(std::num::NonZero::<u32>::MIN))
    }

    /// A label that is there wherever a selector is true.
    pub(crate) fn required(expr: &Expr) -> Option<Self> {
        match expr {
            Expr::Eq(key, value) => Some(Self::of(key, value.as_bytes())),
            Expr::And(operands) => operands.iter().find_map(Self::required),
            Expr::All
            | Expr::Global
            | Expr::Has(_)
            | Expr::Ne(..)
            | Expr::In(..)
            | Expr::NotIn(..)
            | Expr::Contains(..)
            | Expr::StartsWith(..)
            | Expr::EndsWith(..)
            | Expr::Not(_)
            | Expr::Or(_) => None,
        }
    }
}

/// The labels of the label sets in use.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// How many label sets have it.
    counts: FxHashMap<PairHash, u32>,
    of_set: FxHashMap<LabelsIx, Box<[PairHash]>>,
    changed: FxHashSet<PairHash>,
    /// Changes that nobody was asked about yet.
    fresh: Vec<PairHash>,
}

impl Pairs {
    /// Counts a label set that comes into use.
    pub(crate) fn add(&mut self, labels: LabelsIx, store: &LabelStore) {
        let pairs: Box<[PairHash]> =
            store.iter_bytes(labels).map(|(key, value)| PairHash::of(store.key(key), value)).collect();
        for pair in &pairs {
            let count = self.counts.entry(*pair).or_default();
            *count += 1;
            if *count == 1 {
                self.fresh.push(*pair);
            }
        }
        self.of_set.insert(labels, pairs);
    }

    /// Counts a label set that is used no more.
    pub(crate) fn remove(&mut self, labels: LabelsIx) {
        for pair in self.of_set.remove(&labels).iter().flatten() {
            let count = self.counts.get_mut(pair).expect("a pair of a counted set is counted");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(pair);
                self.fresh.push(*pair);
            }
        }
    }

    pub(crate) fn holds(&self, pair: PairHash) -> bool {
        self.counts.contains_key(&pair)
    }

    pub(crate) fn is_changed(&self) -> bool {
        !self.changed.is_empty() || !self.fresh.is_empty()
    }

    /// Forgets changes since the last call of labels that nobody requires.
    pub(crate) fn retain_changed(&mut self, required: impl Fn(PairHash) -> bool) {
        if !self.fresh.is_empty() {
            self.changed.extend(self.fresh.drain(..).filter(|pair| required(*pair)));
        }
    }

    /// The labels that came or went since the last call; they may be back.
    pub(crate) fn take_changed(&mut self) -> Vec<PairHash> {
        self.changed.extend(self.fresh.drain(..));
        let mut changed: Vec<PairHash> = self.changed.drain().collect();
        changed.sort_unstable();
        changed
    }
}

/// Policies by the label that they require.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    table: HashTable<(PairHash, u32)>,
    /// Those of labels that more than one requires.
    shared: FxHashMap<PairHash, SmallVec<[PolicyIx; 4]>>,
}

/// Stands for the list in `shared`.
const SHARED: u32 = u32::MAX;

impl Postings {
    pub(crate) fn insert(&mut self, pair: PairHash, policy: PolicyIx) {
        match self.table.find_mut(hash_of(&pair), |(other, _)| *other == pair) {
            Some((_, at)) if *at == SHARED => self.shared.entry(pair).or_default().push(policy),
            Some((_, at)) => {
                let first = PolicyIx(std::mem::replace(at, SHARED));
                self.shared.insert(pair, SmallVec::from_slice(&[first, policy]));
            }
            None => {
                self.table.insert_unique(hash_of(&pair), (pair, policy.0), |(pair, _)| hash_of(pair));
            }
        }
    }

    pub(crate) fn remove(&mut self, pair: PairHash, policy: PolicyIx) {
        let Ok(mut entry) = self.table.find_entry(hash_of(&pair), |(other, _)| *other == pair) else { return };
        if entry.get().1 != SHARED {
            entry.remove();
            return;
        }
        let list = self.shared.get_mut(&pair).expect("a shared label has a list");
        list.retain(|other| *other != policy);
        if let [last] = list[..] {
            entry.get_mut().1 = last.0;
            self.shared.remove(&pair);
        }
    }

    /// Whether any policy requires a label.
    pub(crate) fn contains(&self, pair: PairHash) -> bool {
        self.table.find(hash_of(&pair), |(other, _)| *other == pair).is_some()
    }

    /// The policies that require a label, in order of their ids.
    pub(crate) fn of(&self, pair: PairHash) -> SmallVec<[PolicyIx; 4]> {
        let mut policies = match self.table.find(hash_of(&pair), |(other, _)| *other == pair) {
            None => SmallVec::new(),
            Some((_, SHARED)) => self.shared[&pair].clone(),
            Some((_, at)) => SmallVec::from_slice(&[PolicyIx(*at)]),
        };
        policies.sort_unstable();
        policies
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use caracal_selector::Selector;
    use proptest::prelude::*;

    use super::*;

    fn required(text: &str) -> Option<PairHash> {
        PairHash::required(Selector::parse(text).expect("a selector").expr())
    }

    #[test]
    fn a_selector_requires_what_it_cannot_do_without() {
        let a = Some(PairHash::of("a", b"1"));
        for (text, want) in [
            ("a == '1'", a),
            ("has(b) && a == '1'", a),
            ("(has(b) || b == '2') && (has(c) && a == '1')", a),
            ("a == '1' || b == '2'", None),
            ("!(a == '1')", None),
            ("a != '1'", None),
            ("all()", None),
        ] {
            assert_eq!(required(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn policies_are_found_by_what_they_require(steps in prop::collection::vec((any::<bool>(), 0u32..3, 0u32..4), 0..60)) {
            let pairs = ["x", "y", "z"].map(|key| PairHash::of(key, b""));
            let (mut postings, mut model) = (Postings::default(), BTreeMap::<PairHash, BTreeSet<PolicyIx>>::new());
            for (insert, pair, policy) in steps {
                let (pair, policy) = (pairs[pair as usize], PolicyIx(policy));
                let held = model.entry(pair).or_default();
                if insert && held.insert(policy) {
                    postings.insert(pair, policy);
                } else if !insert && held.remove(&policy) {
                    postings.remove(pair, policy);
                }
                for pair in pairs {
                    let want: Vec<PolicyIx> = model.get(&pair).into_iter().flatten().copied().collect();
                    prop_assert_eq!(&postings.of(pair)[..], &want[..]);
                }
            }
            prop_assert_eq!(postings.shared.len(), model.values().filter(|held| held.len() > 1).count());
        }
    }
}
