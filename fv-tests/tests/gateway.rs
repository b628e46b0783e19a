//! Who is where on a pod's link, known when the agent serves the pod. A pod that sends
//! before the agent knows it asks for its gateway in vain, and would ask again after a
//! second only (`retrans_time` of the kernel): the agent tells it where the gateway is.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, OUTSIDE_V4, OUTSIDE_V6};
use caracal_fv_tests::pod::{PodSpec, interface_name, pod};
use caracal_fv_tests::sight::Sight;
use caracal_fv_tests::wiring::wait_running;
use caracal_sys::netns::NetNs;

const PORT: u16 = 4000;
const CONVERGENCE: Duration = Duration::from_secs(10);

/// From the pod's object to its first packet: far more than the agent takes, and
/// far less than what is left of a second when it is written.
const SOON: Duration = Duration::from_millis(300);

/// How long the pod has asked for its gateway in vain when its object is written.
const IN_VAIN: Duration = Duration::from_millis(100);

const STARTS: usize = 3;

fn run(namespace: &NetNs, command: &str) -> anyhow::Result<String> {
    let output = namespace.run(|| {
        let mut words = command.split(' ');
        Command::new(words.next().unwrap_or_default()).args(words).output()
    })??;
    anyhow::ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Sends one datagram after another until it is told to end.
fn send(to: SocketAddr, ended: &AtomicBool) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    while !ended.load(Ordering::Relaxed) {
        socket.send_to(b"x", to)?;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Makes a pod's interfaces, and waits until both run.
fn plug(cluster: &mut Cluster, spec: PodSpec) -> anyhow::Result<String> {
    let interface = interface_name(&spec.namespace, &spec.name);
    let name = cluster.plug(spec)?;
    wait_running(&cluster.peers[&name].namespace, "eth0")?;
    wait_running(&cluster.node, &interface)?;
    Ok(name)
}

/// Starts a pod that sends outside before its object is written. Gives the time from
/// the object to the first packets of both families.
fn start(cluster: &mut Cluster, spec: PodSpec) -> anyhow::Result<Duration> {
    let name = plug(cluster, spec)?;
    let namespace = cluster.peers[&name].namespace.clone();
    // The cluster's wiring knows the IPv6 gateway beforehand; here the pod has to ask.
    run(&namespace, "ip -6 neigh del fe80::ecee:eeff:feee:eeee dev eth0")?;
    run(&cluster.node, "nft add table ip6 lost")?;
    run(&cluster.node, "nft add chain ip6 lost asked { type filter hook input priority -500 ; }")?;
    run(&cluster.node, "nft add rule ip6 lost asked icmpv6 type nd-neighbor-solicit drop")?;

    let outside = [OUTSIDE_V4.into(), OUTSIDE_V6.into()].map(|addr: IpAddr| SocketAddr::from((addr, PORT)));
    let ended = Arc::new(AtomicBool::new(false));
    let mut ways = Vec::new();
    for to in outside {
        let receiver = cluster.peers["outside"].namespace.run(|| UdpSocket::bind(to))??;
        receiver.set_nonblocking(true)?;
        let stop = Arc::clone(&ended);
        ways.push((receiver, namespace.spawn("source", move || send(to, &stop))?));
    }
    thread::sleep(IN_VAIN);
    for (receiver, _) in &ways {
        let nothing = receiver.recv(&mut [0; 4]).expect_err("nobody has served the pod yet");
        anyhow::ensure!(nothing.kind() == ErrorKind::WouldBlock, nothing);
        receiver.set_nonblocking(false)?;
        receiver.set_read_timeout(Some(CONVERGENCE))?;
    }
    let neighbours = run(&namespace, "ip neigh show dev eth0")?;
    anyhow::ensure!(neighbours.matches("INCOMPLETE").count() == 2, "the pod has asked in vain: {neighbours}");

    run(&cluster.node, "nft delete table ip6 lost")?;
    let since = Instant::now();
    cluster.announce(&name)?;
    let mut took = Duration::ZERO;
    for (receiver, _) in &ways {
        receiver.recv(&mut [0; 4]).with_context(|| format!("nothing came from {name}"))?;
        took = since.elapsed();
    }
    ended.store(true, Ordering::Relaxed);
    for (_, sender) in ways {
        sender.join().ok().context("a sender panicked")???;
    }
    Ok(took)
}

/// A cluster with an agent that serves its first pod.
fn served() -> anyhow::Result<(Cluster, Process)> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    cluster.start_pod(pod("default/first", &[]))?;
    cluster.make_ready("default/first")?;
    let agent = Process::agent(&cluster)?;
    let first = &cluster.peers["default/first"];
    let sight = Sight {
        from: (&first.namespace, first.addrs[0]),
        to: (&cluster.peers["outside"].namespace, (OUTSIDE_V4, PORT).into()),
    };
    sight.until("the agent is there", CONVERGENCE, |seen| seen.is_some())?;
    Ok((cluster, agent))
}

#[test]
fn a_pod_that_asked_for_its_gateway_in_vain_is_told_where_it_is() -> anyhow::Result<()> {
    let (mut cluster, agent) = served()?;
    for n in 0..STARTS {
        let took = start(&mut cluster, pod(&format!("default/pod-{n}"), &[]))?;
        assert!(took < SOON, "the first packets of pod-{n} took {took:?}");
    }
    agent.stop()
}

/// The next pod has another MAC address and another interface than the last.
#[test]
fn an_address_leads_to_its_next_pod_at_once() -> anyhow::Result<()> {
    let (mut cluster, agent) = served()?;
    let addrs: [IpAddr; 2] = ["10.65.1.1".parse()?, "fd00:65::1:1".parse()?];
    let outside = cluster.peers["outside"].namespace.clone();
    let ended = Arc::new(AtomicBool::new(false));
    let mut senders = Vec::new();
    for addr in addrs {
        let stop = Arc::clone(&ended);
        senders.push(outside.spawn("source", move || send((addr, PORT).into(), &stop))?);
    }
    for n in 0..STARTS {
        let name = plug(&mut cluster, pod(&format!("default/pod-{n}"), &[]).at(&addrs))?;
        let namespace = cluster.peers[&name].namespace.clone();
        thread::sleep(IN_VAIN);
        let since = Instant::now();
        cluster.announce(&name)?;
        for addr in addrs {
            let receiver = namespace.run(|| UdpSocket::bind((addr, PORT)))??;
            receiver.set_read_timeout(Some(CONVERGENCE))?;
            receiver.recv(&mut [0; 4]).with_context(|| format!("nothing came to {name} at {addr}"))?;
        }
        let took = since.elapsed();
        assert!(took < SOON, "the first packets to {name} took {took:?}");
        cluster.stop_pod(&name)?;
    }
    ended.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().ok().context("a sender panicked")???;
    }
    agent.stop()
}
