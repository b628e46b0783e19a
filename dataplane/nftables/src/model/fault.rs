//! What cannot be put into force, and whom that closes.

use std::collections::BTreeMap;
use std::sync::Arc;

use caracal_program::{
    Direction, HostEndpoint, HostId, IpSet, Outcome, PolicyStore, ProgramKey, SetId, WorkloadEndpoint, WorkloadId,
};
use smol_str::SmolStr;

use super::work::Work;
use super::{ListKey, Model};
use crate::ir::{IfName, Name, SetKind, SetSpec};
use crate::names;

/// Something that the kernel can refuse.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// An IP set: every rule that names it denies.
    Set(SetId),
    /// A policy's or profile's rules: all of them deny.
    List(ListKey),
    /// A program: it denies.
    Program(ProgramKey),
    /// An interface: it is in no map.
    Interface(SmolStr),
    /// The chains that lead to the programs of host endpoints: they are left out
    /// and say so. Closing all of the host's interfaces would cut it off.
    Hosts,
    /// What follows from the cluster's network, the translation of addresses
    /// first of all: it is left out, and says so. Policy does not depend on it.
    Network,
}

impl Model {
    /// The objects that a chain or set of the kernel stands for. A shared set is
    /// every list of rules that uses it.
    pub(crate) fn objects_of(&self, name: &Name) -> Vec<Object> {
        let has = |chains: &[super::Written]| chains.iter().any(|(chain, _)| chain == name);
        let mut found: Vec<Object> = self.sets.owner_of(name).cloned().map(Object::Set).into_iter().collect();
        let lists = self.lists.iter().filter(|(_, list)| has(&list.chains) || list.shared.contains(name));
        found.extend(lists.map(|(key, _)| Object::List(key.clone())));
        let programs = self.programs.iter().filter(|(_, program)| has(&program.chains));
        found.extend(programs.map(|(key, _)| Object::Program(*key)));
        let interfaces = self.interfaces.iter().filter(|(_, interface)| has(&interface.stubs));
        found.extend(interfaces.map(|(interface, _)| Object::Interface(interface.clone())));
        found.extend(self.hosts.has(name).then_some(Object::Hosts));
        found.extend(self.network.has(name).then_some(Object::Network));
        found
    }

    /// Whether each element of a set is about one workload interface.
    pub(crate) fn is_of_workloads(set: &SetSpec) -> bool {
        match set.kind {
            SetKind::WorkloadAddrs(_) | SetKind::WorkloadNets(_) => true,
            SetKind::Interfaces => Direction::ALL.into_iter().any(|direction| names::dispatch(direction) == set.name),
            SetKind::Addrs(_)
            | SetKind::Nets(_)
            | SetKind::AddrPorts(_)
            | SetKind::Ports
            | SetKind::PortRanges
            | SetKind::Protocols => false,
        }
    }

    /// What was refused, and why.
    pub(crate) fn into_refused(self) -> rustc_hash::FxHashMap<Object, String> {
        self.refused
    }

    /// Gives an object another chance. Says whether it was refused before.
    pub(super) fn forgive(&mut self, object: &Object, work: &mut Work) -> bool {
        let forgiven = !self.refused.is_empty() && self.refused.remove(object).is_some();
        work.faults_changed |= forgiven;
        forgiven
    }

    /// Refuses an IP set that is larger than the settings allow: rules that name it
    /// deny until it is smaller. Says whether it is.
    pub(super) fn refuse_too_large(&mut self, id: &SetId, set: &IpSet, work: &mut Work) -> bool {
        let Some(most) = self.settings.largest_set.filter(|most| set.len() > *most) else { return false };
        let reason = format!("IP set {id} has {} members, more than MaxIpsetSize allows ({most})", set.len());
        work.faults_changed = true;
        if self.refused.insert(Object::Set(id.clone()), reason.clone()).is_none() {
            tracing::warn!("{reason}; what uses it is closed");
            work.lists.extend(self.sets.users_of(id).iter().cloned());
            self.sets.remove(id, &mut work.edits);
        }
        true
    }

    /// Whether the kernel refused something, which it may take another time.
    pub(crate) fn was_refused_by_kernel(&self, store: &PolicyStore) -> bool {
        let is_too_large = |id: &SetId| {
            let most = self.settings.largest_set;
            store.ip_set(id).is_some_and(|set| most.is_some_and(|most| set.len() > most))
        };
        self.refused.keys().any(|object| match object {
            Object::Set(id) => !is_too_large(id),
            Object::List(_) | Object::Program(_) | Object::Interface(_) | Object::Hosts | Object::Network => true,
        })
    }

    /// The IP sets that were refused and why, by their ids.
    pub(crate) fn refused_sets(&self) -> BTreeMap<&SetId, &str> {
        let sets = self.refused.iter().filter_map(|(object, reason)| match object {
            Object::Set(id) => Some((id, reason.as_str())),
            Object::List(_) | Object::Program(_) | Object::Interface(_) | Object::Hosts | Object::Network => None,
        });
        sets.collect()
    }

    pub(super) fn note_faults(&mut self, key: &ListKey, faults: Vec<String>, work: &mut Work) {
        let before = match faults.into_iter().next() {
            Some(fault) => self.faults.insert(key.clone(), fault.clone()).is_none_or(|before| before != fault),
            None => self.faults.remove(key).is_some(),
        };
        work.faults_changed |= before;
    }

    /// What became of an endpoint, now that the kernel holds the model.
    pub(crate) fn outcome(&self, store: &PolicyStore, id: &WorkloadId) -> Outcome {
        match store.workload(id) {
            None => Outcome::Removed,
            Some(endpoint) if !store.is_active(endpoint) => Outcome::Shadowed,
            Some(endpoint) => match self.reason(endpoint) {
                Some(reason) => Outcome::Quarantined { reason },
                None => Outcome::Programmed,
            },
        }
    }

    /// What became of a host endpoint, now that the kernel holds the model.
    pub(crate) fn host_outcome(&self, store: &PolicyStore, id: &HostId) -> Outcome {
        let Some(endpoint) = store.host(id) else { return Outcome::Removed };
        let is_in_force = |held: &Arc<HostEndpoint>| held.id == *id;
        let interfaces = store.host_interfaces();
        if !interfaces.values().copied().chain(store.host_on_others()).any(is_in_force) {
            return Outcome::Shadowed;
        }
        if let Some(why) = self.refused.get(&Object::Hosts) {
            return Outcome::Quarantined { reason: format!("not enforced: {why}") };
        }
        let own = interfaces.iter().filter(|(_, held)| is_in_force(held));
        if let Some(error) = own.filter_map(|(name, _)| IfName::new(name).err()).next() {
            return Outcome::Quarantined { reason: format!("not enforced: {error}") };
        }
        match endpoint.programs.all().find_map(|program| self.reason_of_program(program.key())) {
            Some(reason) => Outcome::Quarantined { reason },
            None => Outcome::Programmed,
        }
    }

    /// Why an endpoint is closed, if something of it could not be put into force.
    fn reason(&self, endpoint: &WorkloadEndpoint) -> Option<String> {
        if let Err(error) = IfName::new(&endpoint.interface) {
            return Some(error.to_string());
        }
        if self.faults.is_empty() && self.refused.is_empty() {
            return None;
        }
        if let Some(why) = self.refused.get(&Object::Interface(endpoint.interface.clone())) {
            return Some(why.clone());
        }
        let programs = self.interfaces.get(&endpoint.interface)?.programs;
        programs.into_iter().find_map(|key| self.reason_of_program(key))
    }

    fn reason_of_program(&self, key: ProgramKey) -> Option<String> {
        let lists = &self.programs.get(&key)?.lists;
        let refused = self.refused.get(&Object::Program(key));
        refused.or_else(|| lists.iter().find_map(|list| self.fault_of(list))).cloned()
    }

    fn fault_of(&self, key: &ListKey) -> Option<&String> {
        let sets = || self.lists.get(key)?.sets.iter().find_map(|id| self.refused.get(&Object::Set(id.clone())));
        // A set that was refused is unknown to the rules: why it was says more.
        self.refused.get(&Object::List(key.clone())).or_else(sets).or_else(|| self.faults.get(key))
    }
}
