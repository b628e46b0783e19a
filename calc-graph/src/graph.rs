//! The wiring: which node is told what. Read first.
//!
//! ```text
//! events ─▶ intake ─┬─▶ items ─▶ class space of rules ─────────▶ IP sets ──────┐
//!                   ├─▶ endpoint slices ─▶ services ───────────▶ IP sets ──────┤
//!                   ├─▶ local endpoints ─▶ class space of policies             ├─▶ sequencer ─▶ deltas
//!                   ├─▶ policies ─▶ active? ─▶ rank ─▶ lists ──▶ endpoints ────┤
//!                   ├─▶ profiles ─▶ listed? ─▶ namespaces, service accounts ───┤
//!                   └─▶ tiers, hosts, pools, services ─────────────────────────┘
//! ```
//!
//! Events change what the nodes hold at once, and what is to be told is noted;
//! the flush, in `sequencer.rs`, works it out and tells it.
//! Invariant: for each label set, profile list and port list the graph holds one
//! reference per item, taken before the nodes are told and given back after.

use caracal_model::{
    Event, HostEndpoint, HostEndpointKey, Key, Kind, NetworkSet, NetworkSetKey, Object, Policy, PolicyKey, Profile,
    Stamp, WorkloadEndpoint, WorkloadEndpointKey,
};
use caracal_net::Cidr;
use caracal_selector::Selector;
use smol_str::SmolStr;

use crate::cluster::{Cluster, Traits};
use crate::hosts::Hosts;
use crate::ids::{ItemIx, LabelsIx, LocalIx, MemberIx, ParentsIx, PolicyIx, ProfileIx};
use crate::intake::{Intake, Unseen};
use crate::ip_sets::IpSets;
use crate::items::ItemKey;
use crate::label_store::LabelStore;
use crate::local_endpoints::{LocalEndpoints, LocalObject};
use crate::packed_rules::{PackedRules, Rules};
use crate::parents::{Inheritance, Parents};
use crate::policies::{Policies, PolicyContext};
use crate::policy_lists::PolicyLists;
use crate::policy_rank::PolicyRank;
use crate::pools::Pools;
use crate::profiles::Profiles;
use crate::rule_scanner;
use crate::selector_table::SelectorParser;
use crate::service_table::ServiceTable;
use crate::tiers::Tiers;
use crate::{Locality, Problem, Settings, SourceSpoofing};

/// The calculation graph of one node.
pub struct CalcGraph {
    locality: Locality,
    settings: Settings,
    pub(crate) intake: Intake,
    pub(crate) parser: SelectorParser,
    pub(crate) labels: LabelStore,
    pub(crate) parents: Parents,
    pub(crate) profiles: Profiles,
    pub(crate) cluster: Cluster,
    pub(crate) sets: IpSets,
    pub(crate) local: LocalEndpoints,
    pub(crate) policies: Policies,
    pub(crate) tiers: Tiers,
    pub(crate) rank: PolicyRank,
    pub(crate) lists: PolicyLists,
    pub(crate) hosts: Hosts,
    pub(crate) pools: Pools,
    pub(crate) services: ServiceTable,
    pub(crate) in_sync_told: bool,
    /// The oldest stamp among the events since the last flush.
    pub(crate) stamp: Option<Stamp>,
}

impl CalcGraph {
    /// A graph that holds nothing.
    #[must_use]
    pub fn new(locality: Locality, settings: Settings) -> Self {
        let mut graph = Self {
            locality,
            settings,
            intake: Intake::default(),
            parser: SelectorParser::default(),
            labels: LabelStore::default(),
            parents: Parents::default(),
            profiles: Profiles::default(),
            cluster: Cluster::default(),
            sets: IpSets::default(),
            local: LocalEndpoints::default(),
            policies: Policies::default(),
            tiers: Tiers::default(),
            rank: PolicyRank::default(),
            lists: PolicyLists::default(),
            hosts: Hosts::default(),
            pools: Pools::default(),
            services: ServiceTable::default(),
            in_sync_told: false,
            stamp: None,
        };
        graph.sets.set_overlaps(settings.suppress_overlaps);
        match graph.locality {
            Locality::Node(_) => graph.local.space.watch_pairs(),
            // Every endpoint is local: what a policy asks for is there.
            Locality::Everywhere => {}
        }
        graph
    }

    /// Takes an event of a source. Nothing is told before the next [`flush`](Self::flush).
    pub fn on_event(&mut self, event: Event) {
        match event {
            Event::Begin(kind) => {
                let unseen = self.in_force(kind);
                self.intake.begin(kind, unseen);
            }
            Event::Apply(kind, object, stamp) => {
                self.apply(kind, object);
                self.note(stamp);
            }
            Event::Delete(kind, key, stamp) => {
                self.delete(kind, &key);
                self.note(stamp);
            }
            Event::End(kind) => {
                let Unseen { ids, keys } = self.intake.end(kind);
                let gone: Vec<Key> = ids.iter().map(|id| self.key_of(kind, id)).chain(keys).collect();
                for key in gone {
                    self.delete(kind, &key);
                }
            }
        }
    }

    /// Changes the settings; what follows from it is told by the next flush.
    pub fn set_settings(&mut self, settings: Settings) {
        let former = std::mem::replace(&mut self.settings, settings);
        self.sets.set_overlaps(settings.suppress_overlaps);
        if former.source_spoofing != settings.source_spoofing {
            for (kind, key, endpoint) in self.intake.with_prefixes() {
                // No source said anything: a list still waits for what it waited for.
                self.intake.await_by_key(kind, &key, self.id_of(&key));
                if let Key::WorkloadEndpoint(key) = key {
                    self.admit(kind, Object::WorkloadEndpoint(key, endpoint));
                }
            }
        }
    }

    /// The delivered objects that are not in force, and why; by key, with the
    /// kind of resource that delivered them. Of pools, as of the last flush.
    pub fn problems(&self) -> impl Iterator<Item = (&Key, Kind, &Problem)> {
        self.intake.problems().chain(self.services.problems()).chain(self.pools.problems())
    }

    fn note(&mut self, stamp: Stamp) {
        self.local.space.retain_changed_pairs(|pair| self.policies.requires(pair));
        if self.is_dirty() {
            self.stamp = Some(self.stamp.map_or(stamp, |oldest| oldest.min(stamp)));
        }
    }

    fn apply(&mut self, kind: Kind, object: Object) {
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
        self.admit(kind, object);
    }

    /// Puts an object in force, or aside.
    fn admit(&mut self, kind: Kind, object: Object) {
        let key = object.key();
        self.intake.forget(kind, &key);
        if let Err(problem) = self.check(&object) {
            self.withdraw(kind, &key);
            self.intake.set_aside(kind, key, problem, None);
            return;
        }
        match self.kind_of(&key) {
            Some(holder) if holder < kind => {
                self.intake.set_aside(kind, key, Problem::HiddenBy(holder), Some(object));
            }
            Some(holder) if holder > kind => {
                let former = self.held(&key);
                self.intake.set_aside(holder, key, Problem::HiddenBy(kind), former);
                self.put(kind, object);
            }
            Some(_) | None => self.put(kind, object),
        }
    }

    fn delete(&mut self, kind: Kind, key: &Key) {
        let id = self.id_of(key);
        self.intake.saw(kind, key, id);
        self.intake.forget(kind, key);
        self.intake.forget_prefixes(kind, key);
        self.withdraw(kind, key);
    }

    /// Takes a kind's object of a key out of force, and puts the next one in.
    fn withdraw(&mut self, kind: Kind, key: &Key) {
        if self.kind_of(key) != Some(kind) {
            return;
        }
        match self.intake.take_successor(key) {
            Some((successor, object)) => self.put(successor, object),
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

    fn put(&mut self, kind: Kind, object: Object) {
        match object {
            Object::WorkloadEndpoint(key, endpoint) => self.put_workload(kind, key, endpoint),
            Object::HostEndpoint(key, endpoint) => self.put_host(kind, key, endpoint),
            Object::NetworkSet(key, set) => self.put_network_set(kind, &key, &set),
            Object::Policy(key, policy) => self.put_policy(kind, key, &policy),
            Object::Profile(name, profile) => self.put_profile(kind, &name, &profile),
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

    fn policy_context(&mut self) -> (&mut Policies, PolicyContext<'_>) {
        let cx = PolicyContext { space: &mut self.local.space, labels: &mut self.labels, tiers: &mut self.tiers };
        (&mut self.policies, cx)
    }

    fn put_policy(&mut self, kind: Kind, key: PolicyKey, policy: &Policy) {
        let selector: Selector = self.parser.parse(&policy.selector).expect("selectors are checked before");
        let (policies, cx) = self.policy_context();
        policies.put(cx, kind, key, policy, &selector);
    }

    fn put_profile(&mut self, kind: Kind, name: &SmolStr, profile: &Profile) {
        let at = self.profiles.intern(name);
        let rules = PackedRules::pack(&profile.inbound_rules, &profile.outbound_rules);
        self.profiles.put(at, kind, rules);
        let labels = self.labels.acquire(&profile.labels);
        self.relabel_profile(at, Some(labels));
    }

    fn remove_profile(&mut self, name: &SmolStr) {
        let Some(at) = self.profiles.find(name) else { return };
        self.profiles.remove(at);
        self.relabel_profile(at, None);
        self.profiles.drop_if_unused(at);
    }

    /// Gives a profile the labels, of which a reference was taken.
    fn relabel_profile(&mut self, at: ProfileIx, labels: Option<LabelsIx>) {
        let former = self.parents.set_labels(at, labels);
        if former != labels {
            let cx = Inheritance { labels: &self.labels, parents: &self.parents };
            self.cluster.relabel_profile(cx, &mut self.sets, at);
            let moves = self.local.space.relabel_parent(cx, at);
            for moved in &moves {
                let members: Vec<MemberIx> = self.local.space.members(moved.group).collect();
                for member in members {
                    self.local.note_class(LocalIx(member.0));
                }
            }
            self.local.space.commit_reclass(&moves);
            self.profiles.note_labels(at);
        }
        if let Some(former) = former {
            self.labels.release(former);
        }
    }

    fn put_workload(&mut self, kind: Kind, key: WorkloadEndpointKey, endpoint: WorkloadEndpoint) {
        let item_key = ItemKey::Workload(&key);
        let item = self.intern_item(item_key, kind);
        // The prefix length says nothing: an endpoint is its addresses.
        let nets = endpoint.ipv4_nets.iter().chain(&endpoint.ipv6_nets);
        let nets = sorted(nets.map(|net| Cidr::host(net.addr())));
        let traits = Traits {
            labels: self.labels.acquire(&endpoint.labels),
            parents: self.acquire_parents(&endpoint.profiles),
            ports: self.cluster.acquire_ports(&endpoint.ports),
        };
        let object = self.locality.is_local(&key.host).then(|| LocalObject::Workload(key, endpoint.into()));
        self.put_item(item, traits, &nets, object);
    }

    fn put_host(&mut self, kind: Kind, key: HostEndpointKey, endpoint: HostEndpoint) {
        let item = self.intern_item(ItemKey::Host(&key), kind);
        let nets = sorted(endpoint.expected_ips.iter().copied().map(Cidr::host));
        let traits = Traits {
            labels: self.labels.acquire(&endpoint.labels),
            parents: self.acquire_parents(&endpoint.profiles),
            ports: self.cluster.acquire_ports(&endpoint.ports),
        };
        let object = self.locality.is_local(&key.host).then(|| LocalObject::Host(key, endpoint.into()));
        self.put_item(item, traits, &nets, object);
    }

    fn put_network_set(&mut self, kind: Kind, key: &NetworkSetKey, set: &NetworkSet) {
        let item = self.intern_item(ItemKey::NetworkSet(key), kind);
        // Dataplanes have no set member that is everything: half and half is.
        let halves = set.nets.iter().flat_map(|net| match net.halves() {
            Some(halves) if net.is_all() => halves.to_vec(),
            Some(_) | None => vec![*net],
        });
        let nets = sorted(halves);
        let traits = Traits {
            labels: self.labels.acquire(&set.labels),
            parents: self.acquire_parents(&set.profiles),
            ports: self.cluster.acquire_ports(&[]),
        };
        self.put_item(item, traits, &nets, None);
    }

    fn intern_item(&mut self, key: ItemKey<'_>, kind: Kind) -> ItemIx {
        match self.cluster.items.find(key) {
            Some(item) => {
                self.cluster.items.set_kind(item, kind);
                item
            }
            None => self.cluster.items.insert(key, kind),
        }
    }

    fn put_item(&mut self, item: ItemIx, traits: Traits, nets: &[Cidr], object: Option<LocalObject>) {
        let former = self.cluster.traits(item);
        if let Some(object) = object {
            self.put_local(item, traits, object);
        }
        let cx = Inheritance { labels: &self.labels, parents: &self.parents };
        self.cluster.put(cx, &mut self.sets, item, traits, nets);
        if let Some(former) = former {
            self.release_traits(former);
        }
    }

    fn put_local(&mut self, item: ItemIx, traits: Traits, object: LocalObject) {
        self.count_locals(object.profiles(), Profiles::add_local);
        let (at, former) = self.local.put(item, object);
        if let Some(former) = former {
            self.count_locals(former.profiles(), Profiles::remove_local);
        }
        let cx = Inheritance { labels: &self.labels, parents: &self.parents };
        let Traits { labels, parents, .. } = traits;
        let space = &mut self.local.space;
        let member = MemberIx(at.0);
        let class = |space: &crate::class_space::ClassSpace| space.group_of(member).map(|group| space.class_of(group));
        let before = class(space);
        if let Some(placement) = space.plan(cx, member, labels, parents, 0) {
            space.commit(cx, placement);
        }
        if class(space) != before {
            self.local.note_class(at);
        }
    }

    fn remove_item(&mut self, key: ItemKey<'_>) {
        let Some(item) = self.cluster.items.find(key) else { return };
        let former = self.cluster.traits(item);
        let cx = Inheritance { labels: &self.labels, parents: &self.parents };
        if let Some(at) = self.local.of_item(item) {
            self.local.space.leave(cx, MemberIx(at.0));
        }
        self.cluster.remove(cx, &mut self.sets, item);
        if let Some(object) = self.local.remove(item) {
            self.count_locals(object.profiles(), Profiles::remove_local);
        }
        if let Some(former) = former {
            self.release_traits(former);
        }
    }

    fn count_locals(&mut self, profiles: &[SmolStr], count: impl Fn(&mut Profiles, ProfileIx)) {
        for name in profiles {
            let at = self.profiles.intern(name);
            count(&mut self.profiles, at);
        }
    }

    fn acquire_parents(&mut self, names: &[SmolStr]) -> ParentsIx {
        let profiles: Vec<ProfileIx> = names.iter().map(|name| self.profiles.intern(name)).collect();
        let (list, new) = self.parents.acquire(&profiles);
        if new {
            for profile in profiles {
                self.profiles.enlist(profile);
            }
        }
        list
    }

    fn release_traits(&mut self, traits: Traits) {
        let Traits { labels, parents, ports } = traits;
        self.labels.release(labels);
        self.cluster.release_ports(ports);
        for profile in self.parents.release(parents).into_iter().flatten() {
            self.profiles.delist(profile);
        }
    }

    /// The kind of resource whose object of a key is in force.
    fn kind_of(&self, key: &Key) -> Option<Kind> {
        match key {
            Key::WorkloadEndpoint(_) | Key::HostEndpoint(_) | Key::NetworkSet(_) => {
                Some(self.cluster.items.kind(ItemIx(self.id_of(key)?)))
            }
            Key::Policy(key) => Some(self.policies[self.policies.find(key)?].kind),
            Key::Profile(name) => self.profiles[self.profiles.find(name)?].kind(),
            Key::Tier(name) => self.tiers.kind(name),
            Key::Node(name) => self.hosts.kind(name),
            Key::EndpointSlice(key) => self.cluster.has_slice(key).then_some(Kind::EndpointSlice),
            Key::Service(key) => self.services.holds(key).then_some(Kind::Service),
            Key::IpPool(name) => self.pools.holds(name).then_some(Kind::IpPool),
        }
    }

    /// The id of an object in the table of the node that holds its kind.
    fn id_of(&self, key: &Key) -> Option<u32> {
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
    fn key_of(&self, kind: Kind, id: u32) -> Key {
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
            | Kind::BaselineAdminNetworkPolicy => Key::Policy(self.policies[PolicyIx(id)].key.clone()),
            Kind::Tier | Kind::Node | Kind::EndpointSlice | Kind::Service | Kind::IpPool => {
                unreachable!("{kind:?}s have no ids")
            }
        }
    }

    /// The objects of a kind that are in force.
    fn in_force(&self, kind: Kind) -> Unseen {
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
                let Rules { inbound, outbound } = self.profiles.rules(at)?.unpack();
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

fn sorted(nets: impl Iterator<Item = Cidr>) -> Vec<Cidr> {
    let mut nets: Vec<Cidr> = nets.collect();
    nets.sort_unstable();
    nets.dedup();
    nets
}
