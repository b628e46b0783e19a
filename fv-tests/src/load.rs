//! Many connections at the same time: flows that live on, and others that begin
//! all the time. None that policy allows may be lost, none that it denies may arrive.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use caracal_sys::netns::NetNs;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, interval_at, sleep, timeout};

use crate::cluster::Peer;

/// Flows that live on, half of them TCP and half UDP, half of each over IPv6.
pub const LIVE: u64 = 2000;

/// Connections that begin in a second: half of them are allowed, half are denied.
pub const NEW_PER_SECOND: u64 = 1000;

/// How often a flow that lives on asks and is answered.
const PERIOD: Duration = Duration::from_millis(250);

/// A datagram that is not answered by then was lost; a processor that is busy
/// otherwise must not look like a rule that drops.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that is not there by then lost a packet: the kernel sends the first
/// one again after a second (RFC 6298).
const CONNECTION: Duration = Duration::from_millis(900);

/// How long somebody tries to connect who may not.
const ATTEMPT: Duration = Duration::from_millis(200);

/// The port that is served.
const PORT: u16 = 4001;

/// Room for some ten thousand datagrams, in bytes.
const RECEIVE_BUFFER: usize = 16 << 20;

/// What was seen of a [`Load`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Questions on flows that live on.
    pub asked: u64,
    /// Those without an answer.
    pub unanswered: u64,
    /// Allowed connections that began.
    pub opened: u64,
    /// Those that came to nothing.
    pub failed: u64,
    /// Denied connections that somebody tried to begin.
    pub denied: u64,
    /// Packets and connections of these that arrived.
    pub leaked: u64,
}

#[derive(Default)]
struct Shared {
    asked: AtomicU64,
    answered: AtomicU64,
    opened: AtomicU64,
    succeeded: AtomicU64,
    denied: AtomicU64,
    leaked: AtomicU64,
    /// Flows that have been answered once.
    live: AtomicU64,
    ended: AtomicBool,
    /// The first thing that went wrong.
    trouble: Mutex<Option<String>>,
}

/// A running load; it ends when dropped.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<std::io::Result<()>>>,
    server: Option<JoinHandle<std::io::Result<()>>>,
    served: Arc<AtomicBool>,
}

impl Load {
    /// Starts flows from `allowed` to `server`, waits until all of them live, and
    /// has `allowed` and `denied` begin others from then on.
    pub fn start(server: &Peer, allowed: &Peer, denied: &Peer) -> anyhow::Result<Self> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most).context("a load needs some thousand sockets")?;
        let shared = Arc::new(Shared::default());
        let served = Arc::new(AtomicBool::new(false));
        let (ready, started) = mpsc::channel();
        let (seen, over) = (Arc::clone(&shared), Arc::clone(&served));
        let strangers: BTreeSet<IpAddr> = denied.addrs.iter().copied().collect();
        let thread = run(&server.namespace, "load-server", async move {
            if let Err(error) = serve(&seen, strangers, &ready, &over).await {
                seen.trouble(format!("the server: {error:#}"));
            }
        })?;
        started.recv().context("the server of the load did not start")?;
        let mut load = Self { shared, clients: Vec::new(), server: Some(thread), served };
        let to = server.addrs.clone();
        let (from, seen, at) = (allowed.addrs.clone(), Arc::clone(&load.shared), to.clone());
        load.clients.push(run(&allowed.namespace, "load-allowed", allowed_client(seen, from, at))?);
        let deadline = Instant::now() + 4 * PATIENCE;
        while load.shared.live.load(Ordering::Relaxed) < LIVE {
            ensure!(Instant::now() < deadline, "the flows do not come to life: {:?}", load.shared.trouble_so_far());
            std::thread::sleep(PERIOD / 10);
        }
        let (from, seen) = (denied.addrs.clone(), Arc::clone(&load.shared));
        load.clients.push(run(&denied.namespace, "load-denied", denied_client(seen, from, to))?);
        Ok(load)
    }

    /// How much of what is denied has arrived so far.
    #[must_use]
    pub fn leaked(&self) -> u64 {
        self.shared.leaked.load(Ordering::Relaxed)
    }

    /// Ends all flows, each after its last answer, and says what went wrong first.
    #[must_use]
    pub fn end(mut self) -> (Tally, Option<String>) {
        self.stop();
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Shared { asked, answered, opened, succeeded, denied, leaked, .. } = &*self.shared;
        let tally = Tally {
            asked: count(asked),
            unanswered: count(asked) - count(answered),
            opened: count(opened),
            failed: count(opened) - count(succeeded),
            denied: count(denied),
            leaked: count(leaked),
        };
        (tally, self.shared.trouble_so_far())
    }

    fn stop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            // A panic there was reported there.
            let _ = client.join();
        }
        self.served.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn trouble(&self, text: String) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
    }

    fn trouble_so_far(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn run(
    namespace: &NetNs,
    name: &str,
    work: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<JoinHandle<std::io::Result<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Its sockets are of the namespace of the thread that makes them.
    Ok(namespace.spawn(name, move || runtime.block_on(work))?)
}

async fn serve(
    shared: &Arc<Shared>,
    strangers: BTreeSet<IpAddr>,
    ready: &mpsc::Sender<()>,
    over: &AtomicBool,
) -> anyhow::Result<()> {
    let at = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
    let socket = UdpSocket::bind(at).await?;
    setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER)?;
    let listener = TcpListener::bind(at).await?;
    ready.send(())?;
    let mut buffer = [0; 64];
    let is_strange = |peer: SocketAddr| strangers.contains(&peer.ip().to_canonical());
    while !over.load(Ordering::Relaxed) {
        tokio::select! {
            datagram = socket.recv_from(&mut buffer) => {
                let Ok((length, peer)) = datagram else { continue };
                match is_strange(peer) {
                    true => drop(shared.leaked.fetch_add(1, Ordering::Relaxed)),
                    // A client that has gone is not this one's trouble.
                    false => drop(socket.send_to(&buffer[..length], peer).await),
                }
            }
            connection = listener.accept() => {
                let Ok((stream, peer)) = connection else { continue };
                match is_strange(peer) {
                    true => drop(shared.leaked.fetch_add(1, Ordering::Relaxed)),
                    false => drop(tokio::spawn(echo(stream))),
                }
            }
            () = sleep(PERIOD) => {}
        }
    }
    Ok(())
}

async fn echo(mut stream: TcpStream) {
    // Whoever is not answered says so.
    drop(stream.set_nodelay(true));
    let (mut from, mut to) = stream.split();
    drop(tokio::io::copy(&mut from, &mut to).await);
}

/// The way from an address to the server's of the same family, over IPv4 and IPv6 in turn.
fn way(number: u64, from: &[IpAddr], to: &[IpAddr]) -> Option<(IpAddr, SocketAddr)> {
    let is_v4 = (number / 2).is_multiple_of(2);
    let of = |addrs: &[IpAddr]| addrs.iter().copied().find(|addr| addr.is_ipv4() == is_v4);
    Some((of(from)?, SocketAddr::new(of(to)?, PORT)))
}

/// A connection with one end here.
enum Flow {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Flow {
    /// Connects within `patience`.
    async fn open(number: u64, (from, to): (IpAddr, SocketAddr), patience: Duration) -> anyhow::Result<Self> {
        if number.is_multiple_of(2) {
            let socket = UdpSocket::bind((from, 0)).await?;
            socket.connect(to).await?;
            return Ok(Self::Udp(socket));
        }
        let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((from, 0).into())?;
        let stream = timeout(patience, socket.connect(to)).await.context("no connection")??;
        stream.set_nodelay(true)?;
        // A reset at the end leaves no TIME-WAIT behind.
        stream.set_zero_linger()?;
        Ok(Self::Tcp(stream))
    }

    async fn ask(&mut self, question: u64) -> anyhow::Result<()> {
        let mut answer = [0; 8];
        let asked = async {
            match self {
                Self::Tcp(stream) => {
                    stream.write_all(&question.to_be_bytes()).await?;
                    stream.read_exact(&mut answer).await?;
                }
                Self::Udp(socket) => {
                    socket.send(&question.to_be_bytes()).await?;
                    // An answer that came too late is not this one's.
                    while u64::from_be_bytes(answer) != question {
                        socket.recv(&mut answer).await?;
                    }
                }
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, asked).await.context("no answer")?
    }
}

async fn allowed_client(shared: Arc<Shared>, from: Vec<IpAddr>, to: Vec<IpAddr>) {
    let mut tasks = JoinSet::new();
    for number in 0..LIVE {
        let Some(way) = way(number, &from, &to) else { return shared.trouble("no common family".to_owned()) };
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            sleep(PERIOD.mul_f64(number as f64 / LIVE as f64)).await;
            if let Err(error) = live(&shared, number, way).await {
                shared.trouble(format!("flow {number} over {way:?}: {error:#}"));
            }
        });
    }
    let mut ticks = newcomers();
    for number in 0.. {
        ticks.tick().await;
        if shared.is_over() {
            break;
        }
        let Some(way) = way(number, &from, &to) else { break };
        while tasks.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            shared.opened.fetch_add(1, Ordering::Relaxed);
            let answered = async { Flow::open(number, way, CONNECTION).await?.ask(u64::MAX - number).await };
            match answered.await {
                Ok(()) => drop(shared.succeeded.fetch_add(1, Ordering::Relaxed)),
                Err(error) => shared.trouble(format!("connection {number} over {way:?}: {error:#}")),
            }
        });
    }
    tasks.join_all().await;
}

/// A flow that lives until the end. Nothing is being changed while all of them open: a
/// first packet that a busy machine loses may be sent again.
async fn live(shared: &Shared, number: u64, way: (IpAddr, SocketAddr)) -> anyhow::Result<()> {
    let mut flow = Flow::open(number, way, PATIENCE).await?;
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for question in 1.. {
        ticks.tick().await;
        if shared.is_over() {
            break;
        }
        shared.asked.fetch_add(1, Ordering::Relaxed);
        flow.ask(question).await.with_context(|| format!("question {question}"))?;
        shared.answered.fetch_add(1, Ordering::Relaxed);
        if question == 1 {
            shared.live.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

async fn denied_client(shared: Arc<Shared>, from: Vec<IpAddr>, to: Vec<IpAddr>) {
    let mut tasks = JoinSet::new();
    let mut ticks = newcomers();
    for number in 0.. {
        ticks.tick().await;
        if shared.is_over() {
            break;
        }
        let Some(way) = way(number, &from, &to) else { break };
        while tasks.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            shared.denied.fetch_add(1, Ordering::Relaxed);
            // What comes of it is seen where it arrives.
            let attempt = async { Flow::open(number, way, ATTEMPT).await?.ask(number).await };
            drop(timeout(ATTEMPT, attempt).await);
        });
    }
    tasks.join_all().await;
}

/// The beginnings of one half of all new connections.
fn newcomers() -> tokio::time::Interval {
    let pause = Duration::from_secs(2).div_f64(NEW_PER_SECOND as f64);
    let mut ticks = interval_at(tokio::time::Instant::now() + pause, pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}
