//! What the driver's thread and the one that waits for the kernel's events take of a
//! core while nothing is to be done, beside somebody who commits to a table of its own
//! once a second, as kube-proxy does.
//!
//! Needs root. `cargo bench -p caracal-nftables --bench idle -- L` runs one size only.

mod specs;

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use caracal_nftables::Ownership;
use caracal_program::Driver as _;
use caracal_sys::nft::{
    Batch, Chain, Element, Expr, Field, Guard, Name, NftSocket, Place, Rule, Set, SetHeader, SetKind, Table, TableId,
    Verdict,
};

/// How long is measured.
const TIME: Duration = Duration::from_secs(20);

/// How often the other one commits.
const PERIOD: Duration = Duration::from_secs(1);

/// Chains that the other one rewrites in each commit, and elements that it adds.
const CHANGED: u32 = 20;

fn main() {
    for spec in specs::wanted() {
        for (ownership, word) in [(Ownership::Owned, "owned"), (Ownership::Shared, "shared")] {
            let specs::Loaded { store, mut driver, mut other, bell } = specs::load(spec, ownership);
            let done = AtomicBool::new(false);
            let (shares, polls) = std::thread::scope(|scope| {
                scope.spawn(|| commit_now_and_then(&mut other, &done));
                let (start, before) = (Instant::now(), thread_times());
                let mut polls = 0_u32;
                while start.elapsed() < TIME {
                    driver.poll(&store).expect("the kernel answers");
                    polls += 1;
                    bell.wait(driver.poll_interval());
                }
                let (after, took) = (thread_times(), start.elapsed().as_secs_f64());
                done.store(true, Ordering::Relaxed);
                ([0, 1].map(|thread| (after[thread] - before[thread]).as_secs_f64() / took * 100.0), polls)
            });
            let line = serde_json::json!({
                "workload": "idle",
                "spec": spec.name,
                "table": word,
                "core_percent": shares.iter().sum::<f64>(),
                "waiting_core_percent": shares[1],
                "polls": polls,
            });
            writeln!(io::stdout(), "{line}").expect("standard output is open");
        }
    }
}

/// The processor time of this thread and of the one that waits for events, if there is
/// one (kernel documentation, `scheduler/sched-stats`).
fn thread_times() -> [Duration; 2] {
    let time = |thread: &Path| {
        let stat = std::fs::read_to_string(thread.join("schedstat")).expect("the kernel keeps the time of threads");
        let nanoseconds = stat.split(' ').next().and_then(|text| text.parse().ok());
        Duration::from_nanos(nanoseconds.expect("the first figure is the time on a processor"))
    };
    let threads = std::fs::read_dir("/proc/self/task").expect("the kernel lists the threads");
    let mut threads = threads.map(|thread| thread.expect("a thread").path());
    let waiting =
        threads.find(|thread| std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name == "nft-events\n"));
    [time(Path::new("/proc/thread-self")), waiting.as_deref().map_or(Duration::ZERO, time)]
}

fn commit_now_and_then(socket: &mut NftSocket, done: &AtomicBool) {
    let name = |text: &str| Name::new(text).expect("a name");
    let table = TableId::inet(name("kube-proxy"));
    let set = SetHeader::new(&table, &name("services"));
    let mut batch = Batch::new(&table);
    batch.add_table(&Table::default()).expect("short");
    batch.add_set(&Set::new(name("services"), SetKind::Hash, [Field::Mark].as_slice())).expect("short");
    for chain in 0..CHANGED {
        batch.add_chain(&Chain::regular(name(&format!("endpoint-{chain}")))).expect("short");
    }
    let mut round = 0;
    while !done.load(Ordering::Relaxed) {
        for chain in 0..CHANGED {
            let chain = name(&format!("endpoint-{chain}"));
            batch.flush_chain(&chain).expect("short");
            batch
                .add_rule(&chain, Place::Last, &Rule::new([Expr::COUNTER, Expr::Verdict(Verdict::Accept)]))
                .expect("short");
        }
        let elements = (0..CHANGED).map(|n| Element::at(caracal_net::Mark(round * CHANGED + n)));
        batch.add_elements(&set, elements).expect("short");
        socket.commit(&mut batch).expect("the kernel takes it");
        batch.restart(Guard::Any);
        round += 1;
        sleep(PERIOD);
    }
}
