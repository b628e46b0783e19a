//! The endpoints that are calculated for, and what was told of them.
//!
//! Inputs: local workload and host endpoints, the policy lists of their classes.
//! Outputs: endpoint updates and removals. Memory: each local endpoint's object.
//! Invariants: nothing is told before every kind was listed once; an endpoint
//! is told again if what the receiver sees of it changed, and only then; also if
//! it was another one, or gone, in between.

use std::collections::{BTreeMap, BTreeSet};

use caracal_model::{HostEndpoint, HostEndpointKey, WorkloadEndpoint, WorkloadEndpointKey};
use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use crate::class_space::ClassSpace;
use crate::ids::{ClassIx, ItemIx, LocalIx, MemberIx};
use crate::policy_lists::{PolicyLists, same};
use crate::slots::Slots;
use crate::{Delta, HostPolicyLists};

/// A local endpoint with its key.
#[derive(Clone, Debug)]
pub(crate) enum LocalObject {
    Workload(WorkloadEndpointKey, Box<WorkloadEndpoint>),
    Host(HostEndpointKey, Box<HostEndpoint>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LocalKey {
    Workload(WorkloadEndpointKey),
    Host(HostEndpointKey),
}

impl LocalObject {
    fn key(&self) -> LocalKey {
        match self {
            Self::Workload(key, _) => LocalKey::Workload(key.clone()),
            Self::Host(key, _) => LocalKey::Host(key.clone()),
        }
    }

    pub(crate) fn profiles(&self) -> &[SmolStr] {
        match self {
            Self::Workload(_, endpoint) => &endpoint.profiles,
            Self::Host(_, endpoint) => &endpoint.profiles,
        }
    }

    /// Whether a receiver sees no difference. Labels and ports are for selectors only.
    fn looks_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Workload(key, endpoint), Self::Workload(other_key, other)) => {
                let WorkloadEndpoint {
                    state,
                    interface,
                    mac,
                    profiles,
                    ipv4_nets,
                    ipv6_nets,
                    nats,
                    labels: _,
                    ports: _,
                    allowed_source_prefixes,
                    annotations,
                    qos,
                } = &**endpoint;
                key == other_key
                    && (state, interface, mac) == (&other.state, &other.interface, &other.mac)
                    && (profiles, ipv4_nets, ipv6_nets) == (&other.profiles, &other.ipv4_nets, &other.ipv6_nets)
                    && (nats, annotations, qos) == (&other.nats, &other.annotations, &other.qos)
                    && *allowed_source_prefixes == other.allowed_source_prefixes
            }
            (Self::Host(key, endpoint), Self::Host(other_key, other)) => {
                let HostEndpoint { interface, expected_ips, profiles, labels: _, ports: _, dscp } = &**endpoint;
                key == other_key
                    && (interface, expected_ips, profiles) == (&other.interface, &other.expected_ips, &other.profiles)
                    && *dscp == other.dscp
            }
            (Self::Workload(..), Self::Host(..)) | (Self::Host(..), Self::Workload(..)) => false,
        }
    }

    /// Whether the lists that a receiver of this object gets are the same.
    fn same_lists(&self, a: &HostPolicyLists, b: &HostPolicyLists) -> bool {
        match self {
            Self::Workload(..) => std::sync::Arc::ptr_eq(&a.normal, &b.normal),
            Self::Host(..) => same(a, b),
        }
    }

    fn update(&self, lists: &HostPolicyLists, sink: &mut dyn FnMut(Delta<'_>)) {
        sink(match self {
            Self::Workload(key, endpoint) => Delta::WorkloadUpdate { key, endpoint, tiers: &lists.normal },
            Self::Host(key, endpoint) => Delta::HostUpdate { key, endpoint, tiers: lists },
        });
    }
}

#[derive(Debug)]
struct LocalEndpoint {
    object: LocalObject,
    /// What the receiver has under the key, if it has it.
    told: Option<Told>,
}

#[derive(Debug)]
struct Told {
    /// The object, where it does not look like the one that is held.
    other: Option<Box<LocalObject>>,
    lists: HostPolicyLists,
}

#[derive(Debug, Default)]
pub(crate) struct LocalEndpoints {
    pub(crate) space: ClassSpace,
    slots: Slots<LocalEndpoint>,
    of_item: FxHashMap<ItemIx, LocalIx>,
    dirty: BTreeSet<LocalIx>,
    /// Keys that the receiver has and that no endpoint has any more, with what it has.
    gone: BTreeMap<LocalKey, (LocalObject, HostPolicyLists)>,
}

impl LocalEndpoints {
    /// How many there are, told or not.
    pub(crate) fn len(&self) -> usize {
        self.of_item.len()
    }

    pub(crate) fn of_item(&self, item: ItemIx) -> Option<LocalIx> {
        self.of_item.get(&item).copied()
    }

    /// The object of a local item.
    pub(crate) fn object(&self, item: ItemIx) -> Option<&LocalObject> {
        Some(&self.slots[self.of_item(item)?.0].object)
    }

    /// Holds an endpoint; gives the former object out.
    pub(crate) fn put(&mut self, item: ItemIx, object: LocalObject) -> (LocalIx, Option<LocalObject>) {
        if let Some(at) = self.of_item(item) {
            let held = &mut self.slots[at.0];
            let same = held.object.looks_like(&object);
            let former = std::mem::replace(&mut held.object, object);
            if !same {
                if let Some(told) = &mut held.told {
                    let has = told.other.take().unwrap_or_else(|| former.clone().into());
                    told.other = Some(has).filter(|has| !has.looks_like(&held.object));
                }
                self.dirty.insert(at);
            }
            return (at, Some(former));
        }
        let told = self.gone.remove(&object.key()).map(|(has, lists)| {
            let other = Some(has).filter(|has| !has.looks_like(&object));
            Told { other: other.map(Box::new), lists }
        });
        let at = LocalIx(self.slots.insert(LocalEndpoint { object, told }));
        self.of_item.insert(item, at);
        self.dirty.insert(at);
        (at, None)
    }

    /// Forgets an endpoint, whose member has left the space; gives its object out.
    pub(crate) fn remove(&mut self, item: ItemIx) -> Option<LocalObject> {
        let at = self.of_item.remove(&item)?;
        self.dirty.remove(&at);
        let LocalEndpoint { object, told } = self.slots.remove(at.0);
        if let Some(Told { other, lists }) = told {
            self.gone.insert(object.key(), (other.map_or_else(|| object.clone(), |other| *other), lists));
        }
        Some(object)
    }

    /// Notes that an endpoint's class changed.
    pub(crate) fn note_class(&mut self, at: LocalIx) {
        self.dirty.insert(at);
    }

    /// Notes that a class's lists changed.
    pub(crate) fn note_list(&mut self, class: ClassIx) {
        let members = self.space.groups_of(class).flat_map(|group| self.space.members(group));
        self.dirty.extend(members.map(|member| LocalIx(member.0)));
    }

    pub(crate) fn has_updates(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn has_removals(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Tells what changed, once everything was listed.
    pub(crate) fn flush_updates(&mut self, lists: &PolicyLists, sink: &mut dyn FnMut(Delta<'_>)) {
        let mut dirty: Vec<LocalIx> = std::mem::take(&mut self.dirty).into_iter().collect();
        dirty.sort_by_cached_key(|at| self.slots[at.0].object.key());
        for at in dirty {
            let now = lists.of(self.class(at));
            let held = &mut self.slots[at.0];
            let same = |told: &Told| told.other.is_none() && held.object.same_lists(&told.lists, now);
            if held.told.as_ref().is_some_and(same) {
                continue;
            }
            held.told = Some(Told { other: None, lists: now.clone() });
            held.object.update(now, sink);
        }
    }

    pub(crate) fn flush_removals(&mut self, sink: &mut dyn FnMut(Delta<'_>)) {
        for key in std::mem::take(&mut self.gone).into_keys() {
            sink(match &key {
                LocalKey::Workload(key) => Delta::WorkloadRemove { key },
                LocalKey::Host(key) => Delta::HostRemove { key },
            });
        }
    }

    /// Tells every endpoint that the receiver has.
    pub(crate) fn snapshot(&self, sink: &mut dyn FnMut(Delta<'_>)) {
        let mut told: Vec<_> = self.told().collect();
        told.sort_by_cached_key(|(object, _)| object.key());
        for (object, lists) in told {
            object.update(lists, sink);
        }
    }

    /// The endpoints that the receiver has, in no order.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&LocalObject, &HostPolicyLists)> {
        self.slots.iter().filter_map(|(_, held)| Some((&held.object, &held.told.as_ref()?.lists)))
    }

    fn class(&self, at: LocalIx) -> ClassIx {
        let group = self.space.group_of(MemberIx(at.0));
        self.space.class_of(group.expect("a local endpoint is in the space"))
    }
}

#[cfg(test)]
mod tests;
