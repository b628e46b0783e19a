//! The policies of the cluster, and which of them local endpoints need.
//!
//! Input: Policy objects; from the class space of local endpoints, the selectors
//! that gained or lost a class. Output: policies that became active, inactive or
//! changed. Memory per dormant policy: about 60 bytes, its key and its texts; of the
//! rest of the rules, and of the selectors of others, equal ones are held once.
//! Invariants: a policy is active if its selector matches a local endpoint, or
//! if it asks to be needed on every node. A policy is *dormant*, its selector
//! not in the class space, if the selector requires a label with a value that no
//! local endpoint or parent of one has; as of the last flush, or of its arrival.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Index, IndexMut};

use caracal_model::{Kind, Policy, PolicyKey};
use caracal_selector::Selector;
use roaring::RoaringBitmap;
use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use crate::class_space::ClassSpace;
use crate::id_set::IdSet;
use crate::id_table::IdTable;
use crate::ids::{Place, PolicyIx, SelectorIx, SetIx, TierIx};
use crate::interner::{Interner, hash_of};
use crate::key_arena::KeyArena;
use crate::label_store::LabelStore;
use crate::packed_rules::{Packed, Packer, Rules};
use crate::pairs::{PairHash, Postings};
use crate::policy_key::KeyParts;
use crate::selector_table::{SelectorParser, SelectorTable};
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
    /// In the arena.
    key: u32,
    /// In the arena: the selector and the texts of the rules.
    texts: u32,
    /// The rules without their texts.
    form: u32,
    pub(crate) kind: Kind,
    pub(crate) tier: TierIx,
    /// Infinity for a policy without one.
    order: f64,
    pub(crate) placing: Placing,
    /// [`DORMANT`] for a dormant policy.
    awake: SelectorIx,
    /// The label that the selector requires.
    pair: Option<PairHash>,
    active: bool,
    /// Whether the receiver has it.
    told: bool,
}

/// Stands for the selector of a dormant policy.
const DORMANT: SelectorIx = SelectorIx(u32::MAX);

impl HeldPolicy {
    /// `None` for a dormant policy.
    fn selector(&self) -> Option<SelectorIx> {
        (self.awake != DORMANT).then_some(self.awake)
    }
}

/// What only policies have that some local endpoint needs.
#[derive(Debug)]
struct Active {
    key: PolicyKey,
    /// The sets that it names.
    sets: Box<[SetIx]>,
}

/// What the message of a policy is made of.
#[derive(Debug)]
struct Told {
    tier: SmolStr,
    /// The canonical text.
    selector: SmolStr,
    form: Box<[u8]>,
    texts: Box<[u8]>,
    untracked: bool,
    pre_dnat: bool,
    hints: Box<[SmolStr]>,
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
    table: IdTable,
    selectors: SelectorTable,
    /// By selector: the policies with it.
    of_selector: Vec<IdSet>,
    /// Policies to look at in the next selection.
    dirty: BTreeSet<PolicyIx>,
    pending: Selection,
    /// Keys that the receiver has and that no active policy has any more.
    gone: BTreeSet<PolicyKey>,
    /// What the receiver has of the policies that changed or went since the last
    /// flush: they may come back as they were.
    told: BTreeMap<PolicyKey, Told>,
    /// References to sets of policies that are active no more.
    released: Vec<SetIx>,
    /// Policies by the label that their selector requires.
    of_pair: Postings,
    /// What few policies have.
    hints: FxHashMap<PolicyIx, Box<[SmolStr]>>,
    active: FxHashMap<PolicyIx, Active>,
    /// Keys and texts.
    arena: KeyArena,
    forms: Interner<Box<[u8]>>,
    packer: Packer,
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
        let key = KeyParts::encode(key);
        let same = |at| *self.arena.get(self.slots[at].key) == *key;
        self.table.find(hash_of(&key[..]), same).map(PolicyIx)
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> RoaringBitmap {
        let policies = self.slots.iter().filter(|(_, held)| held.kind == kind);
        policies.map(|(at, _)| at).collect()
    }

    /// Holds a policy whose selectors were checked; `known` is where its key is
    /// held already, `selector` is its own.
    pub(crate) fn put(
        &mut self,
        cx: PolicyContext<'_>,
        kind: Kind,
        known: Option<PolicyIx>,
        key: &PolicyKey,
        policy: &Policy,
        selector: &Selector,
    ) {
        let Policy {
            tier,
            order,
            selector: selector_text,
            ingress,
            egress,
            inbound_rules,
            outbound_rules,
            untracked,
            pre_dnat,
            apply_on_forward,
            perf_hints,
        } = policy;
        let hinted = perf_hints.iter().any(|hint| hint == NEEDED_ON_EVERY_NODE);
        let pair = if hinted { None } else { PairHash::required(selector.expr()) };
        let awake = pair.is_none_or(|pair| cx.space.has_pair(pair));
        let bytes = KeyParts::encode(key);
        let Packed { form, texts } = self.packer.policy(selector_text, inbound_rules, outbound_rules);
        let awake = awake.then(|| self.selectors.acquire(cx.space, cx.labels, selector));
        let new = HeldPolicy {
            key: match known {
                Some(at) => self.slots[at.0].key,
                None => self.arena.push(&bytes),
            },
            texts: self.arena.push(texts),
            form: self.forms.acquire(form, || form.into()).0,
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
            awake: awake.unwrap_or(DORMANT),
            pair,
            active: false,
            told: false,
        };
        self.packer.clear();
        match known {
            Some(at) => self.replace(cx, at, new, perf_hints),
            None => self.insert(hash_of(&bytes[..]), new, perf_hints),
        }
    }

    fn insert(&mut self, hash: u64, new: HeldPolicy, hints: &[SmolStr]) {
        let (selector, pair) = (new.selector(), new.pair);
        let at = self.slots.insert(new);
        let (slots, arena) = (&self.slots, &self.arena);
        self.table.insert(hash, at, || slots.iter().map(|(at, held)| (at, hash_of(arena.get(held.key)))));
        let at = PolicyIx(at);
        if let Some(pair) = pair {
            self.of_pair.insert(pair, at);
        }
        if !hints.is_empty() {
            self.hints.insert(at, hints.into());
        }
        if let Some(selector) = selector {
            self.enlist(selector, at);
        }
    }

    fn replace(&mut self, cx: PolicyContext<'_>, at: PolicyIx, new: HeldPolicy, hints: &[SmolStr]) {
        let old = std::mem::replace(&mut self.slots[at.0], new);
        let new = &mut self.slots[at.0];
        (new.active, new.told) = (old.active, old.told);
        let placed = new.placing != old.placing;
        let ranked = (new.tier, new.order.to_bits()) != (old.tier, old.order.to_bits());
        let said = |held: &HeldPolicy| (held.tier, held.awake, held.placing.untracked, held.placing.pre_dnat);
        let hinted =
            self.hints.get(&at).is_some_and(|old| **old != *hints) || self.hints.contains_key(&at) == hints.is_empty();
        // The same rules may be packed in two ways: after selectors that are written differently.
        let bytes = |held: &HeldPolicy| (held.form, self.arena.get(held.texts));
        let rules = |held: &HeldPolicy| packed(&self.forms, &self.arena, held).policy_rules();
        let repacked = bytes(new) != bytes(&old) && rules(new) != rules(&old);
        let message = said(new) != said(&old) || repacked || hinted;
        let (selector, pair, active) = (new.selector(), new.pair, new.active);
        if ranked || placed || message {
            self.dirty.insert(at);
        }
        if ranked {
            self.pending.moved.insert(at);
        }
        if message && active {
            self.pending.updated.insert(at);
            self.keep_told(at, &old, cx.tiers);
        }
        if pair != old.pair {
            if let Some(pair) = old.pair {
                self.of_pair.remove(pair, at);
            }
            if let Some(pair) = pair {
                self.of_pair.insert(pair, at);
            }
        }
        if hints.is_empty() {
            self.hints.remove(&at);
        } else {
            self.hints.insert(at, hints.into());
        }
        let former = old.selector();
        if selector != former {
            if let Some(old) = former {
                self.of_selector[old.ix()].remove(at.0);
            }
            if let Some(selector) = selector {
                self.enlist(selector, at);
            }
        }
        if ranked || placed || selector != former {
            self.pending.selectors.extend([selector, former].into_iter().flatten());
        }
        if let Some(former) = former {
            self.selectors.release(cx.space, former);
        }
        cx.tiers.release(old.tier);
        self.forms.release(old.form);
        self.free([old.texts]);
    }

    pub(crate) fn remove(&mut self, cx: PolicyContext<'_>, at: PolicyIx) {
        let key = self.key(at);
        let held = self.slots.remove(at.0);
        self.keep_told(at, &held, cx.tiers);
        self.table.remove(hash_of(self.arena.get(held.key)), at.0);
        if let Some(pair) = held.pair {
            self.of_pair.remove(pair, at);
        }
        if let Some(selector) = held.selector() {
            self.of_selector[selector.ix()].remove(at.0);
            self.selectors.release(cx.space, selector);
            self.pending.selectors.insert(selector);
        }
        cx.tiers.release(held.tier);
        self.hints.remove(&at);
        self.dirty.remove(&at);
        self.pending.updated.remove(&at);
        if held.active || self.pending.moved.contains(&at) {
            self.pending.moved.insert(at);
        }
        self.deactivate(at);
        if held.told {
            self.gone.insert(key);
        }
        self.forms.release(held.form);
        self.free([held.key, held.texts]);
    }

    fn free<const N: usize>(&mut self, freed: [u32; N]) {
        for at in freed {
            self.arena.free(at);
        }
        self.arena.compact(self.slots.iter_mut().flat_map(|held| [&mut held.key, &mut held.texts]));
    }

    /// Notes what the receiver has of a policy that is no more as it was held, if it has it.
    fn keep_told(&mut self, at: PolicyIx, former: &HeldPolicy, tiers: &Tiers) {
        if !former.told {
            return;
        }
        let Packed { form, texts } = packed(&self.forms, &self.arena, former);
        self.told.entry(self.active[&at].key.clone()).or_insert_with(|| {
            let selector = former.selector().expect("what the receiver has was awake at the last flush");
            Told {
                tier: tiers.name(former.tier).clone(),
                selector: self.selectors.text(selector).into(),
                form: form.into(),
                texts: texts.into(),
                untracked: former.placing.untracked,
                pre_dnat: former.placing.pre_dnat,
                hints: self.hints.get(&at).cloned().unwrap_or_default(),
            }
        });
    }

    /// Whether the receiver has an active policy as it is, though it was another
    /// one, or gone, since the last flush.
    pub(crate) fn is_told_as_it_is(&self, at: PolicyIx, tiers: &Tiers) -> bool {
        let Some(Told { tier, selector, form, texts, untracked, pre_dnat, hints }) = self.told.get(self.active_key(at))
        else {
            return false;
        };
        let held = &self.slots[at.0];
        let (had, has) = (Packed { form, texts }, self.packed(at));
        (tier, &**selector) == (tiers.name(held.tier), self.selector_text(at))
            && (*untracked, *pre_dnat) == (held.placing.untracked, held.placing.pre_dnat)
            && **hints == *self.hints(at)
            && ((had.form, had.texts) == (has.form, has.texts) || had.policy_rules() == has.policy_rules())
    }

    /// Forgets what only active policies have.
    fn deactivate(&mut self, at: PolicyIx) {
        self.released.extend(self.active.remove(&at).into_iter().flat_map(|active| active.sets));
    }

    /// Whether any policy's selector requires a label.
    pub(crate) fn requires(&self, pair: PairHash) -> bool {
        self.of_pair.contains(pair)
    }

    /// Wakes the policies whose required label has come to a local endpoint, and
    /// lets those rest whose label has left the last one.
    pub(crate) fn follow_pairs(
        &mut self,
        space: &mut ClassSpace,
        labels: &mut LabelStore,
        parser: &mut SelectorParser,
    ) {
        for pair in space.take_changed_pairs() {
            let present = space.has_pair(pair);
            for at in self.of_pair.of(pair) {
                let held = &mut self.slots[at.0];
                match (held.selector(), present) {
                    (None, true) => {
                        let text = packed(&self.forms, &self.arena, held).selector();
                        let selector = parser.parse(&text).expect("selectors are checked before they are held");
                        let selector = self.selectors.acquire(space, labels, selector);
                        self.slots[at.0].awake = selector;
                        self.enlist(selector, at);
                    }
                    (Some(selector), false) => {
                        held.awake = DORMANT;
                        self.of_selector[selector.ix()].remove(at.0);
                        self.selectors.release(space, selector);
                        self.dirty.insert(at);
                    }
                    (None, false) | (Some(_), true) => {}
                }
            }
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
            let hints = self.hints.get(&at).into_iter().flatten();
            let hinted = hints.into_iter().any(|hint| hint == NEEDED_ON_EVERY_NODE);
            let needed = hinted || held.selector().is_some_and(|selector| space.has_match(selector));
            if needed == held.active {
                continue;
            }
            held.active = needed;
            let told = !needed && std::mem::take(&mut held.told);
            selection.moved.insert(at);
            let key = self.key(at);
            if needed {
                selection.updated.insert(at);
                self.active.insert(at, Active { key, sets: Box::default() });
            } else {
                selection.updated.remove(&at);
                self.deactivate(at);
                if told {
                    self.gone.insert(key);
                }
            }
        }
        selection.selectors.retain(|selector| space.has_selector(*selector));
        selection
    }

    /// A policy's key.
    pub(crate) fn key(&self, at: PolicyIx) -> PolicyKey {
        if let Some(active) = self.active.get(&at) {
            return active.key.clone();
        }
        KeyParts::decode(self.arena.get(self.slots[at.0].key)).key()
    }

    /// The key of an active policy.
    pub(crate) fn active_key(&self, at: PolicyIx) -> &PolicyKey {
        &self.active[&at].key
    }

    /// A policy's selector and rules.
    pub(crate) fn packed(&self, at: PolicyIx) -> Packed<'_> {
        packed(&self.forms, &self.arena, &self.slots[at.0])
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
        policies.sort_by_cached_key(|at| self.key(*at));
        policies
    }

    /// The order of evaluation within all tiers.
    pub(crate) fn compare(&self, tiers: &Tiers, a: PolicyIx, b: PolicyIx) -> Ordering {
        let (a, b) = (&self.slots[a.0], &self.slots[b.0]);
        let tier = || tiers.compare(a.tier, b.tier);
        let parts = |held: &HeldPolicy| KeyParts::decode(self.arena.get(held.key));
        let tie = || parts(a).compare(parts(b));
        tier().then(a.order.total_cmp(&b.order)).then_with(tie)
    }

    /// A policy as it was put.
    pub(crate) fn policy(&self, at: PolicyIx, tiers: &Tiers) -> Policy {
        let held = &self.slots[at.0];
        let Placing { ingress, egress, untracked, pre_dnat, apply_on_forward } = held.placing;
        let packed = packed(&self.forms, &self.arena, held);
        let Rules { inbound, outbound } = packed.policy_rules();
        Policy {
            tier: tiers.name(held.tier).clone(),
            order: self.order(at),
            selector: packed.selector(),
            ingress,
            egress,
            inbound_rules: inbound,
            outbound_rules: outbound,
            untracked,
            pre_dnat,
            apply_on_forward,
            perf_hints: self.hints(at).to_vec(),
        }
    }

    /// The canonical text of an active policy's selector.
    pub(crate) fn selector_text(&self, at: PolicyIx) -> &str {
        let selector = self.slots[at.0].selector();
        self.selectors.text(selector.expect("an active policy is awake"))
    }

    /// A policy's performance hints.
    pub(crate) fn hints(&self, at: PolicyIx) -> &[SmolStr] {
        self.hints.get(&at).map_or(&[], |hints| hints)
    }

    /// Replaces the sets that an active policy names.
    pub(crate) fn set_sets(&mut self, at: PolicyIx, sets: Vec<SetIx>) {
        let active = self.active.get_mut(&at).expect("only active policies name sets");
        self.released.extend(std::mem::replace(&mut active.sets, sets.into()));
    }

    /// The sets that an active policy names.
    pub(crate) fn sets_of(&self, at: PolicyIx) -> &[SetIx] {
        self.active.get(&at).map_or(&[], |active| &active.sets)
    }

    /// References to sets that no active policy needs any more.
    pub(crate) fn take_released(&mut self) -> Vec<SetIx> {
        std::mem::take(&mut self.released)
    }

    /// Notes that the receiver has a policy.
    pub(crate) fn set_told(&mut self, at: PolicyIx) {
        let held = &mut self.slots[at.0];
        held.told = true;
        if !self.gone.is_empty() {
            self.gone.remove(&self.active[&at].key);
        }
    }

    /// The keys that the receiver has to forget, sorted.
    pub(crate) fn take_gone(&mut self) -> BTreeSet<PolicyKey> {
        self.told.clear();
        std::mem::take(&mut self.gone)
    }

    /// Adds a policy that is awake to those of its selector, to be looked at.
    fn enlist(&mut self, selector: SelectorIx, at: PolicyIx) {
        self.pending.selectors.insert(selector);
        self.dirty.insert(at);
        if self.of_selector.len() <= selector.ix() {
            self.of_selector.resize_with(selector.ix() + 1, IdSet::default);
        }
        self.of_selector[selector.ix()].insert(at.0);
    }
}

/// A policy's selector and rules.
fn packed<'a>(forms: &'a Interner<Box<[u8]>>, arena: &'a KeyArena, held: &HeldPolicy) -> Packed<'a> {
    Packed { form: &forms[held.form], texts: arena.get(held.texts) }
}

#[cfg(test)]
mod tests;
