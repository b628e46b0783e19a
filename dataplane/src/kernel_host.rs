//! The host's own network state, in the kernel.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use caracal_net::{Family, IfIndex};
use caracal_program::{Lifeline, Mac};
use caracal_sys::IfName;
use caracal_sys::conntrack::{ConntrackSocket, Review};
use caracal_sys::route::RouteSocket;
use caracal_sys::sysctl;

use crate::flows::FlowListener;
use crate::host::{Flow, Host, Judgement, Progress, Route, SourceCheck};
use crate::lifelines;

/// The host that is the network namespace of the thread that opened it; to be
/// used on threads of that namespace only.
#[derive(Debug)]
pub struct KernelHost {
    routes: RouteSocket,
    connections: ConntrackSocket,
    review: Review,
}

impl KernelHost {
    /// Opens the sockets that are needed.
    ///
    /// # Errors
    /// When the system has no room for other sockets.
    pub fn open() -> io::Result<Self> {
        Ok(Self { routes: RouteSocket::open()?, connections: ConntrackSocket::open()?, review: Review::open()? })
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
        self.routes.replace(route)
    }

    fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        self.routes.delete(route)
    }

    fn set_neighbour(&mut self, interface: IfIndex, addr: IpAddr, mac: Mac) -> io::Result<()> {
        self.routes.set_neighbour(interface, addr, mac.0)
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
        allows: &mut dyn FnMut(&Flow) -> bool,
    ) -> io::Result<Progress> {
        self.review.reconsider(budget, allows)
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
