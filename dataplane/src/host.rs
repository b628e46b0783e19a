//! What the loop needs of the host beside its rules: sysctls, routes, conntrack.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use caracal_net::{Family, IfIndex};
use caracal_program::{Lifeline, Mac};
pub use caracal_sys::conntrack::{Flow, FlowKey, Judgement, Progress, Tally};
pub use caracal_sys::route::Route;
pub use caracal_sys::sysctl::SourceCheck;

use crate::flows::FlowListener;

/// Access to the host's own network state. The real one talks to the kernel;
/// tests use one that remembers.
pub trait Host: Send {
    /// Makes the host forward packets of a family.
    ///
    /// # Errors
    /// When the kernel refuses; the caller tries again later.
    fn enable_forwarding(&mut self, family: Family) -> io::Result<()>;

    /// Sets what a workload's interface needs: proxy ARP or NDP, forwarding, no
    /// router advertisements.
    ///
    /// # Errors
    /// When the interface is gone or the kernel refuses; the caller tries again later.
    fn prepare_interface(&mut self, interface: &str, family: Family, check: SourceCheck) -> io::Result<()>;

    /// The unicast routes of the main table that lead through some interfaces
    /// on link, without those that the kernel wrote itself.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    fn routes(&mut self) -> io::Result<Vec<Route>>;

    /// Writes a route, in place of another one to the same destination with the same metric.
    ///
    /// # Errors
    /// When the interface is gone or down, or the kernel refuses.
    fn replace_route(&mut self, route: &Route) -> io::Result<()>;

    /// Removes a route; one that is not there is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn delete_route(&mut self, route: &Route) -> io::Result<()>;

    /// Writes a permanent neighbour entry.
    ///
    /// # Errors
    /// When the interface is gone or the kernel refuses.
    fn set_neighbour(&mut self, interface: IfIndex, addr: IpAddr, mac: Mac) -> io::Result<()>;

    /// Tells a workload where its gateway is. One that has asked in vain before
    /// would ask again after a second only.
    ///
    /// # Errors
    /// When nothing can be sent; the workload then learns it when it asks.
    fn introduce_gateway(&mut self, interface: IfIndex, workload: IpAddr) -> io::Result<()>;

    /// Deletes the connection tracking entries of which an address is an end,
    /// in one pass over the table.
    ///
    /// # Errors
    /// When the kernel cannot be asked; entries may be left.
    fn forget_connections(&mut self, addrs: &[IpAddr]) -> io::Result<usize>;

    /// Looks through the connections for about as long as `budget`, going on where
    /// it stopped the last time, and does what `judge` says of each.
    ///
    /// # Errors
    /// When the kernel cannot be asked; the next call begins anew.
    fn review_connections(
        &mut self,
        budget: Duration,
        judge: &mut dyn FnMut(&Flow) -> Judgement,
    ) -> io::Result<Progress>;

    /// Looks through the connections that were cut, for about as long as `budget`,
    /// going on where it stopped the last time, and restores or forgets those of
    /// which `judge` says so.
    ///
    /// # Errors
    /// When the kernel cannot be asked; the next call begins anew.
    fn reconsider_connections(
        &mut self,
        budget: Duration,
        judge: &mut dyn FnMut(&Flow) -> Judgement,
    ) -> io::Result<Progress>;

    /// How many connections are cut, if all of them are known.
    fn cut_connections(&self) -> Option<usize>;

    /// Begins to listen to what rules tell of flows; ends when the listener is dropped.
    ///
    /// # Errors
    /// When the kernel cannot tell, or somebody else listens; the caller tries again later.
    fn listen_to_flows(&mut self) -> io::Result<FlowListener>;

    /// The flows without which the host cannot be looked after, as far as it
    /// tells of them.
    fn lifelines(&mut self) -> Vec<Lifeline>;
}
