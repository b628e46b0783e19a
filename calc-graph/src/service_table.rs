//! Services: where the dataplane finds what they are reached at.
//!
//! Input: Service objects. Output: `ServiceUpdate` and `ServiceRemove`. Memory:
//! each service, one entry for each of its own addresses, and another per flush in
//! which it changed.
//! Invariants: of the services that claim an address as their own, only the first
//! by namespace and name may be in force, and `refused` has exactly the others;
//! the receiver has those of `told` as they are held, but for those in `dirty`,
//! where it stands what the receiver has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_model::{Key, Kind, Service, ServiceRef};
use rustc_hash::FxHashMap;

use crate::{Delta, Problem};

#[derive(Debug, Default)]
pub(crate) struct ServiceTable {
    held: BTreeMap<ServiceRef, Service>,
    claims: FxHashMap<IpAddr, BTreeSet<ServiceRef>>,
    refused: BTreeMap<Key, Problem>,
    told: BTreeSet<ServiceRef>,
    dirty: BTreeMap<ServiceRef, Option<Service>>,
}

impl ServiceTable {
    pub(crate) fn holds(&self, key: &ServiceRef) -> bool {
        self.held.contains_key(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &ServiceRef> {
        self.held.keys()
    }

    /// The services that are not in force, and why.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&Key, Kind, &Problem)> {
        self.refused.iter().map(|(key, problem)| (key, Kind::Service, problem))
    }

    pub(crate) fn put(&mut self, key: ServiceRef, service: Service) {
        if self.held.get(&key) == Some(&service) {
            return;
        }
        self.note(&key);
        let mut affected = self.unclaim(&key);
        for address in service.own_addresses() {
            let claimants = self.claims.entry(address).or_default();
            claimants.insert(key.clone());
            // Whom the key now precedes was first, if it is first itself.
            affected.extend(claimants.iter().nth(1).cloned());
        }
        self.held.insert(key.clone(), service);
        affected.push(key);
        self.judge(affected);
    }

    pub(crate) fn remove(&mut self, key: &ServiceRef) {
        if !self.holds(key) {
            return;
        }
        self.note(key);
        let affected = self.unclaim(key);
        self.held.remove(key);
        self.refused.remove(&Key::Service(key.clone()));
        self.judge(affected);
    }

    /// Notes, before a service changes, what the receiver has.
    fn note(&mut self, key: &ServiceRef) {
        if !self.dirty.contains_key(key) {
            let before = self.told.contains(key).then(|| self.held[key].clone());
            self.dirty.insert(key.clone(), before);
        }
    }

    /// Gives up the addresses of a service; gives out who may have them now.
    fn unclaim(&mut self, key: &ServiceRef) -> Vec<ServiceRef> {
        let mut heirs = Vec::new();
        for address in self.held.get(key).into_iter().flat_map(Service::own_addresses) {
            let Some(claimants) = self.claims.get_mut(&address) else { continue };
            claimants.remove(key);
            match claimants.first() {
                Some(first) => heirs.push(first.clone()),
                None => drop(self.claims.remove(&address)),
            }
        }
        heirs
    }

    /// Decides which of some services are in force.
    fn judge(&mut self, services: Vec<ServiceRef>) {
        for key in services {
            let problem = self.held[&key].own_addresses().find_map(|address| {
                let first = self.claims[&address].first().filter(|first| **first != key)?;
                Some(Problem::ClusterIpTaken { address, by: first.clone() })
            });
            let now = problem.is_some();
            let before = match problem {
                Some(problem) => self.refused.insert(Key::Service(key.clone()), problem),
                None => self.refused.remove(&Key::Service(key.clone())),
            };
            if before.is_some() != now {
                self.note(&key);
            }
        }
    }

    fn is_in_force(&self, key: &ServiceRef) -> bool {
        self.held.contains_key(key) && !self.refused.contains_key(&Key::Service(key.clone()))
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn flush(&mut self, sink: &mut dyn FnMut(Delta<'_>)) {
        let dirty = std::mem::take(&mut self.dirty);
        for (key, before) in &dirty {
            if before.is_some() && !self.is_in_force(key) {
                self.told.remove(key);
                sink(Delta::ServiceRemove { key });
            }
        }
        for (key, before) in dirty {
            if self.is_in_force(&key) && before.as_ref() != self.held.get(&key) {
                sink(Delta::ServiceUpdate { key: &key, service: &self.held[&key] });
                self.told.insert(key);
            }
        }
    }

    pub(crate) fn snapshot(&self, sink: &mut dyn FnMut(Delta<'_>)) {
        for key in &self.told {
            sink(Delta::ServiceUpdate { key, service: &self.held[key] });
        }
    }
}

#[cfg(test)]
mod tests;
