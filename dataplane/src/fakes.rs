//! A driver and a host that remember what was asked of them, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caracal_config::Settings;
use caracal_net::{Family, IfIndex, Protocol};
use caracal_program::{
    Action, AdminState, Change, Decider, Direction, Driver, DriverError, EndpointOutcome, Finding, Lifeline, Mac,
    Measurement, Outcome, PolicyStore, Receipt, Report, RuleCount, RuleCounts, Sweep, WorkloadEndpoint, WorkloadId,
};
use caracal_proto::felix::{self, to_dataplane::Payload};

use crate::data_half::ConfiguredDriver;
use crate::flows::FlowListener;
use crate::host::{Flow, FlowKey, Host, Judgement, Progress, Route, SourceCheck, Tally};

/// How often the fake driver wants to look for changes by others.
pub(crate) const POLL: Duration = Duration::from_secs(100_000);

/// What a driver and a host have in common: the list of what was asked of
/// either, in order, what fails, and the kernel's routes.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: Vec<String>,
    /// First words of calls that fail.
    broken: BTreeSet<&'static str>,
    routes: BTreeSet<Route>,
    /// Whether somebody changed our rules.
    tampered: bool,
    /// The connections that the kernel knows, and those that a review has not reached.
    flows: Vec<Flow>,
    unreviewed: Vec<Flow>,
    /// Whether the connections that are cut are known.
    knows_cut: bool,
}

impl State {
    /// Does with a connection what was decided, if that makes a difference.
    fn judged(&mut self, judged: &Flow, judgement: Judgement) {
        let Flow { source, destination, .. } = judged;
        let is_it = |flow: &Flow| (flow.source, flow.destination) == (*source, *destination);
        let held = self.flows.iter_mut().find(|flow| is_it(flow));
        let done = match (judgement, held) {
            (Judgement::Cut, Some(flow)) => !std::mem::replace(&mut flow.revoked, true),
            (Judgement::Restore, Some(flow)) => std::mem::replace(&mut flow.revoked, false),
            (Judgement::Forget, Some(_)) => {
                self.flows.retain(|flow| !is_it(flow));
                true
            }
            (Judgement::Leave, _) | (_, None) => false,
        };
        if done {
            self.calls.push(format!("{judgement:?} {source} > {destination}"));
        }
    }

    fn tally(&self) -> Tally {
        let labelled = self.flows.iter().filter(|flow| flow.revoked).count();
        Tally { seen: self.flows.len(), labelled, ..Tally::default() }
    }
}

/// Connections that one step of a review looks at.
const SLICE: usize = 2;

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked since the last time.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    /// From here on calls that begin with this word fail.
    pub(crate) fn breaks(&self, word: &'static str) {
        self.state().broken.insert(word);
    }

    /// Everything works again.
    pub(crate) fn heals(&self) {
        self.state().broken.clear();
    }

    /// There are these connections, of UDP, from port 1000 to port 53.
    pub(crate) fn connect(&self, flows: &[(&str, &str)]) {
        let addr = |text: &str| text.parse().expect("an address");
        let flow = |(source, destination): &(&str, &str)| Flow {
            source: addr(source),
            destination: addr(destination),
            called: None,
            protocol: Protocol::UDP,
            key: FlowKey::Ports { source: 1000, destination: 53 },
            revoked: false,
            related: false,
            mutual: false,
        };
        let flows: Vec<Flow> = flows.iter().map(flow).collect();
        let mut state = self.state();
        state.unreviewed.clone_from(&flows);
        state.flows = flows;
    }

    /// From here on all connections are of equals.
    pub(crate) fn equalize(&self) {
        let mut state = self.state();
        let State { flows, unreviewed, .. } = &mut *state;
        for flow in flows.iter_mut().chain(unreviewed) {
            (flow.key, flow.mutual) = (FlowKey::Ports { source: 7946, destination: 7946 }, true);
        }
    }

    /// Somebody changes our rules.
    pub(crate) fn tamper(&self) {
        self.state().tampered = true;
    }

    /// Somebody else writes a route.
    pub(crate) fn add_route(&self, route: Route) {
        self.state().routes.insert(route);
    }

    /// Somebody else removes routes, or the kernel does with their interface.
    pub(crate) fn lose_routes(&self, lost: impl Fn(&Route) -> bool) {
        self.state().routes.retain(|route| !lost(route));
    }

    pub(crate) fn routes(&self) -> BTreeSet<Route> {
        self.state().routes.clone()
    }

    fn call(&self, text: String) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let broken = state.broken.iter().any(|word| text.split(' ').next() == Some(word));
        state.calls.push(text);
        if broken { Err(io::Error::other("broken by the test")) } else { Ok(state) }
    }

    fn ask(&self, text: impl Into<String>) -> Result<(), DriverError> {
        let refused = |source| DriverError::Refused { what: "the transaction".to_owned(), source };
        self.call(text.into()).map(drop).map_err(refused)
    }
}

/// A host that has routes only.
pub(crate) struct FakeHost(pub(crate) World);

pub(crate) fn text(route: &Route) -> String {
    let Route { destination, interface, protocol, metric } = route;
    format!("{destination} dev {interface} proto {protocol} metric {metric}")
}

impl Host for FakeHost {
    fn enable_forwarding(&mut self, family: Family) -> io::Result<()> {
        self.0.call(format!("forward {family}")).map(drop)
    }

    fn prepare_interface(&mut self, interface: &str, family: Family, check: SourceCheck) -> io::Result<()> {
        let check = match check {
            SourceCheck::AsDefault => "",
            SourceCheck::Off => " without source check",
        };
        self.0.call(format!("prepare {interface} {family}{check}")).map(drop)
    }

    fn routes(&mut self) -> io::Result<Vec<Route>> {
        Ok(self.0.call("list routes".to_owned())?.routes.iter().copied().collect())
    }

    fn replace_route(&mut self, route: &Route) -> io::Result<()> {
        let mut state = self.0.call(format!("add {}", text(route)))?;
        state.routes.retain(|other| (other.destination, other.metric) != (route.destination, route.metric));
        state.routes.insert(*route);
        Ok(())
    }

    fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        self.0.call(format!("del {}", text(route)))?.routes.remove(route);
        Ok(())
    }

    fn set_neighbour(&mut self, interface: IfIndex, addr: IpAddr, mac: Mac) -> io::Result<()> {
        self.0.call(format!("neighbour {addr} dev {interface} {mac}")).map(drop)
    }

    fn introduce_gateway(&mut self, interface: IfIndex, workload: IpAddr) -> io::Result<()> {
        self.0.call(format!("introduce {workload} dev {interface}")).map(drop)
    }

    fn forget_connections(&mut self, addrs: &[IpAddr]) -> io::Result<usize> {
        let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
        self.0.call(format!("forget {}", addrs.join(" "))).map(|_| addrs.len())
    }

    fn review_connections(
        &mut self,
        _budget: Duration,
        judge: &mut dyn FnMut(&Flow) -> Judgement,
    ) -> io::Result<Progress> {
        let mut state = self.0.state();
        if state.broken.contains("review") {
            return Err(io::Error::other("broken by the test"));
        }
        let slice = state.unreviewed.len().min(SLICE);
        let judged: Vec<_> = state.unreviewed.drain(..slice).map(|flow| (flow, judge(&flow))).collect();
        for (flow, judgement) in judged {
            state.judged(&flow, judgement);
        }
        if !state.unreviewed.is_empty() {
            return Ok(Progress::Ahead);
        }
        state.unreviewed = state.flows.clone();
        state.knows_cut = true;
        Ok(Progress::Done(state.tally()))
    }

    fn reconsider_connections(
        &mut self,
        _budget: Duration,
        judge: &mut dyn FnMut(&Flow) -> Judgement,
    ) -> io::Result<Progress> {
        let mut state = self.0.call("reconsider".to_owned())?;
        let judged: Vec<_> = state.flows.iter().filter(|flow| flow.revoked).map(|flow| (*flow, judge(flow))).collect();
        for (flow, judgement) in judged {
            state.judged(&flow, judgement);
        }
        Ok(Progress::Done(state.tally()))
    }

    fn cut_connections(&self) -> Option<usize> {
        let state = self.0.state();
        state.knows_cut.then(|| state.tally().labelled)
    }

    fn listen_to_flows(&mut self) -> io::Result<FlowListener> {
        self.0.call("listen to flows".to_owned()).map(|_| FlowListener::deaf())
    }

    fn lifelines(&mut self) -> Vec<Lifeline> {
        vec![Lifeline::Ssh]
    }
}

/// A driver that takes everything.
pub(crate) struct FakeDriver {
    world: World,
    outcomes: BTreeMap<WorkloadId, Outcome>,
}

impl FakeDriver {
    pub(crate) fn new(world: World) -> Self {
        Self { world, outcomes: BTreeMap::new() }
    }

    /// Endpoints that are doing otherwise than before.
    fn receipt(&mut self, store: &PolicyStore) -> Receipt {
        let outcome = |endpoint: &WorkloadEndpoint| match store.is_active(endpoint) {
            true => Outcome::Programmed,
            false => Outcome::Shadowed,
        };
        let now: BTreeMap<WorkloadId, Outcome> =
            store.workloads().map(|endpoint| (endpoint.id.clone(), outcome(endpoint))).collect();
        let before = std::mem::replace(&mut self.outcomes, now);
        let gone = before.keys().filter(|id| !self.outcomes.contains_key(*id)).map(|id| (id, &Outcome::Removed));
        let news = self.outcomes.iter().filter(|(id, outcome)| before.get(*id) != Some(outcome)).chain(gone);
        let outcomes = news.map(|(id, outcome)| EndpointOutcome { id: id.clone(), outcome: outcome.clone() });
        Receipt { outcomes: outcomes.collect(), hosts: Vec::new(), messages: 1, bytes: 1, transactions: 1 }
    }
}

fn describe(change: &Change) -> String {
    match change {
        Change::Endpoint { id, .. } => format!("endpoint {}", id.workload),
        Change::SetReplaced(id) => format!("set {id}"),
        Change::Config => "config".to_owned(),
        Change::InSync => "in sync".to_owned(),
        other => format!("{other:?}"),
    }
}

impl Driver for FakeDriver {
    fn apply(&mut self, store: &PolicyStore, changes: &[Change]) -> Result<Receipt, DriverError> {
        let changes: Vec<String> = changes.iter().map(describe).collect();
        self.world.ask(format!("apply [{}]", changes.join(", ")))?;
        Ok(self.receipt(store))
    }

    fn resync(&mut self, store: &PolicyStore, sweep: Sweep) -> Result<Receipt, DriverError> {
        self.world.ask(match sweep {
            Sweep::Keep => "resync keep",
            Sweep::Remove => "resync remove",
        })?;
        self.outcomes.clear();
        Ok(self.receipt(store))
    }

    fn poll(&mut self, store: &PolicyStore) -> Result<Finding, DriverError> {
        self.world.ask("poll")?;
        if !std::mem::take(&mut self.world.state().tampered) {
            return Ok(Finding::Unchanged);
        }
        self.outcomes.clear();
        Ok(Finding::Repaired(self.receipt(store)))
    }

    fn poll_interval(&self) -> Duration {
        POLL
    }

    fn report(&self) -> Report {
        Report::default()
    }

    /// The end of a tier has denied a packet.
    fn rule_counts(&mut self, _: &PolicyStore) -> Result<Option<RuleCounts>, DriverError> {
        self.world.ask("count")?;
        let decider = Decider::EndOfTier("default".into());
        let (direction, action) = (Direction::Ingress, Action::Deny);
        let denied = RuleCount { decider, direction, action, packets: 1, bytes: 60 };
        let total = Measurement::counter("caracal_policy_packets_total", "Packets.", 1);
        Ok(Some(RuleCounts { rules: vec![denied], totals: vec![total] }))
    }

    fn remove(&mut self) -> Result<(), DriverError> {
        self.world.ask("remove")
    }
}

impl ConfiguredDriver for FakeDriver {
    fn configure(&mut self, settings: &Settings) -> Result<(), DriverError> {
        self.world.ask(if settings.flow_logs { "configure telling" } else { "configure" })
    }
}

/// The id of the endpoint that is named for short by `workload`.
pub(crate) fn id(workload: &str) -> WorkloadId {
    WorkloadId { orchestrator: "k8s".into(), workload: workload.into(), endpoint: "eth0".into() }
}

/// A message of an endpoint with these addresses.
pub(crate) fn endpoint(workload: &str, interface: &str, addresses: &[&str]) -> felix::ToDataplane {
    endpoint_in_state(AdminState::Active, workload, interface, addresses)
}

/// A message of an endpoint that has a profile.
pub(crate) fn profiled(workload: &str, interface: &str, address: &str, profile: &str) -> felix::ToDataplane {
    let mut message = endpoint(workload, interface, &[address]);
    if let Some(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { endpoint: Some(endpoint), .. })) =
        &mut message.payload
    {
        endpoint.profile_ids = vec![profile.to_owned()];
    }
    message
}

/// A message of a host endpoint that has a profile.
pub(crate) fn host_endpoint(id: &str, interface: &str, expected: &[&str], profile: &str) -> felix::ToDataplane {
    let endpoint = felix::HostEndpoint {
        name: interface.to_owned(),
        profile_ids: vec![profile.to_owned()],
        expected_ipv4_addrs: expected.iter().map(|addr| (*addr).to_owned()).collect(),
        ..felix::HostEndpoint::default()
    };
    let id = Some(felix::HostEndpointId { endpoint_id: id.to_owned() });
    message(Payload::HostEndpointUpdate(felix::HostEndpointUpdate { id, endpoint: Some(endpoint) }))
}

/// A message of a profile that does the same with all packets of both directions.
pub(crate) fn profile(name: &str, action: &str) -> felix::ToDataplane {
    let rules = vec![felix::Rule { action: action.to_owned(), ..felix::Rule::default() }];
    message(Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate {
        id: Some(felix::ProfileId { name: name.to_owned() }),
        profile: Some(felix::Profile { inbound_rules: rules.clone(), outbound_rules: rules }),
    }))
}

pub(crate) fn endpoint_in_state(
    state: AdminState,
    workload: &str,
    interface: &str,
    addresses: &[&str],
) -> felix::ToDataplane {
    let state = match state {
        AdminState::Active => "active",
        AdminState::Down => "inactive",
    };
    let nets = |v6: bool| {
        let of_family = addresses.iter().filter(move |addr| addr.contains(':') == v6);
        of_family.map(|addr| format!("{addr}/{}", if v6 { 128 } else { 32 })).collect()
    };
    let endpoint = felix::WorkloadEndpoint {
        state: state.to_owned(),
        name: interface.to_owned(),
        ipv4_nets: nets(false),
        ipv6_nets: nets(true),
        ..Default::default()
    };
    let id = Some(felix_id(workload));
    message(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { id, endpoint: Some(endpoint) }))
}

pub(crate) fn no_endpoint(workload: &str) -> felix::ToDataplane {
    let id = Some(felix_id(workload));
    message(Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id }))
}

pub(crate) fn config(parameters: &[(&str, &str)]) -> felix::ToDataplane {
    let config = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    message(Payload::ConfigUpdate(felix::ConfigUpdate { config, ..Default::default() }))
}

pub(crate) fn in_sync() -> felix::ToDataplane {
    message(Payload::InSync(felix::InSync {}))
}

fn felix_id(workload: &str) -> felix::WorkloadEndpointId {
    let id = id(workload);
    felix::WorkloadEndpointId {
        orchestrator_id: id.orchestrator.into(),
        workload_id: id.workload.into(),
        endpoint_id: id.endpoint.into(),
    }
}

pub(crate) fn message(payload: Payload) -> felix::ToDataplane {
    felix::ToDataplane { sequence_number: 0, payload: Some(payload) }
}
