//! The host's own network state, in the kernel.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use caracal_net::{Family, IfIndex};
use caracal_program::{Lifeline, Mac};
use caracal_sys::IfName;
use caracal_sys::arp::{ArpRequest, ArpSocket};
use caracal_sys::conntrack::{ConntrackSocket, Review};
use caracal_sys::route::RouteSocket;
use caracal_sys::sysctl;
use nix::errno::Errno;

use crate::flows::FlowListener;
use crate::host::{Flow, Host, Judgement, Progress, Route, SourceCheck};
use crate::lifelines;

/// The IPv4 gateway of a workload. Calico's CNI plugin gives it to every pod
/// (`cni-plugin/pkg/dataplane/linux/dataplane_linux.go`); no host has it, each
/// answers for it by proxy ARP.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The host that is the network namespace of the thread that opened it; to be
/// used on threads of that namespace only.
#[derive(Debug)]
pub struct KernelHost {
    routes: RouteSocket,
    connections: ConntrackSocket,
    review: Review,
    /// Opened when it is needed: it takes a capability more than the others.
    arp: Option<ArpSocket>,
}

impl KernelHost {
    /// Opens the sockets that are needed.
    ///
    /// # Errors
    /// When the system has no room for other sockets.
    pub fn open() -> io::Result<Self> {
        let (routes, connections) = (RouteSocket::open()?, ConntrackSocket::open()?);
        Ok(Self { routes, connections, review: Review::open()?, arp: None })
    }
}

impl Host for KernelHost {
    fn enable_forwarding(&mut self, family: Family) -> io::Result<()> {
        sysctl::enable_forwarding(family)
    }

    fn prepare_interface(&mut self, interface: &str, family: Family, check: SourceCheck) -> io::Result<()> {
        let name = IfName::new(interface).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        sysctl::prepare_interface(&name, family, check)
    }

    fn routes(&mut self) -> io::Result<Vec<Route>> {
        self.routes.routes()
    }

    fn replace_route(&mut self, route: &Route) -> io::Result<()> {
        self.routes.replace(route).map_err(|error| match route.destination.family() {
            // What the kernel says of an interface without IPv6 (`ip6_route_info_create_nh`).
            Family::V6 if error.raw_os_error() == Some(Errno::EACCES as i32) => {
                io::Error::new(error.kind(), "IPv6 is turned off on the interface (sysctl disable_ipv6)")
            }
            Family::V4 | Family::V6 => error,
        })
    }

    fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        self.routes.delete(route)
    }

    fn set_neighbour(&mut self, interface: IfIndex, addr: IpAddr, mac: Mac) -> io::Result<()> {
        self.routes.set_neighbour(interface, addr, mac.0)
    }

    /// Whoever is asked for its own address notes down where the asker is, whether
    /// it had asked for it before or not (RFC 826; RFC 4861, 7.2.3).
    fn introduce_gateway(&mut self, interface: IfIndex, workload: IpAddr) -> io::Result<()> {
        let target = match workload {
            IpAddr::V4(addr) => addr,
            // The kernel asks from its link-local address, which is the IPv6 gateway.
            IpAddr::V6(_) => return self.routes.ask_for_neighbour(interface, workload),
        };
        let arp = match &mut self.arp {
            Some(arp) => arp,
            closed @ None => closed.insert(ArpSocket::open()?),
        };
        let sender = (GATEWAY, self.routes.mac(interface)?);
        arp.request(interface, &ArpRequest { sender, target })
    }

    fn forget_connections(&mut self, addrs: &[IpAddr]) -> io::Result<usize> {
        self.connections.forget(addrs)
    }

    fn review_connections(
        &mut self,
        budget: Duration,
        judge: &mut dyn FnMut(&Flow) -> Judgement,
    ) -> io::Result<Progress> {
        self.review.step(budget, judge)
    }

    fn reconsider_connections(
        &mut self,
        budget: Duration,
        judge: &mut dyn FnMut(&Flow) -> Judgement,
    ) -> io::Result<Progress> {
        self.review.reconsider(budget, judge)
    }

    fn cut_connections(&self) -> Option<usize> {
        self.review.known_cut()
    }

    fn listen_to_flows(&mut self) -> io::Result<FlowListener> {
        FlowListener::open()
    }

    fn lifelines(&mut self) -> Vec<Lifeline> {
        lifelines::of_this_host()
    }
}

#[cfg(test)]
mod tests;
