//! The policies of the cluster, and which of them local endpoints need.
//!
//! Input: Policy objects; from the class space of local endpoints, the selectors
//! that gained or lost a class. Output: policies that became active, inactive or
//! changed. Memory per inactive policy: about 150 bytes, its key and its rules
//! as bytes; equal selectors are held once.
//! Invariant: a policy is active if its selector matches a local endpoint, or
//! if it asks to be needed on every node.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use caracal_model::{Kind, Policy, PolicyKey};
use caracal_selector::Selector;
use hashbrown::HashTable;
use roaring::RoaringBitmap;
use smol_str::SmolStr;

use crate::class_space::ClassSpace;
use crate::id_set::IdSet;
use crate::ids::{Place, PolicyIx, SelectorIx, SetIx, TierIx};
use crate::interner::hash_of;
use crate::label_store::LabelStore;
use crate::packed_rules::{PackedRules, Rules};
use crate::selector_table::SelectorTable;
use crate::slots::Slots;
use crate::tiers::Tiers;

/// The performance hint that makes a policy active without a local endpoint.
const NEEDED_ON_EVERY_NODE: &str = "AssumeNeededOnEveryNode";

/// Where in an endpoint's lists a policy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placing {
    pub(crate) ingress: bool,
    pub(crate) egress: bool,
    pub(crate) untracked: bool,
    pub(crate) pre_dnat: bool,
    pub(crate) apply_on_forward: bool,
}

#[derive(Debug)]
pub(crate) struct HeldPolicy {
    pub(crate) key: PolicyKey,
    pub(crate) kind: Kind,
    pub(crate) tier: TierIx,
    /// Infinity for a policy without one.
    order: f64,
    pub(crate) placing: Placing,
    pub(crate) selector: SelectorIx,
    pub(crate) hints: Box<[SmolStr]>,
    pub(crate) rules: PackedRules,
    active: bool,
    /// Whether the receiver has it.
    told: bool,
    /// The sets that the active policy names.
    sets: Box<[SetIx]>,
}

/// What the selection of a flush found.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Active policies whose message changed, or that became active.
    pub(crate) updated: BTreeSet<PolicyIx>,
    /// Policies whose rank may have changed, those that are gone included.
    pub(crate) moved: BTreeSet<PolicyIx>,
    /// Selectors of policies whose endpoints' lists may have changed.
    pub(crate) selectors: BTreeSet<SelectorIx>,
}

#[derive(Debug, Default)]
pub(crate) struct Policies {
    slots: Slots<HeldPolicy>,
    table: HashTable<u32>,
    selectors: SelectorTable,
    /// By selector: the policies with it.
    of_selector: Vec<IdSet>,
    /// Policies to look at in the next selection.
    dirty: BTreeSet<PolicyIx>,
    pending: Selection,
    /// Keys that the receiver has and that no active policy has any more.
    gone: BTreeSet<PolicyKey>,
    /// References to sets of policies that are active no more.
    released: Vec<SetIx>,
}

impl Index<PolicyIx> for Policies {
    type Output = HeldPolicy;

    fn index(&self, at: PolicyIx) -> &HeldPolicy {
        &self.slots[at.0]
    }
}

impl IndexMut<PolicyIx> for Policies {
    fn index_mut(&mut self, at: PolicyIx) -> &mut HeldPolicy {
        &mut self.slots[at.0]
    }
}

/// What policies refer to.
pub(crate) struct PolicyContext<'a> {
    pub(crate) space: &'a mut ClassSpace,
    pub(crate) labels: &'a mut LabelStore,
    pub(crate) tiers: &'a mut Tiers,
}

impl Policies {
    pub(crate) fn find(&self, key: &PolicyKey) -> Option<PolicyIx> {
        let same = |at: &u32| self.slots[*at].key == *key;
        self.table.find(hash_of(key), same).map(|at| PolicyIx(*at))
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> RoaringBitmap {
        let policies = self.slots.iter().filter(|(_, held)| held.kind == kind);
        policies.map(|(at, _)| at).collect()
    }

    /// Holds a policy whose selectors were checked; `selector` is its own.
    pub(crate) fn put(
        &mut self,
        cx: PolicyContext<'_>,
        kind: Kind,
        key: PolicyKey,
        policy: &Policy,
        selector: &Selector,
    ) {
        let Policy {
            tier,
            order,
            selector: _,
            ingress,
            egress,
            inbound_rules,
            outbound_rules,
            untracked,
            pre_dnat,
            apply_on_forward,
            perf_hints,
        } = policy;
        let new = HeldPolicy {
            kind,
            tier: cx.tiers.acquire(tier),
            // Adding nothing turns -0 into 0.
            order: order.unwrap_or(f64::INFINITY) + 0.0,
            placing: Placing {
                ingress: *ingress,
                egress: *egress,
                untracked: *untracked,
                pre_dnat: *pre_dnat,
                apply_on_forward: *apply_on_forward,
            },
            selector: self.selectors.acquire(cx.space, cx.labels, selector),
            hints: perf_hints.as_slice().into(),
            rules: PackedRules::pack(inbound_rules, outbound_rules),
            active: false,
            told: false,
            sets: Box::default(),
            key,
        };
        match self.find(&new.key) {
            Some(at) => self.replace(cx, at, new),
            None => self.insert(new),
        }
    }

    fn insert(&mut self, new: HeldPolicy) {
        let hash = hash_of(&new.key);
        let selector = new.selector;
        let at = self.slots.insert(new);
        let slots = &self.slots;
        self.table.insert_unique(hash, at, |at| hash_of(&slots[*at].key));
        self.enlist(selector, PolicyIx(at));
        self.pending.selectors.insert(selector);
        self.dirty.insert(PolicyIx(at));
    }

    fn replace(&mut self, cx: PolicyContext<'_>, at: PolicyIx, new: HeldPolicy) {
        let held = &mut self.slots[at.0];
        let mut old = std::mem::replace(held, new);
        (held.active, held.told) = (old.active, old.told);
        held.sets = std::mem::take(&mut old.sets);
        let new = &self.slots[at.0];
        let (selector, placed) = (new.selector, new.placing != old.placing);
        let ranked = (new.tier, new.order.to_bits()) != (old.tier, old.order.to_bits());
        let said = |held: &HeldPolicy| (held.tier, held.selector, held.placing.untracked, held.placing.pre_dnat);
        let message = said(new) != said(&old) || new.rules != old.rules || new.hints != old.hints;
        if ranked || placed || message {
            self.dirty.insert(at);
        }
        if ranked {
            self.pending.moved.insert(at);
        }
        if message && new.active {
            self.pending.updated.insert(at);
        }
        if selector != old.selector {
            self.of_selector[old.selector.ix()].remove(at.0);
            self.enlist(selector, at);
        }
        if ranked || placed || selector != old.selector {
            self.pending.selectors.extend([selector, old.selector]);
        }
        self.selectors.release(cx.space, old.selector);
        cx.tiers.release(old.tier);
    }

    pub(crate) fn remove(&mut self, cx: PolicyContext<'_>, at: PolicyIx) {
        let held = self.slots.remove(at.0);
        let hash = hash_of(&held.key);
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == at.0) {
            entry.remove();
        }
        self.of_selector[held.selector.ix()].remove(at.0);
        self.selectors.release(cx.space, held.selector);
        cx.tiers.release(held.tier);
        self.dirty.remove(&at);
        self.pending.updated.remove(&at);
        self.pending.moved.insert(at);
        self.pending.selectors.insert(held.selector);
        self.released.extend(held.sets);
        if held.told {
            self.gone.insert(held.key);
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.gone.is_empty() || !self.pending.moved.is_empty()
    }

    /// Decides which policies are active. The space is settled.
    pub(crate) fn select(&mut self, space: &mut ClassSpace) -> Selection {
        let mut look = std::mem::take(&mut self.dirty);
        for selector in space.take_changed() {
            look.extend(self.of_selector[selector.ix()].iter().map(PolicyIx));
        }
        let mut selection = std::mem::take(&mut self.pending);
        for at in look {
            let held = &mut self.slots[at.0];
            let hinted = held.hints.iter().any(|hint| hint == NEEDED_ON_EVERY_NODE);
            let needed = hinted || space.has_match(held.selector);
            if needed == held.active {
                continue;
            }
            held.active = needed;
            selection.moved.insert(at);
            if needed {
                selection.updated.insert(at);
            } else {
                selection.updated.remove(&at);
                self.released.extend(std::mem::take(&mut held.sets));
                if std::mem::take(&mut held.told) {
                    self.gone.insert(held.key.clone());
                }
            }
        }
        selection.selectors.retain(|selector| space.has_selector(*selector));
        selection
    }

    /// The policies with a selector; all are active if it matches anything.
    pub(crate) fn of_selector(&self, selector: SelectorIx) -> impl Iterator<Item = PolicyIx> {
        let policies = self.of_selector.get(selector.ix()).into_iter();
        policies.flat_map(IdSet::iter).map(PolicyIx)
    }

    /// Whether there is such a policy and it is active.
    pub(crate) fn is_active(&self, at: PolicyIx) -> bool {
        self.slots.get(at.0).is_some_and(|held| held.active)
    }

    /// The active policies.
    pub(crate) fn active(&self) -> impl Iterator<Item = PolicyIx> {
        let active = self.slots.iter().filter(|(_, held)| held.active);
        active.map(|(at, _)| PolicyIx(at))
    }

    /// How many policies there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// A policy's order, if it has one.
    pub(crate) fn order(&self, at: PolicyIx) -> Option<f64> {
        Some(self.slots[at.0].order).filter(|order| order.is_finite())
    }

    /// Policies in order of their keys.
    pub(crate) fn by_key(&self, policies: impl Iterator<Item = PolicyIx>) -> Vec<PolicyIx> {
        let mut policies: Vec<PolicyIx> = policies.collect();
        policies.sort_unstable_by_key(|at| &self.slots[at.0].key);
        policies
    }

    /// The order of evaluation within all tiers.
    pub(crate) fn compare(&self, tiers: &Tiers, a: PolicyIx, b: PolicyIx) -> Ordering {
        let (a, b) = (&self.slots[a.0], &self.slots[b.0]);
        let tier = || tiers.compare(a.tier, b.tier);
        let tie = || tie_break(&a.key).cmp(tie_break(&b.key));
        tier().then(a.order.total_cmp(&b.order)).then_with(tie)
    }

    /// A policy as it was put, but for the spelling of its selector.
    pub(crate) fn policy(&self, at: PolicyIx, tiers: &Tiers) -> Policy {
        let held = &self.slots[at.0];
        let Placing { ingress, egress, untracked, pre_dnat, apply_on_forward } = held.placing;
        let Rules { inbound, outbound } = held.rules.unpack();
        Policy {
            tier: tiers.name(held.tier).clone(),
            order: self.order(at),
            selector: self.selector_text(at).into(),
            ingress,
            egress,
            inbound_rules: inbound,
            outbound_rules: outbound,
            untracked,
            pre_dnat,
            apply_on_forward,
            perf_hints: held.hints.to_vec(),
        }
    }

    /// The canonical text of a policy's selector.
    pub(crate) fn selector_text(&self, at: PolicyIx) -> &str {
        self.selectors.text(self.slots[at.0].selector)
    }

    /// Replaces the sets that an active policy names.
    pub(crate) fn set_sets(&mut self, at: PolicyIx, sets: Vec<SetIx>) {
        let old = std::mem::replace(&mut self.slots[at.0].sets, sets.into());
        self.released.extend(old);
    }

    /// References to sets that no active policy needs any more.
    pub(crate) fn take_released(&mut self) -> Vec<SetIx> {
        std::mem::take(&mut self.released)
    }

    /// Notes that the receiver has a policy.
    pub(crate) fn set_told(&mut self, at: PolicyIx) {
        let held = &mut self.slots[at.0];
        held.told = true;
        self.gone.remove(&held.key);
    }

    /// The keys that the receiver has to forget, sorted.
    pub(crate) fn take_gone(&mut self) -> BTreeSet<PolicyKey> {
        std::mem::take(&mut self.gone)
    }

    fn enlist(&mut self, selector: SelectorIx, at: PolicyIx) {
        if self.of_selector.len() <= selector.ix() {
            self.of_selector.resize_with(selector.ix() + 1, IdSet::default);
        }
        self.of_selector[selector.ix()].insert(at.0);
    }
}

/// The bytes of [`PolicyKey::tie_break`], without making the text.
fn tie_break(key: &PolicyKey) -> impl Iterator<Item = u8> + use<'_> {
    let parts = [&key.name, "/", &key.namespace, "/", key.kind.as_str()];
    parts.into_iter().flat_map(str::bytes)
}
