//! What data halves say, whichever of them runs.

use std::any::Any;
use std::sync::{Mutex, MutexGuard, PoisonError};

use caracal_config::Settings;
use caracal_dataplane::Reply;
use caracal_proto::sync::{FromData, Problem, Report, from_data};
use tracing::{info, warn};

use crate::ours::Kernel;

/// The subject of what is wrong with the choice of a driver.
const SUBJECT: &str = "DataplaneDriver";

/// Passes on what the running half says, and adds what only who exchanges halves knows.
pub(super) struct Voice(Mutex<State>);

struct State {
    replies: Box<dyn Fn(Reply) + Send + Sync>,
    /// Dropped when no half runs that should.
    guard: Option<Box<dyn Any + Send>>,
    /// The half's last report, as it gave it.
    report: Report,
    /// Why another half than the configuration asks for runs.
    trouble: Option<String>,
    /// What finds the kernel's state of the internal driver, which an external one
    /// replaces once it was told everything.
    leftovers: Option<Settings>,
}

impl Voice {
    pub(super) fn new(replies: Box<dyn Fn(Reply) + Send + Sync>, guard: Box<dyn Any + Send>) -> Self {
        Self(Mutex::new(State {
            replies,
            guard: Some(guard),
            report: Report::default(),
            trouble: None,
            leftovers: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A half says something.
    pub(super) fn say(&self, reply: Reply) {
        let mut state = self.lock();
        match reply {
            Reply::Frame(frame) => match frame.frame {
                Some(from_data::Frame::Report(report)) => {
                    state.report = report;
                    state.tell_report();
                }
                frame => {
                    let is_ack = matches!(&frame, Some(from_data::Frame::Ack(ack)) if ack.error.is_empty());
                    (state.replies)(Reply::Frame(Box::new(FromData { frame })));
                    if is_ack && let Some(settings) = state.leftovers.take() {
                        clear_up(&settings);
                    }
                }
            },
            reply @ Reply::GiveUp(_) => (state.replies)(reply),
        }
    }

    /// Says why another half than the configuration asks for runs, or that none does.
    pub(super) fn settle(&self, trouble: Option<String>) {
        let mut state = self.lock();
        if state.trouble != trouble {
            state.trouble = trouble;
            state.tell_report();
        }
    }

    /// Has rules and routes of the internal driver removed once the next half was
    /// told everything; until then they stand, so that nothing is open in between.
    pub(super) fn clear_up_after(&self, internal: Option<Settings>) {
        let mut state = self.lock();
        state.leftovers = internal;
        state.report = Report::default();
    }

    /// No half runs any more, and one should.
    pub(super) fn lost(&self) {
        drop(self.lock().guard.take());
    }
}

impl State {
    fn tell_report(&self) {
        let mut report = self.report.clone();
        let trouble = self.trouble.iter();
        report.problems.extend(trouble.map(|why| Problem { subject: SUBJECT.to_owned(), reason: why.clone() }));
        let frame = Some(from_data::Frame::Report(report));
        (self.replies)(Reply::Frame(Box::new(FromData { frame })));
    }
}

/// Removes what the internal driver left in the kernel.
fn clear_up(settings: &Settings) {
    let removed = Kernel::open().and_then(|mut kernel| {
        let things = kernel.find(settings)?;
        things.iter().try_for_each(|thing| kernel.remove(thing))
    });
    match removed {
        Ok(()) => info!("the internal driver's rules and routes are removed: another driver was told everything"),
        Err(error) => warn!("cannot remove what the internal driver left, `caracal cleanup` may: {error:#}"),
    }
}
