//! What sources have listed, and what they delivered that is not in force.
//!
//! Input: the frames of lists, objects that were refused or hidden. Output: what
//! a finished list did not repeat, and when every kind was listed. Memory: during
//! a list of a kind one bit per object of it; the objects that are not in force.
//! Invariants: an object that is not in force is either in `aside` or nowhere;
//! of two objects of one key, that of the earlier kind is in force.

use std::collections::{BTreeMap, BTreeSet};

use caracal_model::{Key, Kind, Object, WorkloadEndpoint};
use roaring::RoaringBitmap;

use crate::Problem;

/// The objects of a kind that its list has not repeated yet.
#[derive(Debug, Default)]
pub(crate) struct Unseen {
    /// Ids of those in force, in the table of whatever node holds the kind.
    pub(crate) ids: RoaringBitmap,
    /// Keys of those that have no id, or are not in force.
    pub(crate) keys: BTreeSet<Key>,
}

#[derive(Debug)]
struct Aside {
    problem: Problem,
    /// Kept if it may come into force without being delivered again.
    object: Option<Object>,
}

#[derive(Debug, Default)]
pub(crate) struct Intake {
    listed: BTreeSet<Kind>,
    lists: BTreeMap<Kind, Unseen>,
    aside: BTreeMap<Key, BTreeMap<Kind, Aside>>,
    /// Endpoints with allowed source prefixes, in force or not: the settings decide.
    with_prefixes: BTreeMap<Key, BTreeMap<Kind, WorkloadEndpoint>>,
}

impl Intake {
    /// Starts a list. `unseen` are the objects of the kind in force.
    pub(crate) fn begin(&mut self, kind: Kind, mut unseen: Unseen) {
        let aside = self.aside.iter().filter(|(_, kinds)| kinds.contains_key(&kind));
        unseen.keys.extend(aside.map(|(key, _)| key.clone()));
        self.lists.insert(kind, unseen);
    }

    /// Notes an object that a list may be waiting for.
    pub(crate) fn saw(&mut self, kind: Kind, key: &Key, id: Option<u32>) {
        if let Some(unseen) = self.lists.get_mut(&kind) {
            unseen.keys.remove(key);
            if let Some(id) = id {
                unseen.ids.remove(id);
            }
        }
    }

    /// Lets a list wait for an object by its key, because it may lose its id.
    pub(crate) fn await_by_key(&mut self, kind: Kind, key: &Key, id: Option<u32>) {
        if let Some(unseen) = self.lists.get_mut(&kind)
            && id.is_some_and(|id| unseen.ids.remove(id))
        {
            unseen.keys.insert(key.clone());
        }
    }

    /// Ends a list; gives out what it did not repeat.
    pub(crate) fn end(&mut self, kind: Kind) -> Unseen {
        self.listed.insert(kind);
        self.lists.remove(&kind).unwrap_or_default()
    }

    /// Whether every kind was listed.
    pub(crate) fn is_complete(&self) -> bool {
        self.listed.len() == Kind::ALL.len()
    }

    /// Sets an object aside.
    pub(crate) fn set_aside(&mut self, kind: Kind, key: Key, problem: Problem, object: Option<Object>) {
        self.aside.entry(key).or_default().insert(kind, Aside { problem, object });
    }

    /// Forgets an object that was aside.
    pub(crate) fn forget(&mut self, kind: Kind, key: &Key) {
        remove_nested(&mut self.aside, key, kind);
    }

    /// Takes the object that comes into force when a key is free.
    pub(crate) fn take_successor(&mut self, key: &Key) -> Option<(Kind, Object)> {
        let kinds = self.aside.get_mut(key)?;
        let (kind, object) = kinds.iter_mut().find_map(|(kind, aside)| Some((*kind, aside.object.take()?)))?;
        self.forget(kind, key);
        self.note_holder(key, kind);
        Some((kind, object))
    }

    /// Notes which kind's object of a key comes into force: it is what hides the others.
    pub(crate) fn note_holder(&mut self, key: &Key, holder: Kind) {
        for aside in self.aside.get_mut(key).into_iter().flat_map(BTreeMap::values_mut) {
            if let Problem::HiddenBy(by) = &mut aside.problem {
                *by = holder;
            }
        }
    }

    /// Remembers an endpoint on which the settings decide.
    pub(crate) fn remember_prefixes(&mut self, kind: Kind, key: Key, endpoint: WorkloadEndpoint) {
        self.with_prefixes.entry(key).or_default().insert(kind, endpoint);
    }

    pub(crate) fn forget_prefixes(&mut self, kind: Kind, key: &Key) {
        remove_nested(&mut self.with_prefixes, key, kind);
    }

    /// The endpoints on which the settings decide.
    pub(crate) fn with_prefixes(&self) -> Vec<(Kind, Key, WorkloadEndpoint)> {
        let nested = self.with_prefixes.iter();
        let flat = nested.flat_map(|(key, kinds)| kinds.iter().map(move |(kind, object)| (kind, key, object)));
        flat.map(|(kind, key, object)| (*kind, key.clone(), object.clone())).collect()
    }

    /// The objects that are not in force, by key.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&Key, Kind, &Problem)> {
        let nested = self.aside.iter();
        nested.flat_map(|(key, kinds)| kinds.iter().map(move |(kind, aside)| (key, *kind, &aside.problem)))
    }
}

fn remove_nested<T>(map: &mut BTreeMap<Key, BTreeMap<Kind, T>>, key: &Key, kind: Kind) {
    if let Some(kinds) = map.get_mut(key) {
        kinds.remove(&kind);
        if kinds.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
