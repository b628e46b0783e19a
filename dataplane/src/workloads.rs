//! Routes and sysctls of the workloads' interfaces.
//!
//! What is wanted follows from the active endpoint of each interface; it is put
//! in force when the interface is up, and again when it comes back. Felix's
//! rules: one route per address on link, owned by protocol; other routes on a
//! workload's interface go after a grace period (`RemoveExternalRoutes`). Beyond
//! them, a workload that comes into service is told where its gateway is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use caracal_config::Settings;
use caracal_net::{Cidr, Family, IfIndex};
use caracal_program::{AdminState, Mac, Measurement, WorkloadEndpoint, WorkloadId};
use smol_str::SmolStr;
use tracing::{debug, warn};

use crate::host::{Host, Route, SourceCheck};
use crate::interfaces::{Interfaces, LinkState};
use crate::outcomes::Networking;
use crate::retry::Backoff;

/// How long an unknown route on a workload's interface may stand: a CNI plugin
/// writes its routes before the datastore knows the workload (as in Felix).
const GRACE: Duration = Duration::from_secs(10);

/// `RT_TABLE_MAIN`, as Felix labels it.
const MAIN_TABLE: &str = "254";

/// What an interface's active endpoint wants.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    id: WorkloadId,
    addresses: Vec<IpAddr>,
    mac: Option<Mac>,
    check: SourceCheck,
}

impl Wanted {
    fn of(endpoint: &WorkloadEndpoint) -> Self {
        Self {
            id: endpoint.id.clone(),
            // An endpoint that is down gets no traffic, so it needs no route.
            addresses: match endpoint.state {
                AdminState::Active => endpoint.addresses.clone(),
                AdminState::Down => Vec::new(),
            },
            mac: endpoint.mac,
            check: if endpoint.spoofable.is_empty() { SourceCheck::AsDefault } else { SourceCheck::Off },
        }
    }

    /// Felix writes them for IPv4 only.
    fn neighbours(&self) -> impl Iterator<Item = (IpAddr, Mac)> {
        let addresses = self.addresses.iter().filter(|addr| addr.is_ipv4());
        addresses.filter_map(|addr| self.mac.map(|mac| (*addr, mac)))
    }
}

/// The networking of all workloads.
#[derive(Debug)]
pub struct Workloads {
    parameters: Parameters,
    wanted: BTreeMap<SmolStr, Wanted>,
    /// Routes that are known to stand, by interface.
    standing: BTreeMap<SmolStr, BTreeSet<Route>>,
    retries: BTreeMap<SmolStr, Backoff>,
    /// Routes on workload interfaces that nobody wants, and when they are to go.
    unknown: BTreeMap<Route, Instant>,
}

/// The parameters that networking depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parameters {
    prefixes: Vec<String>,
    ipv6: bool,
    protocol: u8,
    metrics: [u32; 2],
    remove_external: bool,
}

impl Parameters {
    fn of(settings: &Settings) -> Self {
        Self {
            prefixes: settings.interface_prefixes.clone(),
            ipv6: settings.ipv6,
            protocol: settings.device_route_protocol,
            metrics: [settings.ipv4_route_priority, settings.ipv6_route_priority],
            remove_external: settings.remove_external_routes,
        }
    }

    fn families(&self) -> &'static [Family] {
        if self.ipv6 { &Family::ALL } else { &Family::ALL[..1] }
    }
}

impl Workloads {
    /// Networking without workloads.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            parameters: Parameters::of(settings),
            wanted: BTreeMap::new(),
            standing: BTreeMap::new(),
            retries: BTreeMap::new(),
            unknown: BTreeMap::new(),
        }
    }

    /// Takes new settings; the interfaces that must be settled again.
    pub fn configure(&mut self, settings: &Settings) -> Vec<SmolStr> {
        let parameters = Parameters::of(settings);
        if self.parameters == parameters {
            return Vec::new();
        }
        self.parameters = parameters;
        self.wanted.keys().cloned().collect()
    }

    /// Takes the endpoints that are active on some interfaces now. Gives the
    /// addresses that have another owner than before, or none: connections of the
    /// old one must not live on under the next.
    pub fn want<'a>(
        &mut self,
        active: impl IntoIterator<Item = (&'a SmolStr, Option<&'a WorkloadEndpoint>)>,
    ) -> BTreeSet<IpAddr> {
        let (mut left, mut came) = (BTreeSet::new(), BTreeSet::new());
        for (interface, endpoint) in active {
            let now = endpoint.map(Wanted::of);
            let before = match now.clone() {
                Some(wanted) => self.wanted.insert(interface.clone(), wanted),
                None => self.wanted.remove(interface),
            };
            let same_owner = before.as_ref().map(|before| &before.id) == now.as_ref().map(|now| &now.id);
            let before: BTreeSet<IpAddr> = before.into_iter().flat_map(|wanted| wanted.addresses).collect();
            let now: BTreeSet<IpAddr> = now.into_iter().flat_map(|wanted| wanted.addresses).collect();
            left.extend(before.iter().filter(|addr| !same_owner || !now.contains(addr)));
            came.extend(now.iter().filter(|addr| !same_owner || !before.contains(addr)));
        }
        // An address that somebody else had taken over before keeps the connections of that owner.
        left.retain(|addr| came.contains(addr) || self.owners(addr) == 0);
        came.retain(|addr| self.owners(addr) > 1);
        left.append(&mut came);
        left
    }

    fn owners(&self, addr: &IpAddr) -> usize {
        self.wanted.values().filter(|wanted| wanted.addresses.contains(addr)).count()
    }

    /// Puts in force what is wanted on an interface, and says how its endpoint
    /// is doing. Failures are tried again at [`Workloads::deadline`].
    pub fn settle(
        &mut self,
        now: Instant,
        interface: &SmolStr,
        link: LinkState,
        host: &mut dyn Host,
    ) -> Option<(WorkloadId, Networking)> {
        let LinkState::Up(index) = link else {
            // The kernel took the routes away together with the interface, unless it has
            // only lost its name: by another one no policy is known for it.
            for route in self.standing.remove(interface).into_iter().flatten() {
                self.hand_over(now, &route, host);
                if link == LinkState::Gone
                    && let Err(error) = host.delete_route(&route)
                {
                    warn!(%error, destination = %route.destination, "cannot remove a route to an interface that is gone");
                }
            }
            self.retries.remove(interface);
            return self.wanted.get(interface).map(|wanted| (wanted.id.clone(), Networking::NoInterface));
        };
        let outcome = self.put_in_force(now, interface, index, host);
        let networking = match outcome {
            Ok(()) => {
                self.retries.remove(interface);
                Networking::Ready
            }
            Err(failure) => {
                self.retries.entry(interface.clone()).or_default().failed(now);
                Networking::Failed(format!("interface {interface}: {}: {}", failure.what, failure.source))
            }
        };
        self.wanted.get(interface).map(|wanted| (wanted.id.clone(), networking))
    }

    /// How many routes stand, and on how many interfaces, under Felix's names.
    #[must_use]
    pub fn measurements(&self) -> [Measurement; 2] {
        let number = |count: usize| u64::try_from(count).expect("a count of things in memory fits in 64 bits");
        let routes = self.standing.values().map(BTreeSet::len).sum();
        [
            ("felix_route_table_num_routes", "Routes of local workloads that stand.", number(routes)),
            ("felix_route_table_num_ifaces", "Interfaces with routes of local workloads.", number(self.standing.len())),
        ]
        .map(|(name, help, count)| Measurement::gauge(name, help, count).with("table", MAIN_TABLE))
    }

    /// When the next retry is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.retries.values().filter_map(Backoff::due).min()
    }

    /// When the next audit has a route to remove.
    #[must_use]
    pub fn grace_end(&self) -> Option<Instant> {
        self.unknown.values().min().copied()
    }

    /// The interfaces whose retry is due.
    #[must_use]
    pub fn due(&self, now: Instant) -> Vec<SmolStr> {
        let due = self.retries.iter().filter(|(_, retry)| retry.due().is_some_and(|at| at <= now));
        due.map(|(interface, _)| interface.clone()).collect()
    }

    /// Reads the routes back, forgets those that are gone, and removes those
    /// that nobody wants, external ones after a grace period. Gives the
    /// interfaces whose routes are not all there.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn audit(&mut self, now: Instant, interfaces: &Interfaces, host: &mut dyn Host) -> io::Result<Vec<SmolStr>> {
        let found: BTreeSet<Route> = host.routes()?.into_iter().collect();
        let mut missing = Vec::new();
        for (interface, wanted) in &self.wanted {
            let LinkState::Up(index) = interfaces.state(interface) else { continue };
            let routes = self.routes_of(wanted, index);
            if !routes.is_subset(&found) {
                missing.push(interface.clone());
            }
        }
        for standing in self.standing.values_mut() {
            standing.retain(|route| found.contains(route));
        }
        let unwanted: BTreeSet<Route> = found.into_iter().filter(|route| self.is_unwanted(route, interfaces)).collect();
        self.unknown.retain(|route, _| unwanted.contains(route));
        for route in unwanted {
            let due = self.unknown.entry(route).or_insert(now + GRACE);
            if now < *due {
                continue;
            }
            match host.delete_route(&route) {
                Ok(()) => drop(self.unknown.remove(&route)),
                Err(error) => {
                    warn!(%error, destination = %route.destination, "cannot remove a route that nobody wants");
                    *due = now + GRACE;
                }
            }
        }
        Ok(missing)
    }

    /// Takes every step that it can; the first failure counts.
    fn put_in_force(
        &mut self,
        now: Instant,
        interface: &SmolStr,
        index: IfIndex,
        host: &mut dyn Host,
    ) -> Result<(), Failure> {
        let wanted = self.wanted.get(interface);
        let routes = wanted.map(|wanted| self.routes_of(wanted, index)).unwrap_or_default();
        let check = wanted.map_or(SourceCheck::AsDefault, |wanted| wanted.check);
        let neighbours: Vec<_> = wanted.map(|wanted| wanted.neighbours().collect()).unwrap_or_default();
        let mut standing = self.standing.remove(interface).unwrap_or_default();
        let mut served = Vec::new();
        let mut failure = None;
        let mut step = |what: &dyn Fn() -> String, done: io::Result<()>| match done {
            Ok(()) => true,
            Err(source) => {
                failure.get_or_insert_with(|| Failure { what: what(), source });
                false
            }
        };
        let families: BTreeSet<Family> = routes.iter().map(|route| route.destination.family()).collect();
        for family in families {
            step(&|| "cannot set sysctls".to_owned(), host.prepare_interface(interface, family, check));
        }
        for route in routes.difference(&standing.clone()) {
            if step(&|| format!("cannot write the route to {}", route.destination), host.replace_route(route)) {
                standing.insert(*route);
                served.push(route.destination.addr());
            }
        }
        for route in standing.clone().difference(&routes) {
            if self.hand_over(now, route, host)
                || step(&|| format!("cannot remove the route to {}", route.destination), host.delete_route(route))
            {
                standing.remove(route);
            }
        }
        for (addr, mac) in neighbours {
            step(&|| format!("cannot write the neighbour entry of {addr}"), host.set_neighbour(index, addr, mac));
        }
        introduce(interface, index, served, host);
        if !standing.is_empty() {
            self.standing.insert(interface.clone(), standing);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Gives the way to an address to another interface whose endpoint claims it too: of two
    /// routes the kernel keeps the one that was written last. Whether there is one.
    fn hand_over(&mut self, now: Instant, left: &Route, host: &mut dyn Host) -> bool {
        let is_same = |route: &Route| (route.destination, route.metric) == (left.destination, left.metric);
        let claim =
            self.standing.iter().find_map(|(name, routes)| Some((name.clone(), *routes.iter().find(|r| is_same(r))?)));
        let Some((heir, route)) = claim else { return false };
        if let Err(error) = host.replace_route(&route) {
            debug!(%error, interface = %heir, destination = %route.destination, "cannot write a route; it is tried again");
            self.standing.entry(heir.clone()).or_default().remove(&route);
            self.retries.entry(heir).or_default().failed(now);
        }
        true
    }

    /// Tells the workload behind an interface again where its gateway is.
    pub fn introduce(&self, interface: &SmolStr, index: IfIndex, host: &mut dyn Host) {
        let standing = self.standing.get(interface).into_iter().flatten();
        introduce(interface, index, standing.map(|route| route.destination.addr()), host);
    }

    fn routes_of(&self, wanted: &Wanted, interface: IfIndex) -> BTreeSet<Route> {
        let Parameters { protocol, metrics: [v4, v6], .. } = self.parameters;
        let families = self.parameters.families();
        let addresses = wanted.addresses.iter().filter(|addr| families.contains(&Family::of(**addr)));
        addresses
            .map(|addr| {
                let metric = if addr.is_ipv4() { v4 } else { v6 };
                Route { destination: Cidr::host(*addr), interface, protocol, metric }
            })
            .collect()
    }

    /// Whether a route leads into a workload's interface and no endpoint wants it there.
    fn is_unwanted(&self, route: &Route, interfaces: &Interfaces) -> bool {
        let Some(name) = interfaces.name(route.interface) else { return false };
        let workload = self.parameters.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let ours = route.protocol == self.parameters.protocol;
        let wanted =
            self.wanted.get(name).is_some_and(|wanted| self.routes_of(wanted, route.interface).contains(route));
        workload && !wanted && (ours || self.parameters.remove_external)
    }
}

fn introduce(interface: &SmolStr, index: IfIndex, workloads: impl IntoIterator<Item = IpAddr>, host: &mut dyn Host) {
    for addr in workloads {
        if let Err(error) = host.introduce_gateway(index, addr) {
            debug!(%interface, %addr, %error, "cannot tell a workload of its gateway; it learns it when it asks");
        }
    }
}

/// A step that did not work.
struct Failure {
    what: String,
    source: io::Error,
}

#[cfg(test)]
mod tests;
