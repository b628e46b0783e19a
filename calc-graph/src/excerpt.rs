//! What was told, as far as packets between two ends are concerned.
//!
//! Inputs: which workload endpoints, in which direction, and the addresses. Output:
//! a copy of what a snapshot would say of them. Memory: the copy. Cost: that of those
//! endpoints' policies, whatever the number of others and of members of sets.
//! Invariant: who receives an excerpt judges a packet between the addresses, at
//! these endpoints and at the host endpoints of this node, as who has everything.

use std::collections::BTreeSet;
use std::net::IpAddr;

use caracal_model::{HostEndpoint, HostEndpointKey, IpPool, Node, PolicyKey, WorkloadEndpoint, WorkloadEndpointKey};
use caracal_net::{Cidr, Family};
use smol_str::SmolStr;

use crate::active_rules::{policy_message, profile_message};
use crate::graph::CalcGraph;
use crate::ids::{PolicyIx, ProfileIx, SetIx};
use crate::local_endpoints::LocalObject;
use crate::{
    ActivePolicy, ActiveProfile, Delta, HostPolicyLists, IpSetKind, Member, NotFlushed, PolicyList, TierPolicies,
};

/// The way of packets through a workload endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// To the workload.
    In,
    /// From the workload.
    Out,
}

/// What an excerpt is about.
#[derive(Clone, Copy)]
pub struct Concern<'a> {
    /// The way of the packets through a workload endpoint of this node; `None` for one
    /// that they do not come to. Host endpoints are always concerned, both ways.
    pub workload: &'a dyn Fn(&WorkloadEndpointKey) -> Option<Heading>,
    /// The addresses that packets bear.
    pub addresses: &'a [IpAddr],
}

/// A copy of what was told, as far as it [concerns](Concern) somebody.
#[derive(Clone, Debug, Default)]
pub struct Excerpt {
    sets: Vec<(SmolStr, IpSetKind, Vec<Member>)>,
    policies: Vec<(PolicyKey, ActivePolicy)>,
    profiles: Vec<(SmolStr, ActiveProfile)>,
    workloads: Vec<(WorkloadEndpointKey, WorkloadEndpoint, PolicyList)>,
    hosts: Vec<(HostEndpointKey, HostEndpoint, HostPolicyLists)>,
    nodes: Vec<(SmolStr, Node)>,
    pools: Vec<IpPool>,
    in_sync: bool,
}

/// Addresses, and every prefix of something in the cluster that holds one.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) nets: Vec<Cidr>,
}

impl Excerpt {
    /// Tells it in flush order to a receiver that starts from nothing.
    pub fn tell(&self, sink: &mut dyn FnMut(Delta<'_>)) {
        let Self { sets, policies, profiles, workloads, hosts, nodes, pools, in_sync } = self;
        for (id, kind, members) in sets {
            sink(Delta::IpSetUpdate { id, kind: *kind, members });
        }
        for (key, policy) in policies {
            sink(Delta::PolicyUpdate { key, policy });
        }
        for (name, profile) in profiles {
            sink(Delta::ProfileUpdate { name, profile });
        }
        for (key, endpoint, tiers) in workloads {
            sink(Delta::WorkloadUpdate { key, endpoint, tiers });
        }
        for (key, endpoint, tiers) in hosts {
            sink(Delta::HostUpdate { key, endpoint, tiers });
        }
        for (hostname, node) in nodes {
            sink(Delta::HostMetadataUpdate { hostname, node });
        }
        for pool in pools {
            sink(Delta::IpPoolUpdate { pool });
        }
        if *in_sync {
            sink(Delta::InSync);
        }
    }
}

impl CalcGraph {
    /// Copies as much of what was told as concerns somebody: the endpoints, their
    /// policies of the packets' way and their profiles, of the sets that these name the
    /// members that hold an address, of nodes those that have one, and the pools.
    ///
    /// # Errors
    /// [`NotFlushed`] if the graph [is dirty](Self::is_dirty).
    pub fn excerpt(&mut self, concern: Concern<'_>) -> Result<Excerpt, NotFlushed> {
        if self.is_dirty() {
            return Err(NotFlushed);
        }
        let Concern { workload, addresses } = concern;
        let mut excerpt = Excerpt::default();
        let (mut policies, mut profiles): (BTreeSet<PolicyIx>, BTreeSet<ProfileIx>) = Default::default();
        for (object, lists) in self.local.told() {
            let mut note = |list: &PolicyList, of: fn(&TierPolicies) -> &[PolicyKey]| {
                policies.extend(list.iter().flat_map(of).filter_map(|key| self.policies.find(key)));
            };
            match object {
                LocalObject::Workload(key, endpoint) => {
                    let Some(heading) = workload(key) else { continue };
                    let list = one_way(&lists.normal, heading);
                    note(&list, |tier| &tier.ingress);
                    note(&list, |tier| &tier.egress);
                    excerpt.workloads.push((key.clone(), (**endpoint).clone(), list));
                }
                LocalObject::Host(key, endpoint) => {
                    let HostPolicyLists { normal, untracked, pre_dnat, forward } = lists;
                    for list in [normal, untracked, pre_dnat, forward] {
                        note(list, |tier| &tier.ingress);
                        note(list, |tier| &tier.egress);
                    }
                    excerpt.hosts.push((key.clone(), (**endpoint).clone(), lists.clone()));
                }
            }
            profiles.extend(object.profiles().iter().filter_map(|name| self.profiles.find(name)));
        }
        excerpt.workloads.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        excerpt.hosts.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        let of_policies = policies.iter().flat_map(|at| self.policies.sets_of(*at));
        let sets: BTreeSet<SetIx> =
            of_policies.chain(profiles.iter().flat_map(|at| self.profiles.sets_of(*at))).copied().collect();
        let nets = addresses.iter().flat_map(|address| prefixes_of(*address));
        let nets = nets.filter(|net| net.is_host() || self.cluster.has_net(*net)).collect();
        excerpt.sets = self.sets.excerpt(&self.cluster, sets, &Around { addresses, nets });
        for at in self.policies.by_key(policies.into_iter()) {
            let policy = policy_message(&self.policies, at, &self.tiers, &mut self.parser, &self.sets);
            excerpt.policies.push((self.policies.active_key(at).clone(), policy));
        }
        for at in self.profiles.by_name(profiles) {
            let profile = profile_message(self.profiles.rules(at), &mut self.parser, &self.sets);
            excerpt.profiles.push((self.profiles[at].name.clone(), profile));
        }
        excerpt.nodes = self.hosts.with_addresses(addresses);
        excerpt.pools = self.pools.told().cloned().collect();
        excerpt.in_sync = self.in_sync_told;
        Ok(excerpt)
    }
}

/// A list without the policies that packets of one way do not come to.
fn one_way(list: &PolicyList, heading: Heading) -> PolicyList {
    let tiers = list.iter().map(|tier| {
        let TierPolicies { name, default_action, ingress, egress } = tier;
        let (ingress, egress) = match heading {
            Heading::In => (ingress.clone(), Vec::new()),
            Heading::Out => (Vec::new(), egress.clone()),
        };
        TierPolicies { name: name.clone(), default_action: *default_action, ingress, egress }
    });
    tiers.collect()
}

/// Every prefix that holds an address.
fn prefixes_of(address: IpAddr) -> impl Iterator<Item = Cidr> {
    let lengths = 0..=Family::of(address).bits();
    lengths.map(move |len| Cidr::new(address, len).expect("a length of the family"))
}
