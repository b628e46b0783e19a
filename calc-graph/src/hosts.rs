//! Nodes: what the dataplane must know of each host.
//!
//! Input: Node objects. Output: `HostMetadataUpdate` and `HostMetadataRemove`.
//! Memory: one [`Node`] per node, and another per flush in which it changed.
//! Invariant: the receiver has each node as it is held, but for those in `dirty`,
//! where it stands what the receiver has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_model::{Kind, Node};
use smol_str::SmolStr;

use crate::Delta;
use crate::census::Tally;

#[derive(Debug)]
struct Held {
    node: Node,
    kind: Kind,
}

#[derive(Debug, Default)]
pub(crate) struct Hosts {
    held: BTreeMap<SmolStr, Held>,
    dirty: BTreeMap<SmolStr, Option<Node>>,
    tally: Tally,
}

impl Hosts {
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        self.held.get(name).map(|held| held.kind)
    }

    pub(crate) fn names_of(&self, kind: Kind) -> BTreeSet<SmolStr> {
        let of_kind = self.held.iter().filter(|(_, held)| held.kind == kind);
        of_kind.map(|(name, _)| name.clone()).collect()
    }

    /// How many there are of each kind.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn put(&mut self, kind: Kind, name: SmolStr, node: Node) {
        let former = self.held.insert(name.clone(), Held { node: node.clone(), kind });
        self.tally.add(kind);
        let former = former.map(|Held { node, kind }| {
            self.tally.remove(kind);
            node
        });
        if former.as_ref() != Some(&node) {
            self.dirty.entry(name).or_insert(former);
        }
    }

    pub(crate) fn remove(&mut self, name: &SmolStr) {
        if let Some(Held { node, kind }) = self.held.remove(name) {
            self.tally.remove(kind);
            self.dirty.entry(name.clone()).or_insert(Some(node));
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn flush(&mut self, sink: &mut dyn FnMut(Delta<'_>)) {
        let dirty = std::mem::take(&mut self.dirty);
        for (hostname, before) in &dirty {
            if before.is_some() && !self.held.contains_key(hostname) {
                sink(Delta::HostMetadataRemove { hostname });
            }
        }
        for (hostname, before) in &dirty {
            if let Some(Held { node, .. }) = self.held.get(hostname)
                && before.as_ref() != Some(node)
            {
                sink(Delta::HostMetadataUpdate { hostname, node });
            }
        }
    }

    pub(crate) fn snapshot(&self, sink: &mut dyn FnMut(Delta<'_>)) {
        for (hostname, Held { node, .. }) in &self.held {
            sink(Delta::HostMetadataUpdate { hostname, node });
        }
    }

    /// The nodes that have one of some addresses.
    pub(crate) fn with_addresses(&self, addresses: &[IpAddr]) -> Vec<(SmolStr, Node)> {
        let has_one = |node: &Node| {
            // `192.0.2.1/24` or `192.0.2.1`.
            let own = [&node.ipv4, &node.ipv6].map(|text| text.split('/').next().and_then(|text| text.parse().ok()));
            own.into_iter().flatten().any(|own: IpAddr| addresses.contains(&own))
        };
        let nodes = self.held.iter().filter(|(_, held)| has_one(&held.node));
        nodes.map(|(name, held)| (name.clone(), held.node.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use caracal_model::Labels;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_receiver_has_what_is_held(steps in prop::collection::vec((0u8..3, 0u8..4, 0u8..2), 0..60)) {
            let (mut hosts, mut held, mut has) = (Hosts::default(), BTreeMap::new(), BTreeMap::new());
            for (name, step, value) in steps {
                let name = SmolStr::from(format!("n{name}"));
                match step {
                    0 | 1 => {
                        let labels = Labels::from_iter([("value", value.to_string())]);
                        let node = Node { labels, ..Node::default() };
                        hosts.put(Kind::Node, name.clone(), node.clone());
                        held.insert(name, node);
                    }
                    2 => {
                        hosts.remove(&name);
                        held.remove(&name);
                    }
                    _ => {
                        hosts.flush(&mut |delta| match delta {
                            Delta::HostMetadataUpdate { hostname, node } => {
                                let former = has.insert(hostname.clone(), node.clone());
                                assert_ne!(former.as_ref(), Some(node), "told twice");
                            }
                            Delta::HostMetadataRemove { hostname } => assert!(has.remove(hostname).is_some()),
                            other => panic!("not of nodes: {other:?}"),
                        });
                        prop_assert_eq!(&has, &held);
                        prop_assert!(!hosts.is_dirty());
                        prop_assert_eq!(hosts.tally().of([Kind::Node]), held.len() as u64);
                    }
                }
            }
        }
    }
}
