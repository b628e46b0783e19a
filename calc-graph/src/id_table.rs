//! A hash table of the ids of a [`Slots`](crate::slots::Slots), whose entries hold the keys.
//!
//! Memory: 5 to 10 bytes per id, more while there are few. A table that is full
//! is made anew from the entries in their order, not in that of its places:
//! entries that came one after the other, and what they refer to, are read from
//! the cache.

use hashbrown::HashTable;

#[derive(Debug, Default)]
pub(crate) struct IdTable(HashTable<u32>);

impl IdTable {
    /// The id with this hash for which `same` is true.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        self.0.find(hash, |at| same(*at)).copied()
    }

    /// Adds an id. `all` are the ids and hashes of all entries, the new one's too.
    #[inline]
    pub(crate) fn insert<All>(&mut self, hash: u64, at: u32, all: impl FnOnce() -> All)
    where
        All: Iterator<Item = (u32, u64)>,
    {
        if self.0.len() < self.0.capacity() {
            self.0.insert_unique(hash, at, |_| unreachable!("there is room"));
        } else {
            self.grow(all());
        }
    }

    #[cold]
    fn grow(&mut self, all: impl Iterator<Item = (u32, u64)>) {
        /// Up to here growing again and again costs more than the room.
        const SMALL: usize = 512;
        let len = self.0.len();
        // With room for some more even where it was full of what was taken out.
        let room = if len < SMALL { 8 * len } else { len + len / 8 } + 1;
        self.0 = HashTable::new();
        self.0.reserve(room, |_| unreachable!("it is empty"));
        for (at, hash) in all {
            self.0.insert_unique(hash, at, |_| unreachable!("there is room"));
        }
    }

    /// Takes an id out.
    pub(crate) fn remove(&mut self, hash: u64, at: u32) {
        if let Ok(entry) = self.0.find_entry(hash, |other| *other == at) {
            entry.remove();
        }
    }
}

#[cfg(test)]
impl IdTable {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::interner::hash_of;

    proptest! {
        #[test]
        fn ids_are_found_by_their_hash(steps in prop::collection::vec((any::<bool>(), 0u32..100), 0..400)) {
            let (mut table, mut model) = (IdTable::default(), BTreeSet::new());
            for (insert, at) in steps {
                if insert && model.insert(at) {
                    let all = || model.iter().map(|at| (*at, hash_of(at)));
                    table.insert(hash_of(&at), at, all);
                } else if !insert && model.remove(&at) {
                    table.remove(hash_of(&at), at);
                }
                let found = |at: &u32| table.find(hash_of(at), |other| other == *at) == Some(*at);
                prop_assert!((0..100).all(|at| found(&at) == model.contains(&at)));
            }
        }
    }
}
