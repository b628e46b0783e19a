//! The agent takes over what it finds, whoever made it and whatever was changed
//! meanwhile, under two thousand live flows and a thousand new connections a second:
//! nothing that policy allows is lost, nothing that it denies arrives.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::load::{Load, NEW_PER_SECOND};
use caracal_fv_tests::matrix::agree;
use caracal_fv_tests::pod::{interface_name, pod};
use caracal_fv_tests::policies::client_only;
use caracal_fv_tests::reference::Evaluator;

const CONVERGENCE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the load runs before and after each step.
const BESIDE: Duration = Duration::from_millis(400);

/// Tables as an older and a newer release might lay them out: the interface SERVER is
/// reached by CLIENT4 and CLIENT6 alone.
const LAYOUTS: [(&str, &str); 2] = [
    ("an older layout", include_str!("../../dataplane/nftables/layouts/older.nft")),
    ("a newer layout", include_str!("../../dataplane/nftables/layouts/newer.nft")),
];

/// Each layout is taken over so often.
const TAKEOVERS: usize = 3;

/// What a service proxy does to a namespace: every connection is tracked.
const SERVICE_PROXY: &str = "
table ip kube-proxy { chain services { type nat hook prerouting priority -100; }; }
table ip6 kube-proxy { chain services { type nat hook prerouting priority -100; }; }
";

const OTHERS_TOO: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: others-too, namespace: default}
spec:
  podSelector: {matchLabels: {role: late}}
  ingress: [{from: [{podSelector: {matchLabels: {role: client}}}]}]
";

/// One load is enough for a machine.
static ONE: Mutex<()> = Mutex::new(());

/// `client` may reach `server`, `other` may not.
fn cluster() -> anyhow::Result<Cluster> {
    let mut cluster = client_only()?;
    cluster.start_pod(pod("default/late", &[("role", "late")]))?;
    nft(&cluster, SERVICE_PROXY)?;
    Ok(cluster)
}

/// Has the node's nft load a text.
fn nft(cluster: &Cluster, text: &str) -> anyhow::Result<()> {
    let mut child = cluster.node.run(|| Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn())??;
    child.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
    ensure!(child.wait()?.success(), "nft does not load {text}");
    Ok(())
}

/// What the node's table of ours is.
fn table(cluster: &Cluster) -> anyhow::Result<String> {
    let listed = cluster.node.run(|| Command::new("nft").args(["list", "table", "inet", "caracal"]).output())??;
    Ok(String::from_utf8(listed.stdout)?)
}

/// Starts the agent and waits until it has put everything in force.
fn start(cluster: &Cluster) -> anyhow::Result<Process> {
    let agent = Process::agent(cluster)?;
    let deadline = Instant::now() + PATIENCE;
    while !agent.log()?.contains("in sync") {
        if Instant::now() > deadline {
            bail!("the agent is not in sync: {}", agent.log()?);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(agent)
}

/// Does something with the agent under load, and gives the agent that runs then:
/// nothing denied arrives, and of what is allowed nothing is lost but, where one table
/// takes the place of another, the packet that is in the middle of it at that moment.
#[expect(clippy::print_stdout, reason = "the figures are looked at with `--nocapture`")]
fn unnoticed(
    what: &str,
    cluster: &Cluster,
    switches: usize,
    agent: Process,
    step: impl FnOnce(Process) -> anyhow::Result<Process>,
) -> anyhow::Result<Process> {
    let peers = &cluster.peers;
    let load = Load::start(&peers["default/server"], &peers["default/client"], &peers["default/other"])?;
    let begun = Instant::now();
    std::thread::sleep(BESIDE);
    let agent = step(agent).with_context(|| what.to_owned())?;
    std::thread::sleep(BESIDE);
    let seconds = begun.elapsed().as_secs_f64();
    let (seen, trouble) = load.end();
    println!(
        r#"{{"workload":"adoption","what":"{what}","seconds":{seconds:.2},"asked":{},"lost":{},"opened":{},"failed":{},"denied":{},"leaked":{}}}"#,
        seen.asked, seen.unanswered, seen.opened, seen.failed, seen.denied, seen.leaked
    );
    assert_eq!(seen.leaked, 0, "{what}: {seen:?}");
    assert!(seen.unanswered + seen.failed <= switches as u64, "{what}: {seen:?}: {trouble:?}");
    // A machine that is busy with something else still has to show something.
    let began = (seen.opened + seen.denied) as f64 / seconds;
    assert!(began > NEW_PER_SECOND as f64 / 4.0, "{what}: only {began:.0} connections began in a second");
    assert!(seen.opened > 100 && seen.denied > 100, "{what}: {seen:?}");
    Ok(agent)
}

#[test]
fn a_stop_a_kill_and_changes_while_down_are_not_noticed() -> anyhow::Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = cluster()?;
    let agent = start(&cluster)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    let agent = unnoticed("stop and start", &cluster, 0, agent, |agent| {
        agent.stop()?;
        std::thread::sleep(BESIDE);
        start(&cluster)
    })?;
    let agent = unnoticed("kill and start", &cluster, 0, agent, |agent| {
        agent.kill()?;
        start(&cluster)?.kill()?;
        start(&cluster)
    })?;
    let agent = unnoticed("policy changed while down", &cluster, 0, agent, |agent| {
        agent.kill()?;
        cluster.write("late.yaml", OTHERS_TOO)?;
        start(&cluster)
    })?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    cluster.relabel("default/late", &[("role", "client")])?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    agent.stop()
}

#[test]
fn another_layout_of_the_table_is_taken_over_and_nobody_notices() -> anyhow::Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = cluster()?;
    let addr = |v4: bool| {
        let addr = cluster.peers["default/client"].addrs.iter().find(|addr| addr.is_ipv4() == v4);
        addr.expect("every pod has both families").to_string()
    };
    let load = |layout: &str| {
        let text = layout.replace("CLIENT4", &addr(true)).replace("CLIENT6", &addr(false));
        let text = text.replace("SERVER", &interface_name("default", "server"));
        nft(&cluster, &format!("delete table inet caracal\n{text}"))
    };
    let mut agent = start(&cluster)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    let ours = |text: &str| text.lines().find(|line| line.contains("comment")).map(str::to_owned);
    let wanted = ours(&table(&cluster)?);
    for (what, layout) in LAYOUTS {
        agent = unnoticed(what, &cluster, 2 * TAKEOVERS, agent, |mut agent| {
            for _ in 0..TAKEOVERS {
                // Ours, theirs, and ours again.
                agent.kill()?;
                load(layout)?;
                ensure!(ours(&table(&cluster)?) != wanted, "the layout tells itself apart");
                agent = start(&cluster)?;
                ensure!(ours(&table(&cluster)?) == wanted, "the table was not made anew");
            }
            Ok(agent)
        })?;
    }
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    agent.stop()
}

/// Before the first start everything passes; from the in-sync on what is denied does
/// not, and what is allowed has passed all the time.
#[test]
fn the_first_start_is_not_noticed_by_what_is_allowed() -> anyhow::Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = cluster()?;
    // The way to the pods, which the agent makes; its rules go again.
    let agent = start(&cluster)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    agent.kill()?;
    nft(&cluster, "delete table inet caracal")?;
    let peers = &cluster.peers;
    let load = Load::start(&peers["default/server"], &peers["default/client"], &peers["default/other"])?;
    std::thread::sleep(BESIDE);
    let agent = start(&cluster)?;
    // What was on its way.
    std::thread::sleep(BESIDE);
    let before = load.leaked();
    std::thread::sleep(2 * BESIDE);
    let (seen, trouble) = load.end();
    assert!(before > 100, "without rules everything passes: {seen:?}");
    assert_eq!((seen.unanswered, seen.failed, seen.leaked - before), (0, 0, 0), "{seen:?}: {trouble:?}");
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    agent.stop()
}
