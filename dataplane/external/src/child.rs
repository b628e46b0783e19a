//! One life of a driver's process.

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tracing::info;

/// The descriptor that the child reads messages from.
const FEED: i32 = 3;

/// The descriptor that the child writes statuses to.
const REPORTS: i32 = 4;

/// How long a child may take to end after SIGTERM, as Felix gives it.
const FAREWELL: Duration = Duration::from_secs(4);

/// How long a child may leave its pipe full before that is told.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How often a writer that waits for the child looks whether it should go on.
const LOOK: Duration = Duration::from_millis(100);

/// The longest line of the child's output that is kept in one piece.
const MAX_LINE: u64 = 8 << 10;

/// A running driver.
#[derive(Debug)]
pub(crate) struct Life {
    child: Child,
    feed: PipeWriter,
    /// Whether it has ended, or is of no use.
    over: Arc<AtomicBool>,
    /// Whether it is to end.
    stop: Arc<AtomicBool>,
    born: Instant,
}

/// The child does not take any more.
#[derive(Debug)]
pub(crate) struct Gone;

impl Life {
    /// Starts a program in a process group of its own. `reports` reads its
    /// statuses, on a thread, until they end or make no sense; `failed` is told
    /// why, or `None` when the process has ended. While `stop` is set, nothing
    /// waits for the process to read.
    pub(crate) fn start(
        program: &Path,
        stop: Arc<AtomicBool>,
        reports: impl FnOnce(File) -> Result<(), String> + Send + 'static,
        failed: impl Fn(Option<String>) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (theirs, feed) = io::pipe()?;
        let (ours, reported) = io::pipe()?;
        // Of our end alone: the child's is another open file.
        fcntl(&feed, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mappings = vec![
            FdMapping { parent_fd: theirs.into(), child_fd: FEED },
            FdMapping { parent_fd: reported.into(), child_fd: REPORTS },
        ];
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        let mut child = command.spawn()?;
        // It holds the child's ends of the pipes.
        drop(command);
        let over = Arc::new(AtomicBool::new(false));
        let pid = pid_of(&child);
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let life = Self { child, feed, over: over.clone(), stop, born: Instant::now() };
        let watched = (|| {
            let (ends, fails) = (over.clone(), failed.clone());
            thread("driver-end", move || {
                wait_without_reaping(pid);
                ends.store(true, Ordering::Relaxed);
                fails(None);
            })?;
            thread("driver-status", move || {
                if let Err(fault) = reports(File::from(OwnedFd::from(ours))) {
                    over.store(true, Ordering::Relaxed);
                    failed(Some(fault));
                }
            })?;
            thread("driver-out", move || out.into_iter().for_each(log_lines))?;
            thread("driver-err", move || err.into_iter().for_each(log_lines))
        })();
        match watched {
            Ok(()) => Ok(life),
            Err(error) => {
                life.end();
                Err(error)
            }
        }
    }

    /// How long it has been running.
    pub(crate) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// Writes bytes; waits while the child does not read, and calls `stuck` once that takes long.
    pub(crate) fn write(&mut self, mut bytes: &[u8], stuck: &dyn Fn()) -> Result<(), Gone> {
        let mut waiting: Option<Instant> = None;
        let mut told = false;
        while !bytes.is_empty() {
            if self.over.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed) {
                return Err(Gone);
            }
            match self.feed.write(bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    waiting = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let since = *waiting.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE && !std::mem::replace(&mut told, true) {
                        stuck();
                    }
                    self.wait_for_room();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    fn wait_for_room(&self) {
        let mut fds = [PollFd::new(self.feed.as_fd(), PollFlags::POLLOUT)];
        let pause = PollTimeout::try_from(LOOK).expect("a pause of less than a second");
        // Whatever comes of it, the next write tells.
        let _ = poll(&mut fds, pause);
    }

    /// Ends the process and all that it has started in its group: SIGTERM, and
    /// SIGKILL if that is not heeded. Says how it ended.
    pub(crate) fn end(mut self) -> String {
        let group = pid_of(&self.child);
        // A driver may wait for the end of its input only.
        drop(self.feed);
        let _ = killpg(group, Signal::SIGTERM);
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline && !has_ended(group) {
            thread::sleep(Duration::from_millis(5));
        }
        // The leader is not reaped, so that the group's number is still its own.
        let _ = killpg(group, Signal::SIGKILL);
        match self.child.wait() {
            Ok(status) => describe(status),
            Err(error) => format!("cannot be waited for: {error}"),
        }
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("the kernel's process ids are positive and below 2^22"))
}

/// Waits for the end of a child that somebody else reaps.
fn wait_without_reaping(pid: Pid) {
    while let Err(Errno::EINTR) = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {}
}

fn has_ended(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    !matches!(waitid(Id::Pid(pid), flags), Ok(nix::sys::wait::WaitStatus::StillAlive))
}

/// Passes on what the child prints, line by line.
fn log_lines(stream: impl Read) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        match (&mut stream).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => info!(target: "driver", "{}", String::from_utf8_lossy(&line).trim_end()),
        }
    }
}
