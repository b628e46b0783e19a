//! What happens to a packet on its way through one node, all in all.
//!
//! Policy is not all that a node asks: a workload sends from its own addresses
//! and makes no tunnels, connection tracking must be able to follow, nobody but
//! hosts of the cluster sends tunnelled packets to a host. What asks is a
//! [`Guard`]; guards and programs have their say in the order of the kernel's hooks.

use std::net::IpAddr;

use caracal_net::{Cidr, Family, Port, Protocol};
use smol_str::SmolStr;

use super::host::{Early, HostStep, HostView, Passage, Tracking, Walk, Way};
use super::tracking::FirstPacket;
use super::tunnel::Tunnel;
use super::{Decision, EndpointToHost, Verdict, evaluate_endpoint};
use crate::{Direction, Failsafes, HostEndpoint, Packet, PolicyStore, ProgramKind, Transport, WorkloadEndpoint};

/// Who has which interface of a node.
pub trait Interfaces<'a> {
    /// The workload endpoint of an interface.
    fn workload(&self, interface: &str) -> Option<&'a WorkloadEndpoint>;
    /// The host endpoint that an interface has of its own.
    fn host(&self, interface: &str) -> Option<&'a HostEndpoint>;
    /// The host endpoint of all interfaces that have none of their own.
    fn host_on_others(&self) -> Option<&'a HostEndpoint>;
}

impl<'a> Interfaces<'a> for &'a PolicyStore {
    fn workload(&self, interface: &str) -> Option<&'a WorkloadEndpoint> {
        self.active_on(interface).map(AsRef::as_ref)
    }

    fn host(&self, interface: &str) -> Option<&'a HostEndpoint> {
        self.host_on(interface).map(AsRef::as_ref)
    }

    fn host_on_others(&self) -> Option<&'a HostEndpoint> {
        PolicyStore::host_on_others(self).map(AsRef::as_ref)
    }
}

/// What becomes of packets that a guard looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guarded {
    /// They are refused.
    Refused,
    /// They are judged by policy, like others.
    Judged,
}

/// Whether IPv6 is programmed (`Ipv6Support`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ipv6 {
    /// It is: policy judges it.
    On,
    /// It is not. What workloads send and what is forwarded to them is refused, as
    /// no policy judges it; what else there is of IPv6 is left alone.
    Off,
}

/// How the guards of a node are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guards {
    /// Whether IPv6 is programmed.
    pub ipv6: Ipv6,
    /// What connection tracking calls invalid (`DisableConntrackInvalidCheck`).
    pub invalid: Guarded,
    /// IP in IP from workloads (`AllowIPIPPacketsFromWorkloads`).
    pub ipip: Guarded,
    /// VXLAN from workloads (`AllowVXLANPacketsFromWorkloads`).
    pub vxlan: Guarded,
    /// The UDP port of VXLAN (`VXLANPort`).
    pub vxlan_port: Port,
    /// What a workload's egress policy let go to the workload's own host.
    pub endpoint_to_host: EndpointToHost,
    /// Forwarded packets to addresses of services that are none (`ServiceLoopPrevention`).
    pub service_loops: Guarded,
}

impl Default for Guards {
    /// Felix's defaults.
    fn default() -> Self {
        Self {
            ipv6: Ipv6::On,
            invalid: Guarded::Refused,
            ipip: Guarded::Refused,
            vxlan: Guarded::Refused,
            vxlan_port: 4789,
            endpoint_to_host: EndpointToHost::Drop,
            service_loops: Guarded::Refused,
        }
    }
}

/// What decides about a packet beside policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guard {
    /// An IPv6 packet on its way from a workload (egress) or to one (ingress), while
    /// IPv6 is not programmed.
    NoIpv6(Direction),
    /// An IPv6 packet that this host gets (ingress) or sends (egress), while IPv6 is not
    /// programmed: passes whatever host endpoints say.
    UnjudgedIpv6(Direction),
    /// A workload sends from an address that is not its own.
    SpoofedSource,
    /// An interface has the name of a workload's, and no workload is known there.
    NoEndpoint(Direction),
    /// No connection begins with such a packet; seen where the packet is on its
    /// way from a workload (egress) or to one (ingress).
    Invalid(Direction),
    /// A workload sends IP in IP.
    Ipip,
    /// A workload sends VXLAN.
    Vxlan,
    /// A workload sends to a loopback address of its host, which nobody has translated.
    Loopback,
    /// IP in IP for this host from somewhere that is no host of the cluster.
    ForeignIpip,
    /// VXLAN for this host from somewhere that is no host of the cluster.
    ForeignVxlan,
    /// IP in IP or VXLAN that this host gets from a host of the cluster (ingress) or
    /// sends to one (egress): passes whatever normal policy of host endpoints says.
    ClusterTunnel(Direction),
    /// A forwarded packet to a service's address that no service proxy has translated.
    ServiceLoop,
    /// Neighbour discovery from a workload to its host: passes whatever policy says.
    NeighbourDiscovery,
    /// What a host sends to its own workloads: passes whatever policy says.
    HostToWorkload,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 19] = [
        Self::NoIpv6(Direction::Egress),
        Self::NoIpv6(Direction::Ingress),
        Self::UnjudgedIpv6(Direction::Egress),
        Self::UnjudgedIpv6(Direction::Ingress),
        Self::SpoofedSource,
        Self::NoEndpoint(Direction::Egress),
        Self::NoEndpoint(Direction::Ingress),
        Self::Invalid(Direction::Egress),
        Self::Invalid(Direction::Ingress),
        Self::Ipip,
        Self::Vxlan,
        Self::Loopback,
        Self::ForeignIpip,
        Self::ForeignVxlan,
        Self::ClusterTunnel(Direction::Egress),
        Self::ClusterTunnel(Direction::Ingress),
        Self::ServiceLoop,
        Self::NeighbourDiscovery,
        Self::HostToWorkload,
    ];

    /// What it does with the packets that it is about.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::UnjudgedIpv6(_) | Self::ClusterTunnel(_) | Self::NeighbourDiscovery | Self::HostToWorkload => {
                Verdict::Allow
            }
            Self::NoIpv6(_)
            | Self::SpoofedSource
            | Self::NoEndpoint(_)
            | Self::Invalid(_)
            | Self::Ipip
            | Self::Vxlan
            | Self::Loopback
            | Self::ForeignIpip
            | Self::ForeignVxlan
            | Self::ServiceLoop => Verdict::Deny,
        }
    }
}

/// Something that had its say about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStep<'a> {
    /// A guard.
    Guard(Guard),
    /// A program of a host endpoint.
    Host(HostStep<'a>),
    /// The program of a workload.
    Workload {
        /// Whose it is.
        endpoint: &'a WorkloadEndpoint,
        /// Its direction.
        direction: Direction,
        /// What it decided, and why.
        decision: Decision<'a>,
    },
    /// What is set for all that workloads send to their host.
    EndpointToHost(EndpointToHost),
}

impl NodeStep<'_> {
    /// What it decided.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Guard(guard) => guard.verdict(),
            Self::Host(step) => step.verdict,
            Self::Workload { decision, .. } => decision.verdict,
            Self::EndpointToHost(action) => action.decision().verdict,
        }
    }
}

/// What one node does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDecision<'a> {
    /// What happens.
    pub verdict: Verdict,
    /// Whether the connection is followed.
    pub tracking: Tracking,
    /// What had a say, in order; the last one denied if one did.
    pub steps: Vec<NodeStep<'a>>,
}

/// A node, as far as packets are concerned.
#[derive(Clone, Copy)]
pub struct NodeView<'a, 'v> {
    /// Policies, pools and hosts of the cluster.
    pub store: &'a PolicyStore,
    /// Who has which interface.
    pub interfaces: &'v dyn Interfaces<'a>,
    /// Ports that no policy of a host endpoint closes.
    pub failsafes: &'a Failsafes,
    /// How the names of workload interfaces begin.
    pub workload_prefixes: &'a [SmolStr],
    /// What is asked beside policy.
    pub guards: &'v Guards,
}

impl<'a> NodeView<'a, '_> {
    /// Decides about the first packet of a connection.
    #[must_use]
    pub fn evaluate(&self, passage: &Passage<'_>) -> NodeDecision<'a> {
        let Self { store, interfaces, failsafes, workload_prefixes, guards } = *self;
        let host = HostView { store, failsafes, workload_prefixes };
        let original = FirstPacket::of(passage.original);
        let is_invalid = original == FirstPacket::Invalid && guards.invalid == Guarded::Refused;
        let mut walk = NodeWalk {
            node: self,
            host: Walk { view: host, interfaces, steps: Vec::new(), tracking: Tracking::Tracked, is_invalid },
            steps: Vec::new(),
        };
        let end = walk.judge(passage);
        walk.take_host_steps();
        let verdict = if end.is_some() { Verdict::Allow } else { Verdict::Deny };
        NodeDecision { verdict, tracking: walk.host.tracking, steps: walk.steps }
    }
}

struct NodeWalk<'a, 'v> {
    node: &'v NodeView<'a, 'v>,
    host: Walk<'a, 'v>,
    steps: Vec<NodeStep<'a>>,
}

impl<'a> NodeWalk<'a, '_> {
    /// `None` if something denies.
    fn judge(&mut self, passage: &Passage<'_>) -> Option<()> {
        let Passage { way, original, .. } = *passage;
        if original.family() == Family::V6 && self.node.guards.ipv6 == Ipv6::Off {
            return self.without_ipv6(way);
        }
        if let Way::ToHost { from } | Way::Through { from, .. } = way
            && self.is_workload(from)
            && is_spoofed(self.node.interfaces.workload(from), original)
        {
            return self.guard(Guard::SpoofedSource);
        }
        match way {
            Way::ToHost { from } => {
                let early = self.host.early(from, original)?;
                self.take_host_steps();
                let packet = self.later(passage);
                let tunnel = self.tunnel(packet);
                if let Some(tunnel) = tunnel
                    && !self.is_host(packet.src())
                {
                    return self.guard(match tunnel {
                        Tunnel::Ipip => Guard::ForeignIpip,
                        Tunnel::Vxlan => Guard::ForeignVxlan,
                    });
                }
                if self.is_workload(from) {
                    let is_own = packet.dst() == original.dst();
                    if is_own && packet.dst().is_loopback() {
                        return self.guard(Guard::Loopback);
                    }
                    return self.workload_to_host(from, packet);
                }
                if early == Early::Open {
                    if tunnel.is_some() {
                        return self.guard(Guard::ClusterTunnel(Direction::Ingress));
                    }
                    self.host.at(from, ProgramKind::Normal, Direction::Ingress, packet)?;
                }
            }
            Way::FromHost { to } => {
                let early = self.host.untracked(to, Direction::Egress, original)?;
                self.take_host_steps();
                if self.is_workload(to) {
                    return self.guard(Guard::HostToWorkload);
                }
                if early == Early::Open {
                    // What DNAT sends elsewhere is judged where it leaves.
                    let is_tunnel = passage.translated.is_none() && self.tunnel(original).is_some();
                    if is_tunnel && self.is_host(original.dst()) {
                        return self.guard(Guard::ClusterTunnel(Direction::Egress));
                    }
                    self.host.at(to, ProgramKind::Normal, Direction::Egress, self.later(passage))?;
                }
            }
            Way::Through { from, to } => {
                let early = self.host.early(from, original)?;
                let packet = self.later(passage);
                if early == Early::Open {
                    self.host.at(from, ProgramKind::Forward, Direction::Ingress, packet)?;
                }
                self.take_host_steps();
                if self.is_workload(from) {
                    self.leave_workload(from, packet)?;
                }
                if self.is_workload(to) {
                    self.invalid(Direction::Ingress)?;
                    self.workload(to, Direction::Ingress, packet)?;
                }
                self.host.at(to, ProgramKind::Forward, Direction::Egress, packet)?;
                self.take_host_steps();
                let is_service = self.node.store.service_prefixes().any(|net| net.contains(packet.dst()));
                if is_service && self.node.guards.service_loops == Guarded::Refused {
                    return self.guard(Guard::ServiceLoop);
                }
            }
        }
        Some(())
    }

    /// What becomes of an IPv6 packet while no policy judges it.
    fn without_ipv6(&mut self, way: Way<'_>) -> Option<()> {
        match way {
            Way::ToHost { from } | Way::Through { from, .. } if self.is_workload(from) => {
                self.guard(Guard::NoIpv6(Direction::Egress))
            }
            Way::Through { to, .. } if self.is_workload(to) => self.guard(Guard::NoIpv6(Direction::Ingress)),
            Way::FromHost { to } if self.is_workload(to) => self.guard(Guard::HostToWorkload),
            Way::ToHost { .. } => self.guard(Guard::UnjudgedIpv6(Direction::Ingress)),
            Way::FromHost { .. } => self.guard(Guard::UnjudgedIpv6(Direction::Egress)),
            Way::Through { .. } => Some(()),
        }
    }

    /// The packet after DNAT. The kernel translates no connection that it does not follow.
    fn later<'p>(&self, passage: &Passage<'p>) -> &'p Packet {
        match self.host.tracking {
            Tracking::Tracked => passage.translated.unwrap_or(passage.original),
            Tracking::Untracked => passage.original,
        }
    }

    fn workload_to_host(&mut self, from: &str, packet: &Packet) -> Option<()> {
        // Connection tracking follows none of these, so that none is invalid.
        if is_neighbour_discovery(packet) {
            return self.guard(Guard::NeighbourDiscovery);
        }
        self.leave_workload(from, packet)?;
        let action = self.node.guards.endpoint_to_host;
        self.step(NodeStep::EndpointToHost(action))
    }

    fn leave_workload(&mut self, from: &str, packet: &Packet) -> Option<()> {
        self.invalid(Direction::Egress)?;
        if let Some(guard) = self.refuses(packet) {
            return self.guard(guard);
        }
        self.workload(from, Direction::Egress, packet)
    }

    /// The guard that refuses a packet for what it holds.
    fn refuses(&self, packet: &Packet) -> Option<Guard> {
        let Guards { ipip, vxlan, vxlan_port, .. } = *self.node.guards;
        let (guard, what) = match Tunnel::of(packet, vxlan_port)? {
            Tunnel::Ipip => (Guard::Ipip, ipip),
            Tunnel::Vxlan => (Guard::Vxlan, vxlan),
        };
        (what == Guarded::Refused).then_some(guard)
    }

    /// The kind of tunnel that a packet is of, if hosts of the cluster speak so.
    fn tunnel(&self, packet: &Packet) -> Option<Tunnel> {
        let tunnel = Tunnel::of(packet, self.node.guards.vxlan_port)?;
        tunnel.is_used(packet.family(), self.node.store).then_some(tunnel)
    }

    /// Whether a host of the cluster has the address.
    fn is_host(&self, address: IpAddr) -> bool {
        self.node.store.node_addresses().any(|known| known == address)
    }

    fn workload(&mut self, interface: &str, direction: Direction, packet: &Packet) -> Option<()> {
        let Some(endpoint) = self.node.interfaces.workload(interface) else {
            return self.guard(Guard::NoEndpoint(direction));
        };
        let decision = evaluate_endpoint(endpoint, direction, self.node.store, packet);
        self.step(NodeStep::Workload { endpoint, direction, decision })
    }

    fn invalid(&mut self, direction: Direction) -> Option<()> {
        let is_seen = self.host.is_invalid && self.host.tracking == Tracking::Tracked;
        if is_seen { self.guard(Guard::Invalid(direction)) } else { Some(()) }
    }

    fn guard(&mut self, guard: Guard) -> Option<()> {
        self.step(NodeStep::Guard(guard))
    }

    fn step(&mut self, step: NodeStep<'a>) -> Option<()> {
        self.steps.push(step);
        (step.verdict() == Verdict::Allow).then_some(())
    }

    fn take_host_steps(&mut self) {
        self.steps.extend(self.host.steps.drain(..).map(NodeStep::Host));
    }

    fn is_workload(&self, interface: &str) -> bool {
        self.host.view.is_workload(interface)
    }
}

/// Whether a packet bears a source that its workload may not use.
fn is_spoofed(endpoint: Option<&WorkloadEndpoint>, packet: &Packet) -> bool {
    let src = packet.src();
    let is_own = endpoint.is_some_and(|endpoint| {
        endpoint.addresses.contains(&src) || endpoint.spoofable.iter().any(|net| net.contains(src))
    });
    !is_own && !is_not_routed(packet)
}

/// Sources of those who have no address yet, and of those who only speak on the link.
fn is_not_routed(packet: &Packet) -> bool {
    let is_in = |address: IpAddr, net: &str| {
        let net: Cidr = net.parse().expect("a prefix");
        net.contains(address)
    };
    let (src, dst) = (packet.src(), packet.dst());
    match packet.family() {
        // DHCP; IGMP.
        Family::V4 => src.is_unspecified() && (is_in(dst, "255.255.255.255/32") || is_in(dst, "224.0.0.0/24")),
        // Neighbour discovery, DHCPv6; duplicate address detection and listener reports.
        Family::V6 => {
            let is_asking = packet.protocol() == Protocol::ICMPV6 && src.is_unspecified();
            is_in(src, "fe80::/10") || (is_asking && is_in(dst, "ff02::/16"))
        }
    }
}

/// The ICMPv6 types that a workload may send to its host whatever its policy
/// says, as in Felix: listener query, report and done (RFC 2710), router and
/// neighbour solicitation, neighbour advertisement (RFC 4861).
fn is_neighbour_discovery(packet: &Packet) -> bool {
    let is_type = matches!(packet.transport(), Transport::Icmp { icmp_type: 130..=133 | 135..=136, .. });
    packet.protocol() == Protocol::ICMPV6 && is_type
}

#[cfg(test)]
mod tests;
