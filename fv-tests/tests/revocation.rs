//! Established connections when policy tightens: those that it denies now are
//! cut, whoever sends; the others notice nothing.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, NODE_V4, NODE_V6, Peer};
use caracal_fv_tests::connections::{review, tracked};
use caracal_fv_tests::matrix::agree;
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::policies::{ONLY_FRIENDS, friend_and_foe};
use caracal_fv_tests::reference::Evaluator;
use caracal_sys::conntrack::{Flow, FlowKey, Judgement};
use caracal_sys::netns::NetNs;

const CONVERGENCE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(10);

/// Long enough for a packet that was let through to arrive.
const ARRIVAL: Duration = Duration::from_millis(50);

/// A port on which nobody else serves.
const PORT: u16 = 4000;

/// Connections, and how many of a hundred are denied in the end.
const FLOWS: usize = 20_000;
const DENIED_OF_100: usize = 1;

/// How many times policy allows again what it denied, and within what time the
/// wire follows, on a busy machine.
const LOOSENED: usize = 5;
const AT_ONCE: Duration = Duration::from_millis(100);

/// Connections of each kind that go on.
const LIVE: usize = 20;

const NO_WAY_OUT: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: no-way-out, namespace: default}
spec:
  podSelector: {matchLabels: {role: foe}}
  policyTypes: [Egress]
";

/// Ports of this host that its policy allows, and that are open whatever its
/// policy says; one of others that is.
const ALLOWED: u16 = 4100;
const FAILSAFE_HERE: u16 = 22;
const FAILSAFE_THERE: u16 = 6443;

/// What host endpoints let in and out.
fn host_policy(rules: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: host}}\n\
         spec: {{selector: role == 'host', types: [Ingress, Egress], {rules}}}\n"
    )
}

fn host_endpoint(interface: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {{name: hep, labels: {{role: host}}}}\n\
         spec: {{node: node1, interfaceName: {interface}}}\n"
    )
}

const TO_HOST: &str = r"
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {defaultEndpointToHostAction: Return}
";

fn cluster() -> anyhow::Result<(Cluster, Process)> {
    let cluster = friend_and_foe()?;
    cluster.write("felix.yaml", TO_HOST)?;
    let agent = Process::agent(&cluster)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    // What the probes left behind would be cut too.
    review(&cluster.node, |_| Judgement::Forget)?;
    Ok((cluster, agent))
}

fn addr_of(peer: &Peer, like: IpAddr) -> IpAddr {
    let same = |addr: &&IpAddr| addr.is_ipv4() == like.is_ipv4();
    *peer.addrs.iter().find(same).expect("every peer has both families")
}

/// Both ends of a TCP connection.
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    fn open(client: &Peer, server: &NetNs, to: IpAddr) -> anyhow::Result<Self> {
        Self::between(&client.namespace, server, SocketAddr::new(to, 0))
    }

    fn between(client: &NetNs, server: &NetNs, at: SocketAddr) -> anyhow::Result<Self> {
        let listener = server.run(|| TcpListener::bind(at))??;
        let at = listener.local_addr()?;
        let client = client.run(|| TcpStream::connect_timeout(&at, PATIENCE))??;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(PATIENCE))?;
        }
        let mut connection = Self { client, server };
        connection.talks().context("before policy changes")?;
        Ok(connection)
    }

    /// A byte there and a byte back.
    fn talks(&mut self) -> io::Result<()> {
        let mut byte = [0];
        self.client.write_all(b"?")?;
        self.server.read_exact(&mut byte)?;
        self.server.write_all(b"!")?;
        self.client.read_exact(&mut byte)
    }

    /// Whether what one end sends ends its connection, and does not arrive at the other.
    fn is_cut(from: &mut TcpStream, to: &mut TcpStream) -> anyhow::Result<()> {
        let mut byte = [0];
        from.write_all(b"x")?;
        match from.read(&mut byte) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => bail!("the sender was not told: {other:?}"),
        }
        to.set_read_timeout(Some(ARRIVAL))?;
        match to.read(&mut byte) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset) => Ok(()),
            other => bail!("it arrived: {other:?}"),
        }
    }
}

/// A socket of a pod's address, as soon as the pod has it.
fn bind(peer: &Peer, at: SocketAddr) -> anyhow::Result<UdpSocket> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match peer.namespace.run(|| UdpSocket::bind(at))? {
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            socket => return Ok(socket?),
        }
    }
}

/// Waits until as many connections bear the label. Gives the time since then.
fn labelled(node: &NetNs, count: usize, since: Instant) -> anyhow::Result<Duration> {
    labelled_of(node, |_| true, count, since)
}

/// The same for some of the connections.
fn labelled_of(node: &NetNs, of: impl Fn(&Flow) -> bool, count: usize, since: Instant) -> anyhow::Result<Duration> {
    loop {
        let found: Vec<Flow> = tracked(node)?.into_iter().filter(|flow| flow.revoked && of(flow)).collect();
        let passed = since.elapsed();
        if found.len() == count {
            return Ok(passed);
        }
        ensure!(passed < PATIENCE, "{} connections are cut, {count} should be: {found:?}", found.len());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Opens UDP connections, each from a port of its own, answered once.
fn datagrams(client: &Peer, server: &UdpSocket, count: usize) -> anyhow::Result<BTreeSet<u16>> {
    let to = server.local_addr()?;
    let from = addr_of(client, to.ip());
    let mut ports = BTreeSet::new();
    client.namespace.run(|| {
        let mut byte = [0];
        for port in (10_000..).take(count) {
            let socket = UdpSocket::bind((from, port))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send_to(b"?", to)?;
            let (_, back) = server.recv_from(&mut byte)?;
            server.send_to(b"!", back)?;
            socket.recv(&mut byte)?;
            ports.insert(port);
        }
        anyhow::Ok(())
    })??;
    Ok(ports)
}

#[test]
fn exactly_the_connections_that_policy_denies_now_are_cut() -> anyhow::Result<()> {
    let (cluster, agent) = cluster()?;
    let peer = |name: &str| &cluster.peers[name];
    let (server, friend, foe) = (peer("default/server"), peer("default/friend"), peer("default/foe"));
    let open = |client: &Peer| -> anyhow::Result<Vec<Connection>> {
        let to = |n: usize| server.addrs[n % server.addrs.len()];
        (0..LIVE).map(|n| Connection::open(client, &server.namespace, to(n))).collect()
    };
    let (mut kept, mut cut) = (open(friend)?, open(foe)?);
    let at = SocketAddr::new(addr_of(server, NODE_V4.into()), PORT);
    let sink = server.namespace.run(|| UdpSocket::bind(at))??;
    sink.set_read_timeout(Some(PATIENCE))?;
    let denied = FLOWS * DENIED_OF_100 / 100;
    datagrams(friend, &sink, FLOWS - denied)?;
    let denied = datagrams(foe, &sink, denied)?;

    let start = Instant::now();
    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    let took = labelled(&cluster.node, denied.len() + LIVE, start)?;
    println!(
        r#"{{"workload":"revocation","flows":{FLOWS},"denied":{},"seconds":{:.4}}}"#,
        denied.len(),
        took.as_secs_f64()
    );

    let wrong: Vec<Flow> = tracked(&cluster.node)?
        .into_iter()
        .filter(|flow| flow.revoked != foe.addrs.contains(&flow.source) && server.addrs.contains(&flow.destination))
        .collect();
    assert_eq!(wrong, [], "cut or left alone wrongly");
    for connection in &mut kept {
        connection.talks().context("an allowed connection")?;
    }
    for (n, Connection { client, server }) in cut.iter_mut().enumerate() {
        // Half of them hear from the server only.
        match n < LIVE / 2 {
            true => Connection::is_cut(client, server),
            false => Connection::is_cut(server, client),
        }
        .with_context(|| format!("denied connection {n}"))?;
    }
    // The server sends, and then the client does, on a connection without resets.
    let from = SocketAddr::new(addr_of(foe, at.ip()), 10_000);
    let socket = foe.namespace.run(|| UdpSocket::bind(from))??;
    socket.set_read_timeout(Some(ARRIVAL))?;
    sink.set_read_timeout(Some(ARRIVAL))?;
    sink.send_to(b"!", from)?;
    assert!(socket.recv(&mut [0]).is_err(), "a datagram of the server arrived");
    socket.send_to(b"?", at)?;
    assert!(sink.recv(&mut [0]).is_err(), "a datagram of the client arrived");

    // Policy allows and denies them again, before the next review is due. (The
    // reset connections end meanwhile.)
    let datagrams = |flow: &Flow| matches!(flow.key, FlowKey::Ports { destination: PORT, .. });
    for _ in 0..LOOSENED {
        let start = Instant::now();
        cluster.remove("policy.yaml")?;
        let took = hears(&sink, &socket, start).context("a connection that policy allows again")?;
        println!(r#"{{"workload":"restoration","flows":{FLOWS},"seconds":{:.4}}}"#, took.as_secs_f64());
        assert!(took < AT_ONCE, "restored after {took:?} only");
        labelled_of(&cluster.node, datagrams, 0, start)?;
        cluster.write("policy.yaml", ONLY_FRIENDS)?;
        labelled_of(&cluster.node, datagrams, denied.len(), Instant::now())?;
    }
    agent.stop()
}

/// Sends from one socket to the other until something arrives.
fn hears(from: &UdpSocket, to: &UdpSocket, since: Instant) -> anyhow::Result<Duration> {
    to.set_read_timeout(Some(Duration::from_millis(1)))?;
    let at = to.local_addr()?;
    while since.elapsed() < PATIENCE {
        from.send_to(b"!", at)?;
        if to.recv(&mut [0]).is_ok() {
            return Ok(since.elapsed());
        }
    }
    bail!("nothing arrives")
}

#[test]
fn the_label_refuses_what_is_established_and_policy_judges_what_is_not() -> anyhow::Result<()> {
    let (cluster, agent) = cluster()?;
    let peer = |name: &str| &cluster.peers[name];
    let (server, foe) = (peer("default/server"), peer("default/foe"));
    for addr in &server.addrs {
        let at = SocketAddr::new(*addr, PORT);
        let sink = server.namespace.run(|| UdpSocket::bind(at))??;
        let client = foe.namespace.run(|| UdpSocket::bind(SocketAddr::new(addr_of(foe, *addr), PORT)))??;
        for socket in [&sink, &client] {
            socket.set_read_timeout(Some(ARRIVAL))?;
        }
        let arrives = |from: &UdpSocket, to: &UdpSocket| -> anyhow::Result<bool> {
            from.send_to(b"?", to.local_addr()?)?;
            Ok(to.recv(&mut [0]).is_ok())
        };
        let label = |judgement: Judgement| {
            review(&cluster.node, |flow| match server.addrs.contains(&flow.destination) {
                true => judgement,
                false => Judgement::Leave,
            })
        };
        assert!(arrives(&client, &sink)?, "{addr}: nothing denies it");
        label(Judgement::Cut)?;
        assert!(arrives(&client, &sink)?, "{addr}: nothing denies what opens a connection that was never answered");
        assert!(!arrives(&sink, &client)?, "{addr}: an answer passes by connection tracking alone");
        assert!(!arrives(&client, &sink)?, "{addr}: it has been answered");
        label(Judgement::Restore)?;
        assert!(arrives(&client, &sink)? && arrives(&sink, &client)?, "{addr}: without the label it is as any other");
    }
    agent.stop()
}

#[test]
fn what_leaves_a_workload_is_cut_towards_the_world_and_towards_its_host() -> anyhow::Result<()> {
    let (cluster, agent) = cluster()?;
    let peer = |name: &str| &cluster.peers[name];
    let (foe, friend, outside) = (peer("default/foe"), peer("default/friend"), peer("outside"));
    let mut cut = Vec::new();
    for (to, server) in [(NODE_V4.into(), &cluster.node), (NODE_V6.into(), &cluster.node)] {
        for _ in 0..2 {
            cut.push(Connection::open(foe, server, to)?);
        }
    }
    for addr in &outside.addrs {
        for _ in 0..2 {
            cut.push(Connection::open(foe, &outside.namespace, *addr)?);
        }
    }
    let mut kept = vec![
        Connection::open(friend, &cluster.node, NODE_V4.into())?,
        Connection::open(friend, &outside.namespace, addr_of(outside, NODE_V6.into()))?,
    ];
    cluster.write("policy.yaml", NO_WAY_OUT)?;
    labelled(&cluster.node, cut.len(), Instant::now())?;
    for (n, Connection { client, server }) in cut.iter_mut().enumerate() {
        match n % 2 {
            0 => Connection::is_cut(client, server),
            _ => Connection::is_cut(server, client),
        }
        .with_context(|| format!("denied connection {n}"))?;
    }
    for connection in &mut kept {
        connection.talks().context("an allowed connection")?;
    }
    agent.stop()
}

#[test]
fn what_host_endpoints_deny_now_is_cut_and_failsafe_ports_are_not() -> anyhow::Result<()> {
    let (cluster, agent) = cluster()?;
    let (outside, friend) = (&cluster.peers["outside"], &cluster.peers["default/friend"]);
    let (node, own) = (&cluster.node, [NODE_V4.into(), NODE_V6.into()]);
    let open = |client: &NetNs, server: &NetNs, to: &[IpAddr], ports: &[u16]| -> anyhow::Result<Vec<Connection>> {
        let ends = to.iter().flat_map(|addr| ports.iter().map(|port| SocketAddr::new(*addr, *port)));
        ends.map(|at| Connection::between(client, server, at)).collect()
    };
    for interface in ["'*'", "uplink"] {
        cluster.write("host-policy.yaml", &host_policy("ingress: [{action: Allow}], egress: [{action: Allow}]"))?;
        cluster.write("host-endpoint.yaml", &host_endpoint(interface))?;
        let mut cut = open(&outside.namespace, node, &own, &[PORT, PORT + 1])?;
        cut.extend(open(node, &outside.namespace, &outside.addrs, &[PORT, PORT + 1])?);
        let mut kept = open(&outside.namespace, node, &own, &[ALLOWED, FAILSAFE_HERE])?;
        kept.extend(open(node, &outside.namespace, &outside.addrs, &[FAILSAFE_THERE])?);
        kept.extend(open(&friend.namespace, node, &own, &[PORT])?);
        kept.extend(open(node, &friend.namespace, &friend.addrs, &[PORT])?);

        let allowed = format!("ingress: [{{action: Allow, protocol: TCP, destination: {{ports: [{ALLOWED}]}}}}]");
        cluster.write("host-policy.yaml", &host_policy(&allowed))?;
        // Those of the round before may still be tracked, and are denied as well.
        let connections = cut.iter().chain(&kept).map(|connection| connection.client.local_addr());
        let clients = connections.collect::<io::Result<BTreeSet<SocketAddr>>>()?;
        let of_this_round = |flow: &Flow| match flow.key {
            FlowKey::Ports { source, .. } => clients.contains(&SocketAddr::new(flow.source, source)),
            FlowKey::Icmp { .. } | FlowKey::Opaque => false,
        };
        labelled_of(node, of_this_round, cut.len(), Instant::now())?;
        for (n, Connection { client, server }) in cut.iter_mut().enumerate() {
            match n % 2 {
                0 => Connection::is_cut(client, server),
                _ => Connection::is_cut(server, client),
            }
            .with_context(|| format!("denied connection {n} on {interface}"))?;
        }
        for (n, connection) in kept.iter_mut().enumerate() {
            connection.talks().with_context(|| format!("allowed connection {n} on {interface}"))?;
        }
        cluster.remove("host-endpoint.yaml")?;
        labelled(node, 0, Instant::now())?;
    }
    agent.stop()
}

/// Whether connections follow policy.
fn revoke(switch: &str) -> String {
    let annotation = format!(r#"annotations: {{config.projectcalico.org/RevokeEstablishedConnections: "{switch}"}}"#);
    TO_HOST.replace("{name: default}", &format!("{{name: default, {annotation}}}"))
}

/// How long a review may take to come after a change.
const SETTLED: Duration = Duration::from_millis(300);

#[test]
fn turned_on_again_it_cuts_nothing_that_policy_allows_by_then() -> anyhow::Result<()> {
    let (cluster, agent) = cluster()?;
    let (server, foe) = (&cluster.peers["default/server"], &cluster.peers["default/foe"]);
    let mut connections = Vec::new();
    for addr in &server.addrs {
        connections.push(Connection::open(foe, &server.namespace, *addr)?);
    }
    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    labelled(&cluster.node, connections.len(), Instant::now())?;
    cluster.write("felix.yaml", &revoke("false"))?;
    labelled(&cluster.node, 0, Instant::now())?;
    let mut all_talk = |when: &str| -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < SETTLED {
            for connection in &mut connections {
                connection.talks().with_context(|| when.to_owned())?;
            }
        }
        Ok(())
    };
    all_talk("turned off")?;
    cluster.remove("policy.yaml")?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    cluster.write("felix.yaml", &revoke("true"))?;
    all_talk("turned on again")?;
    agent.stop()
}

/// The addresses that one pod gets after the other.
const SHARED: [&str; 2] = ["10.65.0.200", "fd00:65::200"];

/// How soon they are the next pod's, how often they are given on in time, and how
/// often that is tried on a busy machine.
const SOON: Duration = Duration::from_millis(100);
const MOVES: usize = 10;
const TRIES: usize = 40;

/// How long the old peer goes on sending.
const AFTERWARDS: Duration = Duration::from_millis(400);

#[test]
fn an_address_that_moves_leaves_no_connection_to_its_next_owner() -> anyhow::Result<()> {
    let (mut cluster, agent) = cluster()?;
    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    let mut took = Vec::new();
    for round in 0..TRIES {
        let moved = give_on(&mut cluster, round)?;
        if moved < SOON {
            took.push(moved);
        }
        if took.len() == MOVES {
            break;
        }
    }
    println!(
        r#"{{"workload":"address-reuse","seconds":{:.4},"samples":{}}}"#,
        took.iter().max().unwrap_or(&SOON).as_secs_f64(),
        took.len()
    );
    assert_eq!(took.len(), MOVES, "in {TRIES} rounds");
    agent.stop()
}

/// Gives a pod's addresses to the next one while a friend of the old pod goes on
/// talking to it. None of what it says may arrive at the new one. Gives the time
/// that the addresses were nobody's.
fn give_on(cluster: &mut Cluster, round: usize) -> anyhow::Result<Duration> {
    let addrs: Vec<IpAddr> = SHARED.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let (old, new) = (format!("default/old-{round}"), format!("default/new-{round}"));
    cluster.start_pod(pod(&old, &[]).at(&addrs))?;
    let talks = addrs.iter().map(|addr| talk(cluster, &old, *addr)).collect::<anyhow::Result<Vec<_>>>()?;
    // The new owner admits friends only, as a server does. It is plugged, and not announced.
    cluster.plug(pod(&new, &[("role", "server")]).at(&addrs))?;
    let at = addrs.iter().map(|addr| SocketAddr::new(*addr, PORT));
    let sinks: Vec<UdpSocket> = at.map(|at| bind(&cluster.peers[&new], at)).collect::<anyhow::Result<_>>()?;
    cluster.relabel("default/friend", &[("friend", "no")])?;

    let ended = AtomicBool::new(false);
    let moved = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                for (client, at) in &talks {
                    // An address without an owner may be refused meanwhile.
                    let _ = client.send_to(b"old", at);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let start = Instant::now();
        let moved = cluster.stop_pod(&old).and_then(|()| cluster.announce(&new)).map(|_| start.elapsed());
        std::thread::sleep(AFTERWARDS);
        ended.store(true, Ordering::Relaxed);
        moved
    })?;
    for sink in &sinks {
        sink.set_nonblocking(true)?;
        let arrived = std::iter::from_fn(|| sink.recv(&mut [0; 8]).ok()).count();
        assert_eq!(arrived, 0, "round {round}: packets of the old peer arrived");
    }
    agree(cluster, &Evaluator, CONVERGENCE)?;
    cluster.stop_pod(&new)?;
    cluster.relabel("default/friend", &[("friend", "yes")])?;
    Ok(moved)
}

/// A socket of the friend that a pod has answered, and the pod's address.
fn talk(cluster: &Cluster, pod: &str, addr: IpAddr) -> anyhow::Result<(UdpSocket, SocketAddr)> {
    let at = SocketAddr::new(addr, PORT);
    let server = bind(&cluster.peers[pod], at)?;
    let from: IpAddr = if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let client = cluster.peers["default/friend"].namespace.run(|| UdpSocket::bind((from, 0)))??;
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        client.send_to(b"?", at)?;
        if let Ok((_, back)) = server.recv_from(&mut [0]) {
            server.send_to(b"!", back)?;
            if client.recv(&mut [0]).is_ok() {
                return Ok((client, at));
            }
        }
        ensure!(Instant::now() < deadline, "the old pod does not answer");
    }
}
