//! What others do to a table that they may change, while the data half runs on its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Instant;

use caracal_nftables::{Events, Ownership};
use caracal_program::{Change, Driver, DriverError, Finding, PolicyStore, Receipt, Report, RuleCounts, Sweep, Wake};
use caracal_sys::nft::{Batch, Chain, Name, NftSocket, Table, TableId};

use super::*;

/// Longer than any test: who is looked for so seldom is found by nobody.
const NEVER: Duration = Duration::from_secs(100_000);

/// The kernel's driver with polls that are counted, and that come by themselves after
/// this long at least.
struct Counted {
    driver: NftablesDriver,
    polls: Arc<AtomicUsize>,
    at_least: Duration,
}

impl Driver for Counted {
    fn apply(&mut self, store: &PolicyStore, changes: &[Change]) -> Result<Receipt, DriverError> {
        self.driver.apply(store, changes)
    }

    fn resync(&mut self, store: &PolicyStore, sweep: Sweep) -> Result<Receipt, DriverError> {
        self.driver.resync(store, sweep)
    }

    fn poll(&mut self, store: &PolicyStore) -> Result<Finding, DriverError> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.driver.poll(store)
    }

    fn poll_interval(&self) -> Duration {
        self.driver.poll_interval().max(self.at_least)
    }

    fn watch(&mut self, wake: Wake) {
        self.driver.watch(wake);
    }

    fn report(&self) -> Report {
        self.driver.report()
    }

    fn rule_counts(&mut self, store: &PolicyStore) -> Result<Option<RuleCounts>, DriverError> {
        self.driver.rule_counts(store)
    }

    fn remove(&mut self) -> Result<(), DriverError> {
        self.driver.remove()
    }
}

impl ConfiguredDriver for Counted {
    fn configure(&mut self, _: &Settings) -> Result<(), DriverError> {
        Ok(())
    }
}

/// A data half with one endpoint, and how often its driver was polled.
struct Healing {
    rig: Rig,
    polls: Arc<AtomicUsize>,
}

impl Healing {
    /// Runs `work` beside a data half whose driver polls by itself after `at_least`.
    fn run(events: Events, at_least: Duration, work: impl FnOnce(&mut Self) + Send) {
        let inside = || {
            run("ip link add cali1 type veth peer name peer1");
            run("ip link set cali1 up");
            let mut rules = nftables_settings(&Settings::default()).expect("the defaults can be used");
            rules.ownership = Ownership::Shared;
            rules.events = events;
            let polls = Arc::default();
            let driver = NftablesDriver::new(rules).expect("nf_tables");
            let rig = Rig::with(Counted { driver, polls: Arc::clone(&polls), at_least });
            let mut healing = Self { rig, polls };
            healing.rig.send(Kind::Snapshot, &[endpoint("a", "cali1", &["10.0.0.1"]), in_sync()]);
            healing.rig.told("a", Outcome::Programmed);
            work(&mut healing);
            let Self { rig, polls } = healing;
            rig.handle.stop();
            assert_eq!(Arc::strong_count(&polls), 1, "the driver has ended, with its threads");
        };
        NetNs::new().expect("a namespace; needs root").run(inside).expect("the namespace can be entered");
    }

    fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }

    /// How long the table that somebody deletes is missing.
    fn loss() -> Duration {
        run("nft delete table inet caracal");
        let lost = Instant::now();
        while !run("nft list tables").contains("inet caracal") {
            assert!(lost.elapsed() < LONG, "the table stays lost");
        }
        lost.elapsed()
    }
}

/// Somebody else with a table and a socket.
struct Stranger(NftSocket, TableId);

impl Stranger {
    fn new() -> Self {
        Self(NftSocket::open().expect("a socket"), TableId::inet(Name::new("theirs").expect("a name")))
    }

    /// Commits a chain of a table of its own.
    fn commit(&mut self, chain: u32) {
        let mut batch = Batch::new(&self.1);
        batch.add_table(&Table::default()).expect("short");
        batch.add_chain(&Chain::regular(Name::new(format!("c{chain}")).expect("a name"))).expect("short");
        self.0.commit(&mut batch).expect("the kernel takes it");
    }
}

#[test]
fn a_table_that_is_lost_wakes_the_data_half() {
    Healing::run(Events::Heard, NEVER, |healing| {
        let mut missing: Vec<_> = (0..5).map(|_| Healing::loss()).collect();
        missing.sort_unstable();
        assert!(missing[2] < Duration::from_millis(500), "{missing:?}");
        let judged = run("nft list map inet caracal from-workload");
        assert!(judged.contains("cali1"), "it is whole: {judged}");
        assert!(healing.polls() >= 5);
    });
}

#[test]
fn without_events_a_table_that_is_lost_is_found_by_looking() {
    Healing::run(Events::Ignored, Duration::ZERO, |_| {
        let mut missing: Vec<_> = (0..5).map(|_| Healing::loss()).collect();
        missing.sort_unstable();
        assert!(missing[2] < Duration::from_millis(500), "{missing:?}");
    });
}

#[test]
fn what_is_told_and_committed_wakes_nobody() {
    Healing::run(Events::Heard, NEVER, |healing| {
        let before = healing.polls();
        for _ in 0..50 {
            healing.rig.send(Kind::Delta, &[endpoint("b", "cali2", &["10.0.0.2"])]);
            healing.rig.acknowledged();
            healing.rig.send(Kind::Delta, &[no_endpoint("b")]);
            healing.rig.acknowledged();
        }
        sleep(Duration::from_millis(200));
        assert_eq!(healing.polls(), before);
    });
}

/// Of 100 commits a second of somebody else's table, 20 lead to a look at most.
#[test]
fn others_who_commit_without_end_are_looked_after_now_and_then() {
    Healing::run(Events::Heard, NEVER, |healing| {
        let mut stranger = Stranger::new();
        let (start, before) = (Instant::now(), healing.polls());
        for chain in 0..100 {
            stranger.commit(chain);
            sleep(Duration::from_millis(10));
        }
        sleep(Duration::from_millis(200));
        let (polls, most) = (healing.polls() - before, start.elapsed().as_millis() / 50 + 1);
        assert!(polls >= 2 && polls as u128 <= most, "{polls} polls, not {most} at most");
    });
}

/// With nobody else at work, what is left is one timer a second.
#[test]
fn a_data_half_that_is_woken_looks_seldom_by_itself() {
    Healing::run(Events::Heard, Duration::ZERO, |healing| {
        sleep(Duration::from_millis(200));
        let (start, before) = (Instant::now(), healing.polls());
        sleep(Duration::from_millis(2500));
        let (polls, most) = (healing.polls() - before, start.elapsed().as_secs() as usize + 1);
        assert!((1..=most).contains(&polls), "{polls} polls, not 1 to {most}");
    });
}
