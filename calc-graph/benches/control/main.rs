//! The control half's workloads: how long the graph takes, and how much memory.
//!
//! `cargo bench -p caracal-calc-graph [-- NAME…]` prints one JSON line each; a
//! name stands for the workloads that start with it. Every workload runs in a
//! process of its own, so that peaks do not add up. Events are made in small
//! batches outside the timed part; making bytes of the messages is inside.
//!
//! `seconds` are of processor time, samples of the time of day, since asking for
//! the former takes as long as some samples. `seconds`, `messages` and `floor_ratio` are of the measured part, for a
//! teardown all of it; `live_bytes` and `peak_bytes` are of the graph, from its
//! beginning. Workloads of single updates add a list of samples.

mod clock;
mod floor;
mod run;
mod wire;
mod workloads;

use std::alloc::System;
use std::env;
use std::process::Command;
use std::time::Duration;

use cap::Cap;

use self::run::{Figures, Run};
use self::workloads::Workload;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

fn main() {
    let names: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let all = Workload::all();
    if let [name] = &names[..]
        && let Some((name, workload)) = all.iter().find(|(other, _)| other == name)
    {
        return report(name, *workload);
    }
    let program = env::current_exe().expect("the program has a path");
    let wanted = |name: &str| names.is_empty() || names.iter().any(|start| name.starts_with(start));
    for (name, _) in all.iter().filter(|(name, _)| wanted(name)) {
        let status = Command::new(&program).arg(name).status();
        assert!(status.is_ok_and(|status| status.success()), "{name} failed");
    }
}

#[expect(clippy::print_stdout, reason = "the output of a benchmark")]
fn report(name: &str, workload: Workload) {
    let figures = Run::of(workload);
    let Figures { spent, messages, ip_sets, policies, live_bytes, peak_bytes, samples } = &figures;
    let seconds = spent.as_secs_f64();
    // The least that an index of selectors can cost is not known by hashing updates.
    let ratio = match workload.is_encoded() {
        true => format!("{:.2}", seconds / floor::seconds(workload)),
        false => "null".to_owned(),
    };
    let samples: Vec<String> = samples.iter().map(|(kind, sorted)| sample(kind, sorted)).collect();
    let samples = if samples.is_empty() { String::new() } else { format!(r#","samples":[{}]"#, samples.join(",")) };
    println!(
        r#"{{"workload":"{name}","seconds":{seconds:.4},"messages":{messages},"ip_sets":{ip_sets},"policies":{policies},"live_bytes":{live_bytes},"peak_bytes":{peak_bytes},"floor_ratio":{ratio}{samples}}}"#,
    );
}

/// What the samples of a kind say, in nanoseconds. `sorted` is not empty.
fn sample(kind: &str, sorted: &[Duration]) -> String {
    let mean = sorted.iter().sum::<Duration>().as_nanos() / sorted.len() as u128;
    let at = |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)].as_nanos();
    let (p50, p99, count) = (at(50), at(99), sorted.len());
    format!(r#"{{"of":"{kind}","count":{count},"mean_ns":{mean},"p50_ns":{p50},"p99_ns":{p99}}}"#)
}
