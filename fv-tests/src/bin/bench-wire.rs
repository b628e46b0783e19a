//! `make bench-wire`: from the file's rename to the changed verdict on the wire,
//! beside a bare inotify loop in the same run. One JSON line a figure.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output")]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, NODE};
use caracal_fv_tests::matrix::agree;
use caracal_fv_tests::pod::{PodSpec, pod};
use caracal_fv_tests::probe::udp;
use caracal_fv_tests::reference::Evaluator;
use caracal_fv_tests::stream::{SINK_PORT, Stream};
use clap::Parser;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::json;

/// Policies of the scale live-S: five groups of three rules, and the one that is edited.
const GROUPS: usize = 5;

/// How long one change may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures the end-to-end figures at the scale live-S: 20 pods, 6 policies.
#[derive(Parser)]
struct Args {
    /// How many changes of each kind are timed.
    #[arg(long, default_value_t = 300)]
    changes: usize,
    /// How many pod starts are timed.
    #[arg(long, default_value_t = 50)]
    starts: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-wire: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let floor = inotify_floor(args.changes)?;
    let mut cluster = live_s()?;
    let agent = Process::agent(&cluster)?;
    agree(&cluster, &Evaluator, PATIENCE).context("before the measurements")?;

    let (opened, closed) = policy_changes(&cluster, args.changes)?;
    print("policy-change-allow", &opened, &floor);
    print("policy-change-deny", &closed, &floor);
    let (joined, left) = label_changes(&mut cluster, args.changes)?;
    print("label-change-allow", &joined, &floor);
    print("label-change-deny", &left, &floor);
    print("pod-start", &pod_starts(&mut cluster, args.starts)?, &floor);
    agent.stop()
}

/// 20 pods in one namespace, five policies of three rules each that concern all of them.
fn live_s() -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::serving([udp(53)])?;
    cluster.namespace("bench", &[])?;
    for group in 0..GROUPS {
        let rules: Vec<_> = (0..3)
            .map(|rule| json!({"from": [{"podSelector": {"matchLabels": {"group": format!("g{}", (group + rule) % GROUPS)}}}], "ports": [{"protocol": "UDP", "port": 53 + rule}]}))
            .collect();
        let policy = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": "bench", "name": format!("group-{group}")},
            "spec": {"podSelector": {"matchLabels": {"group": format!("g{group}")}}, "ingress": rules},
        });
        cluster.write(&format!("group-{group}.json"), &policy.to_string())?;
    }
    cluster.write("edited.json", &edited(false))?;
    for n in 0..20 {
        cluster.start_pod(pod(&format!("bench/pod-{n}"), &[("group", &format!("g{}", n % GROUPS))]))?;
    }
    Ok(cluster)
}

/// The policy that is edited: `pod-0` may be reached on the discard port by everyone, or by friends only.
fn edited(open: bool) -> String {
    let from = if open { json!([]) } else { json!([{"podSelector": {"matchLabels": {"friend": "yes"}}}]) };
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "bench", "name": "edited"},
        "spec": {"podSelector": {"matchLabels": {"group": "g0"}}, "ingress": [{"from": from, "ports": [{"protocol": "UDP", "port": SINK_PORT}]}]},
    })
    .to_string()
}

fn policy_changes(cluster: &Cluster, changes: usize) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let stream = Stream::start(&cluster.peers["bench/pod-1"], &cluster.peers["bench/pod-0"])?;
    stream.changed(Instant::now(), false, PATIENCE)?;
    alternate(changes, &stream, |open| cluster.write("edited.json", &edited(open)))
}

fn label_changes(cluster: &mut Cluster, changes: usize) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let stream = Stream::start(&cluster.peers["bench/pod-1"], &cluster.peers["bench/pod-0"])?;
    stream.changed(Instant::now(), false, PATIENCE)?;
    alternate(changes, &stream, |friend| {
        cluster.relabel("bench/pod-1", &[("group", "g1"), ("friend", if friend { "yes" } else { "no" })])
    })
}

/// Times `step(true)` and `step(false)` in turn.
fn alternate(
    changes: usize,
    stream: &Stream,
    mut step: impl FnMut(bool) -> anyhow::Result<()>,
) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for n in 0..changes * 2 {
        let want = n % 2 == 0;
        let write = Instant::now();
        step(want)?;
        let took = stream.changed(write, want, PATIENCE)?;
        if want { on.push(took) } else { off.push(took) }
    }
    Ok((on, off))
}

/// From the write of a pod's object to its first packet; the interface is up before.
fn pod_starts(cluster: &mut Cluster, starts: usize) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    for n in 0..starts {
        let spec: PodSpec = pod(&format!("bench/new-{n}"), &[("group", "g1"), ("friend", "yes")]);
        let name = cluster.plug(spec)?;
        cluster.make_ready(&name)?;
        let stream = Stream::start(&cluster.peers[&name], &cluster.peers["bench/pod-0"])?;
        let write = Instant::now();
        cluster.announce(&name)?;
        took.push(stream.changed(write, true, PATIENCE)?);
        drop(stream);
        cluster.stop_pod(&name)?;
    }
    Ok(took)
}

/// What nothing can beat: from a rename to the return of `read` on an inotify descriptor.
fn inotify_floor(changes: usize) -> anyhow::Result<Vec<Duration>> {
    let dir = tempfile::tempdir()?;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
    watch.add_watch(dir.path(), AddWatchFlags::IN_MOVED_TO)?;
    let (seen, events) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || -> anyhow::Result<()> {
        for _ in 0..changes {
            watch.read_events()?;
            seen.send(Instant::now())?;
        }
        Ok(())
    });
    let took = (0..changes)
        .map(|n| {
            let start = Instant::now();
            rename(dir.path(), n)?;
            Ok(events.recv()?.saturating_duration_since(start))
        })
        .collect::<anyhow::Result<_>>()?;
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    Ok(took)
}

fn rename(dir: &Path, n: usize) -> anyhow::Result<()> {
    let hidden = dir.join(".new");
    std::fs::write(&hidden, n.to_string())?;
    Ok(std::fs::rename(&hidden, dir.join("file"))?)
}

fn print(workload: &str, took: &[Duration], floor: &[Duration]) {
    let (p50, p99) = (percentile(took, 50), percentile(took, 99));
    let line = json!({
        "workload": workload,
        "spec": "live-S",
        "seconds": p50,
        "p99_seconds": p99,
        "floor_seconds": percentile(floor, 50),
        "floor_p99_seconds": percentile(floor, 99),
        "floor_ratio": p50 / percentile(floor, 50),
        "samples": took.len(),
        "node": NODE,
    });
    println!("{line}");
}

/// The `n`-th percentile in seconds; 0 of nothing.
fn percentile(samples: &[Duration], n: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort();
    let index = (sorted.len() * n / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, Duration::as_secs_f64)
}
