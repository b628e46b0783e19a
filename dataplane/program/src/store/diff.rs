//! What differs between two states.

use std::collections::BTreeMap;

use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::{Change, IpSet, PolicyStore, SetId, WorkloadEndpoint, WorkloadId};

impl PolicyStore {
    /// What changed from an older state to this one, at most one change for each
    /// object: new and changed sets, policies, profiles, endpoints, pools, then
    /// sets that are gone, then configuration and in-sync. Meant for a snapshot that
    /// was folded into a fresh store.
    #[must_use]
    pub fn diff_from(&self, older: &Self) -> Vec<Change> {
        let mut changes: Vec<Change> = self
            .ip_sets
            .iter()
            .map(|(id, set)| set_change(id, older.ip_set(id), set))
            .filter(|change| *change != Change::Nothing)
            .collect();
        changes.extend(differing(&older.policies, &self.policies).map(|id| Change::Policy(id.clone())));
        changes.extend(differing(&older.profiles, &self.profiles).map(|name| Change::Profile(name.clone())));
        changes.extend(differing(&older.workloads, &self.workloads).map(|id| {
            let [before, after] = [older, self].map(|store| store.workloads.get(id).map(AsRef::as_ref));
            endpoint_change(id, before, after)
        }));
        changes.extend(differing(&older.hosts, &self.hosts).map(|id| Change::HostEndpoint(id.clone())));
        changes.extend(differing(&older.pools, &self.pools).map(|id| Change::IpPool(id.clone())));
        if self.cluster != older.cluster {
            changes.push(Change::Cluster);
        }
        let gone = older.ip_sets.keys().filter(|id| !self.ip_sets.contains_key(*id));
        changes.extend(gone.map(|id| Change::SetRemoved(id.clone())));
        if self.config != older.config {
            changes.push(Change::Config);
        }
        if self.in_sync && !older.in_sync {
            changes.push(Change::InSync);
        }
        changes
    }
}

/// The keys whose values differ or that are in one map only, in order.
fn differing<'a, K: Ord, V: PartialEq>(
    older: &'a BTreeMap<K, V>,
    newer: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let mut keys: Vec<&K> = newer
        .iter()
        .filter(|(key, value)| older.get(key) != Some(value))
        .map(|(key, _)| key)
        .chain(older.keys().filter(|key| !newer.contains_key(key)))
        .collect();
    keys.sort_unstable();
    keys.into_iter()
}

pub(super) fn set_change(id: &SetId, before: Option<&IpSet>, after: &IpSet) -> Change {
    match before {
        Some(before) if before.kind() == after.kind() => {
            let added = after.without(before);
            let removed = before.without(after);
            if added.is_empty() && removed.is_empty() {
                Change::Nothing
            } else {
                Change::SetMembers { id: id.clone(), added, removed }
            }
        }
        Some(_) | None => Change::SetReplaced(id.clone()),
    }
}

pub(super) fn endpoint_change(
    id: &WorkloadId,
    before: Option<&WorkloadEndpoint>,
    after: Option<&WorkloadEndpoint>,
) -> Change {
    let endpoints = [before, after].into_iter().flatten();
    let mut interfaces: SmallVec<[SmolStr; 2]> = endpoints.map(|endpoint| endpoint.interface.clone()).collect();
    interfaces.dedup();
    Change::Endpoint { id: id.clone(), interfaces }
}
