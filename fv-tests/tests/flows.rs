//! Flow records of real packets: one for each direction of a new connection, with
//! what decided, within bounds, and only while somebody wants them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use caracal_fv_tests::agent::{Process, program};
use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::probe::{Probe, ProbePort, tcp, udp};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(100);
const CLIENT: &str = "default/client";
const SERVER: &str = "default/server";

/// The client may speak to the server only, whom a tier before asks nothing but to
/// pass; the server takes port 80, refuses port 81, and says nothing of others.
const POLICIES: &str = r"
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: admin}
spec: {order: 10}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: admin.leave}
spec:
  tier: admin
  selector: role == 'client'
  types: [Egress]
  egress: [{action: Log}, {action: Pass}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: client, namespace: default}
spec:
  podSelector: {matchLabels: {role: client}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {role: server}}}]}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: server, namespace: default}
spec:
  selector: role == 'server'
  types: [Ingress]
  ingress:
  - {action: Allow, protocol: TCP, destination: {ports: [80]}}
  - {action: Deny, protocol: TCP, destination: {ports: [81]}}
";

struct World {
    cluster: Cluster,
    agent: Process,
}

impl World {
    fn new() -> anyhow::Result<Self> {
        let mut cluster = Cluster::serving([tcp(80), tcp(81), udp(53)])?;
        cluster.namespace("default", &[])?;
        for (name, role) in [(CLIENT, "client"), (SERVER, "server")] {
            cluster.start_pod(pod(name, &[("role", role)]))?;
            cluster.make_ready(name)?;
        }
        cluster.write("policies.yaml", POLICIES)?;
        record(&cluster, "Enabled")?;
        let agent = Process::agent(&cluster)?;
        let world = Self { cluster, agent };
        world
            .wait_for("rules that tell of flows", |rules| rules.contains(" group 1 ") && rules.contains(" group 2 "))?;
        Ok(world)
    }

    fn rules(&self) -> anyhow::Result<String> {
        let output = self.cluster.node.run(|| Command::new("nft").args(["list", "ruleset"]).output())??;
        Ok(String::from_utf8(output.stdout)?)
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rules = self.rules()?;
            if is_so(&rules) {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "{what}: {rules}");
            thread::sleep(PAUSE);
        }
    }

    fn addr(&self, peer: &str) -> IpAddr {
        self.cluster.peers[peer].addrs[0]
    }

    /// Whether a connection of the client comes through and back.
    fn arrives(&self, to: &str, port: ProbePort) -> anyhow::Result<bool> {
        let probe = Probe { from: self.addr(CLIENT), to: self.addr(to), port, patience: Duration::from_millis(700) };
        Ok(self.cluster.peers[CLIENT].prober().begin(probe)?.blocking_recv()?)
    }

    /// All that is recorded.
    fn flows(&self) -> anyhow::Result<Vec<Value>> {
        let mut command = Command::new(program()?);
        command.args(["flows", "--output", "json", "--admin-socket"]).arg(self.agent.admin_socket());
        let output = command.output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "caracal flows: {error}");
        let text = String::from_utf8(output.stdout)?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// What is recorded of flows to a port, when there is as much as expected.
    fn recorded(&self, port: u64, count: usize) -> anyhow::Result<Vec<Value>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut flows = self.flows()?;
            flows.retain(|flow| flow["destination"]["port"] == port);
            if flows.len() >= count || Instant::now() > deadline {
                return Ok(flows);
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Turns the records on or off.
fn record(cluster: &Cluster, word: &str) -> anyhow::Result<()> {
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\n\
         spec: {{flowLogsLocalReporter: {word}}}\n"
    );
    cluster.write("felix.yaml", &text).map(drop)
}

/// Direction, action, names of the ends, what decided, and what had passed it on.
fn short(flow: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let hit = |hit: &Value| {
        let rule = hit["rule"].as_u64().map(|rule| format!(" {rule}")).unwrap_or_default();
        format!("{} {}{rule}", text(&hit["kind"]), text(&hit["name"]))
    };
    let passed: Vec<String> = flow["passed"].as_array().into_iter().flatten().map(hit).collect();
    let [from, to] = ["source", "destination"].map(|end| text(&flow[end]["endpoint"]));
    let (direction, action) = (text(&flow["direction"]), text(&flow["action"]));
    format!("{direction} {action} {from} > {to}: {} [{}]", hit(&flow["decider"]), passed.join(", "))
}

#[test]
fn each_direction_of_a_new_connection_is_recorded_once_with_what_decided() -> anyhow::Result<()> {
    let world = World::new()?;
    let outbound = "outbound allow default/client > default/server: KubernetesNetworkPolicy client 0 \
                    [GlobalNetworkPolicy admin.leave 1]";
    let table = [
        (
            "allowed both ways",
            SERVER,
            tcp(80),
            true,
            vec!["inbound allow default/client > default/server: NetworkPolicy server 0 []", outbound],
        ),
        (
            "denied by a rule of the server",
            SERVER,
            tcp(81),
            false,
            vec!["inbound deny default/client > default/server: NetworkPolicy server 1 []", outbound],
        ),
        (
            "denied at the end of the server's tier",
            SERVER,
            udp(53),
            false,
            vec!["inbound deny default/client > default/server: EndOfTier default []", outbound],
        ),
    ];
    for (what, to, port, arrives, records) in &table {
        assert_eq!(world.arrives(to, *port)?, *arrives, "{what}");
        let flows = world.recorded(port.port.into(), records.len())?;
        let told: BTreeSet<String> = flows.iter().map(short).collect();
        assert_eq!(told, records.iter().map(ToString::to_string).collect(), "{what}: {flows:#?}");
        assert_eq!(flows.len(), records.len(), "{what}, once each: {flows:#?}");
    }
    assert!(!world.arrives("outside", tcp(80))?, "the client's tier ends in a denial");
    let denied = "outbound deny default/client > : EndOfTier default [GlobalNetworkPolicy admin.leave 1]";
    let to_port_80: BTreeSet<String> = world.recorded(80, 3)?.iter().map(short).collect();
    assert!(to_port_80.contains(denied), "{to_port_80:#?}");
    // What is established is not told of: its packets meet no rule that tells.
    let first: Vec<u64> = world.recorded(80, 3)?.iter().filter_map(|flow| flow["packets"].as_u64()).collect();
    assert!(first.len() == 3 && first[..2] == [1, 1], "{first:?}");
    Ok(())
}

/// Datagrams from as many ports: each is a connection of its own, and sent once.
#[test]
fn a_thousand_connections_are_recorded_within_bounds() -> anyhow::Result<()> {
    const COUNT: u16 = 1000;
    let world = World::new()?;
    let (from, to) = (world.addr(CLIENT), SocketAddr::new(world.addr(SERVER), 5353));
    world.cluster.peers[CLIENT]
        .namespace
        .run(|| (0..COUNT).try_for_each(|n| UdpSocket::bind((from, 20_000 + n))?.send_to(b"x", to).map(drop)))??;
    let flows = world.recorded(5353, 2 * usize::from(COUNT))?;
    let mut records: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for flow in &flows {
        let direction = flow["direction"].as_str().context("a direction")?.to_owned();
        let port = flow["source"]["port"].as_u64().context("a port")?;
        *records.entry((direction, port)).or_default() += flow["packets"].as_u64().context("packets")?;
    }
    assert_eq!((flows.len(), records.len()), (2000, 2000), "one record for each direction of each");
    assert!(records.values().all(|packets| *packets == 1));
    let told: BTreeSet<String> = flows.iter().map(short).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    Ok(())
}

#[test]
fn without_anybody_who_wants_them_rules_tell_of_no_flow() -> anyhow::Result<()> {
    let world = World::new()?;
    record(&world.cluster, "Disabled")?;
    world.wait_for("rules that tell of nothing", |rules| !rules.contains(" group "))?;
    assert!(world.arrives(SERVER, tcp(80))?);
    record(&world.cluster, "Enabled")?;
    world.wait_for("rules that tell of flows again", |rules| rules.contains(" group 2 "))?;
    assert!(world.arrives(SERVER, tcp(80))?);
    assert_eq!(world.recorded(80, 2)?.len(), 2, "of the second connection only");
    Ok(())
}
