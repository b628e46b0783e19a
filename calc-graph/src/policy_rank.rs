//! The order of all active policies, as one number per policy.
//!
//! Input: policies that came, went or moved. Output: a rank that orders any two
//! active policies as tiers, orders and names do. Memory: 12 bytes per policy.
//! Cost: a search for each policy that moved, as there is room between ranks; a merge
//! if many moved, a whole sort only after a change of tiers. Invariant: ranks are
//! strictly ascending in evaluation order.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::ids::{Place, PolicyIx};
use crate::policies::Policies;
use crate::tiers::Tiers;

/// If more than this part of all policies moved, they are merged into the others.
const MANY: usize = 4;

/// The room behind a policy that comes last, so that a great many may follow it.
const ROOM: u64 = 1 << 32;

#[derive(Debug, Default)]
pub(crate) struct PolicyRank {
    sorted: Vec<PolicyIx>,
    /// By policy. What is not active has none, which is zero.
    ranks: Vec<u64>,
}

impl PolicyRank {
    /// Brings the order up to date after policies moved, or after tiers did.
    pub(crate) fn refresh(
        &mut self,
        policies: &Policies,
        tiers: &Tiers,
        moved: &BTreeSet<PolicyIx>,
        tiers_changed: TiersChanged,
    ) {
        let compare = |a: &PolicyIx, b: &PolicyIx| policies.compare(tiers, *a, *b);
        let arrived = || moved.iter().copied().filter(|at| policies.is_active(*at));
        match tiers_changed {
            TiersChanged::Yes => {
                self.ranks.clear();
                self.sorted.clear();
                self.sorted.extend(policies.active());
                self.sorted.sort_by(compare);
                self.number();
            }
            TiersChanged::No if moved.len() > self.sorted.len() / MANY => {
                self.sorted.retain(|at| !moved.contains(at));
                for at in moved {
                    self.set(*at, 0);
                }
                let mut arrived: Vec<PolicyIx> = arrived().collect();
                arrived.sort_by(compare);
                self.sorted = merge(&self.sorted, &arrived, compare);
                self.number();
            }
            TiersChanged::No => {
                for at in moved {
                    self.leave(*at);
                }
                for at in arrived() {
                    self.enter(at, compare);
                }
            }
        }
    }

    /// The place of an active policy among all.
    pub(crate) fn of(&self, at: PolicyIx) -> u64 {
        self.ranks[at.ix()]
    }

    fn leave(&mut self, at: PolicyIx) {
        let Some(rank) = self.ranks.get(at.ix()).copied().filter(|rank| *rank > 0) else { return };
        let position = self.sorted.partition_point(|other| self.of(*other) < rank);
        self.sorted.remove(position);
        self.set(at, 0);
    }

    fn enter(&mut self, at: PolicyIx, compare: impl Fn(&PolicyIx, &PolicyIx) -> Ordering) {
        let position = self.sorted.partition_point(|other| compare(other, &at).is_lt());
        let before = position.checked_sub(1).map_or(0, |last| self.of(self.sorted[last]));
        let half = match self.sorted.get(position) {
            Some(next) => (self.of(*next) - before) / 2,
            None => ((u64::MAX - before) / 2).min(ROOM),
        };
        self.sorted.insert(position, at);
        match half {
            0 => self.number(),
            _ => self.set(at, before + half),
        }
    }

    /// Gives all of them ranks with the same room between.
    fn number(&mut self) {
        let count = u64::try_from(self.sorted.len()).expect("a count of things in memory fits in 64 bits");
        let room = u64::MAX / (count + 1);
        for (rank, position) in (1..).map(|nth: u64| nth * room).zip(0..self.sorted.len()) {
            self.set(self.sorted[position], rank);
        }
    }

    fn set(&mut self, at: PolicyIx, rank: u64) {
        if self.ranks.len() <= at.ix() {
            self.ranks.resize(at.ix() + 1, 0);
        }
        self.ranks[at.ix()] = rank;
    }
}

/// Whether tiers changed since the last refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TiersChanged {
    Yes,
    No,
}

/// Two sorted lists as one: each arrival is looked for, and what lies between is copied.
fn merge(
    sorted: &[PolicyIx],
    arrived: &[PolicyIx],
    compare: impl Fn(&PolicyIx, &PolicyIx) -> Ordering,
) -> Vec<PolicyIx> {
    let mut merged = Vec::with_capacity(sorted.len() + arrived.len());
    let mut rest = sorted;
    for at in arrived {
        let before = rest.partition_point(|other| compare(other, at).is_lt());
        merged.extend_from_slice(&rest[..before]);
        merged.push(*at);
        rest = &rest[before..];
    }
    merged.extend_from_slice(rest);
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use caracal_model::{Kind, Policy, PolicyKey, PolicyKind, Tier, TierAction};
    use caracal_selector::Selector;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::class_space::ClassSpace;
    use crate::label_store::LabelStore;
    use crate::parents::Parents;
    use crate::policies::PolicyContext;

    fn key(name: u8) -> PolicyKey {
        let kind = if name.is_multiple_of(2) { PolicyKind::NetworkPolicy } else { PolicyKind::StagedNetworkPolicy };
        PolicyKey { kind, namespace: format!("n{}", name % 3).into(), name: format!("p{}", name / 4).into() }
    }

    /// A policy that is active without an endpoint.
    fn policy(tier: &str, order: Option<f64>) -> Policy {
        Policy {
            tier: tier.into(),
            order,
            selector: "all()".into(),
            ingress: true,
            egress: false,
            inbound_rules: Vec::new(),
            outbound_rules: Vec::new(),
            untracked: false,
            pre_dnat: false,
            apply_on_forward: false,
            perf_hints: vec!["AssumeNeededOnEveryNode".into()],
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, &'static str, Option<f64>),
        Remove(u8),
        /// The tier `b` is there, or not.
        Tier(bool),
        Flush,
    }

    fn step() -> impl Strategy<Value = Step> {
        let put = (0u8..48, select(vec!["a", "b"]), select(vec![None, Some(1.0), Some(2.0), Some(-0.0), Some(0.0)]));
        prop_oneof![
            8 => put.prop_map(|(name, tier, order)| Step::Put(name, tier, order)),
            2 => (0u8..48).prop_map(Step::Remove),
            1 => any::<bool>().prop_map(Step::Tier),
            4 => Just(Step::Flush),
        ]
    }

    proptest! {
        /// Against a sort of all policies by what they say of themselves.
        #[test]
        fn ranks_are_in_order_of_evaluation(steps in prop::collection::vec(step(), 0..240)) {
            let selector = Selector::parse("all()").expect("a selector");
            let (mut policies, mut tiers, mut rank) = (Policies::default(), Tiers::default(), PolicyRank::default());
            let (mut space, mut labels) = (ClassSpace::default(), LabelStore::default());
            let (mut model, mut first_tier) = (BTreeMap::new(), false);
            for step in steps.into_iter().chain([Step::Flush]) {
                let cx = PolicyContext { space: &mut space, labels: &mut labels, tiers: &mut tiers };
                match step {
                    Step::Put(name, tier, order) => {
                        let known = policies.find(&key(name));
                        policies.put(cx, Kind::NetworkPolicy, known, &key(name), &policy(tier, order), &selector);
                        model.insert(name, (tier, order));
                    }
                    Step::Remove(name) => {
                        if let Some(at) = policies.find(&key(name)) {
                            policies.remove(cx, at);
                        }
                        model.remove(&name);
                    }
                    Step::Tier(true) => {
                        let tier = Tier { order: Some(1.0), default_action: TierAction::Deny };
                        tiers.put(Kind::Tier, &"b".into(), tier);
                        first_tier = true;
                    }
                    Step::Tier(false) => {
                        tiers.remove(&"b".into());
                        first_tier = false;
                    }
                    Step::Flush => {
                        space.settle(&mut labels, &Parents::default());
                        let moved = policies.select(&mut space).moved;
                        let changed = if tiers.take_changed() { TiersChanged::Yes } else { TiersChanged::No };
                        rank.refresh(&policies, &tiers, &moved, changed);
                        let mut want: Vec<u8> = model.keys().copied().collect();
                        want.sort_by(|a, b| {
                            // Only `b` ever exists: it is before `a` then, which it follows by its name.
                            let tier = |name: &u8| (model[name].0 == "a") == first_tier;
                            let order = |name: &u8| model[name].1.unwrap_or(f64::INFINITY);
                            let orders = order(a).partial_cmp(&order(b)).expect("orders are numbers");
                            let ties = key(*a).tie_break().cmp(&key(*b).tie_break());
                            tier(a).cmp(&tier(b)).then(orders).then(ties)
                        });
                        let mut ranked: Vec<u8> = model.keys().copied().collect();
                        ranked.sort_by_key(|name| rank.of(policies.find(&key(*name)).expect("it is held")));
                        prop_assert_eq!(ranked, want);
                        let held: BTreeSet<u64> = policies.active().map(|at| rank.of(at)).collect();
                        prop_assert_eq!(held.len(), model.len());
                    }
                }
            }
        }
    }
}
