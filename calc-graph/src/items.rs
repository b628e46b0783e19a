//! Every endpoint and network set of the cluster: its key, its prefixes, the
//! kind of resource that it comes from.
//!
//! Input: keys and prefixes. Output: an id per item, which is the member id of
//! the class space of rule selectors. Memory per item: 12 bytes, its key without
//! what it shares with others on its host, 5 to 10 bytes of the key table; a
//! single IPv4 address stands in the item itself.
//! Invariant: an item's prefixes are sorted and each is there once.

use std::net::{IpAddr, Ipv4Addr};

use caracal_model::{HostEndpointKey, Key, Kind, NetworkSetKey, WorkloadEndpointKey};
use caracal_net::Cidr;
use roaring::RoaringBitmap;
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::Member;
use crate::census::Tally;
use crate::id_table::IdTable;
use crate::ids::ItemIx;
use crate::interner::{Interner, hash_of};
use crate::key_arena::KeyArena;
use crate::slots::Slots;

/// The key of an item, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ItemKey<'a> {
    Workload(&'a WorkloadEndpointKey),
    Host(&'a HostEndpointKey),
    NetworkSet(&'a NetworkSetKey),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nets {
    None,
    One(Ipv4Addr),
    /// A place in the table of lists.
    List(u32),
}

#[derive(Debug)]
struct Item {
    key: u32,
    nets: Nets,
    kind: Kind,
}

/// What keys of workloads have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    host: SmolStr,
    orchestrator: SmolStr,
    endpoint: SmolStr,
}

impl Place {
    fn is_of(&self, key: &WorkloadEndpointKey) -> bool {
        self.host == key.host && self.orchestrator == key.orchestrator && self.endpoint == key.endpoint
    }

    fn of(key: &WorkloadEndpointKey) -> Self {
        let WorkloadEndpointKey { host, orchestrator, workload: _, endpoint } = key;
        Self { host: host.clone(), orchestrator: orchestrator.clone(), endpoint: endpoint.clone() }
    }
}

#[derive(Debug, Default)]
struct NetList {
    /// Single IPv4 addresses, sorted.
    v4: Box<[u32]>,
    /// Everything else, sorted.
    other: Box<[Cidr]>,
}

#[derive(Debug, Default)]
pub(crate) struct Items {
    slots: Slots<Item>,
    table: IdTable,
    arena: KeyArena,
    places: Interner<Place>,
    /// The place of the last workload that was new: most come among others of theirs.
    last_place: Option<u32>,
    lists: Slots<NetList>,
    tally: Tally,
}

const WORKLOAD: u8 = b'w';
const HOST: u8 = b'h';
const NETWORK_SET: u8 = b'n';
/// Separates parts of a key; no part of a key holds it.
const SEPARATOR: u8 = 0;

/// A key, or a part of one, on the stack.
type Bytes = SmallVec<[u8; 128]>;

impl Items {
    pub(crate) fn find(&self, key: ItemKey<'_>) -> Option<ItemIx> {
        let place = match key {
            ItemKey::Workload(key) => Some(self.place_of(key)?),
            ItemKey::Host(_) | ItemKey::NetworkSet(_) => None,
        };
        let bytes = encode(key, place);
        let same = |at| *self.arena.get(self.slots[at].key) == *bytes;
        self.table.find(hash_of(&bytes[..]), same).map(ItemIx)
    }

    fn place_of(&self, key: &WorkloadEndpointKey) -> Option<u32> {
        let last = self.last_place.filter(|last| self.places[*last].is_of(key));
        last.or_else(|| self.places.find(&Place::of(key)))
    }

    /// Adds an item without prefixes under a key that no other item has.
    pub(crate) fn insert(&mut self, key: ItemKey<'_>, kind: Kind) -> ItemIx {
        let place = match key {
            ItemKey::Workload(key) => {
                let place = match self.last_place.filter(|last| self.places[*last].is_of(key)) {
                    Some(last) => {
                        self.places.retain(last);
                        last
                    }
                    None => {
                        let place = Place::of(key);
                        self.places.acquire(&place, || place.clone()).0
                    }
                };
                self.last_place = Some(place);
                Some(place)
            }
            ItemKey::Host(_) | ItemKey::NetworkSet(_) => None,
        };
        let bytes = encode(key, place);
        let key = self.arena.push(&bytes);
        let nets = Nets::None;
        let at = self.slots.insert(Item { key, nets, kind });
        let (slots, arena) = (&self.slots, &self.arena);
        let all = || slots.iter().map(|(at, item)| (at, hash_of(arena.get(item.key))));
        self.table.insert(hash_of(&bytes[..]), at, all);
        self.tally.add(kind);
        ItemIx(at)
    }

    pub(crate) fn remove(&mut self, item: ItemIx) {
        self.set_nets(item, &[]);
        let at = self.slots[item.0].key;
        let bytes = self.arena.get(at);
        self.table.remove(hash_of(bytes), item.0);
        if bytes[0] == WORKLOAD {
            let place = place_id(bytes);
            if self.places.release(place).is_some() {
                self.last_place = self.last_place.filter(|last| *last != place);
            }
        }
        self.arena.free(at);
        let Item { kind, .. } = self.slots.remove(item.0);
        self.tally.remove(kind);
        self.arena.compact(self.slots.iter_mut().map(|item| &mut item.key));
    }

    pub(crate) fn kind(&self, item: ItemIx) -> Kind {
        self.slots[item.0].kind
    }

    pub(crate) fn set_kind(&mut self, item: ItemIx, kind: Kind) {
        let former = std::mem::replace(&mut self.slots[item.0].kind, kind);
        self.tally.remove(former);
        self.tally.add(kind);
    }

    /// How many there are of each kind.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The ids of the items of a kind.
    pub(crate) fn of_kind(&self, kind: Kind) -> RoaringBitmap {
        let items = self.slots.iter().filter(|(_, item)| item.kind == kind);
        items.map(|(at, _)| at).collect()
    }

    /// The item's key.
    pub(crate) fn key(&self, item: ItemIx) -> Key {
        let bytes = self.arena.get(self.slots[item.0].key);
        let text = |bytes| -> SmolStr { std::str::from_utf8(bytes).expect("keys are text").into() };
        match bytes[0] {
            WORKLOAD => {
                let Place { host, orchestrator, endpoint } = self.places[place_id(bytes)].clone();
                let workload = text(&bytes[5..]);
                Key::WorkloadEndpoint(WorkloadEndpointKey { host, orchestrator, workload, endpoint })
            }
            HOST => {
                let mut parts = bytes[1..].splitn(2, |byte| *byte == SEPARATOR).map(text);
                let mut part = || parts.next().expect("a host key has two parts");
                Key::HostEndpoint(HostEndpointKey { host: part(), name: part() })
            }
            _ => Key::NetworkSet(NetworkSetKey(text(&bytes[1..]))),
        }
    }

    /// Replaces an item's prefixes. `nets` is sorted and has each prefix once.
    pub(crate) fn set_nets(&mut self, item: ItemIx, nets: &[Cidr]) {
        if let Nets::List(at) = self.slots[item.0].nets {
            self.lists.remove(at);
        }
        self.slots[item.0].nets = match nets {
            [] => Nets::None,
            [net] if host_v4(net).is_some() => Nets::One(host_v4(net).expect("just asked")),
            nets => Nets::List(self.lists.insert(NetList {
                v4: nets.iter().filter_map(host_v4).map(Ipv4Addr::to_bits).collect(),
                other: nets.iter().filter(|net| host_v4(net).is_none()).copied().collect(),
            })),
        };
    }

    /// Adds the item's prefixes to lists of single IPv4 addresses and of the rest.
    pub(crate) fn collect_nets(&self, item: ItemIx, v4: &mut Vec<u32>, other: &mut Vec<Member>) {
        match self.slots[item.0].nets {
            Nets::None => {}
            Nets::One(addr) => v4.push(addr.to_bits()),
            Nets::List(at) => {
                let list = &self.lists[at];
                v4.extend_from_slice(&list.v4);
                other.extend(list.other.iter().copied().map(Member::Net));
            }
        }
    }

    /// The item's prefixes.
    pub(crate) fn nets(&self, item: ItemIx) -> impl Iterator<Item = Cidr> {
        let (one, list) = match self.slots[item.0].nets {
            Nets::None => (None, None),
            Nets::One(addr) => (Some(addr), None),
            Nets::List(at) => (None, Some(&self.lists[at])),
        };
        let v4 = list.into_iter().flat_map(|list| &list.v4).map(|bits| Ipv4Addr::from_bits(*bits));
        let other = list.into_iter().flat_map(|list| &list.other).copied();
        one.into_iter().chain(v4).map(|addr| Cidr::host(addr.into())).chain(other)
    }
}

/// The address of a prefix that is one IPv4 address.
pub(crate) fn host_v4(net: &Cidr) -> Option<Ipv4Addr> {
    match net.addr() {
        IpAddr::V4(addr) => net.is_host().then_some(addr),
        IpAddr::V6(_) => None,
    }
}

fn place_id(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[1..5].try_into().expect("an id is four bytes"))
}

fn encode(key: ItemKey<'_>, place: Option<u32>) -> Bytes {
    let mut bytes = Bytes::new();
    match key {
        ItemKey::Workload(key) => {
            bytes.push(WORKLOAD);
            bytes.extend_from_slice(&place.expect("a workload has a place").to_le_bytes());
            bytes.extend_from_slice(key.workload.as_bytes());
        }
        ItemKey::Host(key) => {
            bytes.push(HOST);
            bytes.extend_from_slice(key.host.as_bytes());
            bytes.push(SEPARATOR);
            bytes.extend_from_slice(key.name.as_bytes());
        }
        ItemKey::NetworkSet(key) => {
            bytes.push(NETWORK_SET);
            bytes.extend_from_slice(key.0.as_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
