//! IP sets as kernel sets.
//!
//! An IP set is up to four sets of the kernel: for each family the addresses,
//! hashed, and the prefixes, as intervals; or, for addresses with ports, one for
//! each family. Each is made when its first member comes, and stays while the IP
//! set does: a set that flapped between two forms would have its rules rewritten
//! each time.

mod ranges;

use std::net::{Ipv4Addr, Ipv6Addr};

use caracal_net::Family;
use caracal_program::{IpSet, Member, SetId, SetKind as IpSetKind};
use ranges::Ranges;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::edits::{Edits, ElementEdit};
use crate::ir::{Element, Name, SetKind, SetSpec};
use crate::lower::SetObjects;
use crate::names;
use crate::settings::Ipv6;

/// A set that is edited in the same revision as a rule that uses it is copied if
/// it has at most this many members.
const MOST_COPIED: usize = 10_000;

/// One of an IP set's kernel sets.
#[derive(Debug)]
struct Object {
    spec: SetSpec,
    version: u32,
    /// The intervals that the kernel holds, for a kind that has them.
    ranges: Ranges,
}

/// An IP set as the kernel knows it.
#[derive(Debug)]
struct SetState<U> {
    /// Whether the store holds the set.
    known: bool,
    objects: SmallVec<[Object; 2]>,
    /// What looks the set up.
    users: FxHashSet<U>,
}

/// All IP sets.
#[derive(Debug)]
pub(crate) struct SetTable<U> {
    sets: FxHashMap<SetId, SetState<U>>,
    /// The names of their kernel sets, and of those that wait to be deleted.
    taken: FxHashSet<Name>,
    ipv6: Ipv6,
}

impl<U> SetObjects for SetTable<U> {
    fn is_known(&self, id: &SetId) -> bool {
        self.sets.get(id).is_some_and(|set| set.known)
    }

    fn object(&self, id: &SetId, kind: SetKind) -> Option<&Name> {
        let set = self.sets.get(id)?;
        set.objects.iter().find(|object| object.spec.kind == kind).map(|object| &object.spec.name)
    }
}

/// The part of a change that is about one kernel set.
struct Part {
    kind: SetKind,
    add: Vec<Element>,
    delete: Vec<Element>,
}

/// Where a kernel set of an IP set may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It can be made as this version.
    Free(u32),
    /// The kernel holds this version of it, with room for so many members; without
    /// end if it is not said.
    Held { version: u32, size: Option<u32> },
}

/// The place of a kernel set, from its name at version 0.
pub(crate) type Places<'a> = dyn Fn(&Name) -> Place + 'a;

/// Whether rules that use a set must be lowered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The rules find the members where they were.
    Same,
    /// A part of the set is elsewhere, new or gone.
    Changed,
}

impl<U> SetTable<U> {
    pub(crate) fn new(ipv6: Ipv6) -> Self {
        Self { sets: FxHashMap::default(), taken: FxHashSet::default(), ipv6 }
    }

    /// The users of a set; also of one that is not known.
    pub(crate) fn users_of(&mut self, id: &SetId) -> &mut FxHashSet<U> {
        &mut self.sets.entry(id.clone()).or_insert_with(SetState::new).users
    }

    /// The set that a kernel set belongs to.
    pub(crate) fn owner_of(&self, name: &str) -> Option<&SetId> {
        self.sets.iter().find(|(_, set)| set.objects.iter().any(|o| &*o.spec.name == name)).map(|(id, _)| id)
    }

    /// Drops what is kept of a set that does not exist and that nothing names.
    pub(crate) fn forget_unused(&mut self, id: &SetId) {
        if self.sets.get(id).is_some_and(|set| !set.known && set.users.is_empty()) {
            self.sets.remove(id);
        }
    }

    /// Takes the members that came and went. An object that lacks for a member, or has
    /// no room for it, is made and filled from `set`, which is the state after the
    /// change.
    pub(crate) fn change(
        &mut self,
        id: &SetId,
        set: &IpSet,
        (added, removed): (&[Member], &[Member]),
        places: &Places<'_>,
        edits: &mut Edits,
    ) -> Shape {
        let Self { sets, taken, ipv6 } = self;
        let ipv6 = *ipv6;
        let state = sets.entry(id.clone()).or_insert_with(SetState::new);
        let mut shape = Shape::Same;
        let mut parts: SmallVec<[Part; 2]> = SmallVec::new();
        for (member, is_new) in added.iter().map(|m| (m, true)).chain(removed.iter().map(|m| (m, false))) {
            let kind = kind_of(member);
            if !kinds(ipv6, set.kind()).any(|wanted| wanted == kind) {
                continue;
            }
            let at = parts.iter().position(|part| part.kind == kind).unwrap_or_else(|| {
                parts.push(Part { kind, add: Vec::new(), delete: Vec::new() });
                parts.len() - 1
            });
            // Of prefixes, only those that no other covers are in the kernel: see below.
            if !kind.is_interval() {
                let part = &mut parts[at];
                if is_new { &mut part.add } else { &mut part.delete }.push(element_of(member));
            }
        }
        for Part { kind, mut add, mut delete } in parts {
            let Some(object) = state.objects.iter_mut().find(|object| object.spec.kind == kind) else {
                let object = Object::make(id, kind, places(&names::ip_set(kind, id, 0)), set, taken);
                object.fill(set, edits);
                state.objects.push(object);
                shape = Shape::Changed;
                continue;
            };
            if object.spec.size.is_some_and(|size| count(kind, set) > size as usize) {
                object.renew(id, set, places, taken, edits);
                shape = Shape::Changed;
                continue;
            }
            if kind.is_interval() {
                (add, delete) = object.ranges.become_these(Ranges::of(kind, set));
            }
            edits.change(ElementEdit { set: object.spec.clone(), add, delete });
        }
        shape
    }

    /// Takes a set whole: one that is new, or of another kind than before.
    pub(crate) fn replace(&mut self, id: &SetId, set: &IpSet, places: &Places<'_>, edits: &mut Edits) {
        let Self { sets, taken, ipv6 } = self;
        let state = sets.entry(id.clone()).or_insert_with(SetState::new);
        state.known = true;
        let old = std::mem::take(&mut state.objects);
        for kind in kinds(*ipv6, set.kind()).filter(|kind| count(*kind, set) > 0) {
            let object = match old.iter().find(|object| object.spec.kind == kind) {
                Some(held) => held.next(id, set, places, taken),
                None => Object::make(id, kind, places(&names::ip_set(kind, id, 0)), set, taken),
            };
            object.fill(set, edits);
            state.objects.push(object);
        }
        edits.unused_sets.extend(old.into_iter().map(|object| object.spec.name));
    }

    /// Puts the objects of a set that this revision edits under new names, so that
    /// rules of the revision before go on seeing the members of then. Says how
    /// many members are in objects that are too big for it.
    pub(crate) fn copy(&mut self, id: &SetId, set: &IpSet, places: &Places<'_>, edits: &mut Edits) -> usize {
        let Self { sets, taken, .. } = self;
        let Some(state) = sets.get_mut(id) else { return 0 };
        let mut too_big = 0;
        for object in &mut state.objects {
            let Some(at) = edits.elements.iter().position(|edit| edit.set == object.spec) else { continue };
            let members = count(object.spec.kind, set);
            if members > MOST_COPIED {
                too_big += members;
                continue;
            }
            edits.elements.remove(at);
            object.renew(id, set, places, taken, edits);
        }
        too_big
    }

    /// A kernel set is about to be deleted: its name is free.
    pub(crate) fn deleted(&mut self, name: &Name) {
        self.taken.remove(name);
    }

    /// Forgets a set that is gone.
    pub(crate) fn remove(&mut self, id: &SetId, edits: &mut Edits) {
        if let Some(state) = self.sets.get_mut(id) {
            state.known = false;
            edits.unused_sets.extend(state.objects.drain(..).map(|object| object.spec.name));
        }
        self.forget_unused(id);
    }
}

impl<U> SetState<U> {
    fn new() -> Self {
        Self { known: false, objects: SmallVec::new(), users: FxHashSet::default() }
    }
}

impl Object {
    /// Adopts what the kernel holds if there is room in it for the members, else makes
    /// a set with more room. Of two sets with one name, the second gets another version.
    fn make(id: &SetId, kind: SetKind, place: Place, set: &IpSet, taken: &mut FxHashSet<Name>) -> Self {
        let members = count(kind, set);
        let (mut version, mut size) = match place {
            Place::Free(version) => (version, size_for(kind, members)),
            Place::Held { version, size } if size.is_none_or(|size| members <= size as usize) => (version, size),
            Place::Held { version, .. } => (version + 1, size_for(kind, members)),
        };
        let mut name = names::ip_set(kind, id, version);
        while !taken.insert(name.clone()) {
            version += 1;
            size = size_for(kind, members);
            name = names::ip_set(kind, id, version);
        }
        Self { spec: SetSpec { name, kind, size }, version, ranges: Ranges::of(kind, set) }
    }

    /// The same set with the next version.
    fn next(&self, id: &SetId, set: &IpSet, places: &Places<'_>, taken: &mut FxHashSet<Name>) -> Self {
        let kind = self.spec.kind;
        let (Place::Free(free) | Place::Held { version: free, .. }) = places(&names::ip_set(kind, id, 0));
        Self::make(id, kind, Place::Free(free.max(self.version + 1)), set, taken)
    }

    /// Puts the members of `set` into a set with the next version, and leaves this one.
    fn renew(&mut self, id: &SetId, set: &IpSet, places: &Places<'_>, taken: &mut FxHashSet<Name>, edits: &mut Edits) {
        let next = self.next(id, set, places, taken);
        next.fill(set, edits);
        edits.unused_sets.push(std::mem::replace(self, next).spec.name);
    }

    fn fill(&self, set: &IpSet, edits: &mut Edits) {
        edits.sets.push(self.spec.clone());
        let add = elements(self.spec.kind, set).collect();
        edits.change(ElementEdit { set: self.spec.clone(), add, delete: Vec::new() });
    }
}

/// The most members that a hashed set may have that has so many now: the kernel then
/// makes its table of hashes at once, and finds members faster. This and the short
/// names of sets together took 12 to 15 % off a ruleset from nothing. Without end for
/// a set that is too large to be copied when it outgrows its size.
fn size_for(kind: SetKind, members: usize) -> Option<u32> {
    let is_hashed = matches!(kind, SetKind::Addrs(_) | SetKind::AddrPorts(_));
    let members = u32::try_from(members).ok().filter(|_| is_hashed && members <= MOST_COPIED / 2)?;
    // The kernel's table is the next power of two from four thirds of the size.
    Some((2 * members + 16).next_power_of_two() / 4 * 3)
}

/// The kinds of kernel sets that an IP set may have.
fn kinds(ipv6: Ipv6, kind: IpSetKind) -> impl Iterator<Item = SetKind> {
    let kinds: [&'static [SetKind]; 2] = match kind {
        IpSetKind::Net => [
            &[SetKind::Addrs(Family::V4), SetKind::Nets(Family::V4)],
            &[SetKind::Addrs(Family::V6), SetKind::Nets(Family::V6)],
        ],
        IpSetKind::IpPort => [&[SetKind::AddrPorts(Family::V4)], &[SetKind::AddrPorts(Family::V6)]],
    };
    let [v4, v6] = kinds;
    let v6 = match ipv6 {
        Ipv6::On => v6,
        Ipv6::Off => &[],
    };
    v4.iter().chain(v6).copied()
}

/// The number of a set's members of one kind.
fn count(kind: SetKind, set: &IpSet) -> usize {
    match kind {
        SetKind::Addrs(Family::V4) => set.v4_hosts().len(),
        SetKind::Addrs(Family::V6) => set.v6_hosts().len(),
        SetKind::Nets(Family::V4) => set.v4_nets().len(),
        SetKind::Nets(Family::V6) => set.v6_nets().len(),
        SetKind::AddrPorts(Family::V4) => set.v4_ports().len(),
        SetKind::AddrPorts(Family::V6) => set.v6_ports().len(),
        SetKind::Ports
        | SetKind::PortRanges
        | SetKind::Protocols
        | SetKind::Interfaces
        | SetKind::WorkloadAddrs(_)
        | SetKind::WorkloadNets(_) => 0,
    }
}

/// The elements that a kernel set of one kind must hold, in order.
fn elements(kind: SetKind, set: &IpSet) -> Box<dyn Iterator<Item = Element> + '_> {
    match kind {
        SetKind::Addrs(Family::V4) => {
            Box::new(set.v4_hosts().iter().map(|bits| Element::Addr(Ipv4Addr::from_bits(*bits).into())))
        }
        SetKind::Addrs(Family::V6) => {
            Box::new(set.v6_hosts().iter().map(|bits| Element::Addr(Ipv6Addr::from_bits(*bits).into())))
        }
        SetKind::Nets(_) => Box::new(Ranges::of(kind, set).into_elements()),
        SetKind::AddrPorts(Family::V4) => Box::new(
            set.v4_ports()
                .iter()
                .map(|(bits, proto, port)| Element::AddrPort(Ipv4Addr::from_bits(*bits).into(), *proto, *port)),
        ),
        SetKind::AddrPorts(Family::V6) => Box::new(
            set.v6_ports()
                .iter()
                .map(|(bits, proto, port)| Element::AddrPort(Ipv6Addr::from_bits(*bits).into(), *proto, *port)),
        ),
        SetKind::Ports
        | SetKind::PortRanges
        | SetKind::Protocols
        | SetKind::Interfaces
        | SetKind::WorkloadAddrs(_)
        | SetKind::WorkloadNets(_) => Box::new(std::iter::empty()),
    }
}

/// The kind of kernel set that a member belongs to.
fn kind_of(member: &Member) -> SetKind {
    match member {
        Member::Net(net) if net.is_host() => SetKind::Addrs(net.family()),
        Member::Net(net) => SetKind::Nets(net.family()),
        Member::IpPort(addr, ..) => SetKind::AddrPorts(Family::of(*addr)),
    }
}

fn element_of(member: &Member) -> Element {
    match member {
        Member::Net(net) if net.is_host() => Element::Addr(net.addr()),
        Member::Net(net) => Element::net(net),
        Member::IpPort(addr, protocol, port) => Element::AddrPort(*addr, *protocol, *port),
    }
}
