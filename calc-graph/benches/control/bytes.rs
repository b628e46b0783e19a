//! The bytes of a workload, under the counting allocator.
//!
//! `control` asks for them. With the name of one workload, the live and peak bytes
//! of the graph from its beginning are printed; without a name nothing is done.

mod clock;
mod run;
mod wire;
mod workloads;

use std::alloc::System;
use std::env;

use cap::Cap;

use self::run::{BATCH, Run};
use self::workloads::Workload;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

#[expect(clippy::print_stdout, reason = "the output of a benchmark")]
fn main() {
    let Some(name) = env::args().skip(1).find(|arg| !arg.starts_with('-')) else { return };
    let all = Workload::all();
    let (_, workload) = all.iter().find(|(other, _)| *other == name).expect("a workload has this name");
    let batch = Vec::with_capacity(BATCH);
    let before = ALLOCATOR.allocated();
    let run = Run::of(*workload, batch, |_, _, _| {});
    let live = ALLOCATOR.allocated().saturating_sub(before);
    let peak = ALLOCATOR.max_allocated().saturating_sub(before);
    println!(r#""live_bytes":{live},"peak_bytes":{peak}"#);
    drop(run.graph);
}
