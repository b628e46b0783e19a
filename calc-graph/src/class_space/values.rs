//! Tracked keys, their values, and what selectors see of a label set.

use smallvec::SmallVec;

use super::ClassSpace;
use super::atoms::{Atoms, Test};
use crate::id_sets::{IdSetIx, IdSets};
use crate::id_table::IdTable;
use crate::ids::{AtomIx, GroupIx, KeyIx, LabelsIx, OwnIx, Place, ProfileIx, ValueIx};
use crate::interner::hash_of;
use crate::key_arena::KeyArena;
use crate::label_store;
use crate::parents::Inheritance;
use crate::short_lists::{List, ShortLists};
use crate::slots::Slots;

/// How closely a key is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// Only whether it is there.
    Presence,
    /// Its value.
    Text,
}

#[derive(Debug, Default)]
pub(super) struct KeyState {
    /// How closely values are kept; `None` until the first settling.
    pub(super) tracked: Option<Detail>,
    atoms: u32,
    text_atoms: u32,
    /// The atoms that more than one value may pass.
    patterns: Vec<AtomIx>,
}

impl KeyState {
    pub(super) fn add_atom(&mut self, atom: AtomIx, test: Test) {
        self.atoms += 1;
        self.text_atoms += u32::from(test != Test::Has);
        if test.is_pattern() {
            self.patterns.push(atom);
        }
    }

    pub(super) fn remove_atom(&mut self, atom: AtomIx, test: Test) {
        self.atoms -= 1;
        self.text_atoms -= u32::from(test != Test::Has);
        if test.is_pattern() {
            self.patterns.retain(|other| *other != atom);
        }
    }

    /// How closely the atoms on the key need it to be looked at.
    pub(super) const fn wanted(&self) -> Option<Detail> {
        match (self.atoms, self.text_atoms) {
            (0, _) => None,
            (_, 0) => Some(Detail::Presence),
            (_, _) => Some(Detail::Text),
        }
    }
}

#[derive(Debug)]
struct Value {
    key: KeyIx,
    /// In the arena; [`ANY`] for every value of a key whose presence alone matters.
    text: u32,
    refs: u32,
    /// The atoms that the value passes: a list of the table.
    atoms: u32,
    /// The groups that have the value of their own.
    groups: IdSetIx,
    /// The parents that have it.
    parents: IdSetIx,
}

/// Stands for the text of every value.
const ANY: u32 = u32::MAX;

/// Values that selectors look at. Most pass no atom and belong to one group or
/// parent: a value takes 24 bytes, its text and its place in the table.
#[derive(Debug, Default)]
pub(super) struct Values {
    slots: Slots<Value>,
    table: IdTable,
    texts: KeyArena,
    /// Lists of atoms, sorted.
    atoms: ShortLists<AtomIx>,
    sets: IdSets,
}

impl Values {
    pub(super) fn find(&self, key: KeyIx, text: Option<&[u8]>) -> Option<ValueIx> {
        let same = |at| self.slots[at].key == key && self.text_of(&self.slots[at]) == text;
        self.table.find(hash_of(&(key, text)), same).map(ValueIx)
    }

    /// The value's id; a new one has no reference yet.
    fn intern(&mut self, key: KeyIx, text: Option<&[u8]>, state: &KeyState, atoms: &Atoms) -> ValueIx {
        if let Some(at) = self.find(key, text) {
            return at;
        }
        let mut passed: SmallVec<[AtomIx; 2]> = SmallVec::new();
        passed.extend(atoms.find(key, Test::Has, b""));
        if let Some(text) = text {
            passed.extend(atoms.find(key, Test::Eq, text));
            let admits = |at: &AtomIx| atoms[*at].admits(Some(label_store::text(text)));
            passed.extend(state.patterns.iter().copied().filter(admits));
        }
        passed.sort_unstable();
        let (list, _) = self.atoms.acquire(&passed);
        let at = self.slots.insert(Value {
            key,
            text: text.map_or(ANY, |text| self.texts.push(text)),
            refs: 0,
            atoms: list,
            groups: IdSetIx::default(),
            parents: IdSetIx::default(),
        });
        let (slots, texts) = (&self.slots, &self.texts);
        let hash = |value: &Value| hash_of(&(value.key, (value.text != ANY).then(|| texts.get(value.text))));
        self.table.insert(hash_of(&(key, text)), at, || slots.iter().map(|(at, value)| (at, hash(value))));
        ValueIx(at)
    }

    fn release(&mut self, at: ValueIx) {
        let value = &mut self.slots[at.0];
        value.refs -= 1;
        if value.refs > 0 {
            return;
        }
        let value = self.slots.remove(at.0);
        let hash = hash_of(&(value.key, self.text_of(&value)));
        self.table.remove(hash, at.0);
        self.atoms.release(value.atoms);
        if value.text != ANY {
            self.texts.free(value.text);
            let texts = self.slots.iter_mut().map(|value| &mut value.text);
            self.texts.compact(texts.filter(|text| **text != ANY));
        }
    }

    fn retain(&mut self, at: ValueIx) {
        self.slots[at.0].refs += 1;
    }

    pub(super) fn key(&self, at: ValueIx) -> KeyIx {
        self.slots[at.0].key
    }

    /// The atoms that a value passes, sorted.
    pub(super) fn atoms(&self, at: ValueIx) -> List<'_, AtomIx> {
        self.atoms.get(self.slots[at.0].atoms)
    }

    /// Lets a value pass an atom.
    pub(super) fn add_atom(&mut self, at: ValueIx, atom: AtomIx) {
        let mut atoms = self.atoms(at).to_vec();
        if let Err(place) = atoms.binary_search(&atom) {
            atoms.insert(place, atom);
            self.set_atoms(at, &atoms);
        }
    }

    fn set_atoms(&mut self, at: ValueIx, atoms: &[AtomIx]) {
        let (list, _) = self.atoms.acquire(atoms);
        let former = std::mem::replace(&mut self.slots[at.0].atoms, list);
        self.atoms.release(former);
    }

    /// The groups that have a value of their own.
    pub(super) fn groups(&self, at: ValueIx) -> impl Iterator<Item = u32> {
        self.sets.iter(self.slots[at.0].groups)
    }

    pub(super) fn add_group(&mut self, at: ValueIx, group: GroupIx) {
        self.sets.insert(&mut self.slots[at.0].groups, group.0);
    }

    pub(super) fn remove_group(&mut self, at: ValueIx, group: GroupIx) {
        self.sets.remove(&mut self.slots[at.0].groups, group.0);
    }

    /// The parents that have a value.
    pub(super) fn parents(&self, at: ValueIx) -> impl Iterator<Item = ProfileIx> {
        self.sets.iter(self.slots[at.0].parents).map(ProfileIx)
    }

    pub(super) fn add_parent(&mut self, at: ValueIx, parent: ProfileIx) {
        self.sets.insert(&mut self.slots[at.0].parents, parent.0);
    }

    pub(super) fn remove_parent(&mut self, at: ValueIx, parent: ProfileIx) {
        self.sets.remove(&mut self.slots[at.0].parents, parent.0);
    }

    /// The values that may pass an atom on a tracked key.
    pub(super) fn passing(&self, key: KeyIx, test: Test, text: &str) -> Vec<ValueIx> {
        match test {
            Test::Eq => self.find(key, Some(text.as_bytes())).into_iter().collect(),
            Test::Has | Test::Contains | Test::StartsWith | Test::EndsWith => {
                let of_key = self.slots.iter().filter(|(_, value)| value.key == key);
                of_key.map(|(at, _)| ValueIx(at)).collect()
            }
        }
    }

    pub(super) fn text(&self, at: ValueIx) -> Option<&str> {
        self.text_of(&self.slots[at.0]).map(label_store::text)
    }

    fn text_of(&self, value: &Value) -> Option<&[u8]> {
        (value.text != ANY).then(|| self.texts.get(value.text))
    }

    /// Makes every value forget atoms. `gone` is sorted.
    pub(super) fn forget_atoms(&mut self, gone: &[AtomIx]) {
        let values: Vec<u32> = self.slots.ids().collect();
        for at in values.into_iter().map(ValueIx) {
            let atoms = self.atoms(at);
            let kept: Vec<AtomIx> = atoms.iter().copied().filter(|atom| gone.binary_search(atom).is_err()).collect();
            if kept.len() < atoms.len() {
                self.set_atoms(at, &kept);
            }
        }
    }
}

/// The own values of a label set, while members or parents have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projection {
    pub(super) uses: u32,
    /// Meaningless while there are no uses.
    pub(super) own: OwnIx,
}

impl Default for Projection {
    fn default() -> Self {
        Self { uses: 0, own: OwnIx(u32::MAX) }
    }
}

impl Projection {
    /// The own values, if anything uses them.
    pub(super) fn own(&self) -> Option<OwnIx> {
        (self.uses > 0).then_some(self.own)
    }
}

/// A profile as the groups see it that inherit from it.
#[derive(Debug)]
pub(super) struct Parent {
    labels: LabelsIx,
    groups: IdSetIx,
}

/// Stands for no labels.
const NO_LABELS: LabelsIx = LabelsIx(u32::MAX);

impl Default for Parent {
    fn default() -> Self {
        Self { labels: NO_LABELS, groups: IdSetIx::default() }
    }
}

impl Parent {
    pub(super) fn labels(&self) -> Option<LabelsIx> {
        (self.labels != NO_LABELS).then_some(self.labels)
    }

    /// Whether any group inherits from it; only then it is looked at.
    pub(super) fn is_active(&self) -> bool {
        !self.groups.is_empty()
    }
}

impl ClassSpace {
    /// The own values of a label set; counts a use of it.
    pub(super) fn project(&mut self, cx: Inheritance<'_>, labels: LabelsIx) -> OwnIx {
        let Projection { uses, own } = *self.projections.entry(labels.ix());
        let own = match uses {
            1.. => own,
            0 => {
                if let Some(pairs) = &mut self.pairs {
                    pairs.add(labels, cx.labels);
                }
                self.build_own(cx, labels)
            }
        };
        *self.projections.entry(labels.ix()) = Projection { uses: uses + 1, own };
        own
    }

    /// Ends a use of a label set.
    pub(super) fn unproject(&mut self, labels: LabelsIx) {
        let projection = self.projections.entry(labels.ix());
        projection.uses -= 1;
        if projection.uses == 0 {
            let own = projection.own;
            self.release_own(own);
            if let Some(pairs) = &mut self.pairs {
                pairs.remove(labels);
            }
        }
    }

    /// Works out the own values of a label set and takes a reference to the list.
    pub(super) fn build_own(&mut self, cx: Inheritance<'_>, labels: LabelsIx) -> OwnIx {
        let mut own: SmallVec<[ValueIx; 16]> = SmallVec::new();
        let tracked = if self.keys.is_empty() { None } else { Some(cx.labels.iter_bytes(labels)) };
        for (key, value) in tracked.into_iter().flatten() {
            let Some(state) = self.keys.get(&key) else { continue };
            let text = match state.tracked {
                None => continue,
                Some(Detail::Presence) => None,
                Some(Detail::Text) => Some(value),
            };
            own.push(self.values.intern(key, text, state, &self.atoms));
        }
        own.sort_unstable();
        let (at, new) = self.owns.acquire(&own);
        if new {
            for value in &own {
                self.values.retain(*value);
            }
        }
        OwnIx(at)
    }

    pub(super) fn retain_own(&mut self, own: OwnIx) {
        if let Some(value) = self.owns.retain(own.0) {
            self.values.retain(value);
        }
    }

    pub(super) fn release_own(&mut self, own: OwnIx) {
        for value in self.owns.release(own.0).iter().flatten() {
            self.values.release(*value);
        }
    }

    pub(super) fn own_values(&self, labels: LabelsIx) -> List<'_, ValueIx> {
        let own = self.projections.get(labels.ix()).and_then(Projection::own);
        own.map_or(List::Several(&[]), |own| self.owns.get(own.0))
    }

    /// The groups that inherit from a profile.
    pub(super) fn heirs(&self, profile: ProfileIx) -> impl Iterator<Item = u32> {
        let parent = self.parents.get(profile.ix());
        parent.into_iter().flat_map(|parent| self.heirs.iter(parent.groups))
    }

    /// Lets a group inherit from a profile.
    pub(super) fn enter_parent(&mut self, cx: Inheritance<'_>, profile: ProfileIx, group: GroupIx) {
        if !self.parents.entry(profile.ix()).is_active() {
            self.activate_parent(cx, profile);
        }
        let groups = &mut self.parents.entry(profile.ix()).groups;
        self.heirs.insert(groups, group.0);
    }

    pub(super) fn leave_parent(&mut self, profile: ProfileIx, group: GroupIx) {
        let parent = self.parents.entry(profile.ix());
        self.heirs.remove(&mut parent.groups, group.0);
        if !parent.is_active() {
            self.set_parent_labels(profile, None);
        }
    }

    /// Brings what is known of an active parent up to its labels in `cx`.
    pub(super) fn activate_parent(&mut self, cx: Inheritance<'_>, profile: ProfileIx) {
        let labels = cx.parents.labels(profile);
        if let Some(labels) = labels {
            self.project(cx, labels);
        }
        self.set_parent_labels(profile, labels);
    }

    /// Replaces a parent's labels, of which a use is counted already.
    fn set_parent_labels(&mut self, profile: ProfileIx, labels: Option<LabelsIx>) {
        let old = std::mem::replace(&mut self.parents.entry(profile.ix()).labels, labels.unwrap_or(NO_LABELS));
        if old != NO_LABELS {
            self.detach_parent(profile, old);
            self.unproject(old);
        }
        if let Some(labels) = labels {
            self.attach_parent(profile, labels);
        }
    }

    /// Takes a parent out of the postings of its labels' values.
    pub(super) fn detach_parent(&mut self, profile: ProfileIx, labels: LabelsIx) {
        let values: SmallVec<[ValueIx; 8]> = SmallVec::from_slice(&self.own_values(labels));
        for value in values {
            self.values.remove_parent(value, profile);
        }
    }

    /// Puts a parent into the postings of its labels' values.
    pub(super) fn attach_parent(&mut self, profile: ProfileIx, labels: LabelsIx) {
        let values: SmallVec<[ValueIx; 8]> = SmallVec::from_slice(&self.own_values(labels));
        for value in values {
            self.values.add_parent(value, profile);
        }
    }
}
