//! Nodes: what the dataplane must know of each host.
//!
//! Input: Node objects. Output: `HostMetadataUpdate` and `HostMetadataRemove`.
//! Memory: one [`Node`] per node, and a copy of its name per flush in which it changed.
//! Invariant: `told` says what the receiver has, by name; a node that changed
//! since is in `dirty`.

use std::collections::{BTreeMap, BTreeSet};

use caracal_model::{Kind, Node};
use smol_str::SmolStr;

use crate::Delta;

#[derive(Debug)]
struct Held {
    node: Node,
    kind: Kind,
}

#[derive(Debug, Default)]
pub(crate) struct Hosts {
    held: BTreeMap<SmolStr, Held>,
    told: BTreeSet<SmolStr>,
    dirty: BTreeSet<SmolStr>,
}

impl Hosts {
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        self.held.get(name).map(|held| held.kind)
    }

    pub(crate) fn names_of(&self, kind: Kind) -> BTreeSet<SmolStr> {
        let of_kind = self.held.iter().filter(|(_, held)| held.kind == kind);
        of_kind.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn put(&mut self, kind: Kind, name: SmolStr, node: Node) {
        let same = self.held.get(&name).is_some_and(|held| held.node == node);
        if !same {
            self.dirty.insert(name.clone());
        }
        self.held.insert(name, Held { node, kind });
    }

    pub(crate) fn remove(&mut self, name: &SmolStr) {
        if self.held.remove(name).is_some() {
            self.dirty.insert(name.clone());
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn flush(&mut self, sink: &mut dyn FnMut(Delta<'_>)) {
        let dirty = std::mem::take(&mut self.dirty);
        let (updated, removed): (Vec<_>, Vec<_>) = dirty.iter().partition(|name| self.held.contains_key(*name));
        for name in removed {
            if self.told.remove(name) {
                sink(Delta::HostMetadataRemove { hostname: name });
            }
        }
        for name in updated {
            let node = &self.held[name].node;
            self.told.insert(name.clone());
            sink(Delta::HostMetadataUpdate { hostname: name, node });
        }
    }

    pub(crate) fn snapshot(&self, sink: &mut dyn FnMut(Delta<'_>)) {
        for (hostname, Held { node, .. }) in &self.held {
            sink(Delta::HostMetadataUpdate { hostname, node });
        }
    }
}
