//! The data half's thread.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use caracal_config::Settings;
use caracal_program::Wake;
use caracal_proto::sync::{Begin, FromData, Position, ToData, begin, to_data};
use caracal_sys::link::{LinkEvent, WatchHandle};
use tracing::{debug, warn};

use crate::data_half::{ConfiguredDriver, DataHalf};
use crate::host::Host;
use crate::interfaces::LinkState;
use crate::reporter::Reporter;

/// Inputs that may wait: a snapshot's frames are folded as they come, so a
/// short queue is enough, and it makes a fast sender wait.
const QUEUE: usize = 256;

/// How long what is due may wait for inputs that are there already.
const GRACE: Duration = Duration::from_millis(50);

/// The data half could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// The links of the host cannot be watched.
    #[error("cannot watch the interfaces of the host")]
    Links(#[source] io::Error),
    /// The system has no room for another thread.
    #[error("cannot start the data half's thread")]
    Thread(#[source] io::Error),
}

/// What the data half answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A frame for the control half.
    Frame(Box<FromData>),
    /// The control half broke the order of revisions: its connection is to be given up.
    GiveUp(String),
}

enum Input {
    Frame(Box<ToData>),
    Link(LinkEvent),
    /// The driver is to be polled; [`Alarm`] says so too.
    Wake,
    Stop,
}

/// Whether the driver is to be polled at once.
#[derive(Clone, Default)]
struct Alarm(Arc<AtomicBool>);

impl Alarm {
    /// What gives the alarm. It does not wait: where the queue has no room, the thread
    /// has inputs, and looks at the alarm after each of them.
    fn wake(&self, inputs: SyncSender<Input>) -> Wake {
        let alarm = self.clone();
        Arc::new(move || {
            if !alarm.0.swap(true, Ordering::AcqRel) {
                let _ = inputs.try_send(Input::Wake);
            }
        })
    }

    /// Whether it was given; it is not any more.
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// Where frames of the control half go in.
#[derive(Clone)]
pub struct Frames {
    inputs: SyncSender<Input>,
    held: Arc<Mutex<Option<Position>>>,
}

impl Frames {
    /// Hands a frame over; waits while the queue is full.
    ///
    /// # Errors
    /// Gives the frame back if the data half has ended.
    pub fn send(&self, frame: ToData) -> Result<(), Box<ToData>> {
        self.inputs.send(Input::Frame(Box::new(frame))).map_err(|unsent| match unsent.0 {
            Input::Frame(frame) => frame,
            Input::Link(_) | Input::Wake | Input::Stop => unreachable!("a frame was sent"),
        })
    }

    /// What the data half holds whole: a new connection may go on there.
    #[must_use]
    pub fn held(&self) -> Option<Position> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running data half.
pub struct Handle {
    frames: Frames,
    thread: Option<JoinHandle<()>>,
    _links: WatchHandle,
}

impl Handle {
    /// Where frames of the control half go in.
    #[must_use]
    pub fn frames(&self) -> Frames {
        self.frames.clone()
    }

    /// Ends the thread. What the kernel holds stays.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // The thread may have ended by itself; then there is nobody to tell.
        let _ = self.frames.inputs.send(Input::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the data half's thread panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

/// Starts the data half on a thread of its own, in the caller's network
/// namespace. Replies are queued: the receiver must not wait for the data half.
///
/// # Errors
/// [`DataplaneError`].
pub fn spawn<D, H>(
    mut driver: D,
    host: H,
    settings: Settings,
    replies: impl Fn(Reply) + Send + 'static,
) -> Result<Handle, DataplaneError>
where
    D: ConfiguredDriver + 'static,
    H: Host + 'static,
{
    let (inputs, queue) = sync_channel(QUEUE);
    let links = inputs.clone();
    let tell = move |event| match links.send(Input::Link(event)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    let links = caracal_sys::link::watch(tell).map_err(DataplaneError::Links)?;
    let alarm = Alarm::default();
    driver.watch(alarm.wake(inputs.clone()));
    let held = Arc::new(Mutex::new(None));
    let frames = Frames { inputs, held: Arc::clone(&held) };
    let thread = std::thread::Builder::new()
        .name("data-half".to_owned())
        .spawn(move || {
            let half = DataHalf::start(Instant::now(), driver, host, settings);
            run(half, &queue, &alarm, &held, &replies);
        })
        .map_err(DataplaneError::Thread)?;
    Ok(Handle { frames, thread: Some(thread), _links: links })
}

fn run<D: ConfiguredDriver, H: Host>(
    mut half: DataHalf<D, H>,
    queue: &Receiver<Input>,
    alarm: &Alarm,
    held: &Mutex<Option<Position>>,
    replies: &impl Fn(Reply),
) {
    let mut reporter = Reporter::new(Instant::now());
    let mut waiting: Option<Input> = None;
    loop {
        let deadline = half.counts_due().into_iter().fold(half.deadline().min(reporter.deadline()), Instant::min);
        let pause = deadline.saturating_duration_since(Instant::now());
        let answer = match waiting.take().map_or_else(|| queue.recv_timeout(pause), Ok) {
            Ok(Input::Frame(frame)) => {
                if is_snapshot(&frame) {
                    reporter.forget();
                }
                reporter.stir();
                half.frame(Instant::now(), *frame).unwrap_or_else(|error| {
                    replies(Reply::GiveUp(error.to_string()));
                    None
                })
            }
            Ok(Input::Link(event)) => {
                reporter.stir();
                link(&mut half, event)
            }
            Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => {
                debug!("the data half stops; the rules stay");
                return;
            }
            Ok(Input::Wake) | Err(RecvTimeoutError::Timeout) => None,
        };
        if alarm.take() {
            half.woken(Instant::now());
        }
        *held.lock().unwrap_or_else(PoisonError::into_inner) = half.held();
        let send = |frame| replies(Reply::Frame(Box::new(frame)));
        answer.into_iter().for_each(send);
        waiting = queue.try_recv().ok();
        let now = Instant::now();
        let mut due = None;
        // What somebody waits for goes first, for a while.
        let grace = if waiting.is_some() { GRACE } else { Duration::ZERO };
        if half.deadline() + grace <= now {
            reporter.stir();
            due = half.tick(now);
        }
        let flows = half.flows(now);
        if flows.is_some() {
            reporter.stir();
        }
        let counts = match half.counts_due() {
            Some(since) if since + grace <= now => half.counts(now),
            Some(_) | None => None,
        };
        let report = reporter.due(now, || half.report());
        due.into_iter().chain(flows).chain(counts).chain(report).for_each(send);
    }
}

/// Whether a frame begins a snapshot, which a control half sends to whom it has told nothing.
fn is_snapshot(frame: &ToData) -> bool {
    let snapshot = i32::from(begin::Kind::Snapshot);
    matches!(frame.frame, Some(to_data::Frame::Begin(Begin { kind, .. })) if kind == snapshot)
}

fn link<D: ConfiguredDriver, H: Host>(half: &mut DataHalf<D, H>, event: LinkEvent) -> Option<FromData> {
    let now = Instant::now();
    match event {
        LinkEvent::Up { name, index } => half.link(now, &name.into(), LinkState::Up(index)),
        LinkEvent::Running { name, .. } => {
            half.running(&name.into());
            None
        }
        LinkEvent::Down { name, index } => half.link(now, &name.into(), LinkState::Down(index)),
        LinkEvent::Gone { name } => half.link(now, &name.into(), LinkState::Gone),
        LinkEvent::Addresses { name, addresses } => half.addresses(now, &name.into(), addresses),
        LinkEvent::Missed => half.links_missed(now),
    }
}
