//! A thread that says when a socket has something new, and reads nothing of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tracing::warn;

/// How long more is awaited after something new: what a commit of usual size has
/// changed is told within that.
const GATHER: Duration = Duration::from_millis(2);

/// The pause after a wake-up: whoever commits without end wakes us 20 times a second.
const REST: Duration = Duration::from_millis(48);

/// The numbers by which the two are told apart.
const SOCKET: u64 = 0;
const STOP: u64 = 1;

/// Watches a socket until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    /// When something new came first, since this was asked last.
    first: Arc<Mutex<Option<Instant>>>,
    /// Closed when the thread is to end.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Calls `wake` on a thread of its own when the socket has something new, whether
    /// what it had before was read or not. `wake` must not wait for whoever drops this.
    pub(super) fn begin(socket: BorrowedFd<'_>, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let socket = socket.try_clone_to_owned()?;
        let (stop, stopped) = UnixStream::pair()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // By the edge: each new datagram counts, and so does the loss of the first that finds no room.
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, SOCKET))?;
        epoll.add(&stopped, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        let first = Arc::default();
        let noted = Arc::clone(&first);
        let thread = Builder::new().name("nft-events".to_owned()).spawn(move || {
            if let Err(errno) = watch(&epoll, &stopped, &noted, &wake) {
                warn!(error = errno.desc(), "cannot wait for events of nf_tables any more");
            }
            // The socket that is watched lives as long as this.
            drop::<OwnedFd>(socket);
        })?;
        Ok(Self { first, stop: Some(stop), thread: Some(thread) })
    }

    /// Whether it still watches.
    pub(super) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// When the first came of what is new since the last call.
    pub(super) fn take_first(&self) -> Option<Instant> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the thread that waits for events of nf_tables panicked");
        }
    }
}

fn watch(epoll: &Epoll, stop: &UnixStream, first: &Mutex<Option<Instant>>, wake: &impl Fn()) -> nix::Result<()> {
    // What comes during a pause is seen after it.
    let mut pause_begun = Instant::now();
    loop {
        let (ready, since) = match wait(epoll, EpollTimeout::ZERO)? {
            None => (wait(epoll, EpollTimeout::NONE)?, Instant::now()),
            ready => (ready, pause_begun),
        };
        match ready {
            Some(Ready::Socket) => {}
            Some(Ready::Stop) => return Ok(()),
            None => continue,
        }
        first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(since);
        if sleep(stop, GATHER)? == Slept::Stopped {
            return Ok(());
        }
        pause_begun = Instant::now();
        wake();
        if sleep(stop, REST)? == Slept::Stopped {
            return Ok(());
        }
    }
}

/// Of what there is something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ready {
    Socket,
    Stop,
}

fn wait(epoll: &Epoll, timeout: EpollTimeout) -> nix::Result<Option<Ready>> {
    let mut events = [EpollEvent::empty(); 2];
    let count = match epoll.wait(&mut events, timeout) {
        Err(Errno::EINTR) => 0,
        count => count?,
    };
    let ready = events.iter().take(count).map(|event| if event.data() == STOP { Ready::Stop } else { Ready::Socket });
    Ok(ready.max())
}

/// How a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slept {
    Whole,
    Stopped,
}

/// Waits until a pause is over or the other end of `stop` is closed.
fn sleep(stop: &UnixStream, pause: Duration) -> nix::Result<Slept> {
    let until = Instant::now() + pause;
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        // A poll waits for whole milliseconds.
        let rest = PollTimeout::try_from(rest + Duration::from_micros(999)).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(stop.as_fd(), PollFlags::POLLIN)], rest) {
            Ok(0) if Instant::now() >= until => return Ok(Slept::Whole),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(Slept::Stopped),
            Err(errno) => return Err(errno),
        }
    }
}
