//! Whatever call to the kernel fails, and however: the end is as if none had.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use caracal_sys::nft::{Guard, Place};

use super::*;
use crate::testing::faults::{Fault, Schedule, faulty_socket};

/// Scenarios that run at the same time.
const WORKERS: usize = 24;

/// A data half in small: it owes the driver what failed.
struct Half {
    driver: NftablesDriver,
    world: World,
    owes: bool,
}

impl Half {
    fn start(world: World, schedule: &Arc<Mutex<Schedule>>, ownership: Ownership) -> Self {
        let mut settings = Settings::default();
        settings.ownership = ownership;
        let driver = loop {
            // Who starts the agent again after it could not start.
            if let Ok(driver) = NftablesDriver::over(settings.clone(), faulty_socket(schedule)) {
                break driver;
            }
        };
        let mut half = Self { driver, world, owes: false };
        half.owes = half.driver.resync(&half.world.store, Sweep::Keep).is_err();
        half.driver.look_ahead();
        half
    }

    fn revision(&mut self, tell: impl FnOnce(&mut World)) {
        tell(&mut self.world);
        let changes = self.world.changes();
        self.owes = self.driver.apply(&self.world.store, &changes).is_err();
    }

    /// Retries and polls until the table is right; how often.
    fn settle(&mut self, context: &str) {
        let start = Instant::now();
        loop {
            if self.owes {
                self.owes = self.driver.apply(&self.world.store, &[]).is_err();
            }
            self.driver.audit.hurry();
            // A failed poll is only logged.
            let polled = self.driver.poll(&self.world.store);
            let garbage = self.driver.model.as_ref().is_none_or(Model::has_garbage);
            if !self.owes && polled.is_ok_and(|finding| finding == Finding::Unchanged) && !garbage && self.is_calm() {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "not settled: {context}");
            sleep(Duration::from_millis(1));
        }
    }

    fn is_calm(&self) -> bool {
        self.driver.standing == Standing::Whole && !self.driver.audit.is_due()
    }
}

/// Somebody else deletes our table, or puts a rule before our first one.
struct Vandal {
    socket: NftSocket,
    batch: Batch,
}

impl Vandal {
    fn new() -> Self {
        let table = TableId::inet(Name::new(TABLE).expect("a name"));
        Self { socket: NftSocket::open().expect("a socket"), batch: Batch::new(&table) }
    }

    fn delete_table(&mut self) {
        self.batch.restart(Guard::Any);
        self.batch.delete_table().expect("short");
        self.socket.commit(&mut self.batch).expect("the table is shared");
    }

    fn edit_rules(&mut self) {
        self.batch.restart(Guard::Any);
        let chain = crate::names::base(caracal_program::Direction::Egress);
        let accept = caracal_sys::nft::Rule::new([caracal_sys::nft::Expr::Verdict(caracal_sys::nft::Verdict::Accept)]);
        self.batch.add_rule(&chain, Place::First, &accept).expect("short");
        self.socket.commit(&mut self.batch).expect("the table is shared");
    }
}

/// A start, revisions of every kind, and what others do, with one socket that fails
/// by a schedule; how many calls that took.
fn scenario(schedule: Schedule, ownership: Ownership, wanted: &str) -> usize {
    let context = format!("{schedule:?}, {ownership:?}");
    let schedule = Arc::new(Mutex::new(schedule));
    in_namespace(|| {
        let mut half = Half::start(World::default(), &schedule, ownership);
        half.revision(|world| *world = small());
        half.revision(|world| {
            world.members("s:clients", &["10.0.0.3/32"], &["10.0.0.1/32"]);
        });
        half.revision(|world| {
            world.members("s:clients", &["10.0.0.1/32"], &["10.0.0.3/32"]);
            world.policy("default/web", &[allow_from("s:clients", "81")], &[]);
        });
        half.settle(&context);
        half.revision(|world| {
            world.endpoint("default/other-0", "cali7", &[], &["kns.default"]).set("s:new", &["10.7.0.0/16"]);
        });
        if ownership == Ownership::Shared {
            let mut vandal = Vandal::new();
            half.settle(&context);
            vandal.edit_rules();
            half.settle(&context);
            vandal.delete_table();
        }
        half.settle(&context);
        half.revision(|world| {
            world.remove_endpoint("default/other-0").remove_set("s:new");
        });
        half.settle(&context);
        schedule.lock().expect("no test panicked").lasting = 0;
        assert_eq!(half.driver.look_at_everything(), None, "{context}");
        assert_eq!(without_versions(&listing()), wanted, "{context}");
    });
    schedule.lock().expect("no test panicked").calls
}

/// A listing in which a set that was copied has its first name: how often sets are
/// copied depends on what fails.
fn without_versions(listing: &str) -> String {
    listing
        .split_inclusive(char::is_whitespace)
        .map(|word| {
            let name = word.trim_end();
            let first = Name::new(name).ok().and_then(|name| crate::names::ip_set_copy(&name));
            first.map_or_else(|| word.to_owned(), |(first, _)| word.replace(name, first.as_str()))
        })
        .collect()
}

/// Every call of the scenario fails alone; and, for pauses that grow, each and the
/// eleven after it.
#[test]
fn any_call_may_fail_in_any_way() {
    let never = Schedule { fault: Fault::Slow, first: usize::MAX, lasting: 0, calls: 0 };
    let mut world = small();
    world.policy("default/web", &[allow_from("s:clients", "81")], &[]);
    let wanted = loaded(&world);
    let mut runs = Vec::new();
    // An owned table sees the same calls, but for those of the vandal.
    for (ownership, stride) in [(Ownership::Shared, 1), (Ownership::Owned, 5)] {
        let calls = scenario(never, ownership, &wanted);
        for fault in Fault::ALL {
            let alone = (0..calls).step_by(stride).map(|first| Schedule { fault, first, lasting: 1, calls: 0 });
            let lasting = (0..calls).step_by(29).map(|first| Schedule { fault, first, lasting: 12, calls: 0 });
            runs.extend(alone.chain(lasting).map(|schedule| (schedule, ownership)));
        }
    }
    // Most of a run is waiting.
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((schedule, ownership)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    scenario(*schedule, *ownership, &wanted);
                }
            });
        }
    });
    println!("{} scenarios, each with other faults, ended alike", runs.len());
}
