//! The thread that keeps a driver fed and running.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use caracal_proto::felix::{FromDataplane, ToDataplane};
use caracal_proto::sync::begin::Kind;
use caracal_proto::sync::{FromData, Position, Problem, ToData};
use prost::Message as _;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::child::{Gone, Life, PATIENCE};
use crate::framing;
use crate::pace::Pace;
use crate::revision::{Assembler, Revision};
use crate::shared::Shared;

/// Bytes that are collected for one write. It is what a pipe holds.
const CHUNK: usize = 64 << 10;

/// How often an idle thread says that it works.
const ALIVE: Duration = Duration::from_secs(5);

/// What the driver's thread says back.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A frame for the control half.
    Frame(Box<FromData>),
    /// A snapshot is needed, for the reason given: the connection is to be made
    /// anew by one who holds nothing.
    StartOver(String),
}

/// Where the control half's frames go in. It never waits: the protocol's window
/// is what bounds the frames that wait for a driver.
#[derive(Clone)]
pub struct Frames {
    inputs: Sender<Input>,
    shared: Arc<Shared>,
}

impl Frames {
    /// Hands a frame over. False if the thread has ended.
    #[must_use]
    pub fn send(&self, frame: ToData) -> bool {
        self.inputs.send(Input::Frame(Box::new(frame))).is_ok()
    }

    /// What the running driver was told whole; `None` while none runs.
    #[must_use]
    pub fn held(&self) -> Option<Position> {
        self.shared.held()
    }
}

/// A supervised driver; it ends when dropped.
pub struct Handle {
    frames: Frames,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Where the control half's frames go in.
    #[must_use]
    pub fn frames(&self) -> Frames {
        self.frames.clone()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The thread may have ended by itself; then there is nobody to tell.
        let _ = self.frames.inputs.send(Input::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the thread of the dataplane driver panicked");
        }
    }
}

/// Supervises the driver `program` on a thread of its own. The program is
/// started with the first whole snapshot; each further snapshot is for a new process.
/// `replies` must not wait for the thread. `guard` is dropped when that ends, however it does.
///
/// # Errors
/// If the thread cannot be started.
pub fn spawn(
    program: PathBuf,
    replies: impl Fn(Reply) + Send + 'static,
    guard: impl Send + 'static,
) -> io::Result<Handle> {
    let (inputs, queue) = mpsc::channel();
    let shared = Arc::new(Shared::new(replies));
    let stop = Arc::new(AtomicBool::new(false));
    let mut supervisor = Supervisor {
        program,
        inputs: inputs.clone(),
        shared: shared.clone(),
        stop: stop.clone(),
        assembler: Assembler::default(),
        running: None,
        backoff: Backoff::default(),
    };
    let thread = std::thread::Builder::new().name("driver".to_owned()).spawn(move || {
        let _guard = guard;
        supervisor.run(&queue);
    })?;
    Ok(Handle { frames: Frames { inputs, shared }, stop, thread: Some(thread) })
}

enum Input {
    Frame(Box<ToData>),
    /// A process is of no use any more.
    Failed {
        life: u64,
        /// What it did; `None` if it ended.
        fault: Option<String>,
    },
    Stop,
}

struct Supervisor {
    program: PathBuf,
    inputs: Sender<Input>,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    assembler: Assembler,
    running: Option<Running>,
    backoff: Backoff,
}

struct Running {
    number: u64,
    life: Life,
    /// Messages that it was sent.
    sent: u64,
}

/// Why the driver is to be started anew.
struct Lost {
    reason: String,
    /// How long it ran.
    lived: Duration,
}

impl Supervisor {
    fn run(&mut self, queue: &Receiver<Input>) {
        loop {
            let input = match queue.recv_timeout(ALIVE) {
                Ok(input) => input,
                Err(RecvTimeoutError::Timeout) => {
                    self.shared.alive();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let taken = match input {
                Input::Frame(frame) => match self.assembler.take(*frame) {
                    Some(revision) => self.revision(revision),
                    None => Ok(()),
                },
                Input::Failed { life, fault } => self.failed(life, fault),
                Input::Stop => break,
            };
            if let Err(lost) = taken
                && !self.wait_after(lost, queue)
            {
                break;
            }
        }
        self.end();
    }

    fn revision(&mut self, revision: Revision) -> Result<(), Lost> {
        let Revision { kind, base, position, messages } = revision;
        match kind {
            Kind::Snapshot => {
                if self.running.is_some() {
                    info!("a new snapshot: the dataplane driver is started anew");
                    self.end();
                }
                self.start()?;
            }
            Kind::Delta if self.shared.held() == Some(base) => {}
            // Of a connection that was given up.
            Kind::Delta => return Ok(()),
        }
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        self.shared.telling(&messages);
        let (shared, program) = (&self.shared, &self.program);
        let stuck = || {
            let reason = format!("it has read nothing for {PATIENCE:?}; changes wait for it");
            warn!("the dataplane driver: {reason}");
            shared.trouble(Problem { subject: subject(program), reason });
        };
        match running.tell(messages, &stuck) {
            Ok(()) => {
                self.shared.told(position);
                Ok(())
            }
            Err(Gone) if self.stop.load(Ordering::Relaxed) => Ok(()),
            Err(Gone) => Err(self.lost("does not read any more")),
        }
    }

    fn start(&mut self) -> Result<(), Lost> {
        let number = self.shared.next_life();
        let (shared, inputs) = (self.shared.clone(), self.inputs.clone());
        let reports = move |mut stream: File| {
            let mut pace = Pace::new(Instant::now());
            let mut told = false;
            loop {
                match framing::read::<FromDataplane>(&mut stream) {
                    Ok(Some(message)) => {
                        let pause = pace.pause(message.encoded_len(), Instant::now());
                        shared.heard(number, message);
                        if !pause.is_zero() {
                            if !std::mem::replace(&mut told, true) {
                                warn!("the dataplane driver says more than can be heard, and is read slowly");
                            }
                            std::thread::sleep(pause);
                        }
                    }
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        let failed = move |fault| drop(inputs.send(Input::Failed { life: number, fault }));
        match Life::start(&self.program, self.stop.clone(), reports, failed) {
            Ok(life) => {
                info!(driver = %self.program.display(), "the dataplane driver runs");
                self.running = Some(Running { number, life, sent: 0 });
                Ok(())
            }
            Err(error) => Err(Lost { reason: format!("cannot be started: {error}"), lived: Duration::ZERO }),
        }
    }

    fn failed(&mut self, life: u64, fault: Option<String>) -> Result<(), Lost> {
        if self.running.as_ref().is_none_or(|running| running.number != life) {
            return Ok(());
        }
        Err(match fault {
            Some(fault) => self.lost(&format!("wrote what cannot be read: {fault}")),
            None => self.lost("is gone"),
        })
    }

    fn lost(&mut self, reason: &str) -> Lost {
        let Some(running) = self.running.take() else {
            return Lost { reason: reason.to_owned(), lived: Duration::ZERO };
        };
        let lived = running.life.age();
        Lost { reason: format!("{reason}: it {}", running.life.end()), lived }
    }

    /// Pauses, and asks for a snapshot, with which the driver is started again.
    /// False if that is not to be.
    fn wait_after(&mut self, lost: Lost, queue: &Receiver<Input>) -> bool {
        let Lost { reason, lived } = lost;
        let pause = self.backoff.pause(lived);
        let driver = self.program.display();
        warn!(%driver, ?pause, "the dataplane driver {reason}; it is started again, what it has programmed is its own");
        let reason_told = format!("it {reason}; it is started again");
        self.shared.lost(Problem { subject: subject(&self.program), reason: reason_told });
        let end = Instant::now() + pause;
        loop {
            match queue.recv_timeout(end.saturating_duration_since(Instant::now())) {
                // The snapshot will say it all.
                Ok(Input::Frame(_) | Input::Failed { .. }) => {}
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        self.assembler = Assembler::default();
        self.shared.start_over(format!("the dataplane driver {reason}"));
        true
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            let end = running.life.end();
            info!("the dataplane driver {end}");
        }
    }
}

impl Running {
    /// Writes messages; `stuck` is called if the driver reads nothing for [`PATIENCE`].
    fn tell(&mut self, messages: Vec<ToDataplane>, stuck: &dyn Fn()) -> Result<(), Gone> {
        let mut bytes = Vec::with_capacity(CHUNK);
        for mut message in messages {
            message.sequence_number = self.sent;
            self.sent += 1;
            framing::write(&message, &mut bytes);
            if bytes.len() >= CHUNK {
                self.life.write(&bytes, stuck)?;
                bytes.clear();
            }
        }
        self.life.write(&bytes, stuck)
    }
}

/// What a problem with a driver is about.
fn subject(program: &Path) -> String {
    format!("dataplane driver {}", program.display())
}
