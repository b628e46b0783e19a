//! A ruleset from nothing, and the memory that it takes.

use std::process::Command;
use std::time::Instant;

use caracal_nftables::{Ownership, Settings, render_text};
use caracal_program::{Driver, Sweep};
use caracal_sys::netns::NetNs;

use crate::ALLOCATOR;
use crate::floor::Floor;
use crate::sides::{driver, store_of};
use crate::times::{Times, print};
use crate::workload::Spec;

/// The argument that asks for one memory figure in a process of its own.
pub(crate) const MEMORY: &str = "memory-of";

/// A ruleset from nothing, each time in a fresh namespace.
pub(crate) fn program(spec: &Spec) {
    let store = store_of(spec);
    let text = render_text(&store, &Settings::default());
    let fresh = || Floor::new(NetNs::new().expect("a network namespace; needs root"));
    let mut times = Times::default();
    for round in 0..5 {
        times.take_turns(
            round,
            &mut (),
            |()| {
                let (_namespace, mut driver) = driver(Ownership::Owned);
                let start = Instant::now();
                driver.resync(&store, Sweep::Remove).expect("the kernel takes the ruleset");
                start.elapsed()
            },
            |()| fresh().program(spec),
        );
    }
    for _ in 0..2 {
        times.nft.push(fresh().nft(&text));
    }
    times.report("program", spec);
}

/// Memory of store and driver, measured in processes that do nothing else.
pub(crate) fn memory(spec: &Spec) {
    let measure = |of: &str| {
        let program = std::env::current_exe().expect("the program has a path");
        let output = Command::new(program).args([MEMORY, of]).output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("figures");
        let figures: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a figure")).collect();
        <[u64; 2]>::try_from(figures).expect("two figures")
    };
    let [resident, heap] = measure(spec.name);
    let [_, doubled] = measure(&format!("{}-doubled", spec.name));
    print(&serde_json::json!({
        "workload": "memory",
        "spec": spec.name,
        "resident_bytes": resident,
        "heap_bytes": heap,
        "bytes_per_member": (doubled as f64 - heap as f64) / f64::from(spec.sets * spec.members),
    }));
}

/// Loads a ruleset and prints resident bytes and live bytes of the heap.
pub(crate) fn memory_of(spec: &Spec) {
    let store = store_of(spec);
    let (_namespace, mut driver) = driver(Ownership::Owned);
    driver.resync(&store, Sweep::Remove).expect("the kernel takes the ruleset");
    driver.poll(&store).expect("the kernel answers");
    let heap = ALLOCATOR.allocated();
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is there");
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    #[expect(clippy::print_stdout, reason = "what the other process reads")]
    {
        println!("{} {heap}", kib * 1024);
    }
    drop(store);
}
