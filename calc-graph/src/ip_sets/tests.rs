//! The receiver's sets against a look at every item and slice.

use std::collections::BTreeMap;
use std::net::IpAddr;

use caracal_model::{EndpointSliceKey, Kind, Labels, NetworkSetKey};
use caracal_net::Protocol;
use caracal_selector::Selector;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::cluster::Traits;
use crate::ids::{ItemIx, ProfileIx};
use crate::items::ItemKey;
use crate::parents::{Inheritance, Parents};

type Pairs = Vec<(&'static str, &'static str)>;

/// An item that selectors of rules see.
#[derive(Clone, Debug)]
struct Item {
    pairs: Pairs,
    nets: Vec<&'static str>,
    ports: Vec<EndpointPort>,
    /// Whether it inherits the profile's labels.
    inherits: bool,
}

/// What a rule may ask for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Selector(&'static str),
    NamedPort(&'static str, NamedPortProtocol, &'static str),
    Service(ServicePorts),
}

const ASKED: [Asked; 7] = [
    Asked::Selector("all()"),
    Asked::Selector("a == '1'"),
    Asked::Selector("a != '1' && !has(b)"),
    Asked::NamedPort("a == '1'", NamedPortProtocol::Any, "http"),
    Asked::NamedPort("all()", NamedPortProtocol::Udp, "http"),
    Asked::Service(ServicePorts::With),
    Asked::Service(ServicePorts::Without),
];

impl Asked {
    fn with<T>(self, ask: impl FnOnce(SetRequest<'_>) -> T) -> T {
        match self {
            Self::Selector(text) => ask(SetRequest::Selector(&parse(text))),
            Self::NamedPort(text, protocol, name) => {
                ask(SetRequest::NamedPort { selector: &parse(text), protocol, name: &name.into() })
            }
            Self::Service(ports) => ask(SetRequest::Service(&service(), ports)),
        }
    }
}

fn parse(text: &str) -> Selector {
    Selector::parse(text).expect("a selector")
}

fn service() -> ServiceRef {
    ServiceRef { namespace: "shop".into(), name: "web".into() }
}

fn slice_key(name: u8) -> EndpointSliceKey {
    EndpointSliceKey { namespace: "shop".into(), name: format!("e{name}").into() }
}

fn nets(texts: &[&str]) -> BTreeSet<Cidr> {
    texts.iter().map(|net| net.parse().expect("a prefix")).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Item),
    Remove(u8),
    /// The labels of the profile; `None` if there is no such profile.
    Relabel(Option<Pairs>),
    PutSlice(u8, EndpointSlice),
    RemoveSlice(u8),
    /// A rule names a set, or one does no more.
    Name(usize),
    Unname(usize),
    Overlaps(Overlaps),
    Flush,
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let pairs = |(a, b): (Option<&'static str>, bool)| {
        a.map(|value| ("a", value)).into_iter().chain(b.then_some(("b", "1"))).collect()
    };
    (select(vec![None, Some("1"), Some("2")]), any::<bool>()).prop_map(pairs)
}

fn item() -> impl Strategy<Value = Item> {
    let port = |name: &str, protocol, port| EndpointPort { name: name.into(), protocol, port };
    let ports = vec![
        port("http", Protocol::TCP, 80),
        port("http", Protocol::TCP, 8080),
        port("http", Protocol::UDP, 80),
        port("dns", Protocol::UDP, 53),
    ];
    let nets = vec!["10.0.0.1", "10.0.0.2", "fd00::1", "10.0.0.0/24", "10.0.0.0/16", "fd00::/64"];
    (pairs(), subsequence(nets, 0..=3), subsequence(ports, 0..=3), any::<bool>()).prop_map(
        |(pairs, nets, mut ports, inherits)| {
            // Only endpoints have ports, and those have single addresses.
            if nets.iter().any(|net| net.contains('/')) {
                ports.clear();
            }
            Item { pairs, nets, ports, inherits }
        },
    )
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let addresses: Vec<IpAddr> =
        ["10.0.0.1", "10.0.0.9", "fd00::1"].map(|addr| addr.parse().expect("an address")).into();
    let ports = vec![(Protocol::UDP, 53), (Protocol::TCP, 80)];
    (any::<bool>(), subsequence(addresses, 0..=3), subsequence(ports, 0..=2)).prop_map(|(ours, addresses, ports)| {
        let of = if ours { service() } else { ServiceRef { name: "other".into(), ..service() } };
        EndpointSlice { service: of, addresses, ports }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..5, item()).prop_map(|(name, item)| Step::Put(name, item)),
        2 => (0u8..5).prop_map(Step::Remove),
        2 => prop::option::of(pairs()).prop_map(Step::Relabel),
        2 => (0u8..3, slice()).prop_map(|(name, slice)| Step::PutSlice(name, slice)),
        1 => (0u8..3).prop_map(Step::RemoveSlice),
        4 => (0..ASKED.len()).prop_map(Step::Name),
        2 => (0..ASKED.len()).prop_map(Step::Unname),
        1 => select(vec![Overlaps::Kept, Overlaps::Suppressed]).prop_map(Step::Overlaps),
        3 => Just(Step::Flush),
    ]
}

#[derive(Default)]
struct World {
    cluster: Cluster,
    sets: IpSets,
    labels: LabelStore,
    parents: Parents,
    items: BTreeMap<u8, (ItemIx, Item)>,
    profile: Option<Pairs>,
    slices: BTreeMap<u8, EndpointSlice>,
    overlaps: Overlaps,
    /// By what was asked: the rules that name the set, as of the last flush and now.
    named: [Vec<SetIx>; ASKED.len()],
    wanted: [usize; ASKED.len()],
    has: BTreeMap<SmolStr, BTreeSet<Member>>,
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Put(name, item) => self.put(name, item),
            Step::Remove(name) => {
                let Some((at, _)) = self.items.remove(&name) else { return };
                let former = self.cluster.traits(at).expect("it was put");
                let cx = Inheritance { labels: &self.labels, parents: &self.parents };
                self.cluster.remove(cx, &mut self.sets, at);
                self.release(former);
            }
            Step::Relabel(pairs) => {
                let labels = pairs.as_ref().map(|pairs| self.labels.acquire(&pairs.iter().copied().collect()));
                let former = self.parents.set_labels(ProfileIx(0), labels);
                let cx = Inheritance { labels: &self.labels, parents: &self.parents };
                self.cluster.relabel_profile(cx, &mut self.sets, ProfileIx(0));
                if let Some(former) = former {
                    self.labels.release(former);
                }
                self.profile = pairs;
            }
            Step::PutSlice(name, slice) => {
                self.cluster.put_slice(&mut self.sets, slice_key(name), slice.clone());
                self.slices.insert(name, slice);
            }
            Step::RemoveSlice(name) => {
                self.cluster.remove_slice(&mut self.sets, &slice_key(name));
                self.slices.remove(&name);
            }
            Step::Name(at) => self.wanted[at] += 1,
            Step::Unname(at) => self.wanted[at] = self.wanted[at].saturating_sub(1),
            Step::Overlaps(overlaps) => {
                self.sets.set_overlaps(overlaps);
                self.overlaps = overlaps;
            }
            Step::Flush => self.flush(),
        }
    }

    fn put(&mut self, name: u8, item: Item) {
        let key = NetworkSetKey(format!("s{name}").into());
        let at = match self.cluster.items.find(ItemKey::NetworkSet(&key)) {
            Some(at) => at,
            None => self.cluster.items.insert(ItemKey::NetworkSet(&key), Kind::GlobalNetworkSet),
        };
        let profiles = if item.inherits { vec![ProfileIx(0)] } else { Vec::new() };
        let traits = Traits {
            labels: self.labels.acquire(&item.pairs.iter().copied().collect::<Labels>()),
            parents: self.parents.acquire(&profiles).0,
            ports: self.cluster.acquire_ports(&item.ports),
        };
        let former = self.cluster.traits(at);
        let nets: Vec<Cidr> = nets(&item.nets).into_iter().collect();
        let cx = Inheritance { labels: &self.labels, parents: &self.parents };
        self.cluster.put(cx, &mut self.sets, at, traits, &nets);
        if let Some(former) = former {
            self.release(former);
        }
        self.items.insert(name, (at, item));
    }

    fn release(&mut self, traits: Traits) {
        let Traits { labels, parents, ports } = traits;
        self.labels.release(labels);
        self.parents.release(parents);
        self.cluster.release_ports(ports);
    }

    /// As the graph does: new references are taken before old ones are given back.
    fn flush(&mut self) {
        let mut released = Vec::new();
        for (at, asked) in ASKED.into_iter().enumerate() {
            while self.named[at].len() < self.wanted[at] {
                let (sets, space, labels) = (&mut self.sets, &mut self.cluster.space, &mut self.labels);
                let (set, id) = asked.with(|request| sets.acquire(space, labels, request));
                assert_eq!(asked.with(|request| self.sets.id(request)), id);
                self.named[at].push(set);
            }
            released.extend(self.named[at].drain(self.wanted[at]..));
        }
        self.cluster.space.settle(&mut self.labels, &self.parents);
        let removed = self.sets.release(&mut self.cluster.space, &released);
        let has = &mut self.has;
        self.sets.flush(&self.cluster, &mut |delta| match delta {
            Delta::IpSetUpdate { id, members, .. } => {
                assert!(members.is_sorted());
                let former = has.insert(id.clone(), members.iter().copied().collect());
                assert_eq!(former, None, "a set is told whole once");
            }
            Delta::IpSetDelta { id, added, removed } => {
                assert!(!added.is_empty() || !removed.is_empty(), "nothing changed");
                assert!(added.is_sorted() && removed.is_sorted());
                let members = has.get_mut(id).expect("it was told whole before");
                assert!(removed.iter().all(|member| members.remove(member)), "it had none of {removed:?}");
                assert!(added.iter().all(|member| members.insert(*member)), "it had some of {added:?}");
            }
            other => panic!("not of sets: {other:?}"),
        });
        removed.flush(&mut |delta| match delta {
            Delta::IpSetRemove { id } => assert!(has.remove(id).is_some(), "{id} was never told"),
            other => panic!("not a removal: {other:?}"),
        });
        assert!(!self.sets.is_dirty());
        let named = ASKED.into_iter().zip(self.wanted).filter(|(_, count)| *count > 0);
        let want: BTreeMap<SmolStr, BTreeSet<Member>> =
            named.map(|(asked, _)| (asked.with(|request| self.sets.id(request)), self.naive(asked))).collect();
        assert_eq!(self.has, want);
        let mut whole = BTreeMap::new();
        self.sets.snapshot(&self.cluster, &mut |delta| match delta {
            Delta::IpSetUpdate { id, members, .. } => {
                assert_eq!(whole.insert(id.clone(), members.iter().copied().collect()), None);
            }
            other => panic!("not a whole set: {other:?}"),
        });
        assert_eq!(whole, want);
    }

    fn naive(&self, asked: Asked) -> BTreeSet<Member> {
        let selected = |text: &'static str| {
            self.items.values().map(|(_, item)| item).filter(move |item| {
                let inherited = self.profile.iter().flatten().filter(|_| item.inherits);
                let labels: Pairs = item.pairs.iter().chain(inherited).copied().collect();
                parse(text).matches(&labels[..])
            })
        };
        match asked {
            Asked::Selector(text) => {
                let all: BTreeSet<Cidr> = selected(text).flat_map(|item| nets(&item.nets)).collect();
                let hidden = |net: &Cidr| match self.overlaps {
                    Overlaps::Kept => false,
                    Overlaps::Suppressed => all.iter().any(|other| other != net && other.covers(net)),
                };
                all.iter().filter(|net| !hidden(net)).copied().map(Member::Net).collect()
            }
            Asked::NamedPort(text, protocol, name) => {
                let mut members = BTreeSet::new();
                for item in selected(text) {
                    let fits = |port: &&EndpointPort| {
                        port.name == name && (protocol == NamedPortProtocol::Any || port.protocol == Protocol::UDP)
                    };
                    for port in item.ports.iter().filter(fits) {
                        let nets = nets(&item.nets).into_iter();
                        members.extend(nets.map(|net| Member::IpPort(net.addr(), port.protocol, port.port)));
                    }
                }
                members
            }
            Asked::Service(ports) => {
                let ours = self.slices.values().filter(|slice| slice.service == service());
                let members = ours.flat_map(|slice| {
                    let of_address = |address: &IpAddr| match ports {
                        ServicePorts::Without => vec![Member::Net(Cidr::host(*address))],
                        ServicePorts::With => slice
                            .ports
                            .iter()
                            .map(|(protocol, port)| Member::IpPort(*address, *protocol, *port))
                            .collect(),
                    };
                    slice.addresses.iter().flat_map(of_address).collect::<Vec<_>>()
                });
                members.collect()
            }
        }
    }
}

proptest! {
    #[test]
    fn the_receiver_has_the_sets_that_are_named(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::default();
        for step in steps.into_iter().chain([Step::Flush]) {
            world.take(step);
        }
        world.wanted = [0; ASKED.len()];
        world.take(Step::Flush);
        prop_assert!(world.has.is_empty() && world.sets.by_spec.is_empty());
    }
}
