//! What the data half was told of this node, as far as people ask for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use caracal_program::{HostId, PolicyId, WorkloadId};
use caracal_proto::felix::{self, to_dataplane::Payload};
use smol_str::SmolStr;

/// The endpoints of this node and the policies that they need, folded from the
/// messages of revisions. Of rules only their number is kept.
#[derive(Debug, Default)]
pub struct Ledger {
    workloads: BTreeMap<WorkloadId, Workload>,
    hosts: BTreeMap<HostId, Host>,
    policies: BTreeMap<PolicyId, Policy>,
    lists: Lists,
}

/// A workload endpoint as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The host's side of its interface.
    pub interface: SmolStr,
    /// The MAC address, empty if unknown.
    pub mac: SmolStr,
    /// Prefixes, as told.
    pub ipv4_nets: Vec<SmolStr>,
    /// Prefixes, as told.
    pub ipv6_nets: Vec<SmolStr>,
    /// The name of the BGP peer that belongs to it, empty if there is none.
    pub bgp_peer: SmolStr,
    /// Whether policy decides; if not, nothing passes.
    pub active: bool,
    /// The tiers that apply, in order.
    pub tiers: Arc<[Tier]>,
    /// The profiles, in order.
    pub profiles: Vec<SmolStr>,
}

/// A host endpoint as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The interface, `*` for all; empty if it is found by its addresses.
    pub interface: SmolStr,
    /// The addresses that it is expected to have, as told.
    pub addresses: Vec<SmolStr>,
    /// The tiers of its programs in the order in which a packet meets those:
    /// untracked, before DNAT, at the host, forwarded. A tier comes once a program.
    pub tiers: Arc<[Tier]>,
    /// The profiles, in order.
    pub profiles: Vec<SmolStr>,
}

/// The policies of one tier that select an endpoint, each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tier {
    /// The tier's name.
    pub name: SmolStr,
    /// Those for traffic towards the endpoint first.
    pub policies: Vec<PolicyId>,
}

/// A policy as it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The tier's name.
    pub tier: SmolStr,
    /// How many rules there are for traffic towards endpoints.
    pub inbound_rules: usize,
    /// How many rules there are for traffic from endpoints.
    pub outbound_rules: usize,
}

/// What a message was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// An endpoint that is there.
    Endpoint,
    /// One that is not any more.
    EndpointGone,
    /// Nothing that an endpoint's own record holds.
    Other,
}

impl Ledger {
    /// A snapshot begins: what it does not name is gone.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes a message to the data half.
    pub(super) fn on_message(&mut self, message: &felix::ToDataplane) -> About {
        match &message.payload {
            Some(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate {
                id: Some(id),
                endpoint: Some(endpoint),
            })) => {
                let tiers = self.lists.share(endpoint.tiers.iter().map(Tier::of).collect());
                self.workloads.insert(workload_id(id), Workload::of(endpoint, tiers));
                About::Endpoint
            }
            Some(Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id: Some(id) })) => {
                self.workloads.remove(&workload_id(id));
                About::EndpointGone
            }
            Some(Payload::HostEndpointUpdate(felix::HostEndpointUpdate { id: Some(id), endpoint: Some(endpoint) })) => {
                let tiers = self.lists.share(Host::tiers_of(endpoint));
                self.hosts.insert(HostId(id.endpoint_id.as_str().into()), Host::of(endpoint, tiers));
                About::Endpoint
            }
            Some(Payload::HostEndpointRemove(felix::HostEndpointRemove { id: Some(id) })) => {
                self.hosts.remove(&HostId(id.endpoint_id.as_str().into()));
                About::EndpointGone
            }
            Some(Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate { id: Some(id), policy: Some(policy) })) => {
                let policy = Policy {
                    tier: policy.tier.as_str().into(),
                    inbound_rules: policy.inbound_rules.len(),
                    outbound_rules: policy.outbound_rules.len(),
                };
                self.policies.insert(policy_id(id), policy);
                About::Other
            }
            Some(Payload::ActivePolicyRemove(felix::ActivePolicyRemove { id: Some(id) })) => {
                self.policies.remove(&policy_id(id));
                About::Other
            }
            Some(_) | None => About::Other,
        }
    }

    /// The workload endpoints, by id.
    #[must_use]
    pub fn workloads(&self) -> &BTreeMap<WorkloadId, Workload> {
        &self.workloads
    }

    /// The host endpoints, by id.
    #[must_use]
    pub fn hosts(&self) -> &BTreeMap<HostId, Host> {
        &self.hosts
    }

    /// The active policies, by id.
    #[must_use]
    pub fn policies(&self) -> &BTreeMap<PolicyId, Policy> {
        &self.policies
    }

    /// How many endpoints each policy selects, host endpoints among them.
    #[must_use]
    pub fn endpoints_by_policy(&self) -> BTreeMap<&PolicyId, usize> {
        let mut counts: BTreeMap<&PolicyId, usize> = self.policies.keys().map(|id| (id, 0)).collect();
        // A list is looked through once, however many endpoints have it.
        let mut lists: HashMap<*const [Tier], (&[Tier], usize)> = HashMap::new();
        let workloads = self.workloads.values().map(|workload| &workload.tiers);
        for tiers in workloads.chain(self.hosts.values().map(|host| &host.tiers)) {
            lists.entry(Arc::as_ptr(tiers)).or_insert((tiers, 0)).1 += 1;
        }
        for (tiers, endpoints) in lists.into_values() {
            let selecting: HashSet<&PolicyId> = tiers.iter().flat_map(|tier| &tier.policies).collect();
            for policy in selecting {
                if let Some(count) = counts.get_mut(policy) {
                    *count += endpoints;
                }
            }
        }
        counts
    }
}

impl Workload {
    fn of(endpoint: &felix::WorkloadEndpoint, tiers: Arc<[Tier]>) -> Self {
        Self {
            interface: endpoint.name.as_str().into(),
            mac: endpoint.mac.as_str().into(),
            ipv4_nets: texts(&endpoint.ipv4_nets),
            ipv6_nets: texts(&endpoint.ipv6_nets),
            bgp_peer: endpoint
                .local_bgp_peer
                .as_ref()
                .map(|peer| peer.bgp_peer_name.as_str().into())
                .unwrap_or_default(),
            active: endpoint.state == "active",
            tiers,
            profiles: texts(&endpoint.profile_ids),
        }
    }
}

impl Host {
    fn of(endpoint: &felix::HostEndpoint, tiers: Arc<[Tier]>) -> Self {
        let addresses = endpoint.expected_ipv4_addrs.iter().chain(&endpoint.expected_ipv6_addrs);
        Self {
            interface: endpoint.name.as_str().into(),
            addresses: addresses.map(SmolStr::from).collect(),
            tiers,
            profiles: texts(&endpoint.profile_ids),
        }
    }

    fn tiers_of(endpoint: &felix::HostEndpoint) -> Vec<Tier> {
        let felix::HostEndpoint { tiers, untracked_tiers, pre_dnat_tiers, forward_tiers, .. } = endpoint;
        let programs = [untracked_tiers, pre_dnat_tiers, tiers, forward_tiers];
        programs.into_iter().flatten().map(Tier::of).collect()
    }
}

fn texts(texts: &[String]) -> Vec<SmolStr> {
    texts.iter().map(SmolStr::from).collect()
}

impl Tier {
    fn of(tier: &felix::TierInfo) -> Self {
        let mut named = HashSet::with_capacity(tier.ingress_policies.len());
        let policies = tier.ingress_policies.iter().chain(&tier.egress_policies);
        let policies = policies.filter(|id| named.insert(*id)).map(policy_id).collect();
        Self { name: tier.name.as_str().into(), policies }
    }
}

/// The lists of tiers that endpoints have: equal ones are held once. Most endpoints of a node
/// have one of a few, and each may name every policy of the cluster.
#[derive(Debug, Default)]
struct Lists {
    shared: HashSet<Arc<[Tier]>>,
    /// How many there may be before those that no endpoint has are looked for.
    room: usize,
}

impl Lists {
    fn share(&mut self, tiers: Vec<Tier>) -> Arc<[Tier]> {
        if let Some(shared) = self.shared.get(tiers.as_slice()) {
            return Arc::clone(shared);
        }
        if self.shared.len() >= self.room {
            self.shared.retain(|list| Arc::strong_count(list) > 1);
            self.room = self.shared.len() * 2 + 1;
        }
        let tiers: Arc<[Tier]> = tiers.into();
        self.shared.insert(Arc::clone(&tiers));
        tiers
    }
}

/// A workload endpoint's id in typed form.
#[must_use]
pub(super) fn workload_id(id: &felix::WorkloadEndpointId) -> WorkloadId {
    let felix::WorkloadEndpointId { orchestrator_id, workload_id, endpoint_id } = id;
    WorkloadId {
        orchestrator: orchestrator_id.as_str().into(),
        workload: workload_id.as_str().into(),
        endpoint: endpoint_id.as_str().into(),
    }
}

fn policy_id(id: &felix::PolicyId) -> PolicyId {
    let felix::PolicyId { name, namespace, kind } = id;
    PolicyId { kind: kind.as_str().into(), namespace: namespace.as_str().into(), name: name.as_str().into() }
}

#[cfg(test)]
mod tests;
