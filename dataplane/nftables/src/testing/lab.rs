//! Programs in the kernel, packets through it, and what the evaluator says of both.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use caracal_program::{
    Cause, Decision, Direction, Driver, EndpointToHost, FailsafePoint, Guard, Guarded, Guards, HostCause, HostStep,
    NodeStep, NodeView, Packet, Passage, PolicyStore, ProgramKind, Step, Sweep, Verdict, Way, trace, trace_endpoint,
};
use caracal_sys::nft::{Expr, Name, NftSocket, TableId};

use super::World;
use super::crossroads::{Crossroads, Road};
use super::wire::Shape;
use crate::driver::NftablesDriver;
use crate::ir::TABLE;
use crate::names;
use crate::settings::{self, Ownership, Settings};

/// The interfaces between which packets go: from the first to the second.
pub(crate) const ENDS: [(Direction, &str); 2] = [(Direction::Egress, "cali0"), (Direction::Ingress, "cali1")];

/// A packet, how it is written down, and its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) packet: Packet,
    pub(crate) shape: Shape,
    pub(crate) road: Road,
}

/// What became of a packet: whether it came through, and how much each rule
/// counted, by the rule's comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) passes: bool,
    pub(crate) counted: BTreeMap<String, u64>,
}

/// The kernel says something else than the evaluator.
#[derive(Clone, Debug)]
pub(crate) struct Disagreement {
    pub(crate) probe: Probe,
    pub(crate) kernel: Fate,
    pub(crate) evaluator: Fate,
}

/// A router that the driver programs.
pub(crate) struct Lab {
    roads: Crossroads,
    driver: NftablesDriver,
    /// The driver's counters are read through it.
    socket: NftSocket,
    table: TableId,
    counted: BTreeMap<String, u64>,
    settings: Settings,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let roads = Crossroads::new();
        let mut settings = Settings::default();
        settings.ownership = Ownership::Shared;
        let (driver, socket) = roads.in_router(|| {
            let driver = NftablesDriver::new(settings.clone()).expect("nf_tables");
            (driver, NftSocket::open().expect("a socket"))
        });
        let table = TableId::inet(Name::new(TABLE).expect("the table's name is short"));
        Self { roads, driver, socket, table, counted: BTreeMap::new(), settings }
    }

    /// Changes the settings, from the next program on.
    pub(crate) fn set(&mut self, choose: impl FnOnce(&mut Settings)) {
        choose(&mut self.settings);
        self.driver.set_settings(self.settings.clone());
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Puts everything that was told into the kernel.
    pub(crate) fn program(&mut self, world: &World) {
        self.driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        // What the program before has left behind can go only after a while.
        sleep(Duration::from_millis(6));
        self.driver.poll(&world.store).expect("the kernel answers");
        self.counted = self.counters();
    }

    /// Sends a packet; what the kernel makes of it, if that is not what the store says.
    pub(crate) fn compare(&mut self, store: &PolicyStore, probe: Probe) -> Result<Fate, Box<Disagreement>> {
        let evaluator = evaluated(store, &self.settings, &probe);
        let mut kernel =
            Fate { passes: self.roads.passes(&probe.packet, probe.shape, probe.road), counted: self.moved() };
        if kernel != evaluator {
            // Whatever is late on a busy machine is there now.
            sleep(Duration::from_millis(20));
            for (rule, packets) in self.moved() {
                *kernel.counted.entry(rule).or_default() += packets;
            }
        }
        match kernel == evaluator {
            true => Ok(kernel),
            false => Err(Box::new(Disagreement { probe, kernel, evaluator })),
        }
    }

    /// What was counted since the last time.
    fn moved(&mut self) -> BTreeMap<String, u64> {
        let now = self.counters();
        let before = std::mem::replace(&mut self.counted, now);
        let since = |(rule, packets): (&String, &u64)| {
            let more = packets - before.get(rule).copied().unwrap_or(0);
            (more > 0).then(|| (rule.clone(), more))
        };
        self.counted.iter().filter_map(since).collect()
    }

    fn counters(&mut self) -> BTreeMap<String, u64> {
        let mut counted: BTreeMap<String, u64> = BTreeMap::new();
        for listed in self.socket.rules(&self.table).expect("the driver's rules") {
            for expr in &listed.rule.exprs {
                if let Expr::Counter { packets, .. } = expr {
                    let comment = listed.rule.comment.as_ref().map_or("", |comment| comment);
                    *counted.entry(place(&listed.chain, comment)).or_default() += packets;
                }
            }
        }
        counted
    }
}

/// A comment, with the direction before it where it does not say so itself.
fn place(chain: &str, comment: &str) -> String {
    let direction = Direction::ALL.into_iter().find(|direction| {
        let stub = match direction {
            Direction::Egress => "from/",
            Direction::Ingress => "to/",
        };
        chain == &*names::base(*direction)
            || chain.starts_with(&format!("program-{direction}/"))
            || chain.starts_with(stub)
    });
    direction.map_or_else(|| comment.to_owned(), |direction| in_program(direction, comment))
}

fn in_program(direction: Direction, comment: &str) -> String {
    format!("{direction}: {}", &*names::comment(comment))
}

/// What the evaluator says of a packet on its way.
fn evaluated(store: &PolicyStore, settings: &Settings, probe: &Probe) -> Fate {
    let Probe { packet, road, .. } = probe;
    let endpoint_to_host = match settings.endpoint_to_host {
        settings::EndpointToHost::Drop => EndpointToHost::Drop,
        settings::EndpointToHost::Return => EndpointToHost::Return,
        settings::EndpointToHost::Accept => EndpointToHost::Accept,
    };
    // The wire has nothing tracked, so that each packet is judged by itself.
    let guards = Guards { ipv6: settings.ipv6, invalid: Guarded::Judged, endpoint_to_host, ..Guards::default() };
    let view = NodeView {
        store,
        interfaces: &store,
        failsafes: &settings.failsafes,
        workload_prefixes: settings.interface_prefixes(),
        guards: &guards,
    };
    let way = road.way();
    let decision = view.evaluate(&Passage { way, original: packet, translated: None });
    let mut counts = Counts { store, packet, settings, way, counted: BTreeMap::new() };
    for step in &decision.steps {
        counts.step(step);
    }
    Fate { passes: decision.verdict == Verdict::Allow, counted: counts.counted }
}

/// Which rules count a packet.
struct Counts<'a> {
    store: &'a PolicyStore,
    packet: &'a Packet,
    settings: &'a Settings,
    way: Way<'a>,
    counted: BTreeMap<String, u64>,
}

impl Counts<'_> {
    fn step(&mut self, step: &NodeStep<'_>) {
        match step {
            NodeStep::Guard(guard) => self.guard(*guard),
            NodeStep::Host(step) => self.host(step),
            NodeStep::Workload { endpoint, direction, .. } => {
                let (decision, trail) = trace_endpoint(endpoint, *direction, self.store, self.packet);
                self.program(*direction, &decision, trail);
            }
            NodeStep::EndpointToHost(_) => self.count("workload to host".to_owned()),
        }
    }

    fn guard(&mut self, guard: Guard) {
        let comment = match guard {
            Guard::NoIpv6(_) => "IPv6 of a workload, and Ipv6Support is off",
            Guard::SpoofedSource => "the source is not an address of the workload",
            Guard::NoEndpoint(_) => "no policy for this workload interface",
            Guard::Invalid(_) => "invalid to connection tracking",
            Guard::Ipip => "IP in IP from a workload",
            Guard::Vxlan => "VXLAN from a workload",
            Guard::Loopback => "to a loopback address of the host",
            Guard::ForeignIpip => "IP in IP from no host of the cluster",
            Guard::ForeignVxlan => "VXLAN from no host of the cluster",
            Guard::ServiceLoop => "no service has this address",
            Guard::UnjudgedIpv6(_) | Guard::ClusterTunnel(_) | Guard::NeighbourDiscovery | Guard::HostToWorkload => {
                return;
            }
        };
        // The chains of forwarded packets have a direction.
        let direction = match (guard, self.way) {
            (Guard::NoEndpoint(direction) | Guard::Invalid(direction), Way::Through { .. }) => Some(direction),
            (Guard::Ipip | Guard::Vxlan, Way::Through { .. }) => Some(Direction::Egress),
            // Those that workloads send get to none of them.
            (Guard::NoIpv6(Direction::Ingress), _) => Some(Direction::Ingress),
            _ => None,
        };
        self.count(direction.map_or_else(|| comment.to_owned(), |direction| in_program(direction, comment)));
    }

    fn host(&mut self, step: &HostStep<'_>) {
        let HostStep { endpoint, kind, direction, cause, .. } = *step;
        match cause {
            HostCause::Invalid => self.count("invalid to connection tracking".to_owned()),
            HostCause::Failsafe(rule) => {
                let point = match kind {
                    ProgramKind::Untracked => FailsafePoint::Untracked,
                    ProgramKind::Normal | ProgramKind::Translated | ProgramKind::Forward | ProgramKind::PreDnat => {
                        FailsafePoint::Tracked
                    }
                };
                let mut rules = self.settings.failsafes.rules(direction, point);
                let index = rules.position(|held| held == rule).expect("the rule is a failsafe's");
                self.count(names::rule_comment(&format!("failsafe {direction}"), index).to_string());
            }
            HostCause::Policy(cause) => {
                let endpoint = self.store.host(endpoint).expect("what has judged is there");
                let (decision, trail) = trace(endpoint.programs.get(kind, direction), self.store, self.packet);
                assert_eq!(decision.cause, cause, "the trace says why");
                self.program(direction, &decision, trail);
            }
        }
    }

    fn program(&mut self, direction: Direction, decision: &Decision<'_>, trail: Vec<Step<'_>>) {
        let mut title = String::new();
        let mut next = 0;
        for step in trail {
            match step {
                Step::Policy(id) => (title, next) = (format!("{id} {direction}"), 0),
                Step::Profile(name) => (title, next) = (format!("profile {name} {direction}"), 0),
                Step::Rule { index, mismatches, .. } => {
                    next = index + 1;
                    if mismatches.is_empty() {
                        self.count(names::comment(&format!("{title} {index}")).to_string());
                    }
                }
                Step::Tier(_) | Step::Staged(_) | Step::EndOfTier { .. } => {}
            }
        }
        match decision.cause {
            Cause::PolicyRule { .. } | Cause::ProfileRule { .. } | Cause::Undecided => {}
            Cause::EndpointDown => self.count(in_program(direction, "the endpoint is down")),
            Cause::EndOfTier { tier } => self.count(in_program(direction, &format!("end of tier {tier}"))),
            Cause::NoProfile => self.count(in_program(direction, &names::no_match(direction))),
            Cause::UnknownPolicy(_) | Cause::UnknownProfile(_) => {
                self.count(names::comment(&format!("{title}: not known")).to_string());
            }
            Cause::UnknownSet(set) => {
                self.count(names::comment(&format!("{title} {next}: set {set} is unknown")).to_string());
            }
            Cause::EndpointToHost(_) => unreachable!("no program says what becomes of packets to the host"),
        }
    }

    fn count(&mut self, rule: String) {
        *self.counted.entry(rule).or_default() += 1;
    }
}
