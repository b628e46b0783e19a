//! Parameters that change while two thousand flows live and a thousand connections a
//! second begin: what policy allows loses nothing by it, nothing that it denies arrives,
//! and each change costs one transaction of rules. An interface that loses its name
//! takes nobody around the policy of its pod.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::load::Load;
use caracal_fv_tests::pod::interface_name;
use caracal_fv_tests::policies::client_only;
use caracal_fv_tests::stream::Stream;

const PATIENCE: Duration = Duration::from_secs(20);

/// How long the load runs on: what is not answered within it was lost.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// One load is enough for a machine.
static ONE: Mutex<()> = Mutex::new(());

/// What a FelixConfiguration says, one after the other; between two of them it says
/// nothing. Each changes rules that packets of the load meet.
const CHANGES: [&str; 9] = [
    "nftablesFilterDenyAction: Reject",
    "disableConntrackInvalidCheck: true",
    "interfacePrefix: 'cali,tap'",
    "flowLogsLocalReporter: Enabled",
    "allowIPIPPacketsFromWorkloads: true",
    "vxlanPort: 8472",
    "defaultEndpointToHostAction: Return",
    "interfacePrefix: 'cali,tap', nftablesFilterDenyAction: Reject, flowLogsLocalReporter: Enabled",
    "defaultEndpointToHostAction: Accept, disableConntrackInvalidCheck: true, allowVXLANPacketsFromWorkloads: true",
];

/// Runs a program in the node's namespace, and gives what it prints.
fn on_node(cluster: &Cluster, command: &str) -> anyhow::Result<String> {
    let words: Vec<&str> = command.split(' ').collect();
    let output = cluster.node.run(|| Command::new(words[0]).args(&words[1..]).output())??;
    ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The rules, without what they have counted.
fn rules(cluster: &Cluster) -> anyhow::Result<String> {
    on_node(cluster, "nft -s list table inet caracal")
}

fn configure(cluster: &Cluster, spec: &str) -> anyhow::Result<()> {
    let object = "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\n";
    cluster.write("felix.yaml", &format!("{object}spec: {{{spec}}}\n")).map(drop)
}

fn eventually(what: &str, mut look: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !look().unwrap_or(false) {
        ensure!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Does something while the agent runs under load; nobody who may speak notices, and
/// nobody else is heard.
fn under_load(step: impl FnOnce(&Cluster) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = client_only()?;
    configure(&cluster, "")?;
    let agent = Process::agent(&cluster)?;
    eventually("in sync", || Ok(agent.log()?.contains("in sync")))?;
    let peers = &cluster.peers;
    let load = Load::start(&peers["default/server"], &peers["default/client"], &peers["default/other"])?;
    step(&cluster)?;
    std::thread::sleep(AFTERWARDS);
    let (tally, trouble) = load.end();
    assert!(tally.asked > 1_000 && tally.opened > 100 && tally.denied > 100, "the load ran: {tally:?}");
    assert_eq!((tally.unanswered, tally.failed, tally.leaked), (0, 0, 0), "{tally:?} {trouble:?}");
    agent.stop()
}

#[test]
fn parameters_of_rules_change_under_load_and_nobody_notices() -> anyhow::Result<()> {
    under_load(|cluster| {
        let before = rules(cluster)?;
        for spec in CHANGES {
            configure(cluster, spec)?;
            eventually(spec, || Ok(rules(cluster)? != before))?;
            configure(cluster, "")?;
            eventually(&format!("{spec}, and back"), || Ok(rules(cluster)? == before))?;
        }
        Ok(())
    })
}

/// The kernel keeps one route to a destination with a metric: to write it in another
/// name and to delete it in the old one must not leave none.
#[test]
fn parameters_of_routes_change_under_load_and_nobody_notices() -> anyhow::Result<()> {
    under_load(|cluster| {
        let interface = interface_name("default", "server");
        let routes = |family: &str| on_node(cluster, &format!("ip -d {family} route show dev {interface}"));
        let workload = |family: &str| -> anyhow::Result<_> {
            Ok(routes(family)?.lines().find(|line| !line.contains("fe80")).map(str::to_owned))
        };
        for (spec, text) in [
            ("deviceRouteProtocol: 80", "proto 80"),
            ("deviceRouteProtocol: 0", "proto boot"),
            ("deviceRouteProtocol: 80", "proto 80"),
            ("ipv4NormalRoutePriority: 100, ipv6NormalRoutePriority: 100", "metric 100"),
            ("deviceRouteProtocol: 0", "metric 1024"),
            ("", "proto boot"),
        ] {
            configure(cluster, spec)?;
            let says = |family: &str| -> anyhow::Result<bool> {
                Ok(workload(family)?.is_some_and(|route: String| format!("{route} ").contains(&format!("{text} "))))
            };
            eventually(spec, || Ok(says("-4")? && says("-6")?))?;
            std::thread::sleep(AFTERWARDS / 4);
        }
        Ok(())
    })
}

/// The kernel renames an interface that is up and keeps its routes: without them
/// nothing is sent where no rule judges it.
#[test]
fn a_pod_whose_interface_loses_its_name_is_not_reached_past_its_policy() -> anyhow::Result<()> {
    let cluster = client_only()?;
    let agent = Process::agent(&cluster)?;
    let (server, other) = (&cluster.peers["default/server"], &cluster.peers["default/other"]);
    let denied = Stream::start(other, server)?;
    let interface = interface_name("default", "server");
    let routes = || on_node(&cluster, "ip route show");
    eventually("the routes", || Ok(routes()?.contains(&interface)))?;

    on_node(&cluster, &format!("ip link set {interface} name stray0"))?;
    let address = server.addrs.first().context("an address")?.to_string();
    eventually("no route to the pod", || Ok(!routes()?.contains(&address)))?;
    let closed = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    let (arrived, lost) = denied.tally(closed, Instant::now())?;
    assert!(arrived == 0 && lost > 100, "{arrived} arrived, {lost} did not");

    on_node(&cluster, &format!("ip link set stray0 name {interface}"))?;
    eventually("the routes again", || Ok(routes()?.contains(&interface)))?;
    let back = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(denied.tally(back, Instant::now())?.0, 0);
    agent.stop()
}
