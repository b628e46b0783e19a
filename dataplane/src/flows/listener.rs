//! The thread that listens to what rules tell.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use caracal_nftables::flow_log::{SNAPLEN, group};
use caracal_program::{Direction, Measurement};
use caracal_sys::nflog::{NflogSocket, Received};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::warn;

use super::aggregator::{Aggregator, Counts, Record};

/// Bytes of messages that wait for the thread; about 1,000 packets, each with what
/// the kernel needs to keep it.
const ROOM: usize = 2 << 20;

/// Listens until it is dropped.
#[derive(Debug)]
pub struct FlowListener {
    /// When it began, in nanoseconds since 1970: tells its records from those of
    /// another one.
    life: u64,
    shared: Arc<Shared>,
    /// Closed when the thread is to end.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Ingress, egress.
    sides: [Mutex<Side>; 2],
    failure: Mutex<Option<String>>,
}

/// What was heard of one direction.
#[derive(Debug, Default)]
struct Side {
    aggregator: Aggregator,
    datagrams: u64,
    packets: u64,
    malformed: u64,
    overruns: u64,
}

impl FlowListener {
    /// Listens to both directions, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel has no NFLOG or somebody else listens, or the system has no
    /// room for a thread.
    pub fn open() -> io::Result<Self> {
        let sockets = Direction::ALL.map(|direction| NflogSocket::open(group(direction), SNAPLEN, ROOM));
        let [ingress, egress] = sockets;
        let sockets = [ingress?, egress?];
        let mut listener = Self::deaf();
        let (stop, stopped) = UnixStream::pair()?;
        let shared = listener.shared.clone();
        let thread = std::thread::Builder::new().name("flows".to_owned()).spawn(move || {
            if let Err(error) = listen(sockets, &stopped, &shared) {
                warn!(%error, "cannot listen to flows any more");
                *lock(&shared.failure) = Some(error.to_string());
            }
        })?;
        (listener.stop, listener.thread) = (Some(stop), Some(thread));
        Ok(listener)
    }

    /// One that hears nothing.
    pub(crate) fn deaf() -> Self {
        let life = u64::try_from(clock().as_nanos()).unwrap_or(u64::MAX);
        Self { life, shared: Arc::default(), stop: None, thread: None }
    }

    pub(super) const fn life(&self) -> u64 {
        self.life
    }

    /// Why it has ended.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.shared.failure).clone()
    }

    /// Up to `most` records of each direction.
    pub(super) fn take(&self, now: Instant, most: usize) -> Vec<(Direction, Record)> {
        let mut taken = Vec::new();
        for (direction, side) in Direction::ALL.into_iter().zip(&self.shared.sides) {
            let records = lock(side).aggregator.take(now, most / 2);
            taken.extend(records.into_iter().map(|record| (direction, record)));
        }
        taken
    }

    pub(super) fn measurements(&self) -> Vec<Measurement> {
        let sides = Direction::ALL.into_iter().zip(&self.shared.sides);
        let of = |(direction, side): (Direction, &Mutex<Side>)| {
            let side = lock(side);
            let Counts { created, finished, dropped } = side.aggregator.counts();
            let group = group(direction).to_string();
            [
                ("felix_nflog_netlink_messages_received", "Datagrams of packets that rules told of.", side.datagrams),
                ("felix_nflog_logs_received", "Packets that rules told of.", side.packets),
                (
                    "felix_nflog_buffer_overruns",
                    "Times that packets were lost because nobody read them in time.",
                    side.overruns,
                ),
                ("felix_nflog_parse_errors", "Packets that could not be understood.", side.malformed),
                ("felix_nflog_aggregates_created", "Flow records that were begun.", created),
                ("felix_nflog_aggregates_flushed", "Flow records that grow no more.", finished),
                (
                    "caracal_flow_records_dropped_total",
                    "Flow records that were dropped because nobody took them in time.",
                    dropped,
                ),
            ]
            .map(|(name, help, value)| Measurement::counter(name, help, value).with("groupNum", group.as_str()))
        };
        sides.flat_map(of).collect()
    }

    /// Hears a packet.
    #[cfg(test)]
    pub(crate) fn hear(&self, now: Instant, direction: Direction, logged: caracal_sys::nflog::Logged) {
        let side = match direction {
            Direction::Ingress => &self.shared.sides[0],
            Direction::Egress => &self.shared.sides[1],
        };
        lock(side).aggregator.note(now, clock(), logged);
    }
}

impl Drop for FlowListener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the thread that listens to flows panicked");
        }
    }
}

fn listen(mut sockets: [NflogSocket; 2], stopped: &UnixStream, shared: &Shared) -> io::Result<()> {
    loop {
        let [ingress, egress] = &sockets;
        let heard = [ingress.as_fd(), egress.as_fd(), stopped.as_fd()];
        let mut heard = heard.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut heard, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // The other end was closed.
        if heard[2].any() == Some(true) {
            return Ok(());
        }
        for (socket, side) in sockets.iter_mut().zip(&shared.sides) {
            let mut side = lock(side);
            let (now, clock) = (Instant::now(), clock());
            let mut packets = 0;
            let received = socket.receive(|logged| {
                packets += 1;
                side.aggregator.note(now, clock, logged);
            })?;
            let Received { datagrams, malformed, overruns } = received;
            side.packets += packets;
            side.datagrams += datagrams as u64;
            side.malformed += malformed as u64;
            side.overruns += overruns as u64;
        }
    }
}

/// The time since 1970.
fn clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
