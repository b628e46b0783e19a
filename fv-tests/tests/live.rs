//! Changes while the agent runs: edits, pods that come and go, labels.

use std::time::Duration;

use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::matrix::agree;
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::reference::Evaluator;

const CONVERGENCE: Duration = Duration::from_secs(10);

const ONLY_FRIENDS: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-friends, namespace: default}
spec:
  podSelector: {matchLabels: {role: server}}
  ingress: [{from: [{podSelector: {matchLabels: {friend: 'yes'}}}]}]
";

fn cluster() -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    cluster.start_pods([pod("default/server", &[("role", "server")]), pod("default/client", &[])])?;
    Ok(cluster)
}

fn allowed(cluster: &Cluster, from: &str, to: &str) -> anyhow::Result<bool> {
    let verdicts = agree(cluster, &Evaluator, CONVERGENCE)?;
    let mut cells = verdicts.iter().filter(|(flow, _)| flow.from == from && flow.to == to).map(|(_, allowed)| *allowed);
    let first = cells.next().expect("the pair is in the matrix");
    assert!(cells.all(|cell| cell == first), "{from} -> {to} differs by port or family");
    Ok(first)
}

#[test]
fn labels_policies_and_pods_change_while_the_agent_runs() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    let agent = Process::agent(&cluster)?;
    assert!(allowed(&cluster, "default/client", "default/server")?);

    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    assert!(!allowed(&cluster, "default/client", "default/server")?);

    cluster.relabel("default/client", &[("friend", "yes")])?;
    assert!(allowed(&cluster, "default/client", "default/server")?);

    cluster.relabel("default/client", &[("friend", "no")])?;
    assert!(!allowed(&cluster, "default/client", "default/server")?);

    cluster.start_pod(pod("default/friend", &[("friend", "yes")]))?;
    assert!(allowed(&cluster, "default/friend", "default/server")?);
    assert!(!allowed(&cluster, "default/client", "default/server")?);

    cluster.stop_pod("default/friend")?;
    cluster.start_pod(pod("default/stranger", &[]))?;
    assert!(!allowed(&cluster, "default/stranger", "default/server")?);

    cluster.remove("policy.yaml")?;
    assert!(allowed(&cluster, "default/stranger", "default/server")?);
    agent.stop()
}

#[test]
fn a_pod_that_takes_the_address_of_another_gets_its_own_policy() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    cluster.start_pod(pod("default/friend", &[("friend", "yes")]))?;
    let agent = Process::agent(&cluster)?;
    assert!(allowed(&cluster, "default/friend", "default/server")?);
    let addrs = cluster.peers["default/friend"].addrs.clone();

    cluster.stop_pod("default/friend")?;
    cluster.start_pod(pod("default/foe", &[("friend", "no")]).at(&addrs))?;
    assert!(!allowed(&cluster, "default/foe", "default/server")?);
    agent.stop()
}

#[test]
fn pods_that_churn_on_few_addresses_never_inherit_policy() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    let agent = Process::agent(&cluster)?;
    for round in 0..8 {
        // Two addresses, each taken by a friend and a stranger in turn, several pods at a time.
        let labels = |friend: bool| [("friend", if friend { "yes" } else { "no" })];
        for (slot, friend) in [(1, round % 2 == 0), (2, round % 2 == 1)] {
            let addrs = [format!("10.65.0.20{slot}").parse()?, format!("fd00:65::20{slot}").parse()?];
            cluster.start_pod(pod(&format!("default/churn-{slot}-{round}"), &labels(friend)).at(&addrs))?;
        }
        for (slot, friend) in [(1, round % 2 == 0), (2, round % 2 == 1)] {
            let name = format!("default/churn-{slot}-{round}");
            assert_eq!(allowed(&cluster, &name, "default/server")?, friend, "{name}");
        }
        for slot in [1, 2] {
            cluster.stop_pod(&format!("default/churn-{slot}-{round}"))?;
        }
    }
    agent.stop()
}

#[test]
fn an_interface_that_comes_later_is_programmed_when_it_comes() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    let agent = Process::agent(&cluster)?;
    assert!(!allowed(&cluster, "default/client", "default/server")?);

    // The object is there before the interface, as when an API server is ahead of the CNI plugin.
    let late = pod("default/late", &[("friend", "yes")]).at(&["10.65.0.77".parse()?, "fd00:65::77".parse()?]);
    cluster.write("pod-default-late.json", &late.manifest(caracal_fv_tests::cluster::NODE).to_string())?;
    assert!(!allowed(&cluster, "default/client", "default/server")?);
    cluster.plug(late)?;
    assert!(allowed(&cluster, "default/late", "default/server")?);
    agent.stop()
}

#[test]
fn an_interface_without_a_pod_carries_nothing() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    let agent = Process::agent(&cluster)?;
    assert!(allowed(&cluster, "default/client", "default/server")?);

    // Plugged and routable, but no object names it.
    let name = cluster.plug(pod("default/unknown", &[]))?;
    let addrs = cluster.peers[&name].addrs.clone();
    caracal_fv_tests::wiring::configure(&cluster.node, async |net| {
        for addr in addrs {
            let interface = caracal_fv_tests::pod::interface_name("default", "unknown");
            net.route((addr, if addr.is_ipv4() { 32 } else { 128 }), None, &interface).await?;
        }
        Ok(())
    })?;
    let expected = caracal_fv_tests::matrix::flows(&cluster)
        .into_iter()
        .map(|flow| {
            let allowed = flow.from != name && flow.to != name;
            (flow, allowed)
        })
        .collect();
    let observed = caracal_fv_tests::matrix::observe(&cluster, &expected)?;
    assert_eq!(observed, expected, "{}", caracal_fv_tests::matrix::differences(&expected, &observed));
    agent.stop()
}

#[test]
fn a_broken_edit_keeps_the_last_admitted_policy_and_loses_nothing_else() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    let agent = Process::agent(&cluster)?;
    assert!(!allowed(&cluster, "default/client", "default/server")?);

    cluster.write(
        "policy.yaml",
        &ONLY_FRIENDS.replace("podSelector: {matchLabels: {friend: 'yes'}}", "ipBlock: {cidr: 300.0.0.0/8}"),
    )?;
    cluster.start_pod(pod("default/friend", &[("friend", "yes")]))?;
    // The reference reads the directory afresh, where the broken policy is absent; the agent holds the last good one.
    let expected = caracal_fv_tests::matrix::flows(&cluster)
        .into_iter()
        .map(|flow| {
            let allowed = flow.to != "default/server" || flow.from == "default/friend";
            (flow, allowed)
        })
        .collect();
    let deadline = std::time::Instant::now() + CONVERGENCE;
    loop {
        let observed = caracal_fv_tests::matrix::observe(&cluster, &expected)?;
        if observed == expected {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{}",
            caracal_fv_tests::matrix::differences(&expected, &observed)
        );
    }
    let log = agent.log()?;
    for part in ["policy.yaml", "only-friends", "spec.ingress[0].from[0].ipBlock.cidr"] {
        assert!(log.contains(part), "the log does not name {part}:\n{log}");
    }

    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    assert!(!allowed(&cluster, "default/client", "default/server")?);
    agent.stop()
}

/// Neither policy nor its absence lets IPv6 of a pod pass while nothing of it is programmed.
#[test]
fn ipv6_of_pods_goes_and_comes_with_its_parameter() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let agent = Process::agent(&cluster)?;
    for (spec, has_ipv6) in [("ipv6Support: true", true), ("ipv6Support: false", false), ("ipv6Support: true", true)] {
        let configuration = "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\n";
        cluster.write("felix.yaml", &format!("{configuration}spec: {{{spec}}}\n"))?;
        for (flow, allowed) in agree(&cluster, &Evaluator, CONVERGENCE)? {
            assert_eq!(allowed, has_ipv6 || flow.from_addr.is_ipv4(), "{spec}: {flow:?}");
        }
    }
    agent.stop()
}
