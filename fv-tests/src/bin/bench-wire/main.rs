//! `make bench-wire`: from the file's rename to the changed verdict on the wire,
//! beside a bare inotify loop in the same run. One JSON line a figure.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output")]

mod changes;
mod churn;
mod floor;
mod idle;
mod kernel;
mod restarts;
mod revocation;
mod scale;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::NODE;
use clap::Parser;
use serde_json::json;

use crate::changes::{NO_REST, REST, Took};
use crate::churn::Churn;
use crate::idle::Idle;
use crate::revocation::Cut;
use crate::scale::Scale;

/// How long one change may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures the end-to-end figures of clusters on one node.
#[derive(Parser)]
struct Args {
    /// The scales; all if none is named.
    #[arg(value_enum, ignore_case = true)]
    scales: Vec<Scale>,
    /// How many changes of each kind are timed; 300 at S and 30 at L if not given.
    #[arg(long)]
    changes: Option<usize>,
    /// How many pod starts are timed.
    #[arg(long, default_value_t = 50)]
    starts: usize,
    /// How many restarts, first starts and flushes are timed.
    #[arg(long, default_value_t = 5)]
    restarts: usize,
    /// How many times policy tightens twice and loosens under established connections.
    #[arg(long, default_value_t = 20)]
    cuts: usize,
}

/// Where the manifests are: what a disk does while a file is renamed is no part of the time.
const IN_MEMORY: &str = "/dev/shm";

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(already) = tempfile::env::override_temp_dir(Path::new(IN_MEMORY)) {
        eprintln!("bench-wire: manifests are in {}", already.display());
    }
    let scales = if args.scales.is_empty() { &[Scale::S, Scale::L][..] } else { &args.scales };
    for scale in scales {
        if let Err(error) = run(*scale, &args).with_context(|| scale.name()) {
            eprintln!("bench-wire: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(scale: Scale, args: &Args) -> anyhow::Result<()> {
    let changes = args.changes.unwrap_or(scale.changes());
    let report = Report { scale, floor: floor::inotify(changes)? };
    let mut cluster = scale.cluster()?;
    changes::remember_unanswered(&cluster, changes::PROBES_REMEMBERED)?;
    kernel::tell(&cluster)?;
    let mut agent = Process::agent(&cluster)?;
    // The first change waits for the agent to be there.
    drop(changes::probes(&cluster)?);
    kernel::wait(&cluster)?;

    report.changes("policy-change", "", &changes::of_policy(&mut cluster, changes, REST)?);
    report.changes("label-change", "", &changes::of_label(&mut cluster, changes, REST)?);
    let churn = Churn::start(&cluster);
    let loaded = Report { scale, floor: floor::inotify(changes)? };
    loaded.changes("policy-change", "-churn", &changes::of_policy(&mut cluster, changes, NO_REST)?);
    loaded.changes("label-change", "-churn", &changes::of_label(&mut cluster, changes, NO_REST)?);
    churn.stop()?;
    report.times("pod-start", &changes::of_pods(&mut cluster, args.starts)?);
    report.idle(&idle::measure(&agent)?);
    report.times("restart", &restarts::after_kill(&cluster, &mut agent, args.restarts)?);
    report.times("first-start", &restarts::first_start(&cluster, &mut agent, args.restarts)?);
    report.times("foreign-flush", &restarts::after_flush(&cluster, args.restarts)?);
    changes::remember_unanswered(&cluster, changes::UNANSWERED_REMEMBERED)?;
    report.cut(&revocation::measure(&mut cluster, args.cuts)?);
    agent.stop()
}

/// Prints what was measured at a scale.
struct Report {
    scale: Scale,
    /// Measured in the same run and under the same load.
    floor: Vec<Duration>,
}

impl Report {
    fn changes(&self, what: &str, load: &str, Took { opened, closed, kernel }: &Took) {
        for (verdict, times) in [("allow", opened), ("deny", closed)] {
            let mut line = self.line(&format!("{what}-{verdict}{load}"), times);
            // That of what the load changes would be among it.
            if load.is_empty() {
                line["kernel_seconds"] = kernel.as_secs_f64().into();
            }
            println!("{line}");
        }
    }

    fn times(&self, workload: &str, took: &[Duration]) {
        println!("{}", self.line(workload, took));
    }

    fn line(&self, workload: &str, took: &[Duration]) -> serde_json::Value {
        let (p50, floor) = (percentile(took, 50), percentile(&self.floor, 50));
        json!({
            "workload": workload,
            "spec": self.scale.name(),
            "seconds": p50,
            "p99_seconds": percentile(took, 99),
            "floor_seconds": floor,
            "floor_p99_seconds": percentile(&self.floor, 99),
            "floor_ratio": p50 / floor,
            "samples": took.len(),
            "node": NODE,
        })
    }

    fn cut(&self, Cut { first, again, restored, touched }: &Cut) {
        for (workload, took) in [("revocation", first), ("revocation-again", again), ("restoration", restored)] {
            println!(
                "{}",
                json!({
                    "workload": workload,
                    "spec": self.scale.name(),
                    "seconds": percentile(took, 50),
                    "p99_seconds": percentile(took, 99),
                    "samples": took.len(),
                    "flows": revocation::FLOWS,
                    "denied": revocation::DENIED,
                    "others_touched": touched,
                    "node": NODE,
                })
            );
        }
    }

    fn idle(&self, Idle { cpu_seconds_per_minute, resident_bytes }: &Idle) {
        println!(
            "{}",
            json!({
                "workload": "idle",
                "spec": self.scale.name(),
                "cpu_seconds_per_minute": cpu_seconds_per_minute,
                "resident_bytes": resident_bytes,
                "node": NODE,
            })
        );
    }
}

/// The `n`-th percentile in seconds; 0 of nothing.
fn percentile(samples: &[Duration], n: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort();
    let index = (sorted.len() * n / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, Duration::as_secs_f64)
}
