//! Programs in the kernel, packets through it, and what the evaluator says of both.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use caracal_program::{Cause, Direction, Driver, Packet, PolicyStore, Step, Sweep, Verdict, trace_endpoint};
use caracal_sys::nft::{Expr, Name, NftSocket, TableId};

use super::World;
use super::wire::{Shape, Wire};
use crate::driver::NftablesDriver;
use crate::ir::TABLE;
use crate::names;
use crate::settings::{Ownership, Settings};

/// The interfaces between which packets go: from the first to the second.
pub(crate) const ENDS: [(Direction, &str); 2] = [(Direction::Egress, "cali0"), (Direction::Ingress, "cali1")];

/// A packet, and how it is written down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub(crate) packet: Packet,
    pub(crate) shape: Shape,
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

/// A router whose forwarding the driver programs.
pub(crate) struct Lab {
    wire: Wire,
    driver: NftablesDriver,
    /// The driver's counters are read through it.
    socket: NftSocket,
    table: TableId,
    counted: BTreeMap<String, u64>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let wire = Wire::new();
        let (driver, socket) = wire.in_router(|| {
            let mut settings = Settings::default();
            settings.ownership = Ownership::Shared;
            let driver = NftablesDriver::new(settings).expect("nf_tables");
            (driver, NftSocket::open().expect("a socket"))
        });
        let table = TableId::inet(Name::new(TABLE).expect("the table's name is short"));
        Self { wire, driver, socket, table, counted: BTreeMap::new() }
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
        let evaluator = evaluated(store, &probe.packet);
        let mut kernel = Fate { passes: self.wire.passes_as(&probe.packet, probe.shape), counted: self.moved() };
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

/// What the evaluator says of a packet from one end to the other.
pub(crate) fn evaluated(store: &PolicyStore, packet: &Packet) -> Fate {
    let mut counted = BTreeMap::new();
    let passes = ENDS.iter().all(|(direction, interface)| judge(store, *direction, interface, packet, &mut counted));
    Fate { passes, counted }
}

/// Whether one end lets a packet through, and which rules count it there.
fn judge(
    store: &PolicyStore,
    direction: Direction,
    interface: &str,
    packet: &Packet,
    counted: &mut BTreeMap<String, u64>,
) -> bool {
    let mut count = |rule: String| *counted.entry(rule).or_default() += 1;
    let Some(endpoint) = store.active_on(interface) else {
        match direction {
            // Nobody has an address there, so that no source is right.
            Direction::Egress => count("the source is not an address of the workload".to_owned()),
            Direction::Ingress => count(in_program(direction, "no policy for this workload interface")),
        }
        return false;
    };
    let (decision, trail) = trace_endpoint(endpoint, direction, store, packet);
    let mut title = String::new();
    let mut next = 0;
    for step in trail {
        match step {
            Step::Policy(id) => (title, next) = (format!("{id} {direction}"), 0),
            Step::Profile(name) => (title, next) = (format!("profile {name} {direction}"), 0),
            Step::Rule { index, mismatches, .. } => {
                next = index + 1;
                if mismatches.is_empty() {
                    count(names::comment(&format!("{title} {index}")).to_string());
                }
            }
            Step::Tier(_) | Step::Staged(_) | Step::EndOfTier { .. } => {}
        }
    }
    match decision.cause {
        Cause::PolicyRule { .. } | Cause::ProfileRule { .. } => {}
        Cause::EndpointDown => count(in_program(direction, "the endpoint is down")),
        Cause::EndOfTier { tier } => count(in_program(direction, &format!("end of tier {tier}"))),
        Cause::NoProfile => count(in_program(direction, &format!("no policy or profile allows this {direction}"))),
        Cause::UnknownPolicy(_) | Cause::UnknownProfile(_) => {
            count(names::comment(&format!("{title}: not known")).to_string());
        }
        Cause::UnknownSet(set) => {
            count(names::comment(&format!("{title} {next}: set {set} is unknown")).to_string());
        }
        Cause::EndpointToHost(_) | Cause::Undecided => unreachable!("a packet between workloads: {decision:?}"),
    }
    decision.verdict == Verdict::Allow
}
