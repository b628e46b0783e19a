//! What the threads around a driver share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use caracal_proto::felix::{FromDataplane, ToDataplane};
use caracal_proto::sync::{
    Alive, FromData, Measurement, Position, Problem, Report, from_data, measurement::Kind as MeasurementKind,
};
use tracing::debug;

use crate::statuses::Statuses;
use crate::supervisor::Reply;

/// The state that statuses and revisions meet in. Replies leave with it locked,
/// so that they keep its order.
pub(crate) struct Shared(Mutex<State>);

struct State {
    replies: Box<dyn Fn(Reply) + Send>,
    /// Counts the processes; what an earlier one says is nobody's.
    life: u64,
    statuses: Statuses,
    messages: u64,
    /// What does not work.
    problem: Option<Problem>,
}

impl Shared {
    pub(crate) fn new(replies: impl Fn(Reply) + Send + 'static) -> Self {
        Self(Mutex::new(State {
            replies: Box::new(replies),
            life: 0,
            statuses: Statuses::default(),
            messages: 0,
            problem: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another process is to be started: its number.
    pub(crate) fn next_life(&self) -> u64 {
        let mut state = self.lock();
        state.life += 1;
        state.statuses = Statuses::default();
        state.life
    }

    /// What the running process was told whole.
    pub(crate) fn held(&self) -> Option<Position> {
        self.lock().statuses.held()
    }

    /// The process is being told.
    pub(crate) fn telling(&self, messages: &[ToDataplane]) {
        let mut state = self.lock();
        state.messages += messages.len() as u64;
        messages.iter().for_each(|message| state.statuses.telling(message));
    }

    /// The process has been told all of a revision: acknowledges it.
    pub(crate) fn told(&self, position: Position) {
        let mut state = self.lock();
        state.problem = None;
        let ack = state.statuses.commit(position);
        state.frame(from_data::Frame::Ack(ack));
        state.tell_report();
    }

    /// A process says something.
    pub(crate) fn heard(&self, life: u64, message: FromDataplane) {
        use caracal_proto::felix::from_dataplane::Payload;
        let mut state = self.lock();
        if state.life != life {
            return;
        }
        match &message.payload {
            Some(
                Payload::WorkloadEndpointStatusUpdate(_)
                | Payload::WorkloadEndpointStatusRemove(_)
                | Payload::HostEndpointStatusUpdate(_)
                | Payload::HostEndpointStatusRemove(_),
            ) => {
                if let Some(ack) = state.statuses.heard(&message) {
                    state.frame(from_data::Frame::Ack(ack));
                }
            }
            Some(_) => state.frame(from_data::Frame::Felix(message)),
            None => debug!("the dataplane driver sent a message of a kind that is not known"),
        }
    }

    /// There is no process that could be told anything.
    pub(crate) fn lost(&self, problem: Problem) {
        self.lock().statuses = Statuses::default();
        self.trouble(problem);
    }

    /// Something does not work, until a revision was told whole.
    pub(crate) fn trouble(&self, problem: Problem) {
        let mut state = self.lock();
        state.problem = Some(problem);
        state.tell_report();
    }

    /// The thread does its work.
    pub(crate) fn alive(&self) {
        self.lock().frame(from_data::Frame::Alive(Alive {}));
    }

    /// Asks for a snapshot.
    pub(crate) fn start_over(&self, reason: String) {
        (self.lock().replies)(Reply::StartOver(reason));
    }
}

impl State {
    fn frame(&self, frame: from_data::Frame) {
        (self.replies)(Reply::Frame(Box::new(FromData { frame: Some(frame) })));
    }

    fn tell_report(&self) {
        let counter = |name: &str, help: &str, value: u64| Measurement {
            name: name.to_owned(),
            help: help.to_owned(),
            kind: MeasurementKind::Counter.into(),
            labels: Default::default(),
            // Exact up to 2^53.
            value: value as f64,
        };
        let measurements = vec![
            counter(
                "caracal_external_driver_starts_total",
                "Processes of the dataplane driver that were started.",
                self.life,
            ),
            counter(
                "caracal_external_driver_messages_total",
                "Messages that the dataplane driver was sent.",
                self.messages,
            ),
        ];
        let problems = self.problem.iter().cloned().collect();
        self.frame(from_data::Frame::Report(Report { measurements, problems }));
    }
}
