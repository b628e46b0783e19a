//! The agent, and each half of it, ends and comes back: rules stay, nothing
//! opens, nothing that is allowed is lost.

use std::time::{Duration, Instant};

use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::matrix::{agree, differences, flows, observe};
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::policies::client_only;
use caracal_fv_tests::reference::Evaluator;
use caracal_fv_tests::stream::Stream;
use tempfile::TempDir;

const CONVERGENCE: Duration = Duration::from_secs(10);

/// Runs `step` while first packets flow without a pause: of those that policy
/// allows none may be lost, of those that it denies none may pass.
fn unnoticed(cluster: &Cluster, step: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let peers = &cluster.peers;
    let allowed = Stream::start(&peers["default/client"], &peers["default/server"])?;
    let start = Instant::now();
    step()?;
    std::thread::sleep(Duration::from_millis(100));
    let end = Instant::now();
    std::thread::sleep(Duration::from_millis(50));
    let (arrived, lost) = allowed.tally(start, end)?;
    assert!(arrived > 100, "the stream ran: {arrived} arrived");
    assert_eq!(lost, 0, "allowed packets lost, {arrived} arrived");
    Ok(())
}

/// The same for a flow that policy denies.
fn closed(cluster: &Cluster, step: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let denied = Stream::start(&cluster.peers["default/other"], &cluster.peers["default/server"])?;
    let start = Instant::now();
    step()?;
    std::thread::sleep(Duration::from_millis(100));
    let end = Instant::now();
    std::thread::sleep(Duration::from_millis(50));
    let (arrived, lost) = denied.tally(start, end)?;
    assert!(lost > 100, "the stream ran: {lost} lost");
    assert_eq!(arrived, 0, "denied packets passed, {lost} were dropped");
    Ok(())
}

/// After the rules stand: the matrix without any agent still is what it was.
fn rules_stay(cluster: &Cluster) -> anyhow::Result<()> {
    use caracal_fv_tests::matrix::Reference;
    let expected = Evaluator.judge(cluster, &flows(cluster))?;
    let observed = observe(cluster, &expected)?;
    assert_eq!(observed, expected, "{}", differences(&expected, &observed));
    Ok(())
}

#[test]
fn a_clean_stop_leaves_the_rules_and_a_start_is_not_noticed() -> anyhow::Result<()> {
    let cluster = client_only()?;
    let agent = Process::agent(&cluster)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    agent.stop()?;
    rules_stay(&cluster)?;
    let start_again = || {
        let agent = Process::agent(&cluster)?;
        agree(&cluster, &Evaluator, CONVERGENCE)?;
        agent.stop()
    };
    unnoticed(&cluster, start_again)?;
    closed(&cluster, start_again)
}

#[test]
fn a_kill_leaves_the_rules_and_changes_while_down_are_caught_up() -> anyhow::Result<()> {
    let mut cluster = client_only()?;
    let agent = Process::agent(&cluster)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    agent.kill()?;
    rules_stay(&cluster)?;

    cluster.relabel("default/other", &[("role", "client")])?;
    cluster.stop_pod("default/client")?;
    cluster.start_pod(pod("default/late", &[("role", "client")]))?;
    let agent = Process::agent(&cluster)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    agent.stop()
}

#[test]
fn the_halves_run_apart_and_either_may_be_killed() -> anyhow::Result<()> {
    let mut cluster = client_only()?;
    let run = TempDir::new()?;
    let socket = run.path().join("sync.sock");
    let control = Process::control(&cluster, &socket)?;
    let dataplane = Process::dataplane(&cluster, &socket)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;

    // The control half dies: what stands is enforced; a new one takes over without a gap.
    control.kill()?;
    rules_stay(&cluster)?;
    let mut replacement = None;
    unnoticed(&cluster, || {
        replacement = Some(Process::control(&cluster, &socket)?);
        std::thread::sleep(Duration::from_millis(1500));
        Ok(())
    })?;
    cluster.relabel("default/other", &[("role", "client")])?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;

    // The data half dies: the rules stay; a change while it is down is caught up.
    dataplane.kill()?;
    rules_stay(&cluster)?;
    cluster.relabel("default/other", &[])?;
    let dataplane = Process::dataplane(&cluster, &socket)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    closed(&cluster, || {
        dataplane.kill()?;
        let dataplane = Process::dataplane(&cluster, &socket)?;
        std::thread::sleep(Duration::from_millis(500));
        dataplane.stop()
    })?;
    replacement.expect("the control half was started again").stop()
}

#[test]
fn a_data_half_without_a_control_half_keeps_what_stands() -> anyhow::Result<()> {
    let mut cluster = client_only()?;
    let agent = Process::agent(&cluster)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    agent.kill()?;
    let run = TempDir::new()?;
    let dataplane = Process::dataplane(&cluster, &run.path().join("nobody.sock"))?;
    std::thread::sleep(Duration::from_millis(500));
    rules_stay(&cluster)?;
    // An interface that nobody has spoken for carries nothing.
    let unknown = cluster.plug(pod("default/unknown", &[]))?;
    let expected = flows(&cluster).into_iter().filter(|flow| flow.from == unknown).map(|flow| (flow, false)).collect();
    assert_eq!(observe(&cluster, &expected)?, expected);
    dataplane.stop()
}
