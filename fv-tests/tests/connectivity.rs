//! Every kind of policy, on the wire: the agent is moved from one named state to
//! the next while it runs, and after each move all packets go as the reference
//! evaluator says.

use std::time::Duration;

use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::matrix::{Verdicts, agree};
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::reference::Evaluator;
use caracal_fv_tests::scenario::{SCENARIOS, Scenario};

const CONVERGENCE: Duration = Duration::from_secs(10);

fn cluster() -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("shop", &[("team", "a")])?;
    cluster.namespace("lab", &[("team", "b")])?;
    cluster.start_pods([
        pod("shop/web", &[("role", "web")]),
        pod("shop/db", &[("role", "db")]).port("sql", 81, "TCP"),
        pod("lab/client", &[("role", "client")]),
        pod("lab/tool", &[]),
    ])?;
    Ok(cluster)
}

fn check(cluster: &Cluster, scenario: &Scenario) -> anyhow::Result<()> {
    cluster.write("policy.yaml", scenario.manifests)?;
    let verdicts = agree(cluster, &Evaluator, CONVERGENCE).map_err(|error| error.context(scenario.name))?;
    for (lines, want) in [(scenario.allowed, true), (scenario.denied, false)] {
        for line in lines {
            let cells = cells(&verdicts, line);
            assert_eq!(cells, [want, want], "{}: {line}", scenario.name);
        }
    }
    Ok(())
}

/// The verdicts of one `FROM -> TO PORT` line, IPv4 and IPv6.
fn cells(verdicts: &Verdicts, line: &str) -> Vec<bool> {
    let matching = verdicts.iter().filter(|(flow, _)| format!("{} -> {} {}", flow.from, flow.to, flow.port) == line);
    matching.map(|(_, allowed)| *allowed).collect()
}

#[test]
fn packets_go_as_policy_says_through_every_state_forward_and_back() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let agent = Process::agent(&cluster)?;
    for scenario in SCENARIOS.iter().chain(SCENARIOS.iter().rev()) {
        check(&cluster, scenario)?;
    }
    agent.stop()
}

#[test]
fn a_state_that_stands_before_the_start_is_enforced_from_the_start() -> anyhow::Result<()> {
    let cluster = cluster()?;
    for scenario in SCENARIOS {
        cluster.write("policy.yaml", scenario.manifests)?;
        let agent = Process::agent(&cluster)?;
        check(&cluster, scenario)?;
        agent.stop()?;
    }
    Ok(())
}
