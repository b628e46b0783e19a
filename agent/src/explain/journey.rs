//! The nodes that a packet passes, and by which interfaces.

use std::net::IpAddr;

use caracal_program::{
    ALL_INTERFACES, HostEndpoint, HostId, Interfaces, NodeDecision, NodeView, Packet, Passage, PolicyStore, TunnelMode,
    Way, WorkloadEndpoint,
};
use smol_str::SmolStr;

use super::cluster::{Cluster, End, JudgeError};
use super::node::NodeSettings;

/// The interface of a node by which packets to and from other machines go.
#[derive(Clone, Debug)]
struct Uplink<'a> {
    /// Something that stands for it where no host endpoint names it.
    interface: SmolStr,
    /// The host endpoint that it has of its own.
    endpoint: Option<&'a HostEndpoint>,
}

/// A packet's way within a node, from where and to where.
#[derive(Clone, Copy, Debug)]
enum Stretch<'a> {
    FromWorkload(&'a WorkloadEndpoint),
    ToWorkload(&'a WorkloadEndpoint),
    Between(&'a WorkloadEndpoint, &'a WorkloadEndpoint),
    WorkloadToHost(&'a WorkloadEndpoint),
    HostToWorkload(&'a WorkloadEndpoint),
    FromHost,
    ToHost,
    /// The host speaks to itself, on its way out and in.
    LoopOut,
    LoopIn,
}

/// What a packet meets at one node.
#[derive(Clone, Debug)]
pub(super) struct Leg<'a> {
    /// The node's name.
    pub(super) node: &'a str,
    stretch: Stretch<'a>,
    uplink: Uplink<'a>,
    /// The host endpoint of all other interfaces.
    others: Option<&'a HostEndpoint>,
}

/// The interface by which a host speaks to itself.
const LOOPBACK: &str = "lo";

/// What stands for an interface that nobody has named.
const UNNAMED: SmolStr = SmolStr::new_static("uplink");

/// The devices of tunnels, by Felix's names.
const IPIP_DEVICE: &str = "tunl0";
const VXLAN_DEVICE: &str = "vxlan.calico";

impl<'a> Interfaces<'a> for Leg<'a> {
    fn workload(&self, interface: &str) -> Option<&'a WorkloadEndpoint> {
        self.workloads().into_iter().flatten().find(|endpoint| endpoint.interface == interface)
    }

    fn host(&self, interface: &str) -> Option<&'a HostEndpoint> {
        self.uplink.endpoint.filter(|_| self.uplink.interface == interface)
    }

    fn host_on_others(&self) -> Option<&'a HostEndpoint> {
        self.others
    }
}

impl<'a> Leg<'a> {
    fn workloads(&self) -> [Option<&'a WorkloadEndpoint>; 2] {
        match self.stretch {
            Stretch::FromWorkload(one)
            | Stretch::ToWorkload(one)
            | Stretch::WorkloadToHost(one)
            | Stretch::HostToWorkload(one) => [Some(one), None],
            Stretch::Between(one, other) => [Some(one), Some(other)],
            Stretch::FromHost | Stretch::ToHost | Stretch::LoopOut | Stretch::LoopIn => [None, None],
        }
    }

    /// The packet's way, by an interface to other machines.
    fn way<'w>(&'w self, uplink: &'w str) -> Way<'w> {
        match self.stretch {
            Stretch::FromWorkload(from) => Way::Through { from: &from.interface, to: uplink },
            Stretch::ToWorkload(to) => Way::Through { from: uplink, to: &to.interface },
            Stretch::Between(from, to) => Way::Through { from: &from.interface, to: &to.interface },
            Stretch::WorkloadToHost(from) => Way::ToHost { from: &from.interface },
            Stretch::HostToWorkload(to) => Way::FromHost { to: &to.interface },
            Stretch::FromHost => Way::FromHost { to: uplink },
            Stretch::ToHost => Way::ToHost { from: uplink },
            Stretch::LoopOut => Way::FromHost { to: LOOPBACK },
            Stretch::LoopIn => Way::ToHost { from: LOOPBACK },
        }
    }

    /// What the node makes of a packet by what it has in force. The packet goes by
    /// the same interfaces.
    pub(super) fn in_force<'s>(
        &self,
        store: &'s PolicyStore,
        settings: &'s NodeSettings,
        packet: &Packet,
    ) -> NodeDecision<'s> {
        let hosts = Hosts::new(store.hosts().map(AsRef::as_ref));
        let own = match self.stretch {
            Stretch::FromHost => Some(packet.src()),
            Stretch::ToHost => Some(packet.dst()),
            _ => None,
        };
        let same = self.uplink.endpoint.and_then(|written| hosts.by_id(&written.id));
        let uplink = match (same, self.uplink.interface == UNNAMED) {
            (Some(same), _) => Uplink { interface: self.uplink.interface.clone(), endpoint: Some(same) },
            (None, false) => hosts.by_name(&self.uplink.interface),
            (None, true) => hosts.uplink(own).unwrap_or(Uplink { interface: UNNAMED, endpoint: None }),
        };
        let view = NodeView {
            store,
            interfaces: &Standing { store, uplink: &uplink },
            failsafes: &settings.failsafes,
            workload_prefixes: &settings.workload_prefixes,
            guards: &settings.guards,
        };
        view.evaluate(&Passage { way: self.way(&uplink.interface), original: packet, translated: None })
    }
}

/// Who has which interface by what is in force.
struct Standing<'s, 'u> {
    store: &'s PolicyStore,
    uplink: &'u Uplink<'s>,
}

impl<'s> Interfaces<'s> for Standing<'s, '_> {
    fn workload(&self, interface: &str) -> Option<&'s WorkloadEndpoint> {
        self.store.active_on(interface).map(AsRef::as_ref)
    }

    fn host(&self, interface: &str) -> Option<&'s HostEndpoint> {
        self.uplink.endpoint.filter(|_| self.uplink.interface == interface)
    }

    fn host_on_others(&self) -> Option<&'s HostEndpoint> {
        self.store.host_on_others().map(AsRef::as_ref)
    }
}

/// The host endpoints of one node that are of one interface, by id.
struct Hosts<'a>(Vec<&'a HostEndpoint>);

impl<'a> Hosts<'a> {
    /// Of several of an interface the first counts, as on the node itself.
    fn new(all: impl Iterator<Item = &'a HostEndpoint>) -> Self {
        let mut named: Vec<&'a HostEndpoint> = Vec::new();
        for host in all.filter(|host| !host.is_for_all_interfaces()) {
            let is_taken = |held: &&HostEndpoint| !host.interface.is_empty() && held.interface == host.interface;
            if !named.iter().any(is_taken) {
                named.push(host);
            }
        }
        Self(named)
    }

    fn by_id(&self, id: &HostId) -> Option<&'a HostEndpoint> {
        self.0.iter().copied().find(|host| host.id == *id)
    }

    fn by_name(&self, interface: &str) -> Uplink<'a> {
        let found = self.0.iter().copied().find(|host| called(host) == interface);
        Uplink { interface: interface.into(), endpoint: found }
    }

    /// The interface by which packets to and from other machines go: the one with the
    /// host's own address, if it is asked about one, or the only one that has a host
    /// endpoint. Else those that it may be.
    fn uplink(&self, own: Option<IpAddr>) -> Result<Uplink<'a>, Vec<SmolStr>> {
        let of = |host: &'a HostEndpoint| Uplink { interface: called(host).clone(), endpoint: Some(host) };
        let mut named = self.0.clone();
        if let Some(own) = own {
            if let Some(found) = named.iter().find(|host| host.expected_addresses.contains(&own)) {
                return Ok(of(found));
            }
            // What expects other addresses only is another interface.
            named.retain(|host| host.expected_addresses.is_empty());
        }
        match named.as_slice() {
            [] => Ok(Uplink { interface: UNNAMED, endpoint: None }),
            [one] => Ok(of(one)),
            several => Err(several.iter().map(|host| called(host).clone()).collect()),
        }
    }
}

/// The interface of a host endpoint, or its name where that is found by addresses.
fn called(host: &HostEndpoint) -> &SmolStr {
    if host.interface.is_empty() { &host.id.0 } else { &host.interface }
}

impl Cluster {
    /// The nodes that a packet passes, in order; none if no policy is on its way.
    pub(super) fn journey<'a>(
        &'a self,
        [from, to]: [End<'a>; 2],
        asked: Option<&SmolStr>,
    ) -> Result<Vec<Leg<'a>>, JudgeError> {
        let node = |end: End<'a>| end.host.or_else(|| self.node(end.workload?));
        let (source, destination) = (node(from), node(to));
        let leg = |node: &'a str, stretch, own: Option<IpAddr>, device| {
            let uplink = self.uplink(node, own, device, asked)?;
            let others = self.facts.hosts_of(node).find(|(_, host)| host.interface == ALL_INTERFACES);
            let others = others.and_then(|(name, _)| self.host_endpoint(name));
            Ok(Leg { node, stretch, uplink, others })
        };
        let own = |end: End<'a>| end.host.map(|_| end.address);
        if let (Some(node), true) = (source, source == destination) {
            let stretches = match (from.workload, to.workload) {
                (Some(one), Some(other)) => vec![Stretch::Between(one, other)],
                (Some(one), None) => vec![Stretch::WorkloadToHost(one)],
                (None, Some(other)) => vec![Stretch::HostToWorkload(other)],
                (None, None) => vec![Stretch::LoopOut, Stretch::LoopIn],
            };
            // No packet leaves the node.
            return stretches.into_iter().map(|stretch| leg(node, stretch, None, Some(LOOPBACK))).collect();
        }
        let mut legs = Vec::new();
        let device = self.tunnel(from, to, source.zip(destination));
        if let Some(node) = source {
            let stretch = from.workload.map_or(Stretch::FromHost, |one| Stretch::FromWorkload(one));
            legs.push(leg(node, stretch, own(from), device)?);
        }
        if let Some(node) = destination {
            let stretch = to.workload.map_or(Stretch::ToHost, |one| Stretch::ToWorkload(one));
            legs.push(leg(node, stretch, own(to), device)?);
        }
        Ok(legs)
    }

    /// What a node makes of a packet.
    pub(super) fn at_node<'a>(&'a self, leg: &Leg<'a>, packet: &Packet) -> NodeDecision<'a> {
        let settings = self.node_settings(leg.node);
        let view = NodeView {
            store: self.store(),
            interfaces: leg,
            failsafes: &settings.failsafes,
            workload_prefixes: &settings.workload_prefixes,
            guards: &settings.guards,
        };
        view.evaluate(&Passage { way: leg.way(&leg.uplink.interface), original: packet, translated: None })
    }

    pub(super) fn host_endpoint(&self, name: &str) -> Option<&HostEndpoint> {
        self.store().host(&HostId(name.into())).map(AsRef::as_ref)
    }

    /// The device of a tunnel by which two workloads of different nodes speak.
    fn tunnel(&self, from: End<'_>, to: End<'_>, nodes: Option<(&str, &str)>) -> Option<&'static str> {
        let (source, destination) = nodes.filter(|_| from.workload.is_some() && to.workload.is_some())?;
        let mut pools = self.store().pools().map(|(_, pool)| pool);
        let pool = pools.find(|pool| pool.cidr.contains(to.address))?;
        let is_used = |mode| match mode {
            TunnelMode::Never => false,
            TunnelMode::Always => true,
            TunnelMode::CrossSubnet => !self.facts.share_a_subnet(source, destination),
        };
        match (is_used(pool.ipip), is_used(pool.vxlan)) {
            (true, _) => Some(IPIP_DEVICE),
            (false, true) => Some(VXLAN_DEVICE),
            (false, false) => None,
        }
    }

    /// The interface by which packets come to a node or leave it: the device of
    /// a tunnel, the one that is asked about, or [what the host endpoints tell](Hosts::uplink).
    fn uplink<'a>(
        &'a self,
        node: &'a str,
        own: Option<IpAddr>,
        device: Option<&'static str>,
        asked: Option<&SmolStr>,
    ) -> Result<Uplink<'a>, JudgeError> {
        let hosts = Hosts::new(self.facts.hosts_of(node).filter_map(|(name, _)| self.host_endpoint(name)));
        if let Some(interface) = device.or(asked.map(SmolStr::as_str)) {
            return Ok(hosts.by_name(interface));
        }
        hosts
            .uplink(own)
            .map_err(|several| JudgeError::Interface { node: node.to_owned(), interfaces: several.join(", ") })
    }
}
