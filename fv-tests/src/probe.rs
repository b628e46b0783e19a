//! Real packets: a thread in each namespace that serves ports and sends probes.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use caracal_sys::netns::NetNs;
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// How often an unanswered datagram is sent again.
const RESEND: Duration = Duration::from_millis(250);

/// The transport of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// A connection attempt.
    Tcp,
    /// A datagram that the other side echoes.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port with its transport: `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbePort {
    /// The destination port.
    pub port: u16,
    /// The transport.
    pub transport: Transport,
}

impl fmt::Display for ProbePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.transport)
    }
}

/// A TCP port.
#[must_use]
pub const fn tcp(port: u16) -> ProbePort {
    ProbePort { port, transport: Transport::Tcp }
}

/// A UDP port.
#[must_use]
pub const fn udp(port: u16) -> ProbePort {
    ProbePort { port, transport: Transport::Udp }
}

/// One probe: from an address of this namespace to another.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// The source address.
    pub from: IpAddr,
    /// The destination address.
    pub to: IpAddr,
    /// The destination port.
    pub port: ProbePort,
    /// How long to wait for an answer.
    pub patience: Duration,
}

struct Request {
    probe: Probe,
    reply: oneshot::Sender<bool>,
}

/// The thread that serves and probes in one namespace; it ends when dropped.
pub struct Prober {
    requests: mpsc::UnboundedSender<Request>,
}

impl Prober {
    /// Starts the thread and waits until every port is served.
    pub fn start(namespace: &NetNs, name: &str, ports: &BTreeSet<ProbePort>) -> anyhow::Result<Self> {
        let (requests, inbox) = mpsc::unbounded_channel();
        let (ready, served) = std::sync::mpsc::channel();
        let ports = ports.clone();
        namespace.spawn(name, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(attend(ports, inbox, ready)),
                Err(error) => drop(ready.send(Err(error.into()))),
            }
        })?;
        served.recv().context("the prober's thread ended early")??;
        Ok(Self { requests })
    }

    /// Starts a probe; the answer says whether the packet came through and back.
    pub fn begin(&self, probe: Probe) -> anyhow::Result<oneshot::Receiver<bool>> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { probe, reply }).ok().context("the prober's thread ended")?;
        Ok(answer)
    }
}

async fn attend(
    ports: BTreeSet<ProbePort>,
    mut inbox: mpsc::UnboundedReceiver<Request>,
    ready: std::sync::mpsc::Sender<anyhow::Result<()>>,
) {
    for port in ports {
        if let Err(error) = serve(port).await {
            drop(ready.send(Err(error)));
            return;
        }
    }
    drop(ready.send(Ok(())));
    while let Some(Request { probe, reply }) = inbox.recv().await {
        tokio::spawn(async move {
            let arrived = timeout(probe.patience, send(probe)).await.unwrap_or(false);
            // A test that gave up no longer listens.
            let _ = reply.send(arrived);
        });
    }
}

async fn serve(port: ProbePort) -> anyhow::Result<()> {
    // One dual-stack socket serves both families.
    let addr = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.port));
    match port.transport {
        Transport::Tcp => {
            let listener = TcpListener::bind(addr).await.with_context(|| format!("cannot listen on {port}"))?;
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(hold(stream));
                }
            });
        }
        Transport::Udp => {
            let socket = UdpSocket::bind(addr).await.with_context(|| format!("cannot listen on {port}"))?;
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok((len, peer)) = socket.recv_from(&mut buffer).await {
                    // A refused answer of an earlier probe may surface here; it is not this one's.
                    drop(socket.send_to(&buffer[..len], peer).await);
                }
            });
        }
    }
    Ok(())
}

/// Echoes a connection until the peer closes it.
async fn hold(mut stream: tokio::net::TcpStream) {
    let (mut from, mut to) = stream.split();
    drop(tokio::io::copy(&mut from, &mut to).await);
}

async fn send(probe: Probe) -> bool {
    let to = SocketAddr::from((probe.to, probe.port.port));
    match probe.port.transport {
        Transport::Tcp => connect(probe.from, to).await.unwrap_or(false),
        Transport::Udp => echo(probe.from, to).await.unwrap_or(false),
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<bool> {
    let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::from((from, 0)))?;
    let stream = socket.connect(to).await?;
    // The handshake proves both directions; closing with a reset leaves no TIME-WAIT behind.
    stream.set_zero_linger()?;
    Ok(true)
}

async fn echo(from: IpAddr, to: SocketAddr) -> std::io::Result<bool> {
    let socket = UdpSocket::bind(SocketAddr::from((from, 0))).await?;
    socket.connect(to).await?;
    let ask = b"probe";
    loop {
        drop(socket.send(ask).await);
        let mut buffer = [0; 64];
        match timeout(RESEND, socket.recv(&mut buffer)).await {
            Ok(Ok(len)) if &buffer[..len] == ask => return Ok(true),
            // Unreachable is an answer of the network, not of the peer: wait and ask again.
            Ok(Ok(_) | Err(_)) => sleep(RESEND).await,
            Err(_) => {}
        }
    }
}
