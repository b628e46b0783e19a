//! What policy says now of connections that are established.
//!
//! Connection tracking tells of no interface. A workload is known by its address,
//! and so is its interface; a connection of anybody else may have come in or left
//! by any interface that is not a workload's. Host endpoints deny a connection
//! only if they deny it whatever its interfaces: what they may have let pass is
//! not cut.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use caracal_net::{Port, Protocol};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::Suspects;
use crate::evaluate::Digest;
use crate::evaluate::Tracking;
use crate::{
    AdminState, Direction, EndpointToHost, FailsafePoint, Failsafes, HostView, Packet, Passage, PolicyStore,
    ProgramKey, Stamp, Transport, Verdict, Way, WorkloadEndpoint,
};

/// The interface of what a host sends to itself.
const LOOPBACK: &str = "lo";

/// What beside policy decides about connections.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What becomes of a workload's packets to its own host.
    pub to_host: EndpointToHost,
    /// Ports that no policy of a host endpoint closes.
    pub failsafes: &'a Failsafes,
    /// How the names of workload interfaces begin.
    pub workload_prefixes: &'a [SmolStr],
    /// The interfaces that carry packets.
    pub interfaces: &'a [SmolStr],
    /// The UDP port of VXLAN.
    pub vxlan_port: Port,
}

/// What judging the connections of some endpoints takes and does not change as long as
/// the store stays as it is. One brief serves all benches of that time.
#[derive(Debug)]
pub struct Brief {
    stamp: Stamp,
    /// The programs of workloads that were asked, with what they said.
    digests: RefCell<FxHashMap<ProgramKey, Digest>>,
    owners: FxHashMap<IpAddr, Owners>,
    /// Those of the active endpoints that use addresses of others.
    spoofers: Vec<Arc<WorkloadEndpoint>>,
    are_hosts_suspect: bool,
    /// The host's own addresses.
    own: FxHashSet<IpAddr>,
}

/// Judges the connections of some endpoints.
#[derive(Debug)]
pub struct Bench<'a> {
    store: &'a PolicyStore,
    brief: &'a Brief,
    hosts: HostView<'a>,
    /// Where the packets of strangers come in and leave.
    uplinks: Vec<&'a str>,
    to_host: EndpointToHost,
    vxlan_port: Port,
}

/// The active endpoints of an address. There may be more than one for a moment.
#[derive(Debug, Default)]
struct Owners {
    endpoints: SmallVec<[Arc<WorkloadEndpoint>; 1]>,
    /// Whether one of them is a suspect.
    are_suspect: bool,
}

/// Where an end of a connection is.
enum Place<'a> {
    /// On this host.
    Here,
    /// Behind one of these interfaces.
    Behind(SmallVec<[&'a str; 4]>),
}

impl Brief {
    /// What there is to know of `suspects`, by the state of the store.
    #[must_use]
    pub fn of(store: &PolicyStore, suspects: &Suspects) -> Self {
        let mut owners: FxHashMap<IpAddr, Owners> = FxHashMap::default();
        let mut spoofers = Vec::new();
        for endpoint in store.workloads().filter(|endpoint| store.is_active(endpoint)) {
            let is_suspect = suspects.workloads.contains(&endpoint.id);
            for addr in &endpoint.addresses {
                let owners = owners.entry(*addr).or_default();
                owners.endpoints.push(Arc::clone(endpoint));
                owners.are_suspect |= is_suspect;
            }
            if !endpoint.spoofable.is_empty() {
                spoofers.push(Arc::clone(endpoint));
            }
        }
        Self {
            stamp: store.stamp(),
            digests: RefCell::default(),
            owners,
            spoofers,
            are_hosts_suspect: suspects.hosts,
            own: store.host_addresses().collect(),
        }
    }

    /// Whether the store is still as it was.
    #[must_use]
    pub fn is_of(&self, store: &PolicyStore) -> bool {
        self.stamp == store.stamp()
    }

    /// How many programs were made ready to decide.
    #[must_use]
    pub fn programs(&self) -> usize {
        self.digests.borrow().len()
    }
}

impl<'a> Bench<'a> {
    /// Judges the connections of those that the brief is about, which is of the store
    /// as it is.
    #[must_use]
    pub fn new(store: &'a PolicyStore, brief: &'a Brief, terms: Terms<'a>) -> Self {
        debug_assert!(brief.is_of(store), "a brief of another time");
        let Terms { to_host, failsafes, workload_prefixes, interfaces, vxlan_port } = terms;
        let is_workload = |name: &str| workload_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let uplinks = interfaces.iter().map(SmolStr::as_str).filter(|name| *name != LOOPBACK && !is_workload(name));
        Self {
            store,
            brief,
            hosts: HostView { store, failsafes, workload_prefixes },
            uplinks: uplinks.collect(),
            to_host,
            vxlan_port,
        }
    }

    /// Whether a workload has the address.
    #[must_use]
    pub fn is_owned(&self, addr: &IpAddr) -> bool {
        self.brief.owners.contains_key(addr)
    }

    /// What policy says now of a connection that began with this packet, as the
    /// forward and input hooks see it. `None` if no suspect has a say, or if
    /// somebody else denies it: it is what it was. `called` is the packet before
    /// DNAT, if DNAT gave it another destination.
    #[must_use]
    pub fn verdict(&self, packet: &Packet, called: Option<&Packet>) -> Option<Verdict> {
        let nobody = Owners::default();
        let owners = |addr: &IpAddr| self.brief.owners.get(addr).unwrap_or(&nobody);
        let (senders, receivers) = (owners(&packet.src()), owners(&packet.dst()));
        let are_suspect = senders.are_suspect || receivers.are_suspect;
        if !(are_suspect || self.brief.are_hosts_suspect) {
            return None;
        }
        let is_allowed = self.workloads_allow(packet, senders, receivers);
        if are_suspect && !is_allowed {
            return Some(Verdict::Deny);
        }
        match self.hosts_deny(packet, called, senders, receivers) {
            true => self.brief.are_hosts_suspect.then_some(Verdict::Deny),
            false => is_allowed.then_some(Verdict::Allow),
        }
    }

    /// Whether untracked policy keeps a TCP connection of this host with others out of
    /// connection tracking now, there and back, by whichever interface that has the host's
    /// address. What the kernel still holds of it grows stale: once the policy is gone, the
    /// segments that follow would be outside of the window that was seen last, and invalid.
    /// `packet` is the first one, and nobody translates it.
    #[must_use]
    pub fn is_untracked(&self, packet: &Packet) -> bool {
        if !self.brief.are_hosts_suspect || packet.protocol() != Protocol::TCP {
            return false;
        }
        let (comes, leaves, own) = match [packet.src(), packet.dst()].map(|addr| self.brief.own.contains(&addr)) {
            [false, true] => (*packet, packet.answer(), packet.dst()),
            [true, false] => (packet.answer(), *packet, packet.src()),
            [true, true] | [false, false] => return false,
        };
        let is_untracked = |way: Way<'_>, packet: &Packet| {
            let passage = Passage { way, original: packet, translated: None };
            self.hosts.evaluate(&passage).tracking == Tracking::Untracked
        };
        let mut interfaces = self.store.interfaces_with(own).peekable();
        interfaces.peek().is_some()
            && interfaces.all(|name| {
                is_untracked(Way::ToHost { from: name }, &comes) && is_untracked(Way::FromHost { to: name }, &leaves)
            })
    }

    fn workloads_allow(&self, packet: &Packet, senders: &Owners, receivers: &Owners) -> bool {
        let leaves = |endpoint: &Arc<WorkloadEndpoint>| match self.endpoint(endpoint, Direction::Egress, packet) {
            Verdict::Allow if self.brief.own.contains(&packet.dst()) => self.to_host.decision().verdict,
            verdict => verdict,
        };
        let enters = |endpoint: &Arc<WorkloadEndpoint>| match self.brief.own.contains(&packet.src()) {
            // A host reaches its own workloads whatever their policy.
            true => Verdict::Allow,
            false => self.endpoint(endpoint, Direction::Ingress, packet),
        };
        let passes = |verdicts: &mut dyn Iterator<Item = Verdict>| {
            let mut verdicts = verdicts.peekable();
            verdicts.peek().is_none() || verdicts.any(|verdict| verdict == Verdict::Allow)
        };
        passes(&mut senders.endpoints.iter().map(leaves)) && passes(&mut receivers.endpoints.iter().map(enters))
    }

    /// The verdict of [`crate::evaluate_endpoint`].
    fn endpoint(&self, endpoint: &WorkloadEndpoint, direction: Direction, packet: &Packet) -> Verdict {
        if endpoint.state == AdminState::Down {
            return Verdict::Deny;
        }
        let program = endpoint.program(direction);
        let mut digests = self.brief.digests.borrow_mut();
        digests.entry(program.key()).or_insert_with(|| Digest::of(program, self.store)).verdict(packet)
    }

    /// Whether host endpoints deny a connection on every way that it may go.
    fn hosts_deny(&self, packet: &Packet, called: Option<&Packet>, senders: &Owners, receivers: &Owners) -> bool {
        let says_nothing = [packet.src(), packet.dst()].into_iter().any(is_everywhere);
        if self.store.hosts().len() == 0 || says_nothing || self.is_tunnel(packet) {
            return false;
        }
        let denied = |way: Way<'_>| {
            let passage = Passage { way, original: called.unwrap_or(packet), translated: called.map(|_| packet) };
            self.hosts.evaluate(&passage).verdict == Verdict::Deny
        };
        let all = |places: &[&str], denied: &dyn Fn(&str) -> bool| {
            !places.is_empty() && places.iter().all(|place| denied(place))
        };
        let ends = (self.place(packet.src(), senders), self.place(packet.dst(), receivers));
        // The kernel may have met an answer first, and take it for what opened the connection.
        let is_failsafe = |direction| {
            let mut open = self.hosts.failsafes.rules(direction, FailsafePoint::Untracked);
            open.any(|rule| rule.matches(packet, self.store))
        };
        let is_open = match &ends {
            (Place::Here, Place::Here) => is_failsafe(Direction::Egress) || is_failsafe(Direction::Ingress),
            (Place::Here, Place::Behind(_)) => is_failsafe(Direction::Egress),
            (Place::Behind(_), Place::Here) => is_failsafe(Direction::Ingress),
            (Place::Behind(_), Place::Behind(_)) => false,
        };
        if is_open {
            return false;
        }
        match ends {
            (Place::Here, Place::Here) => {
                denied(Way::FromHost { to: LOOPBACK }) || denied(Way::ToHost { from: LOOPBACK })
            }
            (Place::Here, Place::Behind(to)) => all(&to, &|to| denied(Way::FromHost { to })),
            (Place::Behind(from), Place::Here) => all(&from, &|from| denied(Way::ToHost { from })),
            (Place::Behind(from), Place::Behind(to)) => {
                all(&from, &|from| all(&to, &|to| denied(Way::Through { from, to })))
            }
        }
    }

    /// By tunnels the hosts of a cluster speak for their workloads: it is not for
    /// the policy of host endpoints to end them.
    fn is_tunnel(&self, packet: &Packet) -> bool {
        match (packet.protocol(), packet.transport()) {
            (Protocol::IPIP, _) => true,
            (Protocol::UDP, Transport::Ports { dst, .. }) => dst == self.vxlan_port,
            _ => false,
        }
    }

    fn place(&self, addr: IpAddr, owners: &'a Owners) -> Place<'a> {
        if addr.is_loopback() || self.brief.own.contains(&addr) {
            return Place::Here;
        }
        let strangers = if owners.endpoints.is_empty() { &self.uplinks[..] } else { &[] };
        let uses = |endpoint: &&'a Arc<WorkloadEndpoint>| endpoint.spoofable.iter().any(|net| net.contains(addr));
        let workloads = owners.endpoints.iter().chain(self.brief.spoofers.iter().filter(uses));
        Place::Behind(strangers.iter().copied().chain(workloads.map(|endpoint| endpoint.interface.as_str())).collect())
    }
}

/// Whether an address says nothing of where its packets are.
fn is_everywhere(addr: IpAddr) -> bool {
    let is_of_a_link = match addr {
        IpAddr::V4(_) => false,
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    };
    is_of_a_link || addr.is_unspecified() || addr.is_multicast()
}
