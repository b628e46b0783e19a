//! Label sets, each stored once.
//!
//! Input: [`Labels`] of items and profiles. Output: an id per distinct set.
//! Memory per distinct set: its values, one length byte each, and about 25
//! bytes; keys are stored once per *shape*, the list of keys that many sets
//! share. No value is hashed or stored apart from its set: values that no
//! selector mentions cost their bytes.
//! Invariant: equal labels have equal ids while anything refers to them.

use std::hash::{BuildHasher, Hash, Hasher};
use std::num::NonZero;

use caracal_model::Labels;
use hashbrown::HashTable;
use rustc_hash::{FxBuildHasher, FxHasher};

use crate::ids::{KeyIx, LabelsIx, ShapeIx};
use crate::interner::Interner;
use crate::key_arena::KeyArena;
use crate::slots::Slots;
use crate::varint;

#[derive(Debug)]
struct Shape {
    /// Sorted by the text of the keys.
    keys: Box<[KeyIx]>,
    sets: u32,
}

#[derive(Debug)]
struct LabelSet {
    shape: ShapeIx,
    refs: NonZero<u32>,
    /// In the arena. Per key of the shape: the value's length as LEB128, the value.
    values: u32,
}

#[derive(Debug, Default)]
pub(crate) struct LabelStore {
    keys: Interner<Box<str>>,
    shapes: Slots<Shape>,
    shape_table: HashTable<u32>,
    sets: Slots<LabelSet>,
    set_table: HashTable<u32>,
    values: KeyArena,
    scratch: Vec<u8>,
}

impl LabelStore {
    /// Takes a reference to the set of these labels.
    pub(crate) fn acquire(&mut self, labels: &Labels) -> LabelsIx {
        let shape = self.shape_of(labels);
        self.scratch.clear();
        for (_, value) in labels.iter() {
            varint::push(&mut self.scratch, value.len());
            self.scratch.extend_from_slice(value.as_bytes());
        }
        let hash = set_hash(shape, &self.scratch);
        let same = |at: &u32| {
            let set = &self.sets[*at];
            set.shape == shape && *self.values.get(set.values) == *self.scratch
        };
        if let Some(at) = self.set_table.find(hash, same).copied() {
            let refs = &mut self.sets[at].refs;
            *refs = refs.checked_add(1).expect("a set has fewer than 2^32 references");
            return LabelsIx(at);
        }
        self.shapes[shape.0].sets += 1;
        let values = self.values.push(&self.scratch);
        let at = self.sets.insert(LabelSet { shape, refs: NonZero::<u32>::MIN, values });
        let (sets, arena) = (&self.sets, &self.values);
        self.set_table.insert_unique(hash, at, |at| set_hash(sets[*at].shape, arena.get(sets[*at].values)));
        LabelsIx(at)
    }

    pub(crate) fn retain(&mut self, labels: LabelsIx) {
        let refs = &mut self.sets[labels.0].refs;
        *refs = refs.checked_add(1).expect("a set has fewer than 2^32 references");
    }

    pub(crate) fn release(&mut self, labels: LabelsIx) {
        let set = &mut self.sets[labels.0];
        if let Some(rest) = NonZero::new(set.refs.get() - 1) {
            set.refs = rest;
            return;
        }
        let set = self.sets.remove(labels.0);
        let hash = set_hash(set.shape, self.values.get(set.values));
        if let Ok(entry) = self.set_table.find_entry(hash, |at| *at == labels.0) {
            entry.remove();
        }
        self.values.free(set.values);
        self.values.compact(self.sets.iter_mut().map(|set| &mut set.values));
        let shape = &mut self.shapes[set.shape.0];
        shape.sets -= 1;
        if shape.sets == 0 {
            let hash = self.shape_hash(set.shape.0);
            if let Ok(entry) = self.shape_table.find_entry(hash, |at| *at == set.shape.0) {
                entry.remove();
            }
            for key in self.shapes.remove(set.shape.0).keys {
                self.keys.release(key.0);
            }
        }
    }

    /// The shape of a set.
    pub(crate) fn shape(&self, labels: LabelsIx) -> ShapeIx {
        self.sets[labels.0].shape
    }

    /// The keys of a shape.
    pub(crate) fn keys(&self, shape: ShapeIx) -> &[KeyIx] {
        &self.shapes[shape.0].keys
    }

    /// The shapes in use.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = ShapeIx> {
        self.shapes.ids().map(ShapeIx)
    }

    /// The keys and values of a set, in order of the keys' text.
    pub(crate) fn iter(&self, labels: LabelsIx) -> impl Iterator<Item = (KeyIx, &str)> {
        let set = &self.sets[labels.0];
        let mut rest = self.values.get(set.values);
        self.shapes[set.shape.0].keys.iter().map(move |key| {
            let len = varint::take(&mut rest);
            let (value, after) = rest.split_at(len);
            rest = after;
            (*key, std::str::from_utf8(value).expect("values are text"))
        })
    }

    /// The set as labels again.
    pub(crate) fn labels(&self, labels: LabelsIx) -> Labels {
        let pairs = self.iter(labels).map(|(key, value)| (self.key(key), value));
        pairs.collect()
    }

    /// The text of a key.
    pub(crate) fn key(&self, key: KeyIx) -> &str {
        &self.keys[key.0]
    }

    /// Takes a reference to a key, whether or not a label set has it.
    pub(crate) fn acquire_key(&mut self, key: &str) -> KeyIx {
        KeyIx(self.keys.acquire(key, || key.into()).0)
    }

    /// Takes another reference to a key.
    pub(crate) fn retain_key(&mut self, key: KeyIx) {
        self.keys.retain(key.0);
    }

    pub(crate) fn release_key(&mut self, key: KeyIx) {
        self.keys.release(key.0);
    }

    fn shape_of(&mut self, labels: &Labels) -> ShapeIx {
        let hash = keys_hash(labels.iter().map(|(key, _)| key));
        let same = |at: &u32| {
            let keys = self.shapes[*at].keys.iter().map(|key| self.key(*key));
            keys.eq(labels.iter().map(|(key, _)| key))
        };
        if let Some(at) = self.shape_table.find(hash, same) {
            return ShapeIx(*at);
        }
        let keys = labels.iter().map(|(key, _)| self.keys.acquire(key, || key.into()).0);
        let keys = keys.map(KeyIx).collect();
        let at = self.shapes.insert(Shape { keys, sets: 0 });
        let (shapes, texts) = (&self.shapes, &self.keys);
        self.shape_table.insert_unique(hash, at, |at| keys_hash(shapes[*at].keys.iter().map(|key| &*texts[key.0])));
        ShapeIx(at)
    }

    fn shape_hash(&self, at: u32) -> u64 {
        keys_hash(self.shapes[at].keys.iter().map(|key| self.key(*key)))
    }
}

fn keys_hash<'a>(keys: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = FxHasher::default();
    for key in keys {
        key.hash(&mut hasher);
    }
    hasher.finish()
}

fn set_hash(shape: ShapeIx, values: &[u8]) -> u64 {
    FxBuildHasher.hash_one((shape, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    #[test]
    fn equal_labels_are_stored_once_and_come_back() {
        let mut store = LabelStore::default();
        let long = "x".repeat(300);
        let pairs = [("a", "1"), ("b", ""), ("c", long.as_str())];
        let first = store.acquire(&labels(&pairs));
        assert_eq!(store.acquire(&labels(&pairs)), first);
        assert_eq!(store.labels(first), labels(&pairs));
        let other = store.acquire(&labels(&[("a", "1"), ("b", "2"), ("c", &long)]));
        assert_ne!(other, first);
        assert_eq!(store.shape(other), store.shape(first));
        let empty = store.acquire(&labels(&[]));
        assert_eq!(store.iter(empty).count(), 0);
    }

    #[test]
    fn what_nothing_refers_to_is_freed() {
        let mut store = LabelStore::default();
        let set = store.acquire(&labels(&[("a", "1"), ("b", "2")]));
        store.retain(set);
        store.release(set);
        assert_eq!(store.iter(set).count(), 2);
        store.release(set);
        assert_eq!((store.sets.len(), store.shapes.len()), (0, 0));
        assert!(store.set_table.is_empty() && store.shape_table.is_empty());
        assert_eq!(store.keys.find("a"), None);
    }
}
