//! Taking objects in and out: each node that holds a part of an object is told.
//!
//! Inputs: objects that come into force, keys of those that leave it. Outputs:
//! calls of nodes. Invariant: references to label sets, profile lists and port
//! lists are taken before the nodes are told, and given back after.

use caracal_model::{
    HostEndpoint, HostEndpointKey, Kind, NetworkSet, NetworkSetKey, Policy, PolicyKey, Profile, WorkloadEndpoint,
    WorkloadEndpointKey,
};
use caracal_net::Cidr;
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::cluster::Traits;
use crate::graph::CalcGraph;
use crate::ids::{ItemIx, LabelsIx, LocalIx, MemberIx, ParentsIx, PolicyIx, ProfileIx};
use crate::items::ItemKey;
use crate::local_endpoints::LocalObject;
use crate::parents::Inheritance;
use crate::policies::{Policies, PolicyContext};
use crate::profiles::Profiles;

impl CalcGraph {
    pub(super) fn policy_context(&mut self) -> (&mut Policies, PolicyContext<'_>) {
        let cx = PolicyContext { space: &mut self.local.space, labels: &mut self.labels, tiers: &mut self.tiers };
        (&mut self.policies, cx)
    }

    pub(super) fn put_policy(&mut self, kind: Kind, known: Option<PolicyIx>, key: &PolicyKey, policy: &Policy) {
        let selector = self.parser.parse(&policy.selector).expect("selectors are checked before").clone();
        let (policies, cx) = self.policy_context();
        policies.put(cx, kind, known, key, policy, &selector);
    }

    pub(super) fn put_profile(&mut self, kind: Kind, known: Option<ProfileIx>, name: &SmolStr, profile: &Profile) {
        let at = known.unwrap_or_else(|| self.profiles.intern(name));
        self.profiles.put(at, kind, &profile.inbound_rules, &profile.outbound_rules);
        let labels = self.labels.acquire(&profile.labels);
        self.relabel_profile(at, Some(labels));
    }

    pub(super) fn remove_profile(&mut self, name: &SmolStr) {
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

    pub(super) fn put_workload(
        &mut self,
        kind: Kind,
        known: Option<ItemIx>,
        key: WorkloadEndpointKey,
        endpoint: WorkloadEndpoint,
    ) {
        let item = self.intern_item(known, ItemKey::Workload(&key), kind);
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

    pub(super) fn put_host(&mut self, kind: Kind, known: Option<ItemIx>, key: HostEndpointKey, endpoint: HostEndpoint) {
        let item = self.intern_item(known, ItemKey::Host(&key), kind);
        let nets = sorted(endpoint.expected_ips.iter().copied().map(Cidr::host));
        let traits = Traits {
            labels: self.labels.acquire(&endpoint.labels),
            parents: self.acquire_parents(&endpoint.profiles),
            ports: self.cluster.acquire_ports(&endpoint.ports),
        };
        let object = self.locality.is_local(&key.host).then(|| LocalObject::Host(key, endpoint.into()));
        self.put_item(item, traits, &nets, object);
    }

    pub(super) fn put_network_set(&mut self, kind: Kind, known: Option<ItemIx>, key: &NetworkSetKey, set: &NetworkSet) {
        let item = self.intern_item(known, ItemKey::NetworkSet(key), kind);
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

    fn intern_item(&mut self, known: Option<ItemIx>, key: ItemKey<'_>, kind: Kind) -> ItemIx {
        match known {
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

    pub(super) fn remove_item(&mut self, key: ItemKey<'_>) {
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
        let profiles: SmallVec<[ProfileIx; 4]> = names.iter().map(|name| self.profiles.intern(name)).collect();
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
}

fn sorted(nets: impl Iterator<Item = Cidr>) -> SmallVec<[Cidr; 2]> {
    let mut nets: SmallVec<[Cidr; 2]> = nets.collect();
    nets.sort_unstable();
    nets.dedup();
    nets
}
