//! The desired state, compiled piece by piece.
//!
//! Interfaces use programs, programs use lists of rules (of policies and
//! profiles), lists use sets. Each piece is compiled once, however many use it,
//! and again only when something that it depends on has changed; of its result
//! only names and hashes are kept.

mod compile;
mod counted;
mod fault;
mod hosts;
mod network;
mod work;

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Instant;

use caracal_program::{
    Change, Decider, Direction, PolicyId, PolicyStore, ProfileName, Program, ProgramKey, SetId, WorkloadEndpoint,
    WorkloadId,
};
use rustc_hash::{FxHashMap, FxHashSet};
use smol_str::SmolStr;

pub(crate) use fault::Object;
use hosts::HostState;
use network::NetworkState;
pub(crate) use work::HostWork;
use work::{NetworkWork, Work};

use crate::edits::{ChainEdit, Edits};
use crate::garbage::{Bin, Garbage};
use crate::ir::{Element, IfName, Name, SetSpec};
use crate::lower::{Stage, base_chains, base_sets, dispatch_maps};
use crate::names;
use crate::sets::{Place, SetTable, Shape};
use crate::settings::Settings;

/// Rules of a policy or profile in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ListKey {
    pub(crate) owner: Owner,
    pub(crate) direction: Direction,
    pub(crate) stage: Stage,
}

/// Whose rules they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    Policy(PolicyId),
    Profile(ProfileName),
}

impl Owner {
    /// What decides where a rule of these does.
    pub(crate) fn decider(&self, index: usize) -> Decider {
        match self {
            Self::Policy(id) => Decider::Policy(id.clone(), index),
            Self::Profile(name) => Decider::Profile(name.clone(), index),
        }
    }
}

impl ListKey {
    /// The beginning of its rules' comments.
    fn title(&self) -> String {
        let Self { owner, direction, stage: _ } = self;
        match owner {
            Owner::Policy(id) => format!("{id} {direction}"),
            Owner::Profile(name) => format!("profile {name} {direction}"),
        }
    }
}

/// A chain as the kernel holds it: its name, and a hash of its content that only
/// this process can compute.
type Written = (Name, u64);

#[derive(Debug, Default)]
struct ListState {
    chains: Vec<Written>,
    /// The sets that the rules name.
    sets: Vec<SetId>,
    /// The shared sets that the chains look up.
    shared: Vec<Name>,
    /// Whether a rule leaves the tier.
    passes: bool,
    users: FxHashSet<ProgramKey>,
}

#[derive(Debug)]
struct ProgramState {
    program: Arc<Program>,
    chains: Vec<Written>,
    lists: Vec<ListKey>,
    /// How many stubs lead here.
    users: usize,
}

#[derive(Debug)]
struct InterfaceState {
    endpoint: WorkloadId,
    programs: [ProgramKey; 2],
    stubs: [Written; 2],
    /// The sources that its packets may have, with the sets that they are in.
    sources: Vec<(SetSpec, Element)>,
}

/// Whose outcome an update may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Affected {
    These(Vec<WorkloadId>),
    All,
}

/// What an update comes down to.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) edits: Edits,
    /// What earlier updates left without users, and can be deleted now.
    pub(crate) garbage: Garbage,
    pub(crate) affected: Affected,
    /// Whether outcomes of host endpoints may have changed.
    pub(crate) hosts: HostWork,
}

/// The desired state.
#[derive(Debug)]
pub(crate) struct Model {
    settings: Settings,
    sets: SetTable<ListKey>,
    /// Sets shared by rules with equal lists, and how many lists of rules use them.
    shared: FxHashMap<Name, usize>,
    lists: FxHashMap<ListKey, ListState>,
    programs: FxHashMap<ProgramKey, ProgramState>,
    interfaces: FxHashMap<SmolStr, InterfaceState>,
    hosts: HostState,
    network: NetworkState,
    hasher: RandomState,
    bin: Bin,
    /// Lists of rules that deny because they cannot be expressed, and why.
    faults: FxHashMap<ListKey, String>,
    /// What the kernel refused, and why. It denies.
    refused: FxHashMap<Object, String>,
    /// Members of sets that were too big to copy when a rule changed with them.
    uncopied: u64,
}

impl Model {
    /// Compiles everything in a store. `places` says for the first name of an
    /// IP set's kernel set which version of it the kernel holds.
    pub(crate) fn build(
        store: &PolicyStore,
        settings: &Settings,
        refused: FxHashMap<Object, String>,
        places: impl Fn(&Name) -> Place,
    ) -> (Self, Edits) {
        let mut model = Self {
            settings: settings.clone(),
            sets: SetTable::new(settings.ipv6),
            shared: FxHashMap::default(),
            lists: FxHashMap::default(),
            programs: FxHashMap::default(),
            interfaces: FxHashMap::default(),
            hosts: HostState::default(),
            network: NetworkState::default(),
            hasher: RandomState::new(),
            bin: Bin::default(),
            faults: FxHashMap::default(),
            refused,
            uncopied: 0,
        };
        let mut work = Work::default();
        work.edits.sets.extend(dispatch_maps());
        work.edits.sets.extend(base_sets(settings));
        work.edits.chains.extend(base_chains(settings).into_iter().map(ChainEdit::Create));
        for (id, set) in store.ip_sets() {
            let refused = model.refused.contains_key(&Object::Set(id.clone()));
            if !refused && !model.refuse_too_large(id, set, &mut work) {
                model.sets.replace(id, set, &places, &mut work.edits);
            }
        }
        for endpoint in store.workloads() {
            work.interface(&endpoint.interface);
        }
        work.hosts = HostWork::Due;
        work.network = NetworkWork::Due;
        let update = model.carry_out(store, work, Instant::now());
        (model, update.edits)
    }

    /// Compiles what changed. `store` is the state after the changes.
    pub(crate) fn update(&mut self, store: &PolicyStore, changes: &[Change], now: Instant) -> Update {
        let mut work = Work::default();
        for change in changes {
            self.take(store, change, &mut work);
        }
        self.carry_out(store, work, now)
    }

    /// Members of sets that were edited in place although a rule that uses them
    /// changed in the same revision, because copying them would take too long.
    pub(crate) const fn uncopied(&self) -> u64 {
        self.uncopied
    }

    /// Whether something waits for a later transaction to be deleted.
    pub(crate) const fn has_garbage(&self) -> bool {
        !self.bin.is_empty()
    }

    /// Has a later transaction delete what the kernel holds and nobody wants.
    pub(crate) fn discard(&mut self, leftovers: Garbage, now: Instant) {
        self.bin.throw(leftovers, now);
    }

    fn take(&mut self, store: &PolicyStore, change: &Change, work: &mut Work) {
        match change {
            Change::Nothing | Change::Config | Change::InSync => {}
            Change::IpPool(_) | Change::Cluster => {
                self.forgive(&Object::Network, work);
                work.network = NetworkWork::Due;
            }
            Change::HostEndpoint(_) | Change::HostAddresses => {
                self.forgive(&Object::Hosts, work);
                work.hosts = HostWork::Due;
            }
            Change::SetMembers { id, added, removed } => {
                let Some(set) = store.ip_set(id) else { return };
                if self.refuse_too_large(id, set, work) {
                    return;
                }
                let shape = if self.forgive(&Object::Set(id.clone()), work) {
                    self.sets.replace(id, set, &free_place(&self.bin), &mut work.edits);
                    Shape::Changed
                } else {
                    let places = free_place(&self.bin);
                    self.sets.change(id, set, (added, removed), &places, &mut work.edits)
                };
                match shape {
                    Shape::Same => work.edited_sets.push(id.clone()),
                    Shape::Changed => work.lists.extend(self.sets.users_of(id).iter().cloned()),
                }
            }
            Change::SetReplaced(id) => {
                let Some(set) = store.ip_set(id) else { return };
                if self.refuse_too_large(id, set, work) {
                    return;
                }
                self.forgive(&Object::Set(id.clone()), work);
                self.sets.replace(id, set, &free_place(&self.bin), &mut work.edits);
                work.lists.extend(self.sets.users_of(id).iter().cloned());
            }
            Change::SetRemoved(id) => {
                self.forgive(&Object::Set(id.clone()), work);
                work.lists.extend(self.sets.users_of(id).iter().cloned());
                self.sets.remove(id, &mut work.edits);
            }
            Change::Policy(id) => self.take_rules(&Owner::Policy(id.clone()), work),
            Change::Profile(name) => self.take_rules(&Owner::Profile(name.clone()), work),
            Change::Endpoint { id, interfaces } => {
                work.endpoints.push(id.clone());
                for interface in interfaces {
                    self.forgive(&Object::Interface(interface.clone()), work);
                    work.interface(interface);
                }
            }
        }
    }

    fn take_rules(&mut self, owner: &Owner, work: &mut Work) {
        let places = Direction::ALL.iter().flat_map(|direction| Stage::ALL.map(|stage| (*direction, stage)));
        for (direction, stage) in places {
            let key = ListKey { owner: owner.clone(), direction, stage };
            self.forgive(&Object::List(key.clone()), work);
            if self.lists.contains_key(&key) {
                work.lists.insert(key.clone());
                work.changed_rules.push(key);
            }
        }
    }

    fn carry_out(&mut self, store: &PolicyStore, mut work: Work, now: Instant) -> Update {
        for interface in work.interfaces() {
            self.choose_programs(store, &interface, &mut work);
        }
        self.choose_host_programs(store, &mut work);
        for key in std::mem::take(&mut work.released) {
            self.release_program(key, &mut work);
        }
        self.copy_edited_sets(store, &mut work);
        for key in std::mem::take(&mut work.lists) {
            self.compile_list(store, &key, &mut work);
        }
        for key in std::mem::take(&mut work.programs) {
            self.compile_program(key, &mut work);
        }
        for interface in work.interfaces() {
            self.compile_interface(store, &interface, &mut work);
        }
        self.compile_network(store, &mut work);
        self.compile_hosts(&mut work);
        let Work { mut edits, endpoints, faults_changed, hosts, .. } = work;
        let garbage = self.bin.ripe(now);
        garbage.sets.iter().for_each(|name| self.sets.deleted(name));
        let (chains, sets) = (std::mem::take(&mut edits.unused_chains), std::mem::take(&mut edits.unused_sets));
        self.bin.throw(Garbage { chains, sets }, now);
        let (affected, hosts) = match faults_changed {
            true => (Affected::All, HostWork::Due),
            false => (Affected::These(endpoints), hosts),
        };
        Update { edits, garbage, affected, hosts }
    }

    /// Finds out which programs an interface needs from now on, so that they are
    /// compiled before its stubs lead to them.
    fn choose_programs(&mut self, store: &PolicyStore, interface: &SmolStr, work: &mut Work) {
        if let Some(before) = self.interfaces.get(interface) {
            work.endpoints.push(before.endpoint.clone());
            work.released.extend(before.programs);
        }
        let Some(endpoint) = self.enforced(store, interface) else { return };
        work.endpoints.push(endpoint.id.clone());
        for direction in Direction::ALL {
            self.use_program(endpoint.program(direction), work);
        }
    }

    /// Counts one more use of a program.
    fn use_program(&mut self, program: &Arc<Program>, work: &mut Work) {
        let (key, direction) = (program.key(), program.direction());
        if let Some(state) = self.programs.get_mut(&key) {
            state.users += 1;
            return;
        }
        let stage = Stage::of(program.kind(), &self.settings);
        let policies = program.tiers().iter().flat_map(|tier| tier.enforced()).cloned().map(Owner::Policy);
        let profiles = program.profiles().iter().cloned().map(Owner::Profile);
        let lists: Vec<_> = policies.chain(profiles).map(|owner| ListKey { owner, direction, stage }).collect();
        for list in &lists {
            let state = self.lists.entry(list.clone()).or_insert_with(|| {
                work.lists.insert(list.clone());
                ListState::default()
            });
            state.users.insert(key);
        }
        let state = ProgramState { program: program.clone(), chains: Vec::new(), lists, users: 1 };
        self.programs.insert(key, state);
        work.programs.insert(key);
    }

    /// The endpoint whose policy an interface enforces, if the kernel can be told.
    fn enforced<'s>(&self, store: &'s PolicyStore, interface: &SmolStr) -> Option<&'s Arc<WorkloadEndpoint>> {
        let legal = IfName::new(interface).is_ok() && !self.refused.contains_key(&Object::Interface(interface.clone()));
        store.active_on(interface).filter(|_| legal)
    }

    /// A rule that changes together with the members of a set that it looked up
    /// before would, for packets on their way, meet members of the new revision.
    /// Such a set gets a new name.
    fn copy_edited_sets(&mut self, store: &PolicyStore, work: &mut Work) {
        let mut in_place: FxHashSet<SetId> = std::mem::take(&mut work.edited_sets).into_iter().collect();
        if in_place.is_empty() {
            return;
        }
        for key in std::mem::take(&mut work.changed_rules) {
            let Some(state) = self.lists.get(&key) else { continue };
            let edited: Vec<SetId> = state.sets.iter().filter(|id| in_place.contains(*id)).cloned().collect();
            if edited.is_empty() || self.is_written(&state.chains, &self.lower_list(store, &key).chains) {
                continue;
            }
            for id in edited {
                // A rule may name it twice.
                let (true, Some(set)) = (in_place.remove(&id), store.ip_set(&id)) else { continue };
                self.uncopied += self.sets.copy(&id, set, &free_place(&self.bin), &mut work.edits) as u64;
                work.lists.extend(self.sets.users_of(&id).iter().cloned());
            }
        }
    }

    fn release_program(&mut self, key: ProgramKey, work: &mut Work) {
        let Some(state) = self.programs.get_mut(&key) else { return };
        state.users -= 1;
        if state.users > 0 {
            return;
        }
        let Some(state) = self.programs.remove(&key) else { return };
        self.forgive(&Object::Program(key), work);
        work.edits.unused_chains.extend(state.chains.into_iter().map(|(name, _)| name));
        for list in state.lists {
            // A program that names a policy twice has left its list before.
            let Some(held) = self.lists.get_mut(&list) else { continue };
            held.users.remove(&key);
            if !held.users.is_empty() {
                continue;
            }
            let Some(held) = self.lists.remove(&list) else { continue };
            self.note_faults(&list, Vec::new(), work);
            work.edits.unused_chains.extend(held.chains.into_iter().map(|(name, _)| name));
            for id in held.sets {
                self.sets.users_of(&id).remove(&list);
                self.sets.forget_unused(&id);
            }
            for name in held.shared {
                self.unshare(name, work);
            }
        }
    }
}

/// The first version of a set's name that waits for no deletion.
fn free_place(bin: &Bin) -> impl Fn(&Name) -> Place {
    |first| {
        // Few of what waits are copies of this one, and only those are worth parsing.
        let alike = bin.sets().filter(|name| name.starts_with(first.as_str()));
        let versions = alike.filter_map(|name| match names::ip_set_copy(name) {
            Some((copied, version)) => (copied == *first).then_some(version),
            None => (name == first).then_some(0),
        });
        Place::Free(versions.max().map_or(0, |version| version + 1))
    }
}

#[cfg(test)]
mod tests;
