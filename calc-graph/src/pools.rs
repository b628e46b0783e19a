//! Pools of addresses, which the dataplane translates and tunnels by.
//!
//! Input: IPPool objects. Output: `IpPoolUpdate`, `IpPoolRemove` and the
//! `Encapsulation` that pools in force ask for. Memory: each pool twice. A flush after a change looks at every pool: clusters have tens.
//! Invariants: pools in force do not overlap; a pool is refused if it overlaps
//! one in force whose name sorts before its own. `refused` is as of the last
//! flush, and `told` says what the receiver has.

use std::collections::BTreeMap;

use caracal_model::{IpPool, Key, Kind, TunnelMode};
use caracal_net::Cidr;
use smol_str::SmolStr;

use crate::{Delta, Encapsulation, Problem};

#[derive(Debug, Default)]
pub(crate) struct Pools {
    held: BTreeMap<SmolStr, IpPool>,
    changed: bool,
    refused: BTreeMap<Key, Problem>,
    told: BTreeMap<Cidr, IpPool>,
    /// What the receiver has.
    told_encapsulation: Option<Encapsulation>,
}

impl Pools {
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.held.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &SmolStr> {
        self.held.keys()
    }

    /// The pools that are not in force, and why.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&Key, Kind, &Problem)> {
        self.refused.iter().map(|(key, problem)| (key, Kind::IpPool, problem))
    }

    pub(crate) fn put(&mut self, name: SmolStr, pool: IpPool) {
        if self.held.get(&name) != Some(&pool) {
            self.held.insert(name, pool);
            self.changed = true;
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.changed |= self.held.remove(name).is_some();
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.changed
    }

    pub(crate) fn flush(&mut self, sink: &mut dyn FnMut(Delta<'_>)) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let mut in_force: BTreeMap<Cidr, (&SmolStr, &IpPool)> = BTreeMap::new();
        self.refused.clear();
        for (name, pool) in &self.held {
            match overlapping(&in_force, &pool.cidr) {
                None => drop(in_force.insert(pool.cidr, (name, pool))),
                Some((cidr, other)) => {
                    let problem = Problem::PoolOverlaps { cidr: pool.cidr, other: other.clone(), its: cidr };
                    self.refused.insert(Key::IpPool(name.clone()), problem);
                }
            }
        }
        let now: BTreeMap<Cidr, IpPool> = in_force.into_iter().map(|(cidr, (_, pool))| (cidr, pool.clone())).collect();
        let told = std::mem::replace(&mut self.told, now);
        for cidr in told.keys().filter(|cidr| !self.told.contains_key(cidr)) {
            sink(Delta::IpPoolRemove { cidr: *cidr });
        }
        for (cidr, pool) in &self.told {
            if told.get(cidr) != Some(pool) {
                sink(Delta::IpPoolUpdate { pool });
            }
        }
    }

    /// Whether the receiver has other tunnels than those of the last flush.
    pub(crate) fn has_new_encapsulation(&self) -> bool {
        self.told_encapsulation != Some(self.encapsulation())
    }

    /// Tells the tunnels, once everything was listed.
    pub(crate) fn flush_encapsulation(&mut self, sink: &mut dyn FnMut(Delta<'_>)) {
        if self.has_new_encapsulation() {
            let encapsulation = self.encapsulation();
            self.told_encapsulation = Some(encapsulation);
            sink(Delta::Encapsulation { encapsulation });
        }
    }

    fn encapsulation(&self) -> Encapsulation {
        let any = |tunnelled: fn(&IpPool) -> bool| self.told.values().any(tunnelled);
        Encapsulation {
            ipip: any(|pool| pool.ipip != TunnelMode::Never),
            vxlan: any(|pool| pool.vxlan != TunnelMode::Never && pool.cidr.addr().is_ipv4()),
            vxlan_v6: any(|pool| pool.vxlan != TunnelMode::Never && pool.cidr.addr().is_ipv6()),
        }
    }

    /// The pools that the receiver has, by prefix.
    pub(crate) fn told(&self) -> impl Iterator<Item = &IpPool> {
        self.told.values()
    }

    pub(crate) fn snapshot(&self, sink: &mut dyn FnMut(Delta<'_>)) {
        for pool in self.told() {
            sink(Delta::IpPoolUpdate { pool });
        }
        if let Some(encapsulation) = self.told_encapsulation {
            sink(Delta::Encapsulation { encapsulation });
        }
    }
}

/// The pool in force that a prefix overlaps. As those overlap no other, it is
/// next to the prefix in their order.
fn overlapping<'a>(in_force: &BTreeMap<Cidr, (&'a SmolStr, &IpPool)>, cidr: &Cidr) -> Option<(Cidr, &'a SmolStr)> {
    let before = in_force.range(..=cidr).next_back().filter(|(other, _)| other.covers(cidr));
    let after = || in_force.range(cidr..).next().filter(|(other, _)| cidr.covers(other));
    before.or_else(after).map(|(other, (name, _))| (*other, *name))
}

#[cfg(test)]
mod tests;
