//! A pod that sends before the agent knows it asks for its gateway in vain, and
//! would ask again after a second only (`retrans_time` of the kernel): the agent
//! tells it where the gateway is as soon as it serves the pod.

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
use caracal_fv_tests::pod::{interface_name, pod};
use caracal_fv_tests::sight::Sight;
use caracal_fv_tests::wiring::wait_running;
use caracal_sys::netns::NetNs;

const PORT: u16 = 4000;
const CONVERGENCE: Duration = Duration::from_secs(10);

/// From the pod's object to its first packet: far more than the agent takes, and
/// far less than what is left of the second when it is written.
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

/// Starts a pod that sends outside before its object is written. Gives the time from
/// the object to the first packets of both families.
fn start(cluster: &mut Cluster, name: &str) -> anyhow::Result<Duration> {
    cluster.plug(pod(name, &[]))?;
    let namespace = cluster.peers[name].namespace.clone();
    let (_, short) = name.split_once('/').context("a pod's name")?;
    wait_running(&namespace, "eth0")?;
    wait_running(&cluster.node, &interface_name("default", short))?;
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
    cluster.announce(name)?;
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

#[test]
fn a_pod_that_asked_for_its_gateway_in_vain_is_told_where_it_is() -> anyhow::Result<()> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    cluster.start_pod(pod("default/first", &[]))?;
    cluster.make_ready("default/first")?;
    let agent = Process::agent(&cluster)?;
    let first = &cluster.peers["default/first"];
    let served = Sight {
        from: (&first.namespace, first.addrs[0]),
        to: (&cluster.peers["outside"].namespace, (OUTSIDE_V4, PORT).into()),
    };
    served.until("the agent is there", CONVERGENCE, |seen| seen.is_some())?;
    for n in 0..STARTS {
        let took = start(&mut cluster, &format!("default/pod-{n}"))?;
        assert!(took < SOON, "the first packets of pod-{n} took {took:?}");
    }
    agent.stop()
}
