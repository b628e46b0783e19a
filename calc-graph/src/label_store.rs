//! Label sets, each stored once.
//!
//! Input: [`Labels`] of items and profiles. Output: an id per distinct set.
//! Memory per distinct set: about 25 bytes, and a byte per value of a label that
//! has few values, for others a byte more than the value. Keys and values of few
//! are stored once per *shape*, the list of keys that many sets share; no other
//! value is hashed or stored apart from its set.
//! Invariants: equal labels have equal ids while anything refers to them, for
//! they have equal bytes: whether a shape has a code for a value is decided when
//! the value is first seen, for as long as there is the shape.

use std::hash::BuildHasher;
use std::num::NonZero;

use caracal_model::Labels;
use rustc_hash::FxBuildHasher;

use crate::id_table::IdTable;
use crate::ids::{KeyIx, LabelsIx, ShapeIx};
use crate::interner::{Interner, hash_of};
use crate::key_arena::KeyArena;
use crate::slots::Slots;
use crate::varint;

#[derive(Debug)]
struct Shape {
    /// Sorted by the text of the keys.
    keys: Box<[KeyIx]>,
    /// The keys' texts with their lengths: what shapes are found by.
    text: Box<[u8]>,
    /// By key.
    coded: Box<[CodedValues]>,
    /// By code: the value, in the arena.
    values: Vec<u32>,
    sets: u32,
}

/// How many values of a key get a code. Keys with more have mostly values of one set only.
const CODED: usize = 8;
/// How many codes a shape has: one byte tells codes and the lengths of other values apart.
const CODES: usize = 0x80;
/// Stands for a length that does not fit beside the codes and is written after it.
const LONG: u8 = u8::MAX;

/// The values of a key that have a code.
#[derive(Clone, Debug, Default)]
struct CodedValues {
    count: u8,
    /// The [`mark`] of each one.
    marks: [u8; CODED],
    codes: [u8; CODED],
}

/// How a value is written.
enum Coding {
    Code(u8),
    Written,
    /// It is to be given a code.
    New,
}

impl CodedValues {
    /// How a value is written. `texts` are the values of the shape by their codes.
    #[inline]
    fn coding(&self, texts: &[u32], arena: &KeyArena, value: &[u8]) -> Coding {
        let alike = bytes_alike(self.marks, mark(value));
        if alike != 0
            && let Some(code) = self.code_among(alike, texts, arena, value)
        {
            return Coding::Code(code);
        }
        if usize::from(self.count) == CODED || texts.len() == CODES { Coding::Written } else { Coding::New }
    }

    /// The code of a value, if it is one of those whose highest bits are set in `alike`.
    fn code_among(&self, mut alike: u64, texts: &[u32], arena: &KeyArena, value: &[u8]) -> Option<u8> {
        while alike != 0 {
            let at = alike.trailing_zeros() as usize / 8;
            alike &= alike - 1;
            let code = self.codes[at];
            if at < usize::from(self.count) && *arena.get(texts[usize::from(code)]) == *value {
                return Some(code);
            }
        }
        None
    }

    /// Gives a value the next code.
    fn add(&mut self, texts: &mut Vec<u32>, arena: &mut KeyArena, value: &[u8]) -> u8 {
        let code = u8::try_from(texts.len()).expect("codes fit in a byte");
        let at = usize::from(self.count);
        (self.marks[at], self.codes[at]) = (mark(value), code);
        self.count += 1;
        texts.push(arena.push(value));
        code
    }
}

/// What most values of a key are told apart by: of how long they are, and of the
/// characters in which they mostly differ.
fn mark(value: &[u8]) -> u8 {
    let at = |at: usize| value.get(at).copied().unwrap_or_default();
    let length = value.len();
    at(length.wrapping_sub(1)) ^ at(length / 2).rotate_left(4) ^ (length as u8).rotate_left(2)
}

/// The highest bit of each byte that is this one, all at once without a branch.
fn bytes_alike(bytes: [u8; CODED], byte: u8) -> u64 {
    const LOW: u64 = u64::from_le_bytes([0x7f; CODED]);
    let differences = u64::from_le_bytes(bytes) ^ u64::from_le_bytes([byte; CODED]);
    // No byte carries into the next: seven bits and 127 fit in eight.
    !(((differences & LOW) + LOW) | differences | LOW)
}

#[derive(Debug)]
struct LabelSet {
    shape: ShapeIx,
    refs: NonZero<u32>,
    /// In the arena. Per key of the shape: a code below [`CODES`]; or more than
    /// that by the length of the value, and the value.
    values: u32,
}

#[derive(Debug, Default)]
pub(crate) struct LabelStore {
    keys: Interner<Box<str>>,
    shapes: Slots<Shape>,
    /// The shape of the set acquired last: most sets come among others of theirs.
    last_shape: Option<ShapeIx>,
    shape_table: IdTable,
    sets: Slots<LabelSet>,
    set_table: IdTable,
    values: KeyArena,
    scratch: Vec<u8>,
}

impl LabelStore {
    /// Takes a reference to the set of these labels.
    pub(crate) fn acquire(&mut self, labels: &Labels) -> LabelsIx {
        let mut bytes = std::mem::take(&mut self.scratch);
        let shape = match self.last_shape.filter(|shape| self.write_known(*shape, labels, &mut bytes)) {
            Some(shape) => shape,
            None => {
                let shape = self.shape_of(labels, &mut bytes);
                self.write(shape, labels, &mut bytes);
                shape
            }
        };
        self.last_shape = Some(shape);
        let at = self.acquire_set(shape, &bytes);
        self.scratch = bytes;
        at
    }

    /// Writes the values of labels into `bytes`, if they have the keys of the
    /// shape and nothing new is to be given a code.
    fn write_known(&self, shape: ShapeIx, labels: &Labels, bytes: &mut Vec<u8>) -> bool {
        bytes.clear();
        let Shape { text, coded, values: texts, .. } = &self.shapes[shape.0];
        let (mut keys, mut coded) = (&**text, coded.iter());
        for (key, value) in labels.iter_bytes() {
            let Some(rest) = strip_key(keys, key) else { return false };
            keys = rest;
            let coded = coded.next().expect("a shape knows the values of each key");
            match coded.coding(texts, &self.values, value) {
                Coding::Code(code) => bytes.push(code),
                Coding::Written => push_value(bytes, value),
                Coding::New => return false,
            }
        }
        keys.is_empty()
    }

    /// Writes the values of labels of this shape into `bytes`.
    fn write(&mut self, shape: ShapeIx, labels: &Labels, bytes: &mut Vec<u8>) {
        bytes.clear();
        let Shape { coded, values: texts, .. } = &mut self.shapes[shape.0];
        for (coded, (_, value)) in coded.iter_mut().zip(labels.iter_bytes()) {
            match coded.coding(texts, &self.values, value) {
                Coding::Code(code) => bytes.push(code),
                Coding::Written => push_value(bytes, value),
                Coding::New => bytes.push(coded.add(texts, &mut self.values, value)),
            }
        }
    }

    fn acquire_set(&mut self, shape: ShapeIx, bytes: &[u8]) -> LabelsIx {
        let hash = set_hash(shape, bytes);
        let same = |at| {
            let set = &self.sets[at];
            set.shape == shape && *self.values.get(set.values) == *bytes
        };
        if let Some(at) = self.set_table.find(hash, same) {
            let refs = &mut self.sets[at].refs;
            *refs = refs.checked_add(1).expect("a set has fewer than 2^32 references");
            return LabelsIx(at);
        }
        self.shapes[shape.0].sets += 1;
        let values = self.values.push(bytes);
        let at = self.sets.insert(LabelSet { shape, refs: NonZero::<u32>::MIN, values });
        let (sets, arena) = (&self.sets, &self.values);
        let all = || sets.iter().map(|(at, set)| (at, set_hash(set.shape, arena.get(set.values))));
        self.set_table.insert(hash, at, all);
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
        self.set_table.remove(hash, labels.0);
        self.values.free(set.values);
        let shape = &mut self.shapes[set.shape.0];
        shape.sets -= 1;
        if shape.sets == 0 {
            self.forget_shape(set.shape);
        }
        let values = self.sets.iter_mut().map(|set| &mut set.values);
        self.values.compact(values.chain(self.shapes.iter_mut().flat_map(|shape| &mut shape.values)));
    }

    fn forget_shape(&mut self, at: ShapeIx) {
        let shape = self.shapes.remove(at.0);
        self.last_shape = self.last_shape.filter(|last| *last != at);
        self.shape_table.remove(hash_of(&*shape.text), at.0);
        for value in shape.values {
            self.values.free(value);
        }
        for key in shape.keys {
            self.keys.release(key.0);
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
        self.iter_bytes(labels).map(|(key, value)| (key, text(value)))
    }

    /// As [`iter`](Self::iter), for who does not look at most of the values.
    pub(crate) fn iter_bytes(&self, labels: LabelsIx) -> impl Iterator<Item = (KeyIx, &[u8])> {
        let set = &self.sets[labels.0];
        let shape = &self.shapes[set.shape.0];
        let mut rest = self.values.get(set.values);
        shape.keys.iter().map(move |key| {
            let (head, after) = rest.split_first().expect("a set has a value for each key of its shape");
            rest = after;
            if usize::from(*head) < CODES {
                return (*key, self.values.get(shape.values[usize::from(*head)]));
            }
            let length = if *head == LONG { varint::take(&mut rest) } else { usize::from(*head) - CODES };
            let (value, after) = rest.split_at(length);
            rest = after;
            (*key, value)
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

    /// The shape of labels, which are in use at once. `text` is written over.
    fn shape_of(&mut self, labels: &Labels, text: &mut Vec<u8>) -> ShapeIx {
        text.clear();
        for (key, _) in labels.iter_bytes() {
            varint::push(text, key.len());
            text.extend_from_slice(key);
        }
        let hash = hash_of(&text[..]);
        if let Some(at) = self.shape_table.find(hash, |at| *self.shapes[at].text == **text) {
            return ShapeIx(at);
        }
        let keys = labels.iter().map(|(key, _)| self.keys.acquire(key, || key.into()).0);
        let keys: Box<[KeyIx]> = keys.map(KeyIx).collect();
        let coded = keys.iter().map(|_| CodedValues::default()).collect();
        let shape = Shape { keys, text: text.as_slice().into(), coded, values: Vec::new(), sets: 0 };
        let at = self.shapes.insert(shape);
        let shapes = &self.shapes;
        self.shape_table.insert(hash, at, || shapes.iter().map(|(at, shape)| (at, hash_of(&*shape.text))));
        ShapeIx(at)
    }
}

/// What follows this key in a shape's text, if it is the next one.
fn strip_key<'a>(mut text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    if text.is_empty() || varint::take(&mut text) != key.len() {
        return None;
    }
    text.strip_prefix(key)
}

/// Writes a value that has no code.
fn push_value(bytes: &mut Vec<u8>, value: &[u8]) {
    match u8::try_from(CODES + value.len()) {
        Ok(head) if head != LONG => bytes.push(head),
        Ok(_) | Err(_) => {
            bytes.push(LONG);
            varint::push(bytes, value.len());
        }
    }
    bytes.extend_from_slice(value);
}

/// The text of a value.
pub(crate) fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).expect("values are text")
}

fn set_hash(shape: ShapeIx, values: &[u8]) -> u64 {
    FxBuildHasher.hash_one((shape, values))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

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

    proptest! {
        /// Against a list of the labels that are held, each with its references.
        #[test]
        fn sets_are_those_acquired(
            steps in prop::collection::vec((0u8..4, prop::collection::btree_map("[ab]c?", "[xyz]{0,3}|x{130}", 0..3)), 0..120)
        ) {
            let mut store = LabelStore::default();
            let mut held: Vec<(Labels, LabelsIx)> = Vec::new();
            for (step, pairs) in steps {
                let at = pairs.len() * 7 % held.len().max(1);
                match (step, held.is_empty()) {
                    (0, false) => {
                        let (_, at) = held.swap_remove(at);
                        store.release(at);
                    }
                    (1, false) => {
                        let (labels, at) = held[at].clone();
                        store.retain(at);
                        held.push((labels, at));
                    }
                    _ => {
                        let labels: Labels = pairs.iter().collect();
                        let at = store.acquire(&labels);
                        held.push((labels, at));
                    }
                }
                for (labels, at) in &held {
                    prop_assert_eq!(&store.labels(*at), labels);
                    let same = held.iter().filter(|(other, _)| other == labels);
                    prop_assert!(same.clone().all(|(_, other)| other == at));
                }
                let distinct: BTreeSet<LabelsIx> = held.iter().map(|(_, at)| *at).collect();
                prop_assert_eq!(store.sets.len(), distinct.len());
            }
            for (_, at) in held {
                store.release(at);
            }
            prop_assert!(store.shapes.len() == 0 && store.keys.iter().count() == 0);
        }
    }
}
