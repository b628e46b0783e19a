//! The data half, made of what this node has, and exchanged for another one when
//! the configuration says so.
//!
//! Which driver puts policy into force is a parameter like any other: the halves'
//! stream carries it, and whoever hands the stream on sees it change. The half that
//! runs is ended then, another one is started, and the connection is made anew, so
//! that it begins with a snapshot.

mod half;
mod voice;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use caracal_config::Settings;
use caracal_dataplane::Reply;
use caracal_proto::felix::to_dataplane::Payload;
use caracal_proto::sync::{Begin, Position, ToData, begin, to_data};
use tracing::{error, info, warn};

use half::{Half, Inlet, Plan};
use voice::Voice;

/// A running data half; it ends when dropped.
pub struct DataHalf(Arc<Shared>);

/// Where the control half's frames go in.
#[derive(Clone)]
pub struct Frames(Weak<Shared>);

struct Shared {
    /// The parameters that this process has from its own environment and file.
    local: BTreeMap<String, String>,
    voice: Arc<Voice>,
    state: Mutex<State>,
}

enum State {
    Running {
        half: Box<Half>,
        /// Whether it is new, and what comes before a snapshot is for the one before it.
        fresh: bool,
    },
    /// One half ends and another one starts; what is sent meanwhile is in the snapshot that follows.
    Exchanging(JoinHandle<()>),
    Ended,
}

/// Starts the data half that `local`, the texts of parameters by name, asks for; the
/// control half's parameters come before them. `replies` must not wait for it; `guard`
/// is dropped when it ends without having been told to, however it does.
///
/// # Errors
/// If the kernel does not let this process program it, or there is no such driver.
pub fn start(
    local: BTreeMap<String, String>,
    replies: impl Fn(Reply) + Send + Sync + 'static,
    guard: impl Send + 'static,
) -> anyhow::Result<DataHalf> {
    let voice = Arc::new(Voice::new(Box::new(replies), Box::new(guard)));
    let half = Plan::of(Settings::from_config_map(&local)).prepare()?.start(&voice)?;
    let state = Mutex::new(State::Running { half: Box::new(half), fresh: false });
    Ok(DataHalf(Arc::new(Shared { local, voice, state })))
}

impl DataHalf {
    /// Where the control half's frames go in.
    #[must_use]
    pub fn frames(&self) -> Frames {
        Frames(Arc::downgrade(&self.0))
    }
}

impl Drop for DataHalf {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut *self.0.lock(), State::Ended);
        match state {
            State::Running { half, .. } => half.end(),
            // It ends what it has started. A panic there was reported there.
            State::Exchanging(thread) => drop(thread.join()),
            State::Ended => {}
        }
    }
}

impl Frames {
    /// Hands a frame over. False if the data half has ended.
    #[must_use]
    pub fn send(&self, frame: ToData) -> bool {
        let Some(shared) = self.0.upgrade() else { return false };
        // The half may wait while it takes the frame; nobody else does.
        match shared.route(&frame) {
            Ok(Some(inlet)) => inlet.send(frame),
            Ok(None) => true,
            Err(Ended) => false,
        }
    }

    /// What the data half holds whole.
    #[must_use]
    pub fn held(&self) -> Option<Position> {
        let shared = self.0.upgrade()?;
        let inlet = match &*shared.lock() {
            State::Running { half, fresh: false } => half.inlet(),
            State::Running { fresh: true, .. } | State::Exchanging(_) | State::Ended => return None,
        };
        inlet.held()
    }
}

/// The data half takes no frames any more.
struct Ended;

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a frame goes; `None` if nobody needs it.
    fn route(self: &Arc<Self>, frame: &ToData) -> Result<Option<Inlet>, Ended> {
        let mut state = self.lock();
        let half = match &mut *state {
            State::Running { half, fresh } => {
                *fresh &= !is_snapshot(frame);
                if *fresh {
                    return Ok(None);
                }
                half
            }
            State::Exchanging(_) => return Ok(None),
            State::Ended => return Err(Ended),
        };
        let Some(plan) = self.plan(frame) else { return Ok(Some(half.inlet())) };
        if plan.is_for(half) {
            self.voice.settle(None);
            return Ok(Some(half.inlet()));
        }
        // Whether the other one can be had is seen before this one ends.
        match plan.prepare() {
            Ok(prepared) => {
                self.voice.settle(None);
                info!("{} takes over the dataplane", prepared.name());
                if let State::Running { half, .. } = std::mem::replace(&mut *state, State::Ended) {
                    *state = self.exchange(*half, prepared);
                }
                Ok(None)
            }
            Err(reason) => {
                let reason = format!("{reason:#}; {} goes on, until the configuration changes", half.name());
                warn!("cannot change the dataplane driver: {reason}");
                self.voice.settle(Some(reason));
                Ok(Some(half.inlet()))
            }
        }
    }

    /// The data half that a frame asks for, if it says anything about it.
    fn plan(&self, frame: &ToData) -> Option<Plan> {
        let Some(to_data::Frame::Felix(message)) = &frame.frame else { return None };
        let Some(Payload::ConfigUpdate(update)) = &message.payload else { return None };
        let mut texts = self.local.clone();
        texts.extend(update.config.clone());
        // Only where the driver comes from is a matter of both.
        let external_driver = Settings::from_config_map(&texts).external_driver;
        Some(Plan::of(Settings { external_driver, ..Settings::from_config_map(&update.config) }))
    }

    /// Ends a half and starts another one, on a thread of its own: the end of a
    /// driver may take seconds.
    fn exchange(self: &Arc<Self>, old: Half, prepared: half::Prepared) -> State {
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new().name("exchange".to_owned()).spawn(move || {
            let leftovers = old.leftovers();
            old.end();
            shared.voice.clear_up_after(leftovers.filter(|_| prepared.is_external()));
            let half = match prepared.start(&shared.voice) {
                Ok(half) => half,
                Err(reason) => {
                    error!("no dataplane driver runs any more: {reason:#}");
                    return shared.voice.lost();
                }
            };
            let mut state = shared.lock();
            if matches!(*state, State::Ended) {
                drop(state);
                return half.end();
            }
            *state = State::Running { half: Box::new(half), fresh: true };
            drop(state);
            shared.voice.say(Reply::GiveUp("another dataplane driver runs".to_owned()));
        });
        match thread {
            Ok(thread) => State::Exchanging(thread),
            Err(reason) => {
                error!("cannot start a thread: {reason}");
                self.voice.lost();
                State::Ended
            }
        }
    }
}

/// Whether a frame begins a snapshot.
fn is_snapshot(frame: &ToData) -> bool {
    let snapshot = i32::from(begin::Kind::Snapshot);
    matches!(frame.frame, Some(to_data::Frame::Begin(Begin { kind, .. })) if kind == snapshot)
}
