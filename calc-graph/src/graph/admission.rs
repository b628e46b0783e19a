//! Which objects are in force: of one key, the valid one of the first kind.
//!
//! Inputs: objects and keys that sources deliver. Output: calls of what takes
//! objects in and out. Invariant: an object is looked for by its key once; its
//! id stays as long as an object of the key is in force.

use caracal_model::{Key, Kind, Object, Profile, WorkloadEndpoint};
use smol_str::SmolStr;

use crate::cluster::Traits;
use crate::graph::CalcGraph;
use crate::ids::{ItemIx, PolicyIx, ProfileIx};
use crate::intake::Unseen;
use crate::items::ItemKey;
use crate::local_endpoints::LocalObject;
use crate::packed_rules::Rules;
use crate::{Problem, SourceSpoofing, rule_scanner};

impl CalcGraph {
    pub(super) fn apply(&mut self, kind: Kind, object: Object) {
        let key = object.key();
        let id = self.id_of(&key);
        self.intake.saw(kind, &key, id);
        if let Object::WorkloadEndpoint(_, endpoint) = &object {
            if endpoint.allowed_source_prefixes.is_empty() {
                self.intake.forget_prefixes(kind, &key);
            } else {
                self.intake.remember_prefixes(kind, key.clone(), endpoint.clone());
            }
        }
        self.admit(kind, key, id, object);
    }

    /// Puts an object in force, or aside. `id` is what the object of the key has
    /// that is in force.
    pub(super) fn admit(&mut self, kind: Kind, key: Key, id: Option<u32>, object: Object) {
        self.intake.forget(kind, &key);
        if let Err(problem) = self.check(&object) {
            self.withdraw(kind, &key, id);
            self.intake.set_aside(kind, key, problem, None);
            return;
        }
        match self.kind_of(&key, id) {
            Some(holder) if holder < kind => {
                self.intake.set_aside(kind, key, Problem::HiddenBy(holder), Some(object));
            }
            Some(holder) if holder > kind => {
                let former = self.held(&key);
                self.intake.note_holder(&key, kind);
                self.intake.set_aside(holder, key, Problem::HiddenBy(kind), former);
                self.put(kind, id, object);
            }
            Some(_) | None => self.put(kind, id, object),
        }
    }

    pub(super) fn delete(&mut self, kind: Kind, key: &Key) {
        let id = self.id_of(key);
        self.intake.saw(kind, key, id);
        self.intake.forget(kind, key);
        self.intake.forget_prefixes(kind, key);
        self.withdraw(kind, key, id);
    }

    /// Takes a kind's object of a key out of force, and puts the next one in.
    fn withdraw(&mut self, kind: Kind, key: &Key, id: Option<u32>) {
        if self.kind_of(key, id) != Some(kind) {
            return;
        }
        match self.intake.take_successor(key) {
            Some((successor, object)) => self.put(successor, id, object),
            None => self.remove(key),
        }
    }

    /// Whether an object can be in force.
    fn check(&mut self, object: &Object) -> Result<(), Problem> {
        match object {
            Object::WorkloadEndpoint(_, endpoint) => {
                if endpoint.interface.is_empty() {
                    return Err(Problem::NoInterface);
                }
                match self.settings.source_spoofing {
                    SourceSpoofing::Disabled if !endpoint.allowed_source_prefixes.is_empty() => {
                        Err(Problem::SourcePrefixes)
                    }
                    SourceSpoofing::Disabled | SourceSpoofing::Any => Ok(()),
                }
            }
            Object::Policy(_, policy) => {
                rule_scanner::check_text(&policy.selector, &mut self.parser, || "selector".to_owned())?;
                rule_scanner::check("inbound_rules", &policy.inbound_rules, &mut self.parser)?;
                rule_scanner::check("outbound_rules", &policy.outbound_rules, &mut self.parser)
            }
            Object::Profile(_, profile) => {
                rule_scanner::check("inbound_rules", &profile.inbound_rules, &mut self.parser)?;
                rule_scanner::check("outbound_rules", &profile.outbound_rules, &mut self.parser)
            }
            Object::HostEndpoint(..)
            | Object::Tier(..)
            | Object::NetworkSet(..)
            | Object::Node(..)
            | Object::EndpointSlice(..)
            | Object::Service(..)
            | Object::IpPool(..) => Ok(()),
        }
    }

    fn put(&mut self, kind: Kind, id: Option<u32>, object: Object) {
        match object {
            Object::WorkloadEndpoint(key, endpoint) => self.put_workload(kind, id.map(ItemIx), key, endpoint),
            Object::HostEndpoint(key, endpoint) => self.put_host(kind, id.map(ItemIx), key, endpoint),
            Object::NetworkSet(key, set) => self.put_network_set(kind, id.map(ItemIx), &key, &set),
            Object::Policy(key, policy) => self.put_policy(kind, id.map(PolicyIx), &key, &policy),
            Object::Profile(name, profile) => self.put_profile(kind, id.map(ProfileIx), &name, &profile),
            Object::Tier(name, tier) => self.tiers.put(kind, &name, tier),
            Object::Node(name, node) => self.hosts.put(kind, name, node),
            Object::EndpointSlice(key, slice) => self.cluster.put_slice(&mut self.sets, key, slice),
            Object::Service(key, service) => self.services.put(key, service),
            Object::IpPool(name, pool) => self.pools.put(name, pool),
        }
    }

    fn remove(&mut self, key: &Key) {
        match key {
            Key::WorkloadEndpoint(key) => self.remove_item(ItemKey::Workload(key)),
            Key::HostEndpoint(key) => self.remove_item(ItemKey::Host(key)),
            Key::NetworkSet(key) => self.remove_item(ItemKey::NetworkSet(key)),
            Key::Policy(key) => {
                if let Some(at) = self.policies.find(key) {
                    let (policies, cx) = self.policy_context();
                    policies.remove(cx, at);
                }
            }
            Key::Profile(name) => self.remove_profile(name),
            Key::Tier(name) => self.tiers.remove(name),
            Key::Node(name) => self.hosts.remove(name),
            Key::EndpointSlice(key) => self.cluster.remove_slice(&mut self.sets, key),
            Key::Service(key) => self.services.remove(key),
            Key::IpPool(name) => self.pools.remove(name),
        }
    }

    /// The kind of resource whose object of a key is in force.
    fn kind_of(&self, key: &Key, id: Option<u32>) -> Option<Kind> {
        match key {
            Key::WorkloadEndpoint(_) | Key::HostEndpoint(_) | Key::NetworkSet(_) => {
                Some(self.cluster.items.kind(ItemIx(id?)))
            }
            Key::Policy(_) => Some(self.policies[PolicyIx(id?)].kind),
            Key::Profile(_) => self.profiles[ProfileIx(id?)].kind(),
            Key::Tier(name) => self.tiers.kind(name),
            Key::Node(name) => self.hosts.kind(name),
            Key::EndpointSlice(key) => self.cluster.has_slice(key).then_some(Kind::EndpointSlice),
            Key::Service(key) => self.services.holds(key).then_some(Kind::Service),
            Key::IpPool(name) => self.pools.holds(name).then_some(Kind::IpPool),
        }
    }

    /// The id of an object in the table of the node that holds its kind.
    pub(super) fn id_of(&self, key: &Key) -> Option<u32> {
        match key {
            Key::WorkloadEndpoint(key) => self.cluster.items.find(ItemKey::Workload(key)).map(|at| at.0),
            Key::HostEndpoint(key) => self.cluster.items.find(ItemKey::Host(key)).map(|at| at.0),
            Key::NetworkSet(key) => self.cluster.items.find(ItemKey::NetworkSet(key)).map(|at| at.0),
            Key::Policy(key) => self.policies.find(key).map(|at| at.0),
            Key::Profile(name) => self.profiles.find(name).map(|at| at.0),
            Key::Tier(_) | Key::Node(_) | Key::EndpointSlice(_) | Key::Service(_) | Key::IpPool(_) => None,
        }
    }

    /// The key of an object by its id.
    pub(super) fn key_of(&self, kind: Kind, id: u32) -> Key {
        match kind {
            Kind::Pod | Kind::WorkloadEndpoint | Kind::HostEndpoint | Kind::NetworkSet | Kind::GlobalNetworkSet => {
                self.cluster.items.key(ItemIx(id))
            }
            Kind::Namespace | Kind::ServiceAccount | Kind::Profile => {
                Key::Profile(self.profiles[ProfileIx(id)].name.clone())
            }
            Kind::KubernetesNetworkPolicy
            | Kind::NetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::ClusterNetworkPolicy
            | Kind::AdminNetworkPolicy
            | Kind::BaselineAdminNetworkPolicy => Key::Policy(self.policies.key(PolicyIx(id))),
            Kind::Tier | Kind::Node | Kind::EndpointSlice | Kind::Service | Kind::IpPool => {
                unreachable!("{kind:?}s have no ids")
            }
        }
    }

    /// The objects of a kind that are in force.
    pub(super) fn in_force(&self, kind: Kind) -> Unseen {
        let (ids, keys) = match kind {
            Kind::Pod | Kind::WorkloadEndpoint | Kind::HostEndpoint | Kind::NetworkSet | Kind::GlobalNetworkSet => {
                (self.cluster.items.of_kind(kind), Vec::new())
            }
            Kind::Namespace | Kind::ServiceAccount | Kind::Profile => (self.profiles.of_kind(kind), Vec::new()),
            Kind::KubernetesNetworkPolicy
            | Kind::NetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::ClusterNetworkPolicy
            | Kind::AdminNetworkPolicy
            | Kind::BaselineAdminNetworkPolicy => (self.policies.of_kind(kind), Vec::new()),
            Kind::Tier => {
                let names = self.tiers.names_of(kind).into_iter();
                (Default::default(), names.map(Key::Tier).collect())
            }
            Kind::Node => {
                let names = self.hosts.names_of(kind).into_iter();
                (Default::default(), names.map(Key::Node).collect())
            }
            Kind::EndpointSlice => {
                let keys = self.cluster.slice_keys().cloned();
                (Default::default(), keys.map(Key::EndpointSlice).collect())
            }
            Kind::Service => (Default::default(), self.services.keys().cloned().map(Key::Service).collect()),
            Kind::IpPool => (Default::default(), self.pools.names().cloned().map(Key::IpPool).collect()),
        };
        Unseen { ids, keys: keys.into_iter().collect() }
    }

    /// An object in force that an object of an earlier kind is about to hide: all
    /// of it that the graph acts on.
    fn held(&self, key: &Key) -> Option<Object> {
        match key {
            Key::WorkloadEndpoint(key) => {
                let item = self.cluster.items.find(ItemKey::Workload(key))?;
                if let Some(LocalObject::Workload(key, endpoint)) = self.local.object(item) {
                    return Some(Object::WorkloadEndpoint(key.clone(), (**endpoint).clone()));
                }
                let Traits { labels, parents, ports } = self.cluster.traits(item)?;
                let (v4, v6) = self.cluster.items.nets(item).partition(|net| net.addr().is_ipv4());
                let parents = self.parents.list(parents);
                Some(Object::WorkloadEndpoint(
                    key.clone(),
                    WorkloadEndpoint {
                        interface: SmolStr::new_static("-"),
                        labels: self.labels.labels(labels),
                        profiles: parents.iter().map(|at| self.profiles[*at].name.clone()).collect(),
                        ports: self.cluster.ports(ports).to_vec(),
                        ipv4_nets: v4,
                        ipv6_nets: v6,
                        ..WorkloadEndpoint::default()
                    },
                ))
            }
            Key::Profile(name) => {
                let at = self.profiles.find(name)?;
                let Rules { inbound, outbound } = self.profiles.rules(at)?.rules();
                Some(Object::Profile(
                    name.clone(),
                    Profile {
                        labels: self.labels.labels(self.parents.labels(at)?),
                        inbound_rules: inbound,
                        outbound_rules: outbound,
                    },
                ))
            }
            Key::Policy(key) => {
                let at = self.policies.find(key)?;
                Some(Object::Policy(key.clone(), self.policies.policy(at, &self.tiers)))
            }
            // No two kinds of resource describe these.
            Key::HostEndpoint(_)
            | Key::Tier(_)
            | Key::NetworkSet(_)
            | Key::Node(_)
            | Key::EndpointSlice(_)
            | Key::Service(_)
            | Key::IpPool(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
