//! What a message changed.

use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::{HostId, Member, PolicyId, PoolId, ProfileName, SetId, WorkloadId};

/// What became different in the store. A driver reads the new state there and
/// does work proportional to the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that policy depends on.
    Nothing,
    /// Members of a known set came and went.
    SetMembers {
        /// The set.
        id: SetId,
        /// Members that were not there before.
        added: Vec<Member>,
        /// Members that were there before; none of them is in `added`.
        removed: Vec<Member>,
    },
    /// The set is new, or its members are of another kind than before: take all
    /// of it from the store.
    SetReplaced(SetId),
    /// The set is gone.
    SetRemoved(SetId),
    /// The policy is new, has other rules, or is gone.
    Policy(PolicyId),
    /// The profile is new, has other rules, or is gone.
    Profile(ProfileName),
    /// The workload endpoint is new, different, or gone.
    Endpoint {
        /// The endpoint.
        id: WorkloadId,
        /// Interfaces whose active endpoint may be another one now, or look
        /// different: the endpoint's own, and the one that it had before.
        interfaces: SmallVec<[SmolStr; 2]>,
    },
    /// The host endpoint is new, different, or gone.
    HostEndpoint(HostId),
    /// Another interface may have the addresses by which a host endpoint is found.
    HostAddresses,
    /// The pool of addresses is new, different, or gone.
    IpPool(PoolId),
    /// The addresses of the cluster's hosts, or the prefixes that its services get
    /// addresses from.
    Cluster,
    /// The configuration.
    Config,
    /// Everything that the sources listed first has been told.
    InSync,
}

/// Folds the changes of one revision into at most one for each object, so that
/// a driver sees only the difference between two revisions. Objects keep the
/// order in which they first changed.
#[must_use]
pub fn coalesce(changes: impl IntoIterator<Item = Change>) -> Vec<Change> {
    let mut out: Vec<Change> = Vec::new();
    let mut place: FxHashMap<Object, usize> = FxHashMap::default();
    for change in changes {
        let Some(object) = Object::of(&change) else { continue };
        match place.entry(object) {
            Entry::Vacant(entry) => {
                entry.insert(out.len());
                out.push(change);
            }
            Entry::Occupied(entry) => {
                let held = &mut out[*entry.get()];
                *held = follow(std::mem::replace(held, Change::Nothing), change);
            }
        }
    }
    out.retain(|change| match change {
        Change::SetMembers { added, removed, .. } => !added.is_empty() || !removed.is_empty(),
        Change::Nothing => false,
        Change::SetReplaced(_)
        | Change::SetRemoved(_)
        | Change::Policy(_)
        | Change::Profile(_)
        | Change::Endpoint { .. }
        | Change::HostEndpoint(_)
        | Change::HostAddresses
        | Change::IpPool(_)
        | Change::Cluster
        | Change::Config
        | Change::InSync => true,
    });
    out
}

/// What a change is about.
#[derive(PartialEq, Eq, Hash)]
enum Object {
    Set(SetId),
    Policy(PolicyId),
    Profile(ProfileName),
    Workload(WorkloadId),
    Host(HostId),
    HostAddresses,
    IpPool(PoolId),
    Cluster,
    Config,
    InSync,
}

impl Object {
    fn of(change: &Change) -> Option<Self> {
        match change {
            Change::Nothing => None,
            Change::SetMembers { id, .. } | Change::SetReplaced(id) | Change::SetRemoved(id) => {
                Some(Self::Set(id.clone()))
            }
            Change::Policy(id) => Some(Self::Policy(id.clone())),
            Change::Profile(name) => Some(Self::Profile(name.clone())),
            Change::Endpoint { id, .. } => Some(Self::Workload(id.clone())),
            Change::HostEndpoint(id) => Some(Self::Host(id.clone())),
            Change::HostAddresses => Some(Self::HostAddresses),
            Change::IpPool(id) => Some(Self::IpPool(id.clone())),
            Change::Cluster => Some(Self::Cluster),
            Change::Config => Some(Self::Config),
            Change::InSync => Some(Self::InSync),
        }
    }
}

/// The one change that says what two changes of one object did.
fn follow(first: Change, second: Change) -> Change {
    match (first, second) {
        (
            Change::SetMembers { id, mut added, mut removed },
            Change::SetMembers { added: then_added, removed: then_removed, .. },
        ) => {
            undo(&mut removed, &mut added, then_added);
            undo(&mut added, &mut removed, then_removed);
            Change::SetMembers { id, added, removed }
        }
        // A set that is taken whole has its later members already.
        (Change::SetReplaced(id), Change::SetMembers { .. }) => Change::SetReplaced(id),
        (Change::Endpoint { id, mut interfaces }, Change::Endpoint { interfaces: then_interfaces, .. }) => {
            for interface in then_interfaces {
                if !interfaces.contains(&interface) {
                    interfaces.push(interface);
                }
            }
            Change::Endpoint { id, interfaces }
        }
        (_, last) => last,
    }
}

/// Takes `members` out of `undone` where they are there, and puts the others on
/// `done`.
fn undo(undone: &mut Vec<Member>, done: &mut Vec<Member>, members: Vec<Member>) {
    let held: FxHashSet<Member> = undone.iter().copied().collect();
    let (back, new): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| held.contains(member));
    if !back.is_empty() {
        let back: FxHashSet<Member> = back.into_iter().collect();
        undone.retain(|member| !back.contains(member));
    }
    done.extend(new);
}

#[cfg(test)]
mod tests;
