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
        held.tier = Some((kind, tier));
    }

    pub(crate) fn remove(&mut self, name: &SmolStr) {
        let Some(at) = self.by_name.get(name).copied() else { return };
        let held = &mut self.slots[at.0];
        self.changed |= held.tier.take().is_some() && held.policies > 0;
        self.drop_if_unused(at);
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
