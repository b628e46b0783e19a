//! Classes, and the selectors that match them.

use smallvec::SmallVec;

use super::ClassSpace;
use crate::id_set::IdSet;
use crate::id_table::IdTable;
use crate::ids::{AtomIx, ClassIx, GroupIx, SelectorIx};
use crate::interner::hash_of;
use crate::slots::Slots;

#[derive(Debug)]
struct Class {
    /// The atoms that are true, sorted.
    atoms: Box<[AtomIx]>,
    /// The settled selectors that match, sorted.
    matches: SmallVec<[SelectorIx; 2]>,
    groups: IdSet,
    serial: u64,
}

#[derive(Debug, Default)]
pub(super) struct Classes {
    slots: Slots<Class>,
    table: IdTable,
    made: u64,
}

impl Classes {
    fn find(&self, atoms: &[AtomIx]) -> Option<ClassIx> {
        self.table.find(hash_of(atoms), |at| *self.slots[at].atoms == *atoms).map(ClassIx)
    }

    fn insert(&mut self, atoms: &[AtomIx], matches: SmallVec<[SelectorIx; 2]>) -> ClassIx {
        self.made += 1;
        let at = self.slots.insert(Class { atoms: atoms.into(), matches, groups: IdSet::default(), serial: self.made });
        let slots = &self.slots;
        self.table.insert(hash_of(atoms), at, || slots.iter().map(|(at, class)| (at, hash_of(&*class.atoms))));
        ClassIx(at)
    }

    fn remove(&mut self, at: ClassIx) -> Class {
        let class = self.slots.remove(at.0);
        self.table.remove(hash_of(&*class.atoms), at.0);
        class
    }

    pub(super) fn enter(&mut self, at: ClassIx, group: GroupIx) {
        self.slots[at.0].groups.insert(group.0);
    }

    pub(super) fn atoms(&self, at: ClassIx) -> &[AtomIx] {
        &self.slots[at.0].atoms
    }

    pub(super) fn matches(&self, at: ClassIx) -> &[SelectorIx] {
        &self.slots[at.0].matches
    }

    pub(super) fn add_match(&mut self, at: ClassIx, selector: SelectorIx) {
        let matches = &mut self.slots[at.0].matches;
        if let Err(place) = matches.binary_search(&selector) {
            matches.insert(place, selector);
        }
    }

    pub(super) fn remove_match(&mut self, at: ClassIx, selector: SelectorIx) {
        self.slots[at.0].matches.retain(|other| *other != selector);
    }

    pub(super) fn groups(&self, at: ClassIx) -> impl Iterator<Item = GroupIx> {
        self.slots[at.0].groups.iter().map(GroupIx)
    }

    /// How many there ever were, and how many there are.
    pub(super) fn counts(&self) -> (u64, usize) {
        (self.made, self.slots.len())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ClassIx, u64)> {
        self.slots.iter().map(|(at, class)| (ClassIx(at), class.serial))
    }
}

impl ClassSpace {
    /// The class of these atoms; a new one has no groups yet. `atoms` is sorted.
    pub(super) fn class_for(&mut self, atoms: &[AtomIx]) -> ClassIx {
        if let Some(class) = self.classes.find(atoms) {
            return class;
        }
        let matches = self.evaluate(atoms);
        let class = self.classes.insert(atoms, matches.clone());
        for atom in atoms {
            self.atoms[*atom].classes.insert(class.0);
        }
        for selector in matches {
            self.selectors[selector.0].classes.insert(class.0);
            self.changed.push(selector);
        }
        class
    }

    /// Takes a group out of a class, which goes if it was the last one.
    pub(super) fn leave_class(&mut self, at: ClassIx, group: GroupIx) {
        let groups = &mut self.classes.slots[at.0].groups;
        groups.remove(group.0);
        if !groups.is_empty() {
            return;
        }
        let class = self.classes.remove(at);
        for atom in class.atoms {
            self.atoms[atom].classes.remove(at.0);
        }
        for selector in class.matches {
            self.selectors[selector.0].classes.remove(at.0);
            self.changed.push(selector);
        }
    }

    /// The settled selectors that match where exactly these atoms are true.
    fn evaluate(&self, atoms: &[AtomIx]) -> SmallVec<[SelectorIx; 2]> {
        let required = atoms.iter().flat_map(|atom| self.atoms[*atom].selectors.iter());
        let mut matches: SmallVec<[SelectorIx; 2]> = self
            .unindexed
            .iter()
            .chain(required)
            .filter(|selector| self.selectors[*selector].compiled.eval(atoms))
            .map(SelectorIx)
            .collect();
        matches.sort_unstable();
        matches.dedup();
        matches
    }
}
