//! Tiers: those that exist and those that policies name.
//!
//! Input: Tier objects, names of tiers in policies. Output: the order of tiers
//! and their default actions. Memory: a name and 40 bytes per tier.
//! Invariant: a tier that does not exist has no default action and comes last,
//! whatever it was before; one that exists again is used at once.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use caracal_model::{Kind, Tier, TierAction};
use smol_str::SmolStr;

use crate::census::Tally;
use crate::ids::TierIx;
use crate::slots::Slots;

#[derive(Debug)]
struct Held {
    name: SmolStr,
    tier: Option<(Kind, Tier)>,
    policies: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Tiers {
    slots: Slots<Held>,
    by_name: BTreeMap<SmolStr, TierIx>,
    changed: bool,
    tally: Tally,
}

impl Tiers {
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        let (kind, _) = self.slots[self.by_name.get(name)?.0].tier?;
        Some(kind)
    }

    pub(crate) fn names_of(&self, kind: Kind) -> BTreeSet<SmolStr> {
        let held = self.slots.iter().map(|(_, held)| held);
        let of_kind = held.filter(|held| held.tier.is_some_and(|(of, _)| of == kind));
        of_kind.map(|held| held.name.clone()).collect()
    }

    pub(crate) fn put(&mut self, kind: Kind, name: &SmolStr, tier: Tier) {
        let at = self.intern(name);
        let held = &mut self.slots[at.0];
        let same = held.tier.is_some_and(|(_, other)| other == tier);
        self.changed |= !same && held.policies > 0;
        self.tally.add(kind);
        if let Some((former, _)) = held.tier.replace((kind, tier)) {
            self.tally.remove(former);
        }
    }

    pub(crate) fn remove(&mut self, name: &SmolStr) {
        let Some(at) = self.by_name.get(name).copied() else { return };
        let held = &mut self.slots[at.0];
        if let Some((kind, _)) = held.tier.take() {
            self.tally.remove(kind);
            self.changed |= held.policies > 0;
        }
        self.drop_if_unused(at);
    }

    /// How many there are of each kind.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Counts a policy that names a tier.
    pub(crate) fn acquire(&mut self, name: &SmolStr) -> TierIx {
        let at = self.intern(name);
        self.slots[at.0].policies += 1;
        at
    }

    pub(crate) fn release(&mut self, at: TierIx) {
        self.slots[at.0].policies -= 1;
        self.drop_if_unused(at);
    }

    pub(crate) fn name(&self, at: TierIx) -> &SmolStr {
        &self.slots[at.0].name
    }

    /// `None` for a tier that does not exist.
    pub(crate) fn default_action(&self, at: TierIx) -> Option<TierAction> {
        self.slots[at.0].tier.map(|(_, tier)| tier.default_action)
    }

    /// The order of evaluation: tiers that exist first, then by order with none
    /// last, then by name.
    pub(crate) fn compare(&self, a: TierIx, b: TierIx) -> Ordering {
        let place = |at: TierIx| {
            let held = &self.slots[at.0];
            // Adding nothing turns -0 into 0.
            let order = held.tier.map(|(_, tier)| tier.order.unwrap_or(f64::INFINITY) + 0.0);
            let explicit = held.tier.is_some_and(|(_, tier)| tier.order.is_some());
            (order, explicit, &held.name)
        };
        let ((a_order, a_explicit, a_name), (b_order, b_explicit, b_name)) = (place(a), place(b));
        let orders = match (a_order, b_order) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        // Infinity written out comes before no order at all.
        orders.then(b_explicit.cmp(&a_explicit)).then_with(|| a_name.cmp(b_name))
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether a tier that policies name changed since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn intern(&mut self, name: &SmolStr) -> TierIx {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let at = TierIx(self.slots.insert(Held { name: name.clone(), tier: None, policies: 0 }));
        self.by_name.insert(name.clone(), at);
        at
    }

    fn drop_if_unused(&mut self, at: TierIx) {
        let held = &self.slots[at.0];
        if held.tier.is_none() && held.policies == 0 {
            let held = self.slots.remove(at.0);
            self.by_name.remove(&held.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// Tiers by name: whether they exist, and how many policies name them.
    type Model = BTreeMap<SmolStr, (Option<Tier>, Vec<TierIx>)>;

    /// The names in order: those that exist first, without an order last.
    fn sorted(model: &Model) -> Vec<SmolStr> {
        let mut names: Vec<&SmolStr> = model.keys().collect();
        names.sort_by(|a, b| {
            let place = |name: &SmolStr| model[name].0.map(|tier| tier.order);
            let ranks = |order: Option<Option<f64>>| match order {
                Some(Some(order)) => (0, order),
                Some(None) => (1, 0.0),
                None => (2, 0.0),
            };
            let (a_rank, b_rank) = (ranks(place(a)), ranks(place(b)));
            a_rank.partial_cmp(&b_rank).expect("orders are numbers").then_with(|| a.cmp(b))
        });
        names.into_iter().cloned().collect()
    }

    proptest! {
        #[test]
        fn order_and_actions_are_those_of_the_tiers_that_exist(
            steps in prop::collection::vec(
                (
                    0u8..4,
                    select(vec!["a", "b", "c"]),
                    select(vec![None, Some(0.0), Some(-0.0), Some(5.0), Some(f64::INFINITY)]),
                    select(vec![TierAction::Deny, TierAction::Pass]),
                ),
                0..60,
            )
        ) {
            let (mut tiers, mut model) = (Tiers::default(), Model::new());
            for (step, name, order, default_action) in steps {
                let name = SmolStr::new(name);
                let (former, policies) = model.entry(name.clone()).or_default();
                let (before, used) = (*former, !policies.is_empty());
                match step {
                    0 => {
                        let tier = Tier { order, default_action };
                        tiers.put(Kind::Tier, &name, tier);
                        *former = Some(tier);
                    }
                    1 => {
                        tiers.remove(&name);
                        *former = None;
                    }
                    2 => policies.push(tiers.acquire(&name)),
                    _ => {
                        if let Some(at) = policies.pop() {
                            tiers.release(at);
                        }
                    }
                }
                prop_assert_eq!(tiers.take_changed(), used && before != *former);
                model.retain(|_, (tier, policies)| tier.is_some() || !policies.is_empty());
                let by_name = |name: &SmolStr| tiers.by_name[name];
                let mut held: Vec<SmolStr> = tiers.by_name.keys().cloned().collect();
                held.sort_by(|a, b| tiers.compare(by_name(a), by_name(b)));
                prop_assert_eq!(held, sorted(&model));
                for (name, (tier, policies)) in &model {
                    let at = by_name(name);
                    prop_assert!(policies.iter().all(|other| *other == at));
                    prop_assert_eq!(tiers.name(at), name);
                    prop_assert_eq!(tiers.default_action(at), tier.map(|tier| tier.default_action));
                    prop_assert_eq!(tiers.kind(name), tier.map(|_| Kind::Tier));
                }
                let exist = model.values().filter(|(tier, _)| tier.is_some()).count();
                prop_assert_eq!(tiers.tally().of([Kind::Tier]), exist as u64);
            }
        }
    }
}
