//! Established connections when policy tightens, tightens again at once, and
//! loosens.
//!
//! A server sends on the connections of two foes all the time, and nobody else
//! does: what it sends is a clock that tells when a connection was cut. Each
//! foe has one in a hundred of all connections.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use caracal_fv_tests::cluster::{Cluster, Peer};
use caracal_fv_tests::pod::pod;
use serde_json::json;

use crate::PATIENCE;

/// Each socket of a client has a connection to each port of the server.
const SERVER_PORTS: usize = 100;
const FRIEND_SOCKETS: usize = 196;
const FOE_SOCKETS: usize = 2;

/// Connections of all clients, and of one foe.
pub(crate) const FLOWS: usize = SERVER_PORTS * (FRIEND_SOCKETS + 2 * FOE_SOCKETS);
pub(crate) const DENIED: usize = SERVER_PORTS * FOE_SOCKETS;

/// The pause between two rounds of what the server sends.
const INTERVAL: Duration = Duration::from_millis(5);

/// A foe that has heard nothing for this long is cut.
const QUIET: Duration = Duration::from_millis(150);

/// How much later than the one before the second change of a round comes, and
/// how many such steps there are: from within a review until after its pause.
const STEP: Duration = Duration::from_millis(15);
const STEPS: u32 = 10;

/// What came of it.
#[derive(Default)]
pub(crate) struct Cut {
    /// From a change to the last datagram of the server that a denied connection let through.
    pub(crate) first: Vec<Duration>,
    /// The same for another change, up to 150 ms after one that had connections cut.
    pub(crate) again: Vec<Duration>,
    /// From a change to the datagram with which all of a foe's connections let something through.
    pub(crate) restored: Vec<Duration>,
    /// Datagrams of allowed connections that did not arrive.
    pub(crate) touched: usize,
}

/// Times so many rounds of three changes.
pub(crate) fn measure(cluster: &mut Cluster, rounds: usize) -> anyhow::Result<Cut> {
    deny(cluster, &[])?;
    cluster.start_pods([
        pod("bench/server", &[("role", "server")]),
        pod("bench/friend", &[]),
        pod("bench/foe-a", &[("foe", "a")]),
        pod("bench/foe-b", &[("foe", "b")]),
    ])?;
    let peer = |name: &str| &cluster.peers[name];
    let servers = sockets(peer("bench/server"), SERVER_PORTS)?;
    let friends = sockets(peer("bench/friend"), FRIEND_SOCKETS)?;
    open(&friends, &servers)?;
    let foes = ["bench/foe-a", "bench/foe-b"].map(|foe| Foe::new(peer(foe), &servers));
    let [a, b] = foes.into_iter().collect::<anyhow::Result<Vec<_>>>()?.try_into().ok().context("two foes")?;
    let clock = Clock::start(&servers, [&a, &b])?;

    let mut cut = Cut::default();
    for round in (0..STEPS).cycle().take(rounds) {
        let first = clock.now();
        deny(cluster, &["a"])?;
        std::thread::sleep(STEP * round);
        let again = clock.now();
        deny(cluster, &["a", "b"])?;
        cut.first.push(a.cut(&clock)?.saturating_sub(first));
        cut.again.push(b.cut(&clock)?.saturating_sub(again));
        cut.touched += lost(&friends, &servers)?;
        let loosened = clock.now();
        deny(cluster, &[])?;
        let restored = a.restored(&clock)?.max(b.restored(&clock)?);
        cut.restored.push(restored.saturating_sub(loosened));
    }
    Ok(cut)
}

fn deny(cluster: &Cluster, foes: &[&str]) -> anyhow::Result<()> {
    let friends = json!({"podSelector": {"matchExpressions": [{"key": "foe", "operator": "NotIn", "values": foes}]}});
    let rule = if foes.is_empty() { json!({}) } else { json!({"from": [friends]}) };
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "bench", "name": "no-foes"},
        "spec": {"podSelector": {"matchLabels": {"role": "server"}}, "ingress": [rule]},
    });
    cluster.write("no-foes.json", &policy.to_string()).map(drop)
}

fn sockets(peer: &Peer, count: usize) -> anyhow::Result<Vec<UdpSocket>> {
    let addr = *peer.addrs.iter().find(|addr| addr.is_ipv4()).context("every pod has an IPv4 address")?;
    let bind = || {
        let socket = UdpSocket::bind(SocketAddr::new(addr, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        anyhow::Ok(socket)
    };
    peer.namespace.run(|| (0..count).map(|_| bind()).collect())?
}

/// Has each client say something to each server and get an answer.
fn open(clients: &[UdpSocket], servers: &[UdpSocket]) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for (client, server) in clients.iter().flat_map(|client| servers.iter().map(move |server| (client, server))) {
        // The first ones are sent before the pods are programmed.
        while !answers(client, server)? {
            ensure!(Instant::now() < deadline, "a connection that policy allows cannot be opened");
        }
    }
    Ok(())
}

fn answers(client: &UdpSocket, server: &UdpSocket) -> anyhow::Result<bool> {
    let mut byte = [0];
    client.send_to(b"?", server.local_addr()?)?;
    let Ok((_, back)) = server.recv_from(&mut byte) else { return Ok(false) };
    server.send_to(b"!", back)?;
    Ok(client.recv(&mut byte).is_ok())
}

/// How many of the connections do not let a datagram of the server through.
fn lost(clients: &[UdpSocket], servers: &[UdpSocket]) -> anyhow::Result<usize> {
    let mut arrived = 0;
    for client in clients {
        let to = client.local_addr()?;
        for server in servers {
            server.send_to(b"!", to)?;
        }
        arrived += (0..servers.len()).map_while(|_| client.recv(&mut [0]).ok()).count();
    }
    Ok(clients.len() * servers.len() - arrived)
}

/// When a connection let something through, in nanoseconds of the clock.
#[derive(Default)]
struct Heard {
    /// For the first time since the connection was cut; 0 if it did not.
    first: AtomicU64,
    last: AtomicU64,
}

/// A pod that is denied from time to time.
struct Foe {
    sockets: Vec<Arc<UdpSocket>>,
    /// By socket, and by the server's port.
    heard: Vec<Arc<Vec<Heard>>>,
}

impl Foe {
    fn new(peer: &Peer, servers: &[UdpSocket]) -> anyhow::Result<Self> {
        let sockets = sockets(peer, FOE_SOCKETS)?;
        open(&sockets, servers)?;
        let heard = sockets.iter().map(|_| Arc::new(servers.iter().map(|_| Heard::default()).collect()));
        Ok(Self { heard: heard.collect(), sockets: sockets.into_iter().map(Arc::new).collect() })
    }

    fn connections(&self) -> impl Iterator<Item = &Heard> {
        self.heard.iter().flat_map(|heard| heard.iter())
    }

    /// Waits until nothing gets through, and gives the time of the last that did.
    fn cut(&self, clock: &Clock) -> anyhow::Result<Duration> {
        let deadline = clock.now() + PATIENCE;
        loop {
            let last = self.connections().map(|heard| heard.last.load(Ordering::Relaxed)).max().unwrap_or_default();
            let last = Duration::from_nanos(last);
            if last + QUIET < clock.now() {
                self.connections().for_each(|heard| heard.first.store(0, Ordering::Relaxed));
                return Ok(last);
            }
            ensure!(clock.now() < deadline, "a connection that policy denies was not cut");
            std::thread::sleep(INTERVAL);
        }
    }

    /// Waits until every connection lets something through, and gives the time of that.
    fn restored(&self, clock: &Clock) -> anyhow::Result<Duration> {
        let deadline = clock.now() + PATIENCE;
        loop {
            let first = || self.connections().map(|heard| heard.first.load(Ordering::Relaxed));
            if first().all(|first| first > 0) {
                return Ok(Duration::from_nanos(first().max().unwrap_or_default()));
            }
            ensure!(clock.now() < deadline, "a connection that policy allows again was not restored");
            std::thread::sleep(INTERVAL);
        }
    }
}

/// Sends the time on all connections of the foes, until dropped.
struct Clock {
    origin: Instant,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Clock {
    fn start(servers: &[UdpSocket], foes: [&Foe; 2]) -> anyhow::Result<Self> {
        let (origin, ended) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let mut clock = Self { origin, ended: Arc::clone(&ended), threads: Vec::new() };
        let ports = servers.iter().map(|server| Ok(server.local_addr()?.port())).collect::<anyhow::Result<Vec<_>>>()?;
        let mut to = Vec::new();
        for (socket, heard) in foes.iter().flat_map(|foe| foe.sockets.iter().zip(&foe.heard)) {
            to.push(socket.local_addr()?);
            let (socket, heard, ports) = (Arc::clone(socket), Arc::clone(heard), ports.clone());
            let ended = Arc::clone(&ended);
            clock.threads.push(std::thread::spawn(move || listen(&socket, &ports, &heard, &ended)));
        }
        let servers = servers.iter().map(UdpSocket::try_clone).collect::<Result<Vec<_>, _>>()?;
        clock.threads.push(std::thread::spawn(move || tick(&servers, &to, origin, &ended)));
        Ok(clock)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // What it measured is told already.
            let _ = thread.join();
        }
    }
}

fn tick(servers: &[UdpSocket], to: &[SocketAddr], origin: Instant, ended: &AtomicBool) -> anyhow::Result<()> {
    while !ended.load(Ordering::Relaxed) {
        for server in servers {
            for foe in to {
                server.send_to(&u64::try_from(origin.elapsed().as_nanos())?.to_be_bytes(), foe)?;
            }
        }
        std::thread::sleep(INTERVAL);
    }
    Ok(())
}

fn listen(socket: &UdpSocket, ports: &[u16], heard: &[Heard], ended: &AtomicBool) -> anyhow::Result<()> {
    let mut time = [0; 8];
    while !ended.load(Ordering::Relaxed) {
        let Ok((8, from)) = socket.recv_from(&mut time) else { continue };
        let time = u64::from_be_bytes(time);
        let connection = ports.iter().position(|port| *port == from.port()).context("nobody's port")?;
        let Heard { first, last } = &heard[connection];
        // It is 0 until the first, and then stays.
        let _ = first.compare_exchange(0, time, Ordering::Relaxed, Ordering::Relaxed);
        last.store(time, Ordering::Relaxed);
    }
    Ok(())
}
