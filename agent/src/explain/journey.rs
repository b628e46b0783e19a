//! The nodes that a packet passes, and by which interfaces.

use std::net::IpAddr;

use caracal_program::{
    ALL_INTERFACES, HostEndpoint, HostId, Interfaces, NodeDecision, NodeView, Packet, Passage, TunnelMode, Way,
    WorkloadEndpoint,
};
use smol_str::SmolStr;

use super::cluster::{Cluster, End, JudgeError};
use super::facts::Host;

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

    fn way(&self) -> Way<'_> {
        let uplink = self.uplink.interface.as_str();
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
        view.evaluate(&Passage { way: leg.way(), original: packet, translated: None })
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
    /// a tunnel, the one that is asked about, the one with the host's address, or
    /// the only one that has a host endpoint.
    fn uplink<'a>(
        &'a self,
        node: &'a str,
        own: Option<IpAddr>,
        device: Option<&'static str>,
        asked: Option<&SmolStr>,
    ) -> Result<Uplink<'a>, JudgeError> {
        let mut named: Vec<(&'a SmolStr, &'a Host)> = Vec::new();
        // The first of an interface counts, as on the node itself.
        for (name, host) in self.facts.hosts_of(node) {
            let is_taken =
                |(_, held): &(&SmolStr, &Host)| !host.interface.is_empty() && held.interface == host.interface;
            if host.interface != ALL_INTERFACES && !named.iter().any(is_taken) {
                named.push((name, host));
            }
        }
        let called = |(name, host): (&SmolStr, &Host)| {
            if host.interface.is_empty() { name.clone() } else { host.interface.clone() }
        };
        let of =
            |found: (&'a SmolStr, &'a Host)| Uplink { interface: called(found), endpoint: self.host_endpoint(found.0) };
        let by_name = |interface: &str| {
            let found = named.iter().copied().find(|found| called(*found) == interface);
            found.map_or_else(|| Uplink { interface: interface.into(), endpoint: None }, of)
        };
        if let Some(device) = device {
            return Ok(by_name(device));
        }
        if let Some(asked) = asked {
            return Ok(by_name(asked));
        }
        if let Some(own) = own {
            if let Some(found) = named.iter().find(|(_, host)| host.expected.contains(&own)) {
                return Ok(of(*found));
            }
            // What expects other addresses only is another interface.
            named.retain(|(_, host)| host.expected.is_empty());
        }
        match named.as_slice() {
            [] => Ok(Uplink { interface: UNNAMED, endpoint: None }),
            [one] => Ok(of(*one)),
            several => Err(JudgeError::Interface {
                node: node.to_owned(),
                interfaces: several.iter().map(|found| called(*found)).collect::<Vec<_>>().join(", "),
            }),
        }
    }
}
