//! The agent goes and comes back, and others flush the rules.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::Cluster;

use crate::PATIENCE;
use crate::changes::probes;
use crate::scale::edit;

/// Longer than any probe is on its way.
const SETTLED: Duration = Duration::from_millis(50);

/// `kill -9`, a change while the agent is down, and from the start of the next
/// one until the change is in force. What is denied all the time stays so.
pub(crate) fn after_kill(cluster: &Cluster, agent: &mut Process, times: usize) -> anyhow::Result<Vec<Duration>> {
    let stream = probes(cluster)?;
    let mut took = Vec::new();
    for n in 0..times * 2 {
        let open = n % 2 == 0;
        agent.end()?;
        edit(cluster, open)?;
        std::thread::sleep(SETTLED);
        let start = Instant::now();
        *agent = Process::agent(cluster)?;
        took.push(stream.changed(start, open, PATIENCE)?);
    }
    Ok(took)
}

/// From the start of an agent that finds no rules of its own until what policy
/// denies is denied; it is open until then, as the routes are there.
pub(crate) fn first_start(cluster: &Cluster, agent: &mut Process, times: usize) -> anyhow::Result<Vec<Duration>> {
    let stream = probes(cluster)?;
    let mut took = Vec::new();
    for _ in 0..times {
        agent.end()?;
        nft(cluster, &["delete", "table", "inet", "caracal"])?;
        stream.changed(Instant::now(), true, PATIENCE)?;
        let start = Instant::now();
        *agent = Process::agent(cluster)?;
        took.push(stream.changed(start, false, PATIENCE)?);
    }
    Ok(took)
}

/// For how long what policy denies was open after `nft flush ruleset`.
pub(crate) fn after_flush(cluster: &Cluster, times: usize) -> anyhow::Result<Vec<Duration>> {
    let stream = probes(cluster)?;
    let mut took = Vec::new();
    for _ in 0..times {
        let flush = Instant::now();
        nft(cluster, &["flush", "ruleset"])?;
        std::thread::sleep(SETTLED);
        let (arrived, _) = stream.tally(flush, Instant::now() - SETTLED / 2)?;
        let closed = stream.changed(flush, false, PATIENCE)?;
        took.push(if arrived == 0 { Duration::ZERO } else { closed });
    }
    Ok(took)
}

fn nft(cluster: &Cluster, args: &[&str]) -> anyhow::Result<()> {
    let status = cluster.node.run(|| Command::new("nft").args(args).status())??;
    ensure!(status.success(), "nft {} failed", args.join(" "));
    Ok(())
}
