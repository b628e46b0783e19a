//! The whole cluster as selectors of rules see it: who is in which IP set.
//!
//! Inputs: items with labels, parents, ports and prefixes; labels of profiles;
//! endpoint slices.
//! Outputs: the members of a set, and whether a set holds a member; before
//! anything changes, a touch of every member that may come or go. Memory: no
//! byte per member of a set. That an address is in a set follows from its
//! owners, their groups' classes and the classes' selectors.
//! Invariant: a set's membership changes only after the member was touched.

use std::net::Ipv4Addr;

use caracal_model::{EndpointPort, EndpointSlice, EndpointSliceKey};
use caracal_net::{Cidr, Protocol};
use caracal_selector::NamedPortProtocol;
use smallvec::SmallVec;

use crate::Member;
use crate::class_space::{ClassSpace, Reclass};
use crate::excerpt::Around;
use crate::ids::{ItemIx, LabelsIx, MemberIx, ParentsIx, PortsIx, ProfileIx, SelectorIx};
use crate::interner::Interner;
use crate::ip_sets::{IpSets, SetSpec};
use crate::items::Items;
use crate::owners::Owners;
use crate::parents::Inheritance;
use crate::rule_scanner::ServicePorts;
use crate::services::Services;

#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) items: Items,
    pub(crate) space: ClassSpace,
    owners: Owners,
    ports: Interner<Box<[EndpointPort]>>,
    services: Services,
}

/// Prefixes of an item: nearly all have one or two.
type Nets = SmallVec<[Cidr; 2]>;

/// What an item refers to besides its key and prefixes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    pub(crate) labels: LabelsIx,
    pub(crate) parents: ParentsIx,
    pub(crate) ports: PortsIx,
}

impl Cluster {
    /// Takes a reference to a list of ports.
    pub(crate) fn acquire_ports(&mut self, ports: &[EndpointPort]) -> PortsIx {
        PortsIx(self.ports.acquire(ports, || ports.into()).0)
    }

    pub(crate) fn release_ports(&mut self, ports: PortsIx) {
        self.ports.release(ports.0);
    }

    /// What an item refers to; `None` before it was put.
    pub(crate) fn traits(&self, item: ItemIx) -> Option<Traits> {
        let member = member(item);
        let group = self.space.group_of(member)?;
        Some(Traits {
            labels: self.space.labels_of(member),
            parents: self.space.parents_of(group),
            ports: PortsIx(self.space.tag_of(group)),
        })
    }

    pub(crate) fn ports(&self, ports: PortsIx) -> &[EndpointPort] {
        &self.ports[ports.0]
    }

    /// Gives an item its traits and prefixes. `nets` is sorted and has each
    /// prefix once. References to the former traits are the caller's to release.
    pub(crate) fn put(&mut self, cx: Inheritance<'_>, sets: &mut IpSets, item: ItemIx, traits: Traits, nets: &[Cidr]) {
        let member = member(item);
        let former = self.space.group_of(member);
        let Traits { labels, parents, ports } = traits;
        let placement = self.space.plan(cx, member, labels, parents, ports.0);
        let old_nets: Nets = self.items.nets(item).collect();
        let gone: Nets = difference(&old_nets, nets).collect();
        let come: Nets = difference(nets, &old_nets).collect();
        let group = placement.map(|placement| placement.group).or(former);
        let group = group.expect("an item without a group is placed in one");

        let matches = |group| self.space.matches(self.space.class_of(group));
        let (before, after) = (former.map(matches).unwrap_or_default(), matches(group));
        let old_ports = former.map(|group| PortsIx(self.space.tag_of(group)));
        for selector in union(before, after) {
            let has = |matches: &[SelectorIx]| matches.binary_search(&selector).is_ok();
            let (was, is) = (has(before), has(after));
            for set in sets.told_of(selector) {
                if was && is && old_ports == Some(ports) {
                    sets.touch(self, set, &gone, self.ports(ports));
                    sets.touch(self, set, &come, self.ports(ports));
                    continue;
                }
                if let Some(old_ports) = old_ports.filter(|_| was) {
                    sets.touch(self, set, &old_nets, self.ports(old_ports));
                }
                if is {
                    sets.touch(self, set, nets, self.ports(ports));
                }
            }
        }

        for net in &gone {
            self.owners.remove(*net, item);
        }
        for net in &come {
            self.owners.add(*net, item);
        }
        if !gone.is_empty() || !come.is_empty() {
            self.items.set_nets(item, nets);
        }
        if let Some(placement) = placement {
            self.space.commit(cx, placement);
        }
    }

    /// Takes an item out, its key included.
    pub(crate) fn remove(&mut self, cx: Inheritance<'_>, sets: &mut IpSets, item: ItemIx) {
        let nets: Nets = self.items.nets(item).collect();
        if let Some(Traits { ports, .. }) = self.traits(item) {
            let group = self.space.group_of(member(item)).expect("an item with traits has a group");
            for selector in self.space.matches(self.space.class_of(group)) {
                for set in sets.told_of(*selector) {
                    sets.touch(self, set, &nets, self.ports(ports));
                }
            }
        }
        for net in nets {
            self.owners.remove(net, item);
        }
        self.space.leave(cx, member(item));
        self.items.remove(item);
    }

    pub(crate) fn slice_keys(&self) -> impl Iterator<Item = &EndpointSliceKey> {
        self.services.keys()
    }

    pub(crate) fn has_slice(&self, key: &EndpointSliceKey) -> bool {
        self.services.slice(key).is_some()
    }

    pub(crate) fn put_slice(&mut self, sets: &mut IpSets, key: EndpointSliceKey, slice: EndpointSlice) {
        if let Some(former) = self.services.slice(&key) {
            sets.touch_service(self, former);
        }
        sets.touch_service(self, &slice);
        self.services.put(key, slice);
    }

    pub(crate) fn remove_slice(&mut self, sets: &mut IpSets, key: &EndpointSliceKey) {
        if let Some(former) = self.services.slice(key) {
            sets.touch_service(self, former);
        }
        self.services.remove(key);
    }

    /// Follows a profile's new labels, which `cx` tells already.
    pub(crate) fn relabel_profile(&mut self, cx: Inheritance<'_>, sets: &mut IpSets, profile: ProfileIx) {
        let moves = self.space.relabel_parent(cx, profile);
        for Reclass { group, class } in &moves {
            let ports = PortsIx(self.space.tag_of(*group));
            let before = self.space.matches(self.space.class_of(*group));
            let after = self.space.matches(*class);
            for selector in difference(before, after).chain(difference(after, before)) {
                for set in sets.told_of(selector) {
                    for member in self.space.members(*group) {
                        let nets: Nets = self.items.nets(ItemIx(member.0)).collect();
                        sets.touch(self, set, &nets, self.ports(ports));
                    }
                }
            }
        }
        self.space.commit_reclass(&moves);
    }

    /// Whether a set holds a member, whether or not it is told or hidden.
    pub(crate) fn holds(&self, spec: &SetSpec, held: &Member) -> bool {
        let selector = match spec {
            SetSpec::Service(service, _) => return self.services.holds(service, held),
            SetSpec::Selector(selector) | SetSpec::NamedPort(selector, ..) => *selector,
        };
        let net = match held {
            Member::Net(net) => *net,
            Member::IpPort(addr, ..) => Cidr::host(*addr),
        };
        self.owners.of(net).filter(|owner| self.space.is_match(member(*owner), selector)).any(|owner| {
            match (spec, held) {
                (SetSpec::NamedPort(_, protocol, name), Member::IpPort(_, of, number)) => {
                    let ports = self.traits(owner).map(|traits| self.ports(traits.ports));
                    let mut ports = ports.into_iter().flatten();
                    ports.any(|port| is_named(port, *protocol, name) && (port.protocol, port.port) == (*of, *number))
                }
                _ => true,
            }
        })
    }

    /// Every member of a set, sorted.
    pub(crate) fn members(&self, spec: &SetSpec) -> Vec<Member> {
        let mut members = match spec {
            SetSpec::Selector(selector) => return self.nets_of(*selector),
            SetSpec::Service(service, ports) => self.services.members(service, *ports).collect(),
            SetSpec::NamedPort(..) => Vec::new(),
        };
        let selected = spec.selector().into_iter().flat_map(|selector| self.space.classes_of(selector));
        for group in selected.flat_map(|class| self.space.groups_of(class)) {
            let ports = self.ports(PortsIx(self.space.tag_of(group)));
            for member in self.space.members(group) {
                let nets = self.items.nets(ItemIx(member.0));
                contributions(spec, nets, ports, |member| members.push(member));
            }
        }
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Whether anything has exactly this prefix.
    pub(crate) fn has_net(&self, net: Cidr) -> bool {
        self.owners.of(net).next().is_some()
    }

    /// The members of a set that hold an address, sorted.
    pub(crate) fn members_around(&self, spec: &SetSpec, around: &Around<'_>) -> Vec<Member> {
        let mut members: Vec<Member> = match spec {
            SetSpec::Selector(_) | SetSpec::Service(_, ServicePorts::Without) => {
                let nets = around.nets.iter().map(|net| Member::Net(*net));
                nets.filter(|member| self.holds(spec, member)).collect()
            }
            SetSpec::Service(service, ServicePorts::With) => {
                around.addresses.iter().flat_map(|address| self.services.ports_of(service, *address)).collect()
            }
            SetSpec::NamedPort(selector, ..) => {
                let mut members = Vec::new();
                for net in around.addresses.iter().map(|address| Cidr::host(*address)) {
                    let owners = self.owners.of(net).filter(|owner| self.space.is_match(member(*owner), *selector));
                    for Traits { ports, .. } in owners.filter_map(|owner| self.traits(owner)) {
                        contributions(spec, [net], self.ports(ports), |member| members.push(member));
                    }
                }
                members
            }
        };
        members.sort_unstable();
        members.dedup();
        members
    }

    /// The prefixes of what a selector matches, sorted. Single IPv4 addresses are
    /// nearly all of them: they are sorted as numbers.
    fn nets_of(&self, selector: SelectorIx) -> Vec<Member> {
        let (mut v4, mut other) = (Vec::new(), Vec::new());
        for class in self.space.classes_of(selector) {
            for group in self.space.groups_of(class) {
                for member in self.space.members(group) {
                    self.items.collect_nets(ItemIx(member.0), &mut v4, &mut other);
                }
            }
        }
        v4.sort_unstable();
        v4.dedup();
        other.sort_unstable();
        other.dedup();
        let v4 = v4.into_iter().map(|bits| Member::Net(Cidr::host(Ipv4Addr::from_bits(bits).into())));
        if other.is_empty() {
            return v4.collect();
        }
        let mut members = Vec::with_capacity(v4.len() + other.len());
        let mut other = other.into_iter().peekable();
        for member in v4 {
            while let Some(before) = other.next_if(|other| *other < member) {
                members.push(before);
            }
            members.push(member);
        }
        members.extend(other);
        members
    }
}

/// What an item with these prefixes and ports brings into a set whose selector matches it.
pub(crate) fn contributions(
    spec: &SetSpec,
    nets: impl IntoIterator<Item = Cidr>,
    ports: &[EndpointPort],
    mut member: impl FnMut(Member),
) {
    match spec {
        SetSpec::Selector(_) => nets.into_iter().for_each(|net| member(Member::Net(net))),
        SetSpec::NamedPort(_, protocol, name) => {
            for net in nets {
                for port in ports.iter().filter(|port| is_named(port, *protocol, name)) {
                    member(Member::IpPort(net.addr(), port.protocol, port.port));
                }
            }
        }
        SetSpec::Service(..) => {}
    }
}

fn is_named(port: &EndpointPort, protocol: NamedPortProtocol, name: &str) -> bool {
    let fits = match protocol {
        NamedPortProtocol::Any => true,
        NamedPortProtocol::Tcp => port.protocol == Protocol::TCP,
        NamedPortProtocol::Udp => port.protocol == Protocol::UDP,
        NamedPortProtocol::Sctp => port.protocol == Protocol::SCTP,
    };
    fits && port.name == name
}

const fn member(item: ItemIx) -> MemberIx {
    MemberIx(item.0)
}

/// What `a` has and `b` has not; both are sorted.
fn difference<'a, T: Copy + Ord>(a: &'a [T], b: &'a [T]) -> impl Iterator<Item = T> + use<'a, T> {
    a.iter().copied().filter(|x| b.binary_search(x).is_err())
}

/// What `a` or `b` has, each once; both are sorted.
fn union<'a>(a: &'a [SelectorIx], b: &'a [SelectorIx]) -> impl Iterator<Item = SelectorIx> + use<'a> {
    a.iter().copied().chain(difference(b, a))
}
