//! What each client of the policy sync API is told.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use caracal_proto::felix::{self, ToDataplane, to_dataplane::Payload};
use smol_str::SmolStr;

use super::known::{IpSet, Known, Message, ip_sets_of, message};
use crate::encode::MAX_MEMBERS;

/// A workload endpoint of this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointId {
    /// `k8s`.
    pub orchestrator: String,
    /// The pod: `namespace/name`.
    pub workload: String,
    /// `eth0`.
    pub endpoint: String,
}

impl From<&felix::WorkloadEndpointId> for EndpointId {
    fn from(id: &felix::WorkloadEndpointId) -> Self {
        let felix::WorkloadEndpointId { orchestrator_id, workload_id, endpoint_id } = id.clone();
        Self { orchestrator: orchestrator_id, workload: workload_id, endpoint: endpoint_id }
    }
}

/// One stream of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JoinId(pub u64);

/// What a stream gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The next message.
    Message(Arc<ToDataplane>),
    /// Nothing more.
    End(Ended),
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Another stream of the same pod has taken its place.
    Replaced,
    /// The endpoint is gone.
    Removed,
}

/// Takes what a stream is told, in order.
pub(super) type Out<'a> = &'a mut dyn FnMut(JoinId, Told);

/// Follows Felix's messages, and tells each client those of them that its endpoint needs.
///
/// The messages must come in the order of a flush, IP sets before the policies
/// that name them, these before endpoints, and with no more members in one than
/// [`MAX_MEMBERS`]. What a client needs it gets before what refers to it, and
/// what it does not need any more is removed after.
#[derive(Debug)]
pub struct Processor {
    known: Known,
    clients: BTreeMap<EndpointId, Client>,
    max_members: usize,
}

impl Default for Processor {
    fn default() -> Self {
        Self::with_max_members(MAX_MEMBERS)
    }
}

impl Processor {
    fn with_max_members(max_members: usize) -> Self {
        Self { known: Known::default(), clients: BTreeMap::new(), max_members }
    }

    /// A client asks for what applies to an endpoint, which need not be known
    /// yet. A client that asked before is told that it has been replaced.
    pub fn join(&mut self, endpoint: EndpointId, join: JoinId, out: Out<'_>) {
        if let Some(before) = self.clients.remove(&endpoint) {
            out(before.join, Told::End(Ended::Replaced));
        }
        let known = &self.known;
        let mut client = Client::new(join);
        if let Some(update) = known.endpoints.get(&endpoint) {
            client.bring(known, &endpoint, update, self.max_members, out);
        }
        for subject in known.service_accounts.values().chain(known.namespaces.values()) {
            client.tell(subject, out);
        }
        if known.in_sync {
            client.tell(&message(Payload::InSync(felix::InSync {})), out);
        }
        self.clients.insert(endpoint, client);
    }

    /// A stream has ended from the client's side; nothing if it was not the endpoint's last.
    pub fn leave(&mut self, endpoint: &EndpointId, join: JoinId) {
        if self.clients.get(endpoint).is_some_and(|client| client.join == join) {
            self.clients.remove(endpoint);
        }
    }

    /// Takes the next message of a flush.
    pub fn on_message(&mut self, told: ToDataplane, out: Out<'_>) {
        let told = Arc::new(told);
        match &told.payload {
            Some(Payload::IpsetUpdate(update)) => {
                self.known.sets.insert(SmolStr::new(&update.id), IpSet::new(update));
                self.tell_users_of_set(&update.id, &told, out);
            }
            Some(Payload::IpsetDeltaUpdate(delta)) => {
                if let Some(set) = self.known.sets.get_mut(delta.id.as_str()) {
                    set.apply(delta);
                }
                self.tell_users_of_set(&delta.id, &told, out);
            }
            Some(Payload::IpsetRemove(felix::IpSetRemove { id })) => {
                // Its last users were told when they ceased to be.
                self.known.sets.remove(id.as_str());
            }
            Some(Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate { id: Some(id), .. })) => {
                let before = self.known.policies.insert(id.clone(), told.clone());
                // Then clients that hold it need what they needed before.
                let has_same_sets = before.is_some_and(|before| ip_sets_of(&before) == ip_sets_of(&told));
                for (endpoint, client) in &mut self.clients {
                    let is_held = client.policies.contains(id);
                    if is_held && has_same_sets {
                        client.tell(&told, out);
                    } else if is_held || self.known.has_policy(endpoint, id) {
                        client.policies.insert(id.clone());
                        client.bring(&self.known, endpoint, &told, self.max_members, out);
                    }
                }
            }
            Some(Payload::ActivePolicyRemove(felix::ActivePolicyRemove { id: Some(id) })) => {
                self.known.policies.remove(id);
                for client in
                    self.clients.values_mut().filter_map(|client| client.policies.remove(id).then_some(client))
                {
                    client.tell(&told, out);
                }
            }
            Some(Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate { id: Some(id), .. })) => {
                self.known.profiles.insert(id.name.clone(), told.clone());
                for (endpoint, client) in &mut self.clients {
                    if self.known.references(endpoint).profiles.contains(&id.name.as_str()) {
                        client.profiles.insert(id.name.clone());
                        client.bring(&self.known, endpoint, &told, self.max_members, out);
                    }
                }
            }
            Some(Payload::ActiveProfileRemove(felix::ActiveProfileRemove { id: Some(id) })) => {
                self.known.profiles.remove(&id.name);
                for client in
                    self.clients.values_mut().filter_map(|client| client.profiles.remove(&id.name).then_some(client))
                {
                    client.tell(&told, out);
                }
            }
            Some(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { id: Some(id), .. })) => {
                let id = EndpointId::from(id);
                self.known.endpoints.insert(id.clone(), told.clone());
                if let Some(client) = self.clients.get_mut(&id) {
                    client.bring(&self.known, &id, &told, self.max_members, out);
                }
            }
            Some(Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id: Some(id) })) => {
                let id = EndpointId::from(id);
                self.known.endpoints.remove(&id);
                if let Some(client) = self.clients.remove(&id) {
                    client.tell(&told, out);
                    out(client.join, Told::End(Ended::Removed));
                }
            }
            Some(Payload::ServiceAccountUpdate(felix::ServiceAccountUpdate { id: Some(id), .. })) => {
                self.known.service_accounts.insert((id.namespace.clone(), id.name.clone()), told.clone());
                self.tell_all(&told, out);
            }
            Some(Payload::ServiceAccountRemove(felix::ServiceAccountRemove { id: Some(id) })) => {
                self.known.service_accounts.remove(&(id.namespace.clone(), id.name.clone()));
                self.tell_all(&told, out);
            }
            Some(Payload::NamespaceUpdate(felix::NamespaceUpdate { id: Some(id), .. })) => {
                self.known.namespaces.insert(id.name.clone(), told.clone());
                self.tell_all(&told, out);
            }
            Some(Payload::NamespaceRemove(felix::NamespaceRemove { id: Some(id) })) => {
                self.known.namespaces.remove(&id.name);
                self.tell_all(&told, out);
            }
            Some(Payload::InSync(_)) => {
                if !std::mem::replace(&mut self.known.in_sync, true) {
                    self.tell_all(&told, out);
                }
            }
            // The rest is for dataplanes.
            Some(_) | None => {}
        }
    }

    fn tell_all(&self, told: &Message, out: Out<'_>) {
        for client in self.clients.values() {
            client.tell(told, out);
        }
    }

    fn tell_users_of_set(&self, id: &str, told: &Message, out: Out<'_>) {
        for client in self.clients.values().filter(|client| client.sets.contains(id)) {
            client.tell(told, out);
        }
    }
}

/// What a client holds of what can be removed.
#[derive(Debug)]
struct Client {
    join: JoinId,
    sets: BTreeSet<SmolStr>,
    policies: HashSet<felix::PolicyId>,
    profiles: BTreeSet<String>,
}

impl Client {
    fn new(join: JoinId) -> Self {
        Self { join, sets: BTreeSet::new(), policies: HashSet::new(), profiles: BTreeSet::new() }
    }

    fn tell(&self, told: &Message, out: Out<'_>) {
        out(self.join, Told::Message(told.clone()));
    }

    /// Tells a changed policy, profile or endpoint: first what it needs and the
    /// client does not hold, last what the client does not need any more.
    fn bring(&mut self, known: &Known, endpoint: &EndpointId, changed: &Message, max_members: usize, out: Out<'_>) {
        let needs = known.references(endpoint);
        let needed_sets = known.ip_sets(&needs);
        for &id in &needed_sets {
            if let Some(set) = known.sets.get(id)
                && self.sets.insert(id.into())
            {
                for part in set.messages(id, max_members) {
                    self.tell(&part, out);
                }
            }
        }
        for &id in &needs.policies {
            if let Some(policy) = known.policies.get(id)
                && self.policies.insert(id.clone())
            {
                self.tell(policy, out);
            }
        }
        for &name in &needs.profiles {
            if let Some(profile) = known.profiles.get(name)
                && self.profiles.insert(name.to_owned())
            {
                self.tell(profile, out);
            }
        }
        self.tell(changed, out);

        let mut unneeded: Vec<_> = self.policies.extract_if(|id| !needs.named.contains(id)).collect();
        unneeded.sort_by(|a, b| (&a.kind, &a.namespace, &a.name).cmp(&(&b.kind, &b.namespace, &b.name)));
        for id in unneeded {
            let remove = felix::ActivePolicyRemove { id: Some(id) };
            self.tell(&message(Payload::ActivePolicyRemove(remove)), out);
        }
        let profiles: Vec<_> = self.profiles.extract_if(.., |name| !needs.profiles.contains(&name.as_str())).collect();
        for name in profiles {
            let remove = felix::ActiveProfileRemove { id: Some(felix::ProfileId { name }) };
            self.tell(&message(Payload::ActiveProfileRemove(remove)), out);
        }
        let sets: Vec<_> = self.sets.extract_if(.., |id| !needed_sets.contains(id.as_str())).collect();
        for id in sets {
            let remove = felix::IpSetRemove { id: id.to_string() };
            self.tell(&message(Payload::IpsetRemove(remove)), out);
        }
    }
}

#[cfg(test)]
mod tests;
