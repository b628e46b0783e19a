//! Tracked keys, their values, and what selectors see of a label set.

use std::ops::{Index, IndexMut};

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::ClassSpace;
use super::atoms::{Atoms, Test};
use crate::id_set::IdSet;
use crate::ids::{AtomIx, GroupIx, KeyIx, LabelsIx, OwnIx, Place, ProfileIx, ValueIx};
use crate::interner::hash_of;
use crate::parents::Inheritance;
use crate::short_lists::List;
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
pub(super) struct Value {
    pub(super) key: KeyIx,
    /// `None` stands for every value of a key whose presence alone matters.
    text: Option<Box<str>>,
    refs: u32,
    /// The atoms that the value passes, sorted.
    pub(super) atoms: SmallVec<[AtomIx; 2]>,
    /// The groups that have the value of their own.
    pub(super) groups: IdSet,
    /// The parents that have it.
    pub(super) parents: IdSet,
}

#[derive(Debug, Default)]
pub(super) struct Values {
    slots: Slots<Value>,
    table: HashTable<u32>,
}

impl Index<ValueIx> for Values {
    type Output = Value;

    fn index(&self, at: ValueIx) -> &Value {
        &self.slots[at.0]
    }
}

impl IndexMut<ValueIx> for Values {
    fn index_mut(&mut self, at: ValueIx) -> &mut Value {
        &mut self.slots[at.0]
    }
}

impl Values {
    pub(super) fn find(&self, key: KeyIx, text: Option<&str>) -> Option<ValueIx> {
        let same = |at: &u32| {
            let value = &self.slots[*at];
            (value.key, value.text.as_deref()) == (key, text)
        };
        self.table.find(hash_of(&(key, text)), same).map(|at| ValueIx(*at))
    }

    /// The value's id; a new one has no reference yet.
    fn intern(&mut self, key: KeyIx, text: Option<&str>, state: &KeyState, atoms: &Atoms) -> ValueIx {
        if let Some(at) = self.find(key, text) {
            return at;
        }
        let mut passed: SmallVec<[AtomIx; 2]> = SmallVec::new();
        passed.extend(atoms.find(key, Test::Has, ""));
        passed.extend(text.and_then(|text| atoms.find(key, Test::Eq, text)));
        passed.extend(state.patterns.iter().copied().filter(|at| atoms[*at].admits(text)));
        passed.sort_unstable();
        let at = self.slots.insert(Value {
            key,
            text: text.map(Box::from),
            refs: 0,
            atoms: passed,
            groups: IdSet::default(),
            parents: IdSet::default(),
        });
        let slots = &self.slots;
        self.table.insert_unique(hash_of(&(key, text)), at, |at| {
            let value = &slots[*at];
            hash_of(&(value.key, value.text.as_deref()))
        });
        ValueIx(at)
    }

    fn release(&mut self, at: ValueIx) {
        let value = &mut self.slots[at.0];
        value.refs -= 1;
        if value.refs > 0 {
            return;
        }
        let value = self.slots.remove(at.0);
        let hash = hash_of(&(value.key, value.text.as_deref()));
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == at.0) {
            entry.remove();
        }
    }

    /// The values that may pass an atom on a tracked key.
    pub(super) fn passing(&self, key: KeyIx, test: Test, text: &str) -> Vec<ValueIx> {
        match test {
            Test::Eq => self.find(key, Some(text)).into_iter().collect(),
            Test::Has | Test::Contains | Test::StartsWith | Test::EndsWith => {
                let of_key = self.slots.iter().filter(|(_, value)| value.key == key);
                of_key.map(|(at, _)| ValueIx(at)).collect()
            }
        }
    }

    pub(super) fn text(&self, at: ValueIx) -> Option<&str> {
        self.slots[at.0].text.as_deref()
    }

    /// Makes every value forget atoms. `gone` is sorted.
    pub(super) fn forget_atoms(&mut self, gone: &[AtomIx]) {
        let values: Vec<u32> = self.slots.ids().collect();
        for at in values {
            self.slots[at].atoms.retain(|atom| gone.binary_search(atom).is_err());
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
#[derive(Debug, Default)]
pub(super) struct Parent {
    labels: Option<LabelsIx>,
    groups: IdSet,
}

impl Parent {
    pub(super) fn labels(&self) -> Option<LabelsIx> {
        self.labels
    }

    /// Whether any group inherits from it; only then it is looked at.
    pub(super) fn is_active(&self) -> bool {
        !self.groups.is_empty()
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = u32> {
        self.groups.iter()
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
        for (key, text) in cx.labels.iter(labels) {
            let Some(state) = self.keys.get(&key) else { continue };
            let text = match state.tracked {
                None => continue,
                Some(Detail::Presence) => None,
                Some(Detail::Text) => Some(text),
            };
            own.push(self.values.intern(key, text, state, &self.atoms));
        }
        own.sort_unstable();
        let (at, new) = self.owns.acquire(&own);
        if new {
            for value in &own {
                self.values[*value].refs += 1;
            }
        }
        OwnIx(at)
    }

    pub(super) fn retain_own(&mut self, own: OwnIx) {
        if let Some(value) = self.owns.retain(own.0) {
            self.values[value].refs += 1;
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

    /// Lets a group inherit from a profile.
    pub(super) fn enter_parent(&mut self, cx: Inheritance<'_>, profile: ProfileIx, group: GroupIx) {
        if !self.parents.entry(profile.ix()).is_active() {
            self.activate_parent(cx, profile);
        }
        self.parents.entry(profile.ix()).groups.insert(group.0);
    }

    pub(super) fn leave_parent(&mut self, profile: ProfileIx, group: GroupIx) {
        let parent = self.parents.entry(profile.ix());
        parent.groups.remove(group.0);
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
        let old = std::mem::replace(&mut self.parents.entry(profile.ix()).labels, labels);
        if let Some(old) = old {
            for value in self.own_values(old).to_vec() {
                self.values[value].parents.remove(profile.0);
            }
            self.unproject(old);
        }
        if let Some(labels) = labels {
            for value in self.own_values(labels).to_vec() {
                self.values[value].parents.insert(profile.0);
            }
        }
    }
}
