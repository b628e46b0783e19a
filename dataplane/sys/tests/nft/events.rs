//! Events of what others commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use caracal_sys::nft::{Batch, Monitor, NftSocket, Table, TableId, Touched};

use crate::sandbox::{Operations, Sandbox, addresses, ip, name};

/// How many times somebody was woken.
#[derive(Clone, Default)]
struct Woken(Arc<AtomicU32>);

impl Woken {
    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// A watched subscription to the sandbox's table, but not to what its socket commits.
    fn by(&self, sandbox: &Sandbox) -> Monitor {
        let mut monitor = Monitor::open(&sandbox.table, sandbox.socket.port().expect("a port")).expect("a monitor");
        let woken = self.clone();
        monitor
            .watch(move || {
                woken.0.fetch_add(1, Ordering::Relaxed);
            })
            .expect("a thread");
        assert!(monitor.is_watched());
        monitor
    }

    /// Waits for the first time after `before` times.
    fn wait(&self, before: u32) {
        let start = Instant::now();
        while self.count() == before {
            assert!(start.elapsed() < Duration::from_secs(20), "never woken");
            sleep(Duration::from_millis(1));
        }
    }
}

/// Long enough for any wake-up that is still to come.
const WHILE: Duration = Duration::from_millis(300);

/// A socket of somebody else, with a table of its own.
struct Stranger(NftSocket, TableId);

impl Stranger {
    fn new() -> Self {
        let mut stranger = Self(NftSocket::open().expect("a socket"), TableId::inet(name("theirs")));
        stranger.commit(|batch| {
            batch.add_table(&Table::default()).expect("short");
            batch.set(&addresses("s"));
        });
        stranger
    }

    fn commit(&mut self, fill: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new(&self.1);
        fill(&mut batch);
        self.0.commit(&mut batch).expect("the kernel takes it");
    }
}

#[test]
fn what_others_commit_wakes_and_is_told() {
    Sandbox::run(|sandbox| {
        let mut stranger = Stranger::new();
        let woken = Woken::default();
        let mut monitor = woken.by(sandbox);
        sleep(WHILE);
        let before = Instant::now();
        stranger.1 = sandbox.table.clone();
        stranger.commit(|batch| {
            batch.chain("theirs");
        });
        woken.wait(0);
        let noticed = monitor.noticed().expect("it was noticed");
        assert!(before <= noticed && noticed <= Instant::now());
        assert_eq!(monitor.noticed(), None);
        assert_eq!(monitor.touched().expect("events"), Touched { inventory: true, ..Touched::default() });
        // The next one is heard of, whether the last one's were read or not.
        for round in 0..2 {
            sleep(WHILE);
            let count = woken.count();
            stranger.commit(|batch| {
                batch.chain(&format!("theirs{round}"));
            });
            woken.wait(count);
        }
    });
}

#[test]
fn what_the_own_socket_commits_makes_no_event() {
    Sandbox::run(|sandbox| {
        let woken = Woken::default();
        let mut monitor = woken.by(sandbox);
        let header = sandbox.header("s");
        for round in 0..20 {
            let elements: Vec<_> = (0..3000).map(|n| ip(round * 3000 + n)).collect();
            sandbox.must(|batch| {
                batch.set(&addresses("s")).put(&header, &elements).chain(&format!("c{round}"));
            });
        }
        sleep(WHILE);
        assert_eq!((woken.count(), monitor.noticed()), (0, None));
        assert_eq!(monitor.touched().expect("events"), Touched::default());
        assert_eq!(monitor.overruns(), 0, "as much as this would not have found room");
    });
}

/// Nobody reads: the kernel loses what finds no room, and that wakes as well; when it
/// was read, what comes afterwards does again.
#[test]
fn lost_events_wake_too() {
    Sandbox::run(|sandbox| {
        let mut stranger = Stranger::new();
        let woken = Woken::default();
        let mut monitor = woken.by(sandbox);
        let set = caracal_sys::nft::SetHeader::new(&stranger.1, &name("s"));
        let elements: Vec<_> = (0..60_000).map(ip).collect();
        stranger.commit(|batch| {
            batch.put(&set, &elements);
        });
        woken.wait(0);
        monitor.hear().expect("events");
        assert_eq!(monitor.overruns(), 1);
        assert!(monitor.touched().expect("events").more);
        sleep(WHILE);
        let count = woken.count();
        stranger.commit(|batch| {
            batch.chain("c");
        });
        woken.wait(count);
    });
}

/// 100 commits a second wake 20 times a second: each wake-up is followed by a pause.
#[test]
fn commits_without_end_wake_now_and_then() {
    const COMMITS: u32 = 100;
    Sandbox::run(|sandbox| {
        let mut stranger = Stranger::new();
        let woken = Woken::default();
        let _monitor = woken.by(sandbox);
        let start = Instant::now();
        for n in 0..COMMITS {
            stranger.commit(|batch| {
                batch.chain(&format!("c{n}"));
            });
            sleep(Duration::from_millis(10));
        }
        sleep(WHILE);
        let (count, most) = (woken.count(), start.elapsed().as_millis() / 50 + 1);
        assert!(
            count >= 2 && u128::from(count) <= most,
            "woken {count} times by {COMMITS} commits, not {most} at most"
        );
        sleep(WHILE);
        assert_eq!(woken.count(), count, "nothing happened any more");
    });
}

#[test]
fn a_burst_wakes_at_its_beginning_and_at_its_end_at_most() {
    Sandbox::run(|sandbox| {
        let mut stranger = Stranger::new();
        let woken = Woken::default();
        let _monitor = woken.by(sandbox);
        let start = Instant::now();
        for n in 0..20 {
            stranger.commit(|batch| {
                batch.chain(&format!("c{n}"));
            });
        }
        let most = 2 + start.elapsed().as_millis() / 50;
        sleep(WHILE);
        assert!((1..=most).contains(&woken.count().into()), "woken {} times, not {most} at most", woken.count());
    });
}

/// What happens during a pause wakes nobody; what happens after it does.
#[test]
fn nothing_is_heard_during_a_pause() {
    Sandbox::run(|sandbox| {
        let mut stranger = Stranger::new();
        let woken = Woken::default();
        let mut monitor = woken.by(sandbox);
        monitor.pause().expect("it was subscribed");
        stranger.commit(|batch| {
            batch.chain("unheard");
        });
        sleep(WHILE);
        assert_eq!(woken.count(), 0);
        monitor.resume().expect("it is again");
        stranger.commit(|batch| {
            batch.chain("heard");
        });
        woken.wait(0);
    });
}

#[test]
fn the_thread_ends_with_the_subscription() {
    Sandbox::run(|sandbox| {
        let guard = Arc::new(());
        let mut monitor = Monitor::open(&sandbox.table, 0).expect("a monitor");
        let held = Arc::clone(&guard);
        monitor.watch(move || assert!(Arc::strong_count(&held) > 0)).expect("a thread");
        sandbox.must(|batch| {
            batch.chain("c");
        });
        drop(monitor);
        assert_eq!(Arc::strong_count(&guard), 1, "the thread has ended, with what it called");
    });
}
