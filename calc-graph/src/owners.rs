//! Who has a prefix: the items of each address and prefix of the cluster.
//!
//! Input: prefixes of items coming and going. Output: per prefix its owners.
//! Memory per single IPv4 address with one owner: 8 bytes and the table's
//! slack; other prefixes 32, prefixes with several owners a list besides.
//! Invariant: an item is an owner of a prefix once, as long as it has it.

use std::net::Ipv4Addr;

use caracal_net::Cidr;
use hashbrown::HashTable;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::ids::ItemIx;
use crate::interner::hash_of;
use crate::items::host_v4;
use crate::slots::Slots;

/// Marks a place in the table of shared prefixes; otherwise an id is an item.
const SHARED: u32 = 1 << 31;

#[derive(Debug, Default)]
pub(crate) struct Owners {
    v4: HashTable<(Ipv4Addr, u32)>,
    other: FxHashMap<Cidr, u32>,
    shared: Slots<SmallVec<[ItemIx; 4]>>,
}

impl Owners {
    pub(crate) fn add(&mut self, net: Cidr, item: ItemIx) {
        assert!(item.0 < SHARED, "there are fewer than 2^31 items");
        let shared = &mut self.shared;
        let mut join = |owner: &mut u32| {
            if *owner & SHARED == 0 {
                let list = SmallVec::from_slice(&[ItemIx(*owner), item]);
                *owner = shared.insert(list) | SHARED;
            } else {
                shared[*owner & !SHARED].push(item);
            }
        };
        if let Some(addr) = host_v4(&net) {
            let hash = hash_of(&addr.to_bits());
            match self.v4.find_mut(hash, |(other, _)| *other == addr) {
                Some((_, owner)) => join(owner),
                None => {
                    self.v4.insert_unique(hash, (addr, item.0), |(addr, _)| hash_of(&addr.to_bits()));
                }
            }
        } else {
            self.other.entry(net).and_modify(join).or_insert(item.0);
        }
    }

    pub(crate) fn remove(&mut self, net: Cidr, item: ItemIx) {
        let shared = &mut self.shared;
        // Whether the prefix has no owner left.
        let mut part = |owner: &mut u32| {
            if *owner & SHARED == 0 {
                return true;
            }
            let at = *owner & !SHARED;
            shared[at].retain(|other| *other != item);
            if let [last] = shared[at][..] {
                shared.remove(at);
                *owner = last.0;
            }
            false
        };
        if let Some(addr) = host_v4(&net) {
            let hash = hash_of(&addr.to_bits());
            if let Ok(mut entry) = self.v4.find_entry(hash, |(other, _)| *other == addr)
                && part(&mut entry.get_mut().1)
            {
                entry.remove();
            }
        } else if self.other.get_mut(&net).is_some_and(part) {
            self.other.remove(&net);
        }
    }

    /// The items that have exactly this prefix.
    pub(crate) fn of(&self, net: Cidr) -> impl Iterator<Item = ItemIx> {
        let owner = match host_v4(&net) {
            Some(addr) => {
                let found = self.v4.find(hash_of(&addr.to_bits()), |(other, _)| *other == addr);
                found.map(|(_, owner)| *owner)
            }
            None => self.other.get(&net).copied(),
        };
        let (one, many) = match owner {
            None => (None, &[][..]),
            Some(owner) if owner & SHARED == 0 => (Some(ItemIx(owner)), &[][..]),
            Some(owner) => (None, &self.shared[owner & !SHARED][..]),
        };
        one.into_iter().chain(many.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn owners_are_those_added(steps in prop::collection::vec((any::<bool>(), 0usize..4, 0u32..4), 0..80)) {
            let nets: [Cidr; 4] = ["10.0.0.1", "10.0.0.0/8", "fd00::1", "0.0.0.0/1"].map(|net| net.parse().expect("a prefix"));
            let (mut owners, mut model) = (Owners::default(), BTreeMap::<Cidr, BTreeSet<ItemIx>>::new());
            for (add, net, item) in steps {
                let (net, item) = (nets[net], ItemIx(item));
                let held = model.entry(net).or_default();
                if add && held.insert(item) {
                    owners.add(net, item);
                } else if !add && held.remove(&item) {
                    owners.remove(net, item);
                }
                for net in nets {
                    let want = model.get(&net).cloned().unwrap_or_default();
                    prop_assert_eq!(owners.of(net).collect::<BTreeSet<_>>(), want);
                }
            }
            let shared = model.values().filter(|held| held.len() > 1).count();
            prop_assert_eq!(owners.shared.len(), shared);
        }
    }
}
