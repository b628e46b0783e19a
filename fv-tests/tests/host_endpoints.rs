//! Host endpoints on the wire: what reaches the node, leaves it and passes
//! through it, while endpoints, policies, failsafe ports and addresses change.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, NODE_V4, NODE_V6};
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::probe::{Probe, ProbePort, Prober, tcp, udp};

const CONVERGENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(50);
const POD: &str = "default/web";

/// Ports that are served everywhere: 22, 6443 and 53 are failsafe ports, 22 inwards only.
const PORTS: [ProbePort; 5] = [tcp(22), tcp(80), tcp(81), tcp(6443), udp(53)];

/// A flow by names of its ends, its port, and whether it arrives, for IPv4 and IPv6 alike.
type Flow = (&'static str, &'static str, ProbePort, bool);

struct World {
    cluster: Cluster,
    node: Prober,
    agent: Process,
}

impl World {
    fn new() -> anyhow::Result<Self> {
        let mut cluster = Cluster::serving(PORTS)?;
        cluster.namespace("default", &[])?;
        cluster.write("felix.yaml", &felix(""))?;
        cluster.start_pod(pod(POD, &[]))?;
        cluster.make_ready(POD)?;
        let node = Prober::start(&cluster.node, "node", &cluster.ports)?;
        let agent = Process::agent(&cluster)?;
        Ok(Self { cluster, node, agent })
    }

    fn addrs(&self, name: &str) -> Vec<IpAddr> {
        match name {
            "node" => vec![NODE_V4.into(), NODE_V6.into()],
            name => self.cluster.peers[name].addrs.clone(),
        }
    }

    fn prober(&self, name: &str) -> &Prober {
        if name == "node" { &self.node } else { self.cluster.peers[name].prober() }
    }

    /// Sends every flow until all end as they must, or time is up.
    fn check(&self, state: &str, flows: &[Flow]) -> anyhow::Result<()> {
        let flows = flows.iter().flat_map(|(from, to, port, arrives)| {
            let pairs = self.addrs(from).into_iter().zip(self.addrs(to));
            pairs.map(move |(src, dst)| (*from, src, dst, *port, *arrives))
        });
        self.check_addrs(state, &flows.collect::<Vec<_>>())
    }

    fn check_addrs(&self, state: &str, flows: &[(&str, IpAddr, IpAddr, ProbePort, bool)]) -> anyhow::Result<()> {
        let deadline = Instant::now() + CONVERGENCE;
        loop {
            let mut pending = Vec::new();
            for (from, src, dst, port, arrives) in flows {
                let patience = if *arrives { Duration::from_millis(1500) } else { Duration::from_millis(300) };
                let probe = Probe { from: *src, to: *dst, port: *port, patience };
                pending.push((probe, *arrives, self.prober(from).begin(probe)?));
            }
            let mut wrong = Vec::new();
            for (probe, arrives, answer) in pending {
                if answer.blocking_recv()? != arrives {
                    let not = if arrives { " not" } else { "" };
                    wrong.push(format!("{} -> {} {} does{not} arrive", probe.from, probe.to, probe.port));
                }
            }
            if wrong.is_empty() {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "{state}: {wrong:#?}\n{}", self.in_node("nft", &["list", "ruleset"])?);
            thread::sleep(PAUSE);
        }
    }

    /// Runs a program in the node's namespace; gives what it printed.
    fn in_node(&self, program: &str, args: &[&str]) -> anyhow::Result<String> {
        let output = self.cluster.node.run(|| Command::new(program).args(args).output())??;
        let error = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{program} {args:?}: {error}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn ip(&self, args: &str) -> anyhow::Result<()> {
        self.in_node("ip", &args.split(' ').collect::<Vec<_>>()).map(drop)
    }
}

/// The default FelixConfiguration, with more fields.
fn felix(more: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\n\
         spec: {{defaultEndpointToHostAction: Accept{more}}}\n"
    )
}

/// A host endpoint with a label; `on` is `interfaceName: …` or `expectedIPs: […]`.
fn endpoint(on: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {{name: hep, labels: {{role: host}}}}\n\
         spec: {{node: node1, {on}}}\n"
    )
}

/// A policy of the host endpoint.
fn policy(spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: host}}\n\
         spec: {{selector: role == 'host', {spec}}}\n"
    )
}

const UPLINK: &str = "interfaceName: uplink";

/// A rule without which neighbours of IPv6 are not found.
const ICMPV6: &str = "{action: Allow, protocol: ICMPv6}";

/// What is not this endpoint's to judge passes in any case.
const ALWAYS: [Flow; 4] = [
    (POD, "node", tcp(80), true),
    ("node", POD, tcp(80), true),
    ("outside", "node", tcp(22), true),
    ("node", "outside", tcp(6443), true),
];

fn with(flows: &[Flow]) -> Vec<Flow> {
    [&ALWAYS, flows].concat()
}

#[test]
fn local_traffic_forwarded_traffic_and_failsafe_ports() -> anyhow::Result<()> {
    let world = World::new()?;
    let forwarded = [("outside", POD, tcp(80), true), (POD, "outside", tcp(80), true)];
    let open = [("outside", "node", tcp(80), true), ("node", "outside", tcp(80), true)];
    world.check("no host endpoint", &with(&[forwarded, open].concat()))?;

    world.cluster.write("hep.yaml", &endpoint(UPLINK))?;
    let closed = [
        ("outside", "node", tcp(80), false),
        ("outside", "node", tcp(6443), true),
        ("outside", "node", udp(53), false),
        ("node", "outside", tcp(80), false),
        ("node", "outside", tcp(22), false),
        ("node", "outside", udp(53), true),
    ];
    world.check("closed but for failsafe ports", &with(&[&forwarded[..], &closed].concat()))?;

    world
        .cluster
        .write("policy.yaml", &policy("ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]"))?;
    let local =
        [("outside", "node", tcp(80), true), ("outside", "node", tcp(81), false), ("node", "outside", tcp(80), false)];
    world.check("a policy for local traffic", &with(&[&forwarded[..], &local].concat()))?;

    let spec =
        "applyOnForward: true, ingress: [{action: Deny, protocol: TCP, destination: {ports: [81]}}, {action: Allow}]";
    world.cluster.write("policy.yaml", &policy(spec))?;
    let both = [
        ("outside", "node", tcp(80), true),
        ("outside", "node", tcp(81), false),
        ("outside", POD, tcp(80), true),
        ("outside", POD, tcp(81), false),
        (POD, "outside", tcp(81), true),
    ];
    world.check("a policy for forwarded traffic too", &with(&both))?;
    let spec =
        "applyOnForward: true, types: [Egress], egress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]";
    world.cluster.write("policy.yaml", &policy(spec))?;
    let out = [
        ("node", "outside", tcp(80), true),
        ("node", "outside", tcp(81), false),
        (POD, "outside", tcp(80), true),
        (POD, "outside", tcp(81), false),
        ("outside", POD, tcp(81), true),
        ("outside", "node", tcp(80), false),
    ];
    world.check("a policy for what leaves", &with(&out))?;

    world.cluster.remove("hep.yaml")?;
    world.check("the endpoint gone", &with(&[forwarded, open].concat()))?;
    assert!(!world.in_node("nft", &["list", "ruleset"])?.contains("jump host-"));
    world.agent.stop()
}

#[test]
fn failsafe_ports_change_while_the_agent_runs() -> anyhow::Result<()> {
    let world = World::new()?;
    world.cluster.write("hep.yaml", &endpoint(UPLINK))?;
    let [v4, v6]: [IpAddr; 2] = [NODE_V4.into(), NODE_V6.into()];
    let outside = world.addrs("outside");
    let to_node = |state: &str, port, v4_arrives, v6_arrives| {
        let flows = [("outside", outside[0], v4, port, v4_arrives), ("outside", outside[1], v6, port, v6_arrives)];
        world.check_addrs(state, &flows)
    };
    to_node("the default", tcp(22), true, true)?;
    to_node("the default", tcp(81), false, false)?;
    let ports = ", failsafeInboundHostPorts: [{protocol: TCP, port: 81}, {protocol: TCP, net: 192.0.2.0/24, port: 80}]";
    world.cluster.write("felix.yaml", &felix(ports))?;
    to_node("other ports", tcp(81), true, true)?;
    to_node("a port for a prefix", tcp(80), true, false)?;
    to_node("no longer open", tcp(22), false, false)?;
    world.cluster.write("felix.yaml", &felix(", failsafeInboundHostPorts: [], failsafeOutboundHostPorts: []"))?;
    to_node("none", tcp(81), false, false)?;
    let log = world.agent.log()?;
    assert!(log.contains("host endpoint hep: its normal policy cuts off ssh from anywhere"), "it is called out: {log}");
    world
        .check("none outwards either", &[("node", "outside", tcp(6443), false), ("node", "outside", udp(53), false)])?;
    world.agent.stop()
}

/// No failsafe port is for them, as in Felix: what is cut off thereby is called out.
#[test]
fn neighbours_of_ipv6_are_found_as_policy_says() -> anyhow::Result<()> {
    let world = World::new()?;
    let [v4, v6]: [IpAddr; 2] = [NODE_V4.into(), NODE_V6.into()];
    let outside = world.addrs("outside");
    let flows = |found| [("node", v4, outside[0], tcp(6443), true), ("node", v6, outside[1], tcp(6443), found)];
    world.check_addrs("no host endpoint", &flows(true))?;
    world.cluster.write("hep.yaml", &endpoint(UPLINK))?;
    world.check("a host endpoint without policy", &[("outside", "node", tcp(80), false)])?;
    world.ip("-6 neigh flush dev uplink")?;
    world.check_addrs("failsafe ports", &flows(false))?;
    let icmp = "[{action: Allow, protocol: ICMPv6}]";
    world.cluster.write("policy.yaml", &policy(&format!("ingress: {icmp}, egress: {icmp}")))?;
    world.check_addrs("policy lets them pass", &flows(true))?;
    world.agent.stop()
}

#[test]
fn policy_before_dnat_sees_the_port_that_was_asked_for() -> anyhow::Result<()> {
    let world = World::new()?;
    let pod = world.addrs(POD);
    let table = format!(
        "table inet somebody {{ chain prerouting {{ type nat hook prerouting priority dstnat; \
         iifname uplink tcp dport 8080 dnat ip to {}:80; iifname uplink tcp dport 8080 dnat ip6 to [{}]:80; }};\n\
         chain output {{ type nat hook output priority -100; ip daddr 198.51.100.9 tcp dport 8080 dnat ip to 192.0.2.2:80; }}; }}",
        pod[0], pod[1]
    );
    world.in_node("nft", &[&table])?;
    world.cluster.write("hep.yaml", &endpoint(UPLINK))?;
    world.check("translated", &with(&[("outside", "node", tcp(8080), true)]))?;
    let spec =
        "preDNAT: true, applyOnForward: true, ingress: [{action: Deny, protocol: TCP, destination: {ports: [8080]}}]";
    world.cluster.write("policy.yaml", &policy(spec))?;
    let denied =
        [("outside", "node", tcp(8080), false), ("outside", POD, tcp(80), true), ("outside", "node", tcp(80), false)];
    world.check("denied before it is translated", &with(&denied))?;
    let spec =
        "preDNAT: true, applyOnForward: true, ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]";
    world.cluster.write("policy.yaml", &policy(spec))?;
    let allowed =
        [("outside", "node", tcp(80), true), ("outside", "node", tcp(81), false), ("outside", "node", tcp(8080), true)];
    world.check("allowed for good", &with(&allowed))?;

    // What the node itself sends elsewhere is judged with the destination that it gets.
    let [node, elsewhere]: [IpAddr; 2] = [NODE_V4.into(), "198.51.100.9".parse()?];
    for (port, arrives) in [(80, true), (8080, false)] {
        let spec =
            format!("types: [Egress], egress: [{{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}]");
        world.cluster.write("policy.yaml", &policy(&spec))?;
        world.check_addrs(&spec, &[("node", node, elsewhere, tcp(8080), arrives)])?;
    }
    world.agent.stop()
}

#[test]
fn untracked_policy_leaves_no_connections() -> anyhow::Result<()> {
    let world = World::new()?;
    let spec = "doNotTrack: true, applyOnForward: true, types: [Ingress, Egress], \
        ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}, {action: Deny, protocol: TCP, destination: {ports: [22, 81]}}], \
        egress: [{action: Allow, protocol: TCP, source: {ports: [80]}}]";
    world.cluster.write("policy.yaml", &policy(spec))?;
    world.cluster.write("hep.yaml", &endpoint(UPLINK))?;
    // Failsafe ports are open, whatever untracked policy says, and tracked.
    world.check(
        "untracked",
        &with(&[
            ("outside", "node", tcp(80), true),
            ("outside", "node", tcp(81), false),
            ("outside", POD, tcp(81), false),
        ]),
    )?;
    world.in_node("conntrack", &["-F"])?;
    let flows = [("outside", "node", tcp(80), true), ("outside", "node", tcp(22), true)];
    world.check("after the connections were forgotten", &flows)?;
    for (family, port, wanted) in [("ipv4", "80", 0), ("ipv6", "80", 0), ("ipv4", "22", 1), ("ipv6", "22", 1)] {
        let listed = world.in_node("conntrack", &["-L", "-f", family, "-p", "tcp", "--dport", port])?;
        assert_eq!(listed.lines().count(), wanted, "{family} port {port}: {listed}");
    }
    world.cluster.remove("policy.yaml")?;
    world.check("tracked again", &with(&[("outside", "node", tcp(80), false)]))?;
    world.agent.stop()
}

/// What the kernel remembers of a connection from before must not stand in its way.
#[test]
fn a_connection_lives_through_untracked_policy() -> anyhow::Result<()> {
    let world = World::new()?;
    let port = "protocol: TCP, destination: {ports: [4000]}";
    let tracked = policy(&format!(
        "types: [Ingress, Egress], ingress: [{{action: Allow, {port}}}, {ICMPV6}], egress: [{ICMPV6}]"
    ));
    let untracked = policy(&format!(
        "doNotTrack: true, applyOnForward: true, types: [Ingress, Egress], ingress: [{{action: Allow, {port}}}], \
         egress: [{{action: Allow, {}}}]",
        port.replace("destination", "source")
    ));
    world.cluster.write("tracked.yaml", &tracked.replace("name: host", "name: tracked"))?;
    world.cluster.write("hep.yaml", &endpoint(UPLINK))?;
    world.check("a host endpoint", &[("outside", "node", tcp(80), false)])?;
    let mut connections = Vec::new();
    for (node, outside) in world.addrs("node").into_iter().zip(world.addrs("outside")) {
        let listener = world.cluster.node.run(|| TcpListener::bind((node, 4000)))??;
        let client = world.cluster.peers["outside"].namespace.run(|| TcpStream::connect((node, 4000)))??;
        let (server, _) = listener.accept()?;
        connections.push((outside, client, server));
    }
    let mut talk = |state: &str, bytes: usize| -> anyhow::Result<()> {
        for (who, client, server) in &mut connections {
            for end in [&*client, &*server] {
                end.set_read_timeout(Some(CONVERGENCE))?;
            }
            let mut got = vec![0; bytes];
            std::thread::scope(|scope| {
                scope.spawn(|| client.write_all(&vec![1; bytes]));
                server.read_exact(&mut got).with_context(|| format!("{state}: {who}"))
            })?;
        }
        Ok(())
    };
    talk("tracked", 1)?;
    let count = || -> anyhow::Result<usize> {
        let listed = ["ipv4", "ipv6"]
            .map(|family| world.in_node("conntrack", &["-L", "-f", family, "-p", "tcp", "--dport", "4000"]));
        listed.into_iter().map(|listed| Ok(listed?.lines().count())).sum()
    };
    anyhow::ensure!(count()? == 2, "both are tracked");
    world.cluster.write("policy.yaml", &untracked)?;
    let deadline = Instant::now() + CONVERGENCE;
    while count()? > 0 {
        anyhow::ensure!(Instant::now() < deadline, "still tracked");
        thread::sleep(PAUSE);
    }
    // More than any window.
    talk("untracked", 8 << 20)?;
    world.cluster.remove("policy.yaml")?;
    let deadline = Instant::now() + CONVERGENCE;
    while count()? < 2 {
        anyhow::ensure!(Instant::now() < deadline, "not tracked again");
        talk("tracked again", 1)?;
        thread::sleep(PAUSE);
    }
    talk("tracked again", 8 << 20)?;
    world.agent.stop()
}

#[test]
fn all_interfaces_but_those_of_workloads() -> anyhow::Result<()> {
    let world = World::new()?;
    world.cluster.write("hep.yaml", &endpoint("interfaceName: '*'"))?;
    let closed = [
        ("outside", "node", tcp(80), false),
        ("node", "outside", tcp(80), false),
        ("node", "node", tcp(80), false),
        ("outside", POD, tcp(80), true),
        (POD, "outside", tcp(80), true),
    ];
    world.check("all interfaces, no policy", &with(&closed))?;
    let named = endpoint(UPLINK).replace("name: hep", "name: named").replace("role: host", "role: named");
    let spec = "ingress: [{action: Allow}], egress: [{action: Allow}]";
    world.cluster.write("policy.yaml", &policy(spec).replace("'host'", "'named'"))?;
    world.cluster.write("named.yaml", &named)?;
    let open =
        [("outside", "node", tcp(80), true), ("node", "outside", tcp(80), true), ("node", "node", tcp(80), false)];
    world.check("a named endpoint comes before it", &with(&open))?;
    world.cluster.remove("named.yaml")?;
    world.check("and when it goes, the other is back", &with(&closed))?;

    // For forwarded packets and before DNAT it stands for interfaces of workloads too.
    let spec =
        "applyOnForward: true, types: [Ingress], ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]";
    world.cluster.write("policy.yaml", &policy(spec))?;
    let forwarded = [
        (POD, "outside", tcp(80), true),
        (POD, "outside", tcp(81), false),
        (POD, "node", tcp(81), true),
        ("outside", POD, tcp(81), false),
    ];
    world.check("forwarded", &with(&forwarded))?;
    let spec =
        "preDNAT: true, applyOnForward: true, ingress: [{action: Deny, protocol: TCP, destination: {ports: [81]}}]";
    world.cluster.write("policy.yaml", &policy(spec))?;
    let early = [(POD, "outside", tcp(80), true), (POD, "outside", tcp(81), false), (POD, "node", tcp(81), false)];
    world.check("before DNAT", &with(&early))?;
    world.agent.stop()
}

#[test]
fn an_endpoint_follows_its_address() -> anyhow::Result<()> {
    let world = World::new()?;
    let flows = |arrives| [("outside", "node", tcp(80), arrives), ("node", "outside", tcp(80), arrives)];
    world.ip("link add other type veth peer name other-end")?;
    world.ip("link set other up")?;
    world.cluster.write("hep.yaml", &endpoint("expectedIPs: [198.51.100.1, '2001:db8:1::1']"))?;
    world.check("nobody has the address", &with(&flows(true)))?;
    for addr in ["198.51.100.1/32", "2001:db8:1::1/128"] {
        world.ip(&format!("addr add {addr} dev other"))?;
        world.check("another interface has it", &with(&flows(true)))?;
        world.ip(&format!("addr add {addr} dev uplink"))?;
        world.check("the uplink has it", &with(&flows(false)))?;
        world.ip(&format!("addr del {addr} dev uplink"))?;
        world.check("the uplink has lost it", &with(&flows(true)))?;
        world.ip(&format!("addr del {addr} dev other"))?;
    }
    world.agent.stop()
}
