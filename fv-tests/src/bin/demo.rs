//! The README's first command: pods on this machine, policy on the wire, a live edit.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::matrix::{Flow, Reference, Verdicts, differences, flows, observe, side_by_side};
use caracal_fv_tests::pod::PodSpec;
use caracal_fv_tests::probe::{tcp, udp};
use caracal_fv_tests::reference::Evaluator;
use caracal_fv_tests::stream::Stream;

/// The edit: the API may be called by anyone, for the moment.
const EDITED: &str = r"
# The API is open to everyone, on every port.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: open-api}
spec:
  podSelector: {matchLabels: {app: api}}
  ingress: [{}]
";

fn main() -> ExitCode {
    match demo() {
        Ok((matched, all)) => {
            println!("demo: {matched} of {all} verdicts as the policies say");
            if matched == all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> anyhow::Result<(usize, usize)> {
    let quickstart = quickstart()?;
    let mut cluster = Cluster::serving([tcp(80), tcp(9090), udp(53)])?;
    let pods = install(&mut cluster, &quickstart)?;
    println!("{pods} pods on this machine, manifests from {}\n", quickstart.display());

    let agent = Process::agent(&cluster)?;
    let mut tally = Tally::default();
    let verdicts = look(&cluster, &mut tally, "the policies of deploy/quickstart")?;

    let monitoring = cluster.peers.get("monitoring/prometheus").context("the quickstart has a prometheus")?;
    let api = cluster.peers.get("shop/api").context("the quickstart has an api")?;
    let probes = Stream::start(monitoring, api)?;
    probes.changed(Instant::now(), false, Duration::from_secs(5)).context("before the edit")?;
    let write = Instant::now();
    cluster.write("open-api.yaml", EDITED)?;
    let took = probes.changed(write, true, Duration::from_secs(10)).context("after the edit")?;
    drop(probes);

    println!("edit: shop/open-api lets everyone call the API\n");
    let edited = look(&cluster, &mut tally, "after the edit")?;
    let changed = edited.iter().filter(|(flow, allowed)| verdicts.get(flow) != Some(allowed)).count();
    println!(
        "{changed} verdicts changed; {:.1} ms from the file's write to the changed verdict on the wire\n",
        took.as_secs_f64() * 1e3
    );

    agent.stop()?;
    Ok((tally.matched, tally.all))
}

#[derive(Default)]
struct Tally {
    matched: usize,
    all: usize,
}

/// Prints expectation and observation, and counts the cells that agree.
fn look(cluster: &Cluster, tally: &mut Tally, title: &str) -> anyhow::Result<Verdicts> {
    let flows: Vec<Flow> = flows(cluster);
    let expected = Evaluator.judge(cluster, &flows)?;
    let mut observed = observe(cluster, &expected)?;
    // Right after the start the agent may still be at work: look again for a few seconds.
    let deadline = Instant::now() + Duration::from_secs(10);
    while observed != expected && Instant::now() < deadline {
        observed = observe(cluster, &expected)?;
    }
    println!("{title}:\n\n{}", side_by_side(&expected, &observed));
    print!("{}", differences(&expected, &observed));
    tally.all += expected.len();
    tally.matched += expected.iter().filter(|(flow, allowed)| observed.get(flow) == Some(allowed)).count();
    Ok(expected)
}

/// Copies the quickstart's manifests into the cluster and starts its pods.
fn install(cluster: &mut Cluster, quickstart: &Path) -> anyhow::Result<usize> {
    let mut specs = Vec::new();
    for entry in std::fs::read_dir(quickstart).with_context(|| format!("cannot read {}", quickstart.display()))? {
        let path = entry?.path();
        let file = path.file_name().and_then(|name| name.to_str()).context("a file name is text")?;
        if !file.ends_with(".yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        if file == "pods.yaml" {
            specs.extend(PodSpec::read_all(&text)?);
        }
        cluster.write(file, &text)?;
    }
    if specs.is_empty() {
        bail!("no pods in {}", quickstart.display());
    }
    let count = specs.len();
    for spec in specs {
        cluster.plug(spec)?;
    }
    Ok(count)
}

/// `deploy/quickstart`, from the working directory or from where the source was built.
fn quickstart() -> anyhow::Result<PathBuf> {
    let candidates =
        [Path::new("deploy/quickstart"), Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/quickstart"))];
    let found = candidates.into_iter().find(|path| path.is_dir());
    found.map(Path::to_path_buf).context("no directory deploy/quickstart: run this from the repository")
}
