//! Packets of pods to their own node: the pod's egress policy decides, then
//! `DefaultEndpointToHostAction`, changed while the agent runs. Packets of the node to
//! its pods pass. The reference evaluator says the same.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, NODE, NODE_V4, NODE_V6};
use caracal_fv_tests::oracle::explain::{Question, batch};
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::probe::{Probe, Prober, tcp, udp};

const CONVERGENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
const ARRIVAL: Duration = Duration::from_millis(1500);
const POD: &str = "default/client";

const NO_EGRESS: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: no-egress, namespace: default}
spec: {podSelector: {}, policyTypes: [Egress]}
";

const NO_INGRESS: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: no-ingress, namespace: default}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

/// What may reach whom on every port and family of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    All,
    None,
}

/// Probes every port of every address until all answers are as they must be, or time is up.
fn check(from: &Prober, pairs: &[(IpAddr, IpAddr)], want: Reach, state: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + CONVERGENCE;
    loop {
        let patience = match want {
            Reach::All => ARRIVAL,
            Reach::None => Duration::from_millis(300),
        };
        let probes =
            pairs.iter().flat_map(|&(from, to)| [tcp(80), udp(53)].map(|port| Probe { from, to, port, patience }));
        let pending: Vec<_> = probes.map(|probe| Ok((probe, from.begin(probe)?))).collect::<anyhow::Result<_>>()?;
        let mut wrong = Vec::new();
        for (probe, answer) in pending {
            if answer.blocking_recv()? != (want == Reach::All) {
                wrong.push(format!("{} -> {} {}", probe.from, probe.to, probe.port));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "{state}: {want:?} should arrive, but not so {wrong:?}");
        thread::sleep(PAUSE);
    }
}

/// What the reference evaluator says of every port of every address.
fn explained(cluster: &Cluster, pairs: &[(IpAddr, IpAddr)], want: Reach, state: &str) -> anyhow::Result<()> {
    let questions = pairs.iter().flat_map(|(from, to)| {
        ["80/tcp", "53/udp"].map(|port| Question { from: from.to_string(), to: to.to_string(), port: port.to_owned() })
    });
    let questions: Vec<_> = questions.collect();
    let want = if want == Reach::All { "allow" } else { "deny" };
    let wrong: Vec<_> = batch(cluster.manifests(), &questions)?.into_iter().filter(|answer| answer != want).collect();
    assert!(wrong.is_empty(), "{state}: should be {want}: {wrong:?}");
    Ok(())
}

fn node_manifest() -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {NODE}}}\n\
         status: {{addresses: [{{type: InternalIP, address: {NODE_V4}}}, {{type: InternalIP, address: \"{NODE_V6}\"}}]}}\n"
    )
}

fn felix(action: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\n\
         spec: {{defaultEndpointToHostAction: {action}}}\n"
    )
}

#[test]
fn a_pod_reaches_its_node_as_policy_and_then_the_action_say() -> anyhow::Result<()> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    cluster.write("node.yaml", &node_manifest())?;
    cluster.start_pod(pod(POD, &[]))?;
    cluster.make_ready(POD)?;
    let host = Prober::start(&cluster.node, "node", &cluster.ports)?;
    let client = &cluster.peers[POD];
    let node: [IpAddr; 2] = [NODE_V4.into(), NODE_V6.into()];
    let to_node: Vec<_> = client.addrs.iter().copied().zip(node).collect();
    let from_node: Vec<_> = node.into_iter().zip(client.addrs.iter().copied()).collect();

    let agent = Process::agent(&cluster)?;
    // What the node opens is answered, whatever is said of the pod's own packets.
    check(&host, &from_node, Reach::All, "node to pod, no policy")?;
    check(client.prober(), &to_node, Reach::None, "the default, no policy")?;
    for (action, open) in [("Return", Reach::All), ("Drop", Reach::None), ("Accept", Reach::All)] {
        cluster.write("felix.yaml", &felix(action))?;
        check(client.prober(), &to_node, open, action)?;
        explained(&cluster, &to_node, open, action)?;
        for (policy, policies) in
            [("no egress", NO_EGRESS.to_owned()), ("no traffic", format!("{NO_EGRESS}---{NO_INGRESS}"))]
        {
            let state = format!("{action}, {policy}");
            cluster.write("policy.yaml", &policies)?;
            check(client.prober(), &to_node, Reach::None, &state)?;
            check(&host, &from_node, Reach::All, &format!("node to pod, {state}"))?;
            explained(&cluster, &to_node, Reach::None, &state)?;
            explained(&cluster, &from_node, Reach::All, &format!("node to pod, {state}"))?;
        }
        cluster.remove("policy.yaml")?;
        check(client.prober(), &to_node, open, &format!("{action}, policy gone"))?;
    }
    agent.stop()
}
