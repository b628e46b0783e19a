//! The control half's workloads: how long the graph takes, and how much memory.
//!
//! `cargo bench -p caracal-calc-graph --bench control [-- NAME…]` prints one JSON
//! line each; a name that is none stands for the workloads that start with it. Every
//! workload runs in a process of its own, whose memory nothing was before it. Short ones
//! are repeated, each in another process, and the median run is told. Events are
//! made in small batches outside the timed part; making bytes of the messages is
//! inside. Counting bytes takes a tenth of the time: `bytes.rs`, which is built
//! with the counting allocator, does the workload once more for that.
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

use std::env;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use self::run::{BATCH, Figures, Run, Samples};
use self::workloads::Workload;

/// What has this name first does a workload once, in this process.
const ONCE: &str = "once";

#[expect(clippy::print_stdout, reason = "the output of a benchmark")]
fn main() {
    let names: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let all = Workload::all();
    if let [once, name] = &names[..]
        && once == ONCE
    {
        let (_, workload) = all.iter().find(|(other, _)| other == name).expect("a workload has this name");
        return println!("{}", lines(*workload));
    }
    let exact = all.iter().any(|(name, _)| names.contains(name));
    let is_meant = |name: &str, start: &String| if exact { name == start } else { name.starts_with(start.as_str()) };
    let wanted = |name: &str| names.is_empty() || names.iter().any(|start| is_meant(name, start));
    for (name, _) in all.iter().filter(|(name, _)| wanted(name)) {
        let Told { counts, ratio, .. } = median(name);
        println!(r#"{{"workload":"{name}",{counts},{},{ratio}}}"#, bytes(name));
    }
}

/// What a process tells of its run.
struct Told {
    seconds: f64,
    /// Fields of a JSON object, the seconds first.
    counts: String,
    /// As many more, which follow those of bytes.
    ratio: String,
}

/// The median run of a workload.
fn median(name: &str) -> Told {
    const ENOUGH_TIME: Duration = Duration::from_secs(2);
    const ENOUGH_RUNS: usize = 15;
    let start = Instant::now();
    let mut runs = vec![run(name)];
    while runs.len() < ENOUGH_RUNS && start.elapsed() < ENOUGH_TIME {
        runs.push(run(name));
    }
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    runs.swap_remove(runs.len() / 2)
}

/// Does a workload in a process of its own.
fn run(name: &str) -> Told {
    let program = env::current_exe().expect("the program has a path");
    let output = Command::new(&program).args([ONCE, name]).stderr(Stdio::inherit()).output().expect("the program runs");
    assert!(output.status.success(), "{name} failed");
    let text = String::from_utf8(output.stdout).expect("fields are text");
    let (counts, ratio) = text.trim_end().split_once('\n').expect("a run tells two lines");
    let seconds = counts.strip_prefix(SECONDS).and_then(|rest| rest.split(',').next()?.parse().ok());
    Told { seconds: seconds.expect("the seconds come first"), counts: counts.to_owned(), ratio: ratio.to_owned() }
}

const SECONDS: &str = r#""seconds":"#;

/// Does a workload; gives out the two lines of [`Told`].
fn lines(workload: Workload) -> String {
    let keep = |samples: &mut Samples, kind, sample| samples.entry(kind).or_default().push(sample);
    let run = Run::of(workload, Vec::with_capacity(BATCH), keep);
    let policies = run.graph.active_policies().len();
    let Figures { spent, messages, ip_sets, mut samples } = run.figures;
    drop(run.graph);
    let seconds = spent.as_secs_f64();
    // The least that an index of selectors can cost is not known by hashing updates.
    let ratio = match workload.is_encoded() {
        true => format!("{:.2}", seconds / floor::seconds(workload)),
        false => "null".to_owned(),
    };
    let samples: Vec<String> = samples
        .iter_mut()
        .map(|(kind, samples)| {
            samples.sort_unstable();
            sample(kind, samples)
        })
        .collect();
    let samples = if samples.is_empty() { String::new() } else { format!(r#","samples":[{}]"#, samples.join(",")) };
    let counts = format!(r#"{SECONDS}{seconds:.5},"messages":{messages},"ip_sets":{ip_sets},"policies":{policies}"#);
    format!("{counts}\n\"floor_ratio\":{ratio}{samples}")
}

/// The live and peak bytes of a workload, as the fields of a JSON object.
fn bytes(name: &str) -> String {
    let package = env!("CARGO_PKG_NAME");
    let output = Command::new(env!("CARGO"))
        .args(["bench", "--locked", "--quiet", "--package", package, "--bench", "control-bytes", "--", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "the bytes of {name} are not counted");
    String::from_utf8(output.stdout).expect("fields are text").trim_end().to_owned()
}

/// What the samples of a kind say, in nanoseconds. `sorted` is not empty.
fn sample(kind: &str, sorted: &[Duration]) -> String {
    let mean = sorted.iter().sum::<Duration>().as_nanos() / sorted.len() as u128;
    let at = |percent: usize| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)].as_nanos();
    let (p50, p99, count) = (at(50), at(99), sorted.len());
    format!(r#"{{"of":"{kind}","count":{count},"mean_ns":{mean},"p50_ns":{p50},"p99_ns":{p99}}}"#)
}
