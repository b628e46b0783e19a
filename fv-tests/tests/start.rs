//! Pods that send from the first instant of their interface: nothing passes
//! their policy, and what may pass does once they are programmed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, NODE, Peer};
use caracal_fv_tests::matrix::agree;
use caracal_fv_tests::pod::{interface_name, pod};
use caracal_fv_tests::policies::ONLY_FRIENDS;
use caracal_fv_tests::reference::Evaluator;
use caracal_fv_tests::wiring;
use caracal_sys::netns::NetNs;

const CONVERGENCE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(1);
const PORT: u16 = 4000;

/// Pods that start together, and how often; `CARACAL_SOAK` gives the factor.
const TOGETHER: usize = 20;
const ROUNDS: usize = 10;

/// Sockets of a peer, one for each of its addresses, that keep what arrives.
fn sinks(peer: &Peer) -> anyhow::Result<Vec<UdpSocket>> {
    let bind = |addr: &IpAddr| {
        let socket = peer.namespace.run(|| UdpSocket::bind((*addr, PORT)))??;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    peer.addrs.iter().map(bind).collect()
}

/// Who was heard since the last time.
fn heard(sinks: &[UdpSocket]) -> BTreeSet<IpAddr> {
    let mut from = BTreeSet::new();
    for sink in sinks {
        while let Ok((_, sender)) = sink.recv_from(&mut [0; 8]) {
            from.insert(sender.ip());
        }
    }
    from
}

/// A pod that sends to everybody, whatever becomes of it.
struct Sender {
    namespace: NetNs,
    file: String,
    addrs: [IpAddr; 2],
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Sender {
    fn start(cluster: &Cluster, name: &str, number: usize, to: &[SocketAddr]) -> anyhow::Result<Self> {
        let addrs: [IpAddr; 2] = [format!("10.66.0.{number}").parse()?, format!("fd00:66::{number}").parse()?];
        let namespace = wiring::namespace()?;
        let ended = Arc::new(AtomicBool::new(false));
        let (stop, to) = (Arc::clone(&ended), to.to_vec());
        let thread = namespace.spawn("sender", move || {
            while !stop.load(Ordering::Relaxed) {
                for (own, at) in to.iter().flat_map(|at| addrs.iter().map(move |own| (own, at))) {
                    // There is no address, no way and no neighbour at first.
                    if own.is_ipv4() == at.is_ipv4()
                        && let Ok(socket) = UdpSocket::bind((*own, 0))
                    {
                        let _ = socket.send_to(b"x", at);
                    }
                }
                std::thread::sleep(PAUSE);
            }
        })?;
        let interface = interface_name("default", name);
        wiring::plug_pod(&namespace, &cluster.node, &interface, &addrs)?;
        // As Calico's CNI plugin does.
        cluster.node.run(|| {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/proxy_arp"), "1")?;
            std::fs::write(format!("/proc/sys/net/ipv4/neigh/{interface}/proxy_delay"), "0")
        })??;
        let file = format!("pod-{name}.json");
        cluster.write(&file, &pod(&format!("default/{name}"), &[]).at(&addrs).manifest(NODE).to_string())?;
        Ok(Self { namespace, file, addrs, ended, thread: Some(thread) })
    }

    fn end(mut self, cluster: &Cluster) -> anyhow::Result<()> {
        cluster.remove(&self.file)?;
        wiring::unplug_pod(&self.namespace)?;
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join).transpose().map_err(|_| anyhow::anyhow!("a sender panicked"))?;
        Ok(())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_pod_that_sends_from_the_first_instant_gets_nothing_past_its_policy() -> anyhow::Result<()> {
    let soak: usize = std::env::var("CARACAL_SOAK").ok().map_or(Ok(1), |factor| factor.parse())?;
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    cluster.write("policy.yaml", ONLY_FRIENDS)?;
    cluster.start_pods([pod("default/server", &[("role", "server")]), pod("default/open", &[])])?;
    let agent = Process::agent(&cluster)?;
    agree(&cluster, &Evaluator, CONVERGENCE)?;
    let [closed, open] = ["default/server", "default/open"].map(|name| &cluster.peers[name]);
    let everybody: Vec<SocketAddr> =
        closed.addrs.iter().chain(&open.addrs).map(|addr| SocketAddr::new(*addr, PORT)).collect();
    let (closed, open) = (sinks(closed)?, sinks(open)?);
    for round in 0..ROUNDS * soak {
        let mut senders = BTreeMap::new();
        for n in 1..=TOGETHER {
            let name = format!("start-{round}-{n}");
            senders.insert(n, Sender::start(&cluster, &name, n, &everybody).with_context(|| name.clone())?);
        }
        let mut waiting: BTreeSet<IpAddr> = senders.values().flat_map(|sender| sender.addrs).collect();
        let deadline = Instant::now() + PATIENCE;
        while !waiting.is_empty() {
            for addr in heard(&open) {
                waiting.remove(&addr);
            }
            ensure!(Instant::now() < deadline, "round {round}: not heard where they may: {waiting:?}");
            std::thread::sleep(PAUSE);
        }
        for sender in senders.into_values() {
            sender.end(&cluster)?;
        }
        assert_eq!(heard(&closed), BTreeSet::new(), "round {round}: past policy");
        heard(&open);
    }
    agent.stop()
}
