//! The state that the control half's messages add up to.

mod cluster;
mod diff;
mod hosts;
mod stamp;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use caracal_proto::felix::{self, to_dataplane::Payload};
use rustc_hash::{FxHashMap, FxHashSet};
use smol_str::SmolStr;
pub use stamp::Stamp;
use stamp::Stamped;

use cluster::Cluster;

use crate::parse::{self, Subject};
use crate::{
    Change, Direction, Fault, HostEndpoint, HostId, IpPool, IpSet, Member, PolicyId, PolicyProgram, PoolId,
    ProfileName, ProfileProgram, Program, ProgramError, ProgramKey, SetId, WorkloadEndpoint, WorkloadId,
};

/// The state that the control half's messages add up to. A message that says
/// what the store holds already changes nothing, so a snapshot may be folded
/// into a store that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyStore {
    /// Shared with who judges many packets of one state; a change while somebody does copies the set.
    ip_sets: BTreeMap<SetId, Arc<IpSet>>,
    policies: BTreeMap<PolicyId, Arc<PolicyProgram>>,
    profiles: BTreeMap<ProfileName, Arc<ProfileProgram>>,
    workloads: BTreeMap<WorkloadId, Arc<WorkloadEndpoint>>,
    hosts: BTreeMap<HostId, Arc<HostEndpoint>>,
    /// The endpoints that name an interface; the first is active.
    interfaces: FxHashMap<SmolStr, BTreeSet<WorkloadId>>,
    /// The programs of all workload endpoints, and how many times each is used.
    programs: BTreeMap<ProgramKey, (Arc<Program>, usize)>,
    /// The addresses of the host's interfaces, by name.
    addresses: BTreeMap<SmolStr, BTreeSet<IpAddr>>,
    pools: BTreeMap<PoolId, IpPool>,
    cluster: Cluster,
    config: BTreeMap<String, String>,
    in_sync: bool,
    stamped: Stamped,
}

impl PolicyStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds one message into the state and says what it changed. Messages about
    /// routes, services, service accounts and namespaces change nothing here.
    ///
    /// # Errors
    /// [`ProgramError`] if the message cannot be understood; the store is as it
    /// was before, and later messages can be folded.
    pub fn apply(&mut self, message: &felix::ToDataplane) -> Result<Change, ProgramError> {
        let Some(payload) = &message.payload else {
            let subject =
                Subject { message: "ToDataplane", object: &format_args!("message {}", message.sequence_number) };
            return Err(subject.error(None, ("payload", Fault::Missing)));
        };
        self.stamped.change();
        match payload {
            Payload::InSync(felix::InSync {}) => {
                let before = std::mem::replace(&mut self.in_sync, true);
                Ok(if before { Change::Nothing } else { Change::InSync })
            }
            Payload::IpsetUpdate(update) => self.set_update(update),
            Payload::IpsetDeltaUpdate(update) => self.set_delta(update),
            Payload::IpsetRemove(felix::IpSetRemove { id }) => {
                let removed = self.ip_sets.remove_entry(id.as_str());
                Ok(removed.map_or(Change::Nothing, |(id, _)| Change::SetRemoved(id)))
            }
            Payload::ActivePolicyUpdate(update) => {
                let policy = parse::policy(update)?;
                if self.policies.get(&policy.id).is_some_and(|held| **held == policy) {
                    return Ok(Change::Nothing);
                }
                let id = policy.id.clone();
                self.policies.insert(id.clone(), Arc::new(policy));
                Ok(Change::Policy(id))
            }
            Payload::ActivePolicyRemove(felix::ActivePolicyRemove { id }) => {
                let id = parse::policy_id("ActivePolicyRemove", id.as_ref())?;
                let removed = self.policies.remove(&id);
                Ok(removed.map_or(Change::Nothing, |_| Change::Policy(id)))
            }
            Payload::ActiveProfileUpdate(update) => {
                let profile = parse::profile(update)?;
                if self.profiles.get(&profile.name).is_some_and(|held| **held == profile) {
                    return Ok(Change::Nothing);
                }
                let name = profile.name.clone();
                self.profiles.insert(name.clone(), Arc::new(profile));
                Ok(Change::Profile(name))
            }
            Payload::ActiveProfileRemove(felix::ActiveProfileRemove { id }) => {
                let name = parse::profile_name("ActiveProfileRemove", id.as_ref())?;
                let removed = self.profiles.remove(&name);
                Ok(removed.map_or(Change::Nothing, |_| Change::Profile(name)))
            }
            Payload::WorkloadEndpointUpdate(update) => self.workload_update(update),
            Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id }) => {
                let id = parse::workload_id("WorkloadEndpointRemove", id.as_ref())?;
                Ok(self.workload_remove(id))
            }
            Payload::HostEndpointUpdate(update) => {
                let endpoint = parse::host(update)?;
                if self.hosts.get(&endpoint.id).is_some_and(|held| **held == endpoint) {
                    return Ok(Change::Nothing);
                }
                let id = endpoint.id.clone();
                self.hosts.insert(id.clone(), Arc::new(endpoint));
                Ok(Change::HostEndpoint(id))
            }
            Payload::HostEndpointRemove(felix::HostEndpointRemove { id }) => {
                let id = parse::host_id("HostEndpointRemove", id.as_ref())?;
                let removed = self.hosts.remove(&id);
                Ok(removed.map_or(Change::Nothing, |_| Change::HostEndpoint(id)))
            }
            Payload::IpamPoolUpdate(update) => {
                let (id, pool) = parse::pool(update)?;
                if self.pools.get(&id) == Some(&pool) {
                    return Ok(Change::Nothing);
                }
                self.pools.insert(id.clone(), pool);
                Ok(Change::IpPool(id))
            }
            Payload::IpamPoolRemove(felix::IpamPoolRemove { id }) => {
                let id = parse::pool_id("IPAMPoolRemove", id)?;
                let removed = self.pools.remove(&id);
                Ok(removed.map_or(Change::Nothing, |_| Change::IpPool(id)))
            }
            Payload::ConfigUpdate(update) => {
                if self.config == update.config {
                    return Ok(Change::Nothing);
                }
                self.config.clone_from(&update.config);
                Ok(Change::Config)
            }
            Payload::HostMetadataUpdate(update) => self.node_update(update),
            Payload::HostMetadataRemove(felix::HostMetadataRemove { hostname, ipv4_addr: _ }) => {
                Ok(self.node_remove(hostname))
            }
            Payload::GlobalBgpConfigUpdate(update) => self.services_update(update),
            Payload::ServiceAccountUpdate(_)
            | Payload::ServiceAccountRemove(_)
            | Payload::NamespaceUpdate(_)
            | Payload::NamespaceRemove(_)
            | Payload::RouteUpdate(_)
            | Payload::RouteRemove(_)
            | Payload::VtepUpdate(_)
            | Payload::VtepRemove(_)
            | Payload::WireguardEndpointUpdate(_)
            | Payload::WireguardEndpointRemove(_)
            | Payload::WireguardEndpointV6Update(_)
            | Payload::WireguardEndpointV6Remove(_)
            | Payload::Encapsulation(_)
            | Payload::ServiceUpdate(_)
            | Payload::ServiceRemove(_) => Ok(Change::Nothing),
        }
    }

    /// Changes whenever the store may have changed.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.stamped.stamp()
    }

    /// An IP set by its id.
    #[must_use]
    pub fn ip_set(&self, id: &str) -> Option<&IpSet> {
        self.shared_set(id).map(AsRef::as_ref)
    }

    /// An IP set by its id, as it is now.
    pub(crate) fn shared_set(&self, id: &str) -> Option<&Arc<IpSet>> {
        self.ip_sets.get(id)
    }

    /// All IP sets, by id.
    pub fn ip_sets(&self) -> impl ExactSizeIterator<Item = (&SetId, &IpSet)> {
        self.ip_sets.iter().map(|(id, set)| (id, &**set))
    }

    /// A policy by its id.
    #[must_use]
    pub fn policy(&self, id: &PolicyId) -> Option<&Arc<PolicyProgram>> {
        self.policies.get(id)
    }

    /// All policies, by id.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Arc<PolicyProgram>> {
        self.policies.values()
    }

    /// A profile by its name.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<&Arc<ProfileProgram>> {
        self.profiles.get(name)
    }

    /// All profiles, by name.
    pub fn profiles(&self) -> impl ExactSizeIterator<Item = &Arc<ProfileProgram>> {
        self.profiles.values()
    }

    /// A workload endpoint by its id.
    #[must_use]
    pub fn workload(&self, id: &WorkloadId) -> Option<&Arc<WorkloadEndpoint>> {
        self.workloads.get(id)
    }

    /// All workload endpoints, by id.
    pub fn workloads(&self) -> impl ExactSizeIterator<Item = &Arc<WorkloadEndpoint>> {
        self.workloads.values()
    }

    /// The endpoint whose policy an interface enforces: of those that name it,
    /// the one with the lowest id.
    #[must_use]
    pub fn active_on(&self, interface: &str) -> Option<&Arc<WorkloadEndpoint>> {
        let first = self.interfaces.get(interface)?.first()?;
        self.workloads.get(first)
    }

    /// Whether the endpoint is the one that its interface enforces.
    #[must_use]
    pub fn is_active(&self, endpoint: &WorkloadEndpoint) -> bool {
        self.active_on(&endpoint.interface).is_some_and(|active| active.id == endpoint.id)
    }

    /// The endpoints that are not enforced because another one with a lower id
    /// names the same interface, by id.
    pub fn shadowed(&self) -> impl Iterator<Item = &Arc<WorkloadEndpoint>> {
        self.workloads.values().filter(|endpoint| !self.is_active(endpoint))
    }

    /// A host endpoint by its id.
    #[must_use]
    pub fn host(&self, id: &HostId) -> Option<&Arc<HostEndpoint>> {
        self.hosts.get(id)
    }

    /// All host endpoints, by id.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &Arc<HostEndpoint>> {
        self.hosts.values()
    }

    /// A pool of addresses by its id.
    #[must_use]
    pub fn pool(&self, id: &PoolId) -> Option<&IpPool> {
        self.pools.get(id)
    }

    /// All pools of addresses, by id.
    pub fn pools(&self) -> impl ExactSizeIterator<Item = (&PoolId, &IpPool)> {
        self.pools.iter()
    }

    /// A program that some workload endpoint uses.
    #[must_use]
    pub fn program(&self, key: ProgramKey) -> Option<&Arc<Program>> {
        self.programs.get(&key).map(|(program, _)| program)
    }

    /// The programs of all workload endpoints, each once, by key.
    pub fn programs(&self) -> impl ExactSizeIterator<Item = &Arc<Program>> {
        self.programs.values().map(|(program, _)| program)
    }

    /// The resolved configuration, by parameter.
    #[must_use]
    pub const fn config(&self) -> &BTreeMap<String, String> {
        &self.config
    }

    /// Whether everything that the sources listed first has been told.
    #[must_use]
    pub const fn in_sync(&self) -> bool {
        self.in_sync
    }

    fn set_update(&mut self, update: &felix::IpSetUpdate) -> Result<Change, ProgramError> {
        let felix::IpSetUpdate { id, members, r#type } = update;
        let subject = Subject { message: "IPSetUpdate", object: &format_args!("IP set {id}") };
        let kind = subject.check(parse::set_kind(*r#type))?;
        let members = subject.check(parse::members("members", kind, members))?;
        let set = IpSet::with_members(kind, members);
        let id: SetId = match self.ip_sets.get_key_value(id.as_str()) {
            Some((id, _)) => id.clone(),
            None => id.as_str().into(),
        };
        let change = diff::set_change(&id, self.ip_set(&id), &set);
        self.ip_sets.insert(id, Arc::new(set));
        Ok(change)
    }

    fn set_delta(&mut self, update: &felix::IpSetDeltaUpdate) -> Result<Change, ProgramError> {
        let felix::IpSetDeltaUpdate { id, added_members, removed_members } = update;
        let subject = Subject { message: "IPSetDeltaUpdate", object: &format_args!("IP set {id}") };
        let Some(set) = self.ip_sets.get_mut(id.as_str()) else {
            return Err(subject.error(None, ("id", Fault::UnknownSet)));
        };
        let added = subject.check(parse::members("added_members", set.kind(), added_members))?;
        let mut removed = subject.check(parse::members("removed_members", set.kind(), removed_members))?;
        // A member that is both removed and added is there afterwards.
        if !added.is_empty() && !removed.is_empty() {
            let kept: FxHashSet<&Member> = added.iter().collect();
            removed.retain(|member| !kept.contains(member));
        }
        let set = Arc::make_mut(set);
        let removed = set.remove(removed);
        let added = set.add(added);
        if added.is_empty() && removed.is_empty() {
            return Ok(Change::Nothing);
        }
        let (id, _) = self.ip_sets.get_key_value(id.as_str()).expect("the set was found above");
        Ok(Change::SetMembers { id: id.clone(), added, removed })
    }

    fn workload_update(&mut self, update: &felix::WorkloadEndpointUpdate) -> Result<Change, ProgramError> {
        let parse::WorkloadFields { id, state, interface, mac, addresses, spoofable, tiers, profiles } =
            parse::workload(update)?;
        let ingress = self.acquire(Program::new(Direction::Ingress, &tiers, &profiles));
        let egress = self.acquire(Program::new(Direction::Egress, &tiers, &profiles));
        let endpoint =
            WorkloadEndpoint { id: id.clone(), state, interface, mac, addresses, spoofable, ingress, egress };
        let before = self.workloads.get(&id).cloned();
        if let Some(before) = &before {
            self.release(before);
            if **before == endpoint {
                return Ok(Change::Nothing);
            }
            self.leave_interface(before);
        }
        let change = diff::endpoint_change(&id, before.as_deref(), Some(&endpoint));
        let named = self.interfaces.entry(endpoint.interface.clone()).or_default();
        named.insert(id.clone());
        self.workloads.insert(id, Arc::new(endpoint));
        Ok(change)
    }

    fn workload_remove(&mut self, id: WorkloadId) -> Change {
        let Some(before) = self.workloads.remove(&id) else {
            return Change::Nothing;
        };
        self.release(&before);
        self.leave_interface(&before);
        diff::endpoint_change(&id, Some(&before), None)
    }

    fn leave_interface(&mut self, endpoint: &WorkloadEndpoint) {
        if let Some(named) = self.interfaces.get_mut(&endpoint.interface) {
            named.remove(&endpoint.id);
            if named.is_empty() {
                self.interfaces.remove(&endpoint.interface);
            }
        }
    }

    /// Counts one more use of a program, and gives back the shared copy of it.
    fn acquire(&mut self, program: Program) -> Arc<Program> {
        let (shared, uses) = self.programs.entry(program.key()).or_insert_with(|| (Arc::new(program), 0));
        *uses += 1;
        Arc::clone(shared)
    }

    /// Counts one use less of each of an endpoint's programs.
    fn release(&mut self, endpoint: &WorkloadEndpoint) {
        for direction in Direction::ALL {
            let key = endpoint.program(direction).key();
            if let Some((_, uses)) = self.programs.get_mut(&key) {
                *uses -= 1;
                if *uses == 0 {
                    self.programs.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
