//! A steady stream of first packets between two peers: when did the verdict change?
//!
//! Each probe is a datagram from a fresh socket to a port that never answers,
//! so that connection tracking sees a new flow every time.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;

use crate::cluster::Peer;

/// The discard port (RFC 863): nothing comes back from it.
pub const SINK_PORT: u16 = 9;

/// The pause between two probes: a change is seen half of it late, on average.
const INTERVAL: Duration = Duration::from_micros(200);

/// How late a pause may end, in nanoseconds; the kernel's default is 50 µs (prctl(2)).
const SLACK: u64 = 1_000;

/// A probe that has not arrived after this long was dropped; the way takes
/// some tens of microseconds.
const ARRIVAL: Duration = Duration::from_millis(5);

/// Room for some ten thousand probes, in bytes.
const RECEIVE_BUFFER: usize = 16 << 20;

/// This many probes in a row with the new verdict count as a change.
const IN_A_ROW: usize = 20;

#[derive(Clone, Copy)]
struct Sent {
    at: Instant,
    arrived: bool,
}

/// A running stream; it ends when dropped.
pub struct Stream {
    probes: Arc<Mutex<Vec<Sent>>>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<std::io::Result<anyhow::Result<()>>>>,
}

impl Stream {
    /// Starts a stream from one peer to another, over IPv4 if both have it.
    pub fn start(from: &Peer, to: &Peer) -> anyhow::Result<Self> {
        let same_family = |a: &&IpAddr| to.addrs.iter().any(|b| b.is_ipv4() == a.is_ipv4());
        let from_addr = *from.addrs.iter().find(same_family).context("the peers share no address family")?;
        let to_addr = *to.addrs.iter().find(|b| b.is_ipv4() == from_addr.is_ipv4()).context("no address")?;
        let to_addr = SocketAddr::from((to_addr, SINK_PORT));
        let probes = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (ready, bound) = std::sync::mpsc::channel();
        let (seen, stop) = (Arc::clone(&probes), Arc::clone(&ended));
        let receiver = to.namespace.spawn("sink", move || receive(to_addr, &ready, &seen, &stop))?;
        bound.recv().context("the receiver did not start")?;
        let (sent, stop) = (Arc::clone(&probes), Arc::clone(&ended));
        let sender = from.namespace.spawn("source", move || send(from_addr, to_addr, &sent, &stop))?;
        Ok(Self { probes, ended, threads: vec![receiver, sender] })
    }

    /// Waits until the verdict is `want` in a stable way, and gives the time
    /// from `since` to the first probe that was sent under it.
    pub fn changed(&self, since: Instant, want: bool, patience: Duration) -> anyhow::Result<Duration> {
        loop {
            thread::sleep(INTERVAL);
            let now = Instant::now();
            let probes = self.probes.lock().map_err(|_| anyhow::anyhow!("a probe thread panicked"))?;
            let start = probes.partition_point(|probe| probe.at < since);
            let ripe = probes[start..].iter().take_while(|probe| probe.arrived || probe.at + ARRIVAL < now);
            let (mut run, mut first) = (0, now);
            for probe in ripe {
                if probe.arrived != want {
                    run = 0;
                    continue;
                }
                if run == 0 {
                    first = probe.at;
                }
                run += 1;
                if run == IN_A_ROW {
                    return Ok(first.saturating_duration_since(since));
                }
            }
            drop(probes);
            if now > since + patience {
                bail!("the verdict did not become {} within {patience:?}", crate::matrix::verdict(want));
            }
        }
    }

    /// How many of the probes that were sent between two instants arrived, and how many did not.
    pub fn tally(&self, from: Instant, to: Instant) -> anyhow::Result<(usize, usize)> {
        let probes = self.probes.lock().map_err(|_| anyhow::anyhow!("a probe thread panicked"))?;
        let within = probes.iter().filter(|probe| from <= probe.at && probe.at <= to);
        let (arrived, lost): (Vec<&Sent>, Vec<&Sent>) = within.partition(|probe| probe.arrived);
        Ok((arrived.len(), lost.len()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A stream that ends has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn receive(
    at: SocketAddr,
    ready: &std::sync::mpsc::Sender<()>,
    probes: &Mutex<Vec<Sent>>,
    ended: &AtomicBool,
) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(at)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    // A receiver that waits for a processor must not look like a rule that drops.
    setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER)?;
    ready.send(())?;
    let mut buffer = [0; 8];
    while !ended.load(Ordering::Relaxed) {
        let Ok((8, _)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let number = usize::try_from(u64::from_be_bytes(buffer))?;
        if let Ok(mut probes) = probes.lock()
            && let Some(probe) = probes.get_mut(number)
        {
            probe.arrived = true;
        }
    }
    Ok(())
}

fn send(from: IpAddr, to: SocketAddr, probes: &Mutex<Vec<Sent>>, ended: &AtomicBool) -> anyhow::Result<()> {
    nix::sys::prctl::set_timerslack(SLACK)?;
    while !ended.load(Ordering::Relaxed) {
        let socket = UdpSocket::bind(SocketAddr::from((from, 0)))?;
        let number = {
            let mut probes = probes.lock().map_err(|_| anyhow::anyhow!("the receiver panicked"))?;
            probes.push(Sent { at: Instant::now(), arrived: false });
            probes.len() - 1
        };
        // A refusal by the network is a verdict too: the probe does not arrive.
        let _ = socket.send_to(&u64::try_from(number)?.to_be_bytes(), to);
        thread::sleep(INTERVAL);
    }
    Ok(())
}
