//! What was told, as far as packets between a few addresses at a few endpoints
//! are concerned.
//!
//! Inputs: which workload endpoints, which addresses. Output: the deltas of a
//! snapshot that say something of them. Memory: what it tells. Cost: that of
//! those endpoints' policies, whatever the number of others and of members of sets.
//! Invariant: who receives an excerpt judges a packet between the addresses, at
//! these endpoints and at the host endpoints of this node, as who has everything.

use std::collections::BTreeSet;
use std::net::IpAddr;

use caracal_model::WorkloadEndpointKey;
use caracal_net::{Cidr, Family};

use crate::graph::CalcGraph;
use crate::ids::{PolicyIx, ProfileIx, SetIx};
use crate::profiles::ListedProfiles;
use crate::{Delta, NotFlushed};

/// What an excerpt is about.
#[derive(Clone, Copy)]
pub struct Concern<'a> {
    /// Which workload endpoints of this node; its host endpoints always are.
    pub workload: &'a dyn Fn(&WorkloadEndpointKey) -> bool,
    /// The addresses that packets bear.
    pub addresses: &'a [IpAddr],
}

/// Addresses, and every prefix of something in the cluster that holds one.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) nets: Vec<Cidr>,
}

impl CalcGraph {
    /// Tells, in flush order, as much of a [snapshot](Self::snapshot) as concerns
    /// some endpoints and addresses: the endpoints, their policies and profiles,
    /// of the sets that these name the members that hold an address, of nodes
    /// those that have one, and the pools.
    ///
    /// # Errors
    /// [`NotFlushed`] if the graph [is dirty](Self::is_dirty).
    pub fn excerpt(&mut self, concern: Concern<'_>, sink: &mut dyn FnMut(Delta<'_>)) -> Result<(), NotFlushed> {
        if self.is_dirty() {
            return Err(NotFlushed);
        }
        let Concern { workload, addresses } = concern;
        let (mut policies, mut profiles): (BTreeSet<PolicyIx>, BTreeSet<ProfileIx>) = Default::default();
        for (object, lists) in self.local.told_of(workload) {
            profiles.extend(object.profiles().iter().filter_map(|name| self.profiles.find(name)));
            let tiers = object.told_lists(lists).flat_map(|list| list.iter());
            let keys = tiers.flat_map(|tier| tier.ingress.iter().chain(&tier.egress));
            policies.extend(keys.filter_map(|key| self.policies.find(key)));
        }
        let sets: BTreeSet<SetIx> = policies
            .iter()
            .flat_map(|at| self.policies.sets_of(*at))
            .chain(profiles.iter().flat_map(|at| self.profiles.sets_of(*at)))
            .copied()
            .collect();
        let nets = addresses.iter().flat_map(|address| prefixes_of(*address));
        let around =
            Around { addresses, nets: nets.filter(|net| net.is_host() || self.cluster.has_net(*net)).collect() };
        self.sets.excerpt(&self.cluster, sets, &around, sink);
        self.tell_policies(&policies, sink);
        let listed = ListedProfiles { updated: self.profiles.by_name(profiles), removed: Vec::new() };
        self.tell_profiles(&listed, sink);
        for (object, lists) in self.local.told_of(workload) {
            object.update(lists, sink);
        }
        self.hosts.excerpt(addresses, sink);
        self.pools.snapshot(sink);
        if self.in_sync_told {
            sink(Delta::InSync);
        }
        Ok(())
    }
}

/// Every prefix that holds an address.
fn prefixes_of(address: IpAddr) -> impl Iterator<Item = Cidr> {
    let lengths = 0..=Family::of(address).bits();
    lengths.map(move |len| Cidr::new(address, len).expect("a length of the family"))
}
