//! What a receiver of deltas has, and a log of how it got it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use caracal_calc_graph::order::OrderChecker;
use caracal_calc_graph::{
    ActivePolicy, ActiveProfile, CalcGraph, Delta, Encapsulation, Flush, HostPolicyLists, IpSetKind, Member,
    PolicyList, TierPolicies,
};
use caracal_model::{
    HostEndpoint, HostEndpointKey, IpPool, Labels, Node, PolicyKey, Service, ServiceRef, WorkloadEndpoint,
    WorkloadEndpointKey,
};
use caracal_net::Cidr;
use caracal_selector::Selector;
use smol_str::{SmolStr, ToSmolStr};

/// The folded state. Labels and ports of endpoints are left out: no dataplane has a use for them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) sets: BTreeMap<SmolStr, (IpSetKind, BTreeSet<Member>)>,
    pub(crate) policies: BTreeMap<PolicyKey, ActivePolicy>,
    pub(crate) profiles: BTreeMap<SmolStr, ActiveProfile>,
    pub(crate) workloads: BTreeMap<WorkloadEndpointKey, (WorkloadEndpoint, PolicyList)>,
    pub(crate) hosts: BTreeMap<HostEndpointKey, (HostEndpoint, HostPolicyLists)>,
    pub(crate) service_accounts: BTreeMap<(SmolStr, SmolStr), Labels>,
    pub(crate) namespaces: BTreeMap<SmolStr, Labels>,
    pub(crate) nodes: BTreeMap<SmolStr, Node>,
    pub(crate) pools: BTreeMap<Cidr, IpPool>,
    pub(crate) encapsulation: Option<Encapsulation>,
    pub(crate) services: BTreeMap<ServiceRef, Service>,
    pub(crate) in_sync: bool,
}

/// A receiver that checks what it gets.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    checker: OrderChecker,
    pub(crate) state: State,
    /// One line per delta since the log was last taken.
    log: Vec<String>,
}

impl Receiver {
    pub(crate) fn take(&mut self, delta: &Delta<'_>) {
        if let Err(error) = self.checker.check(delta) {
            panic!("{error}\nafter {:#?}", self.log);
        }
        self.log.push(line(delta));
        let state = &mut self.state;
        match delta {
            Delta::IpSetUpdate { id, kind, members } => {
                let members = members.iter().copied().collect();
                state.sets.insert((*id).clone(), (*kind, members));
            }
            Delta::IpSetDelta { id, added, removed } => {
                let (_, members) = state.sets.get_mut(*id).expect("checked");
                members.retain(|member| !removed.contains(member));
                members.extend(added.iter().copied());
            }
            Delta::IpSetRemove { id } => drop(state.sets.remove(*id)),
            Delta::PolicyUpdate { key, policy } => {
                state.policies.insert((*key).clone(), (*policy).clone());
            }
            Delta::PolicyRemove { key } => drop(state.policies.remove(*key)),
            Delta::ProfileUpdate { name, profile } => {
                state.profiles.insert((*name).clone(), (*profile).clone());
            }
            Delta::ProfileRemove { name } => drop(state.profiles.remove(*name)),
            Delta::WorkloadUpdate { key, endpoint, tiers } => {
                let seen = seen_workload(endpoint);
                state.workloads.insert((*key).clone(), (seen, (*tiers).clone()));
            }
            Delta::WorkloadRemove { key } => drop(state.workloads.remove(*key)),
            Delta::HostUpdate { key, endpoint, tiers } => {
                let seen = seen_host(endpoint);
                state.hosts.insert((*key).clone(), (seen, (*tiers).clone()));
            }
            Delta::HostRemove { key } => drop(state.hosts.remove(*key)),
            Delta::ServiceAccountUpdate { namespace, name, labels } => {
                let key = (namespace.to_smolstr(), name.to_smolstr());
                state.service_accounts.insert(key, (*labels).clone());
            }
            Delta::ServiceAccountRemove { namespace, name } => {
                let key = (namespace.to_smolstr(), name.to_smolstr());
                state.service_accounts.remove(&key);
            }
            Delta::NamespaceUpdate { name, labels } => {
                state.namespaces.insert(name.to_smolstr(), (*labels).clone());
            }
            Delta::NamespaceRemove { name } => drop(state.namespaces.remove(*name)),
            Delta::HostMetadataUpdate { hostname, node } => {
                state.nodes.insert((*hostname).clone(), (*node).clone());
            }
            Delta::HostMetadataRemove { hostname } => drop(state.nodes.remove(*hostname)),
            Delta::IpPoolUpdate { pool } => drop(state.pools.insert(pool.cidr, (*pool).clone())),
            Delta::IpPoolRemove { cidr } => drop(state.pools.remove(cidr)),
            Delta::Encapsulation { encapsulation } => state.encapsulation = Some(*encapsulation),
            Delta::ServiceUpdate { key, service } => drop(state.services.insert((*key).clone(), (*service).clone())),
            Delta::ServiceRemove { key } => drop(state.services.remove(*key)),
            Delta::InSync => state.in_sync = true,
        }
    }

    pub(crate) fn end_flush(&mut self) {
        if let Err(error) = self.checker.end_flush() {
            panic!("{error}\nafter {:#?}", self.log);
        }
    }

    /// The lines since the last call.
    pub(crate) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

pub(crate) fn seen_workload(endpoint: &WorkloadEndpoint) -> WorkloadEndpoint {
    WorkloadEndpoint { labels: Labels::new(), ports: Vec::new(), ..endpoint.clone() }
}

pub(crate) fn seen_host(endpoint: &HostEndpoint) -> HostEndpoint {
    HostEndpoint { labels: Labels::new(), ports: Vec::new(), ..endpoint.clone() }
}

/// Flushes into a receiver.
pub(crate) fn flush(graph: &mut CalcGraph, receiver: &mut Receiver) -> Flush {
    let flush = graph.flush(&mut |delta| receiver.take(&delta));
    receiver.end_flush();
    assert!(!graph.is_dirty(), "a flush leaves nothing to tell");
    flush
}

/// What a new receiver gets.
pub(crate) fn snapshot(graph: &mut CalcGraph) -> State {
    let mut receiver = Receiver::default();
    graph.snapshot(&mut |delta| receiver.take(&delta)).expect("the graph was flushed");
    receiver.end_flush();
    receiver.state
}

/// The id of the set that a selector makes.
pub(crate) fn set_of(selector: &str) -> String {
    Selector::parse(selector).expect("a selector").id()
}

fn line(delta: &Delta<'_>) -> String {
    match delta {
        Delta::IpSetUpdate { id, members, .. } => format!("set {id} = {}", list(members)),
        Delta::IpSetDelta { id, added, removed } => {
            let mut line = format!("set {id}");
            for (sign, members) in [('+', added), ('-', removed)] {
                for member in *members {
                    write!(line, " {sign}{}", member_text(member)).expect("a string takes text");
                }
            }
            line
        }
        Delta::IpSetRemove { id } => format!("set {id} gone"),
        Delta::PolicyUpdate { key, .. } => format!("policy {}", key.name),
        Delta::PolicyRemove { key } => format!("policy {} gone", key.name),
        Delta::ProfileUpdate { name, .. } => format!("profile {name}"),
        Delta::ProfileRemove { name } => format!("profile {name} gone"),
        Delta::WorkloadUpdate { key, tiers, .. } => format!("pod {} {}", key.workload, tiers_text(tiers)),
        Delta::WorkloadRemove { key } => format!("pod {} gone", key.workload),
        Delta::HostUpdate { key, tiers, .. } => format!(
            "host {} {} untracked {} pre-dnat {} forward {}",
            key.name,
            tiers_text(&tiers.normal),
            tiers_text(&tiers.untracked),
            tiers_text(&tiers.pre_dnat),
            tiers_text(&tiers.forward)
        ),
        Delta::HostRemove { key } => format!("host {} gone", key.name),
        Delta::ServiceAccountUpdate { namespace, name, labels } => {
            format!("service account {namespace}/{name} {labels:?}")
        }
        Delta::ServiceAccountRemove { namespace, name } => format!("service account {namespace}/{name} gone"),
        Delta::NamespaceUpdate { name, labels } => format!("namespace {name} {labels:?}"),
        Delta::NamespaceRemove { name } => format!("namespace {name} gone"),
        Delta::HostMetadataUpdate { hostname, node } => format!("node {hostname} {}", node.ipv4),
        Delta::HostMetadataRemove { hostname } => format!("node {hostname} gone"),
        Delta::IpPoolUpdate { pool } => format!("pool {}", pool.cidr),
        Delta::IpPoolRemove { cidr } => format!("pool {cidr} gone"),
        Delta::Encapsulation { encapsulation: Encapsulation { ipip, vxlan, vxlan_v6 } } => {
            let asked = [(*ipip, "ipip"), (*vxlan, "vxlan"), (*vxlan_v6, "vxlan-v6")];
            let names: Vec<&str> = asked.into_iter().filter(|(asked, _)| *asked).map(|(_, name)| name).collect();
            format!("tunnels [{}]", names.join(" "))
        }
        Delta::ServiceUpdate { key, service } => format!("service {} [{}]", key.name, service.cluster_ips.join(" ")),
        Delta::ServiceRemove { key } => format!("service {} gone", key.name),
        Delta::InSync => "in sync".to_owned(),
    }
}

pub(crate) fn member_text(member: &Member) -> String {
    match member {
        Member::Net(net) => net.to_string(),
        Member::IpPort(addr, protocol, port) => format!("{addr},{protocol}:{port}"),
    }
}

fn list(members: &[Member]) -> String {
    let members: Vec<String> = members.iter().map(member_text).collect();
    format!("[{}]", members.join(" "))
}

/// `[tier action in: names out: names; …]`.
pub(crate) fn tiers_text(tiers: &[TierPolicies]) -> String {
    let names = |keys: &[PolicyKey]| -> String {
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        names.join(",")
    };
    let tiers: Vec<String> = tiers
        .iter()
        .map(|tier| {
            let action = tier.default_action.map_or("none", |action| action.as_wire());
            format!("{} {action} in:{} out:{}", tier.name, names(&tier.ingress), names(&tier.egress))
        })
        .collect();
    format!("[{}]", tiers.join("; "))
}
