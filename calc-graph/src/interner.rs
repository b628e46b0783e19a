//! Values stored once, under ids, for as long as something refers to them.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::ops::Index;

use rustc_hash::FxBuildHasher;

use crate::id_table::IdTable;
use crate::slots::Slots;

#[derive(Debug)]
struct Entry<T> {
    value: T,
    refs: u32,
}

#[derive(Debug)]
pub(crate) struct Interner<T> {
    entries: Slots<Entry<T>>,
    table: IdTable,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { entries: Slots::default(), table: IdTable::default() }
    }
}

/// The hash of a value, the same for owned and borrowed forms.
pub(crate) fn hash_of<Q: Hash + ?Sized>(value: &Q) -> u64 {
    FxBuildHasher.hash_one(value)
}

impl<T: Hash> Interner<T> {
    /// The id of an equal value if one is held; takes no reference.
    pub(crate) fn find<Q>(&self, value: &Q) -> Option<u32>
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.table.find(hash_of(value), |at| self.entries[at].value.borrow() == value)
    }

    /// Takes a reference to a value, storing it first if it is new. Tells
    /// whether it was.
    pub(crate) fn acquire<Q>(&mut self, value: &Q, own: impl FnOnce() -> T) -> (u32, bool)
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(at) = self.find(value) {
            self.entries[at].refs += 1;
            return (at, false);
        }
        let at = self.entries.insert(Entry { value: own(), refs: 1 });
        let entries = &self.entries;
        let all = || entries.iter().map(|(at, entry)| (at, hash_of(&entry.value)));
        self.table.insert(hash_of(value), at, all);
        (at, true)
    }

    /// Takes another reference to a held value.
    pub(crate) fn retain(&mut self, at: u32) {
        self.entries[at].refs += 1;
    }

    /// Gives a reference back; gives the value out if it was the last one.
    pub(crate) fn release(&mut self, at: u32) -> Option<T> {
        let entry = &mut self.entries[at];
        entry.refs -= 1;
        if entry.refs > 0 {
            return None;
        }
        self.table.remove(hash_of(&entry.value), at);
        Some(self.entries.remove(at).value)
    }
}

#[cfg(test)]
impl<T> Interner<T> {
    /// The values that are held.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| &entry.value)
    }
}

impl<T> Index<u32> for Interner<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        &self.entries[at].value
    }
}
