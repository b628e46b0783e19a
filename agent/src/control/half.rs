//! The loop of the control half.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::ControlFlow;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use caracal_datastore::ConfigEvent;
use caracal_proto::felix;
use caracal_proto::sync::{
    Ack, Counts, EndpointOutcome, Extension, Flows, FromData, Hello, ToData, endpoint_outcome, refusal, to_data,
};
use caracal_proto::{COUNTS, FLOWS};
use prost::Message as _;
use tracing::{debug, info, warn};

use super::counting::Counting;
use super::questions::Questions;
use super::{Calculator, Input, Insight, News, Outlet, Outward, PeerId, Question, Receiver, log_report};
use crate::health::BEAT;
use crate::metrics::go_type;
use crate::policysync::Hub;
use crate::status::{Receipts, Status};
use crate::sync::{Heard, Refused, Retention, RevisionKind, Session};

/// What one revision takes in at most, so that a source that never rests
/// does not keep everything from the data half.
const BATCH: usize = 4096;

/// The control half: one thread that owns graph and session.
///
/// A revision goes out as soon as the source has told what belongs together and
/// nothing waits in the inbox, unless two are unacknowledged; then the graph
/// coalesces until one is acknowledged. Questions are answered after that, few at once.
pub struct ControlHalf {
    inputs: Receiver,
    calculator: Calculator,
    session: Session,
    peer: Option<(PeerId, Box<dyn Outlet>)>,
    policysync: Hub,
    outward: Outward,
    status: Status,
    /// The generation of the configuration that was passed on.
    configured: Option<u64>,
    /// When the configuration file was looked at.
    looked_at_file: Instant,
    /// Whether the source has said that more belongs to what it told.
    unsettled: bool,
    counting: Counting,
    questions: Questions,
}

/// Why the control half ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The source cannot go on.
    #[error("the datastore failed: {0}")]
    Source(String),
}

impl ControlHalf {
    /// A control half that reads `inputs`, and tells `outward` how it is doing.
    #[must_use]
    pub fn new(inputs: Receiver, calculator: Calculator, retention: Retention, outward: Outward) -> Self {
        let mut half = Self {
            inputs,
            calculator,
            session: Session::new(fresh_epoch(), retention),
            peer: None,
            policysync: Hub::default(),
            outward,
            status: Status::default(),
            configured: None,
            looked_at_file: Instant::now(),
            unsettled: false,
            counting: Counting::default(),
            questions: Questions::default(),
        };
        half.configure();
        half
    }

    /// Passes the configuration on to whoever does not read it from messages.
    fn configure(&mut self) {
        let configuration = self.calculator.configuration();
        if self.configured.replace(configuration.generation()) != Some(configuration.generation()) {
            self.outward.configure(configuration.settings());
        }
    }

    /// Works until it is told to stop.
    ///
    /// # Errors
    /// If the source fails for good.
    pub fn run(mut self) -> Result<(), ControlError> {
        loop {
            let patience = if self.questions.is_empty() { BEAT } else { Duration::ZERO };
            let mut next = match self.inputs.recv_timeout(patience) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let mut taken = 0;
            while let Some(input) = next {
                taken += input.count();
                if self.take(input)?.is_break() {
                    return Ok(());
                }
                next = if taken < BATCH { self.inputs.try_recv().ok() } else { None };
            }
            if self.looked_at_file.elapsed() >= BEAT {
                self.look_at_file();
            }
            self.flush();
            self.answer();
            self.tell();
        }
    }

    fn answer(&mut self) {
        let Self { questions, calculator, session, status, .. } = self;
        questions.answer(|question| match question {
            Question::Look(look) => look(&Insight { calculator, session, status }),
            // Whoever asked may have given up.
            Question::InForce(concern, answer) => drop(answer.send(calculator.in_force(&concern))),
        });
    }

    fn look_at_file(&mut self) {
        self.looked_at_file = Instant::now();
        self.calculator.look_at_configuration_file();
        self.configure();
    }

    fn tell(&mut self) {
        let Self { calculator, session, status, outward, .. } = self;
        outward.tell(&Insight { calculator, session, status });
    }

    fn take(&mut self, input: Input) -> Result<ControlFlow<()>, ControlError> {
        match input {
            Input::Source(portion) => portion.into_iter().try_for_each(|news| self.news(news))?,
            Input::Attach { peer, hello, outlet } => self.attach(peer, &hello, outlet),
            Input::Frame { peer, frame } => self.frame(peer, *frame),
            Input::Detach { peer } => {
                if self.peer.as_ref().is_some_and(|(id, _)| *id == peer) {
                    self.detach();
                }
            }
            Input::Refused(reason) => self.status.count().refused(reason),
            Input::PolicySync(request) => self.policysync.on_request(request),
            Input::Count(waiting) => self.counting.ask(self.peer.as_mut().map(|(_, outlet)| outlet), waiting),
            Input::Ask(question) => self.questions.push(question),
            Input::Reload => self.look_at_file(),
            Input::Stop => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn news(&mut self, news: News) -> Result<(), ControlError> {
        match news {
            News::Event(event) => {
                self.unsettled = true;
                let (kind, begun) = (go_type(&event), Instant::now());
                self.calculator.on_event(*event);
                // The labels of a node choose among the resources that configure it.
                self.configure();
                self.status.count().update(kind, begun.elapsed());
            }
            News::Config(event) => {
                self.unsettled = true;
                // A list of everything begins with the configuration.
                if event == ConfigEvent::Begin {
                    self.status.count().list();
                }
                self.calculator.on_config(event);
                self.configure();
            }
            News::Converts(settings) => {
                self.unsettled = true;
                self.calculator.on_converts(settings);
            }
            News::Report(report) => {
                log_report(&report);
                self.status.on_source_report(&report);
            }
            News::Settled => self.unsettled = false,
            // Asked for by whoever watches the output; nobody does here.
            News::Synced(_) => {}
            News::Failed(reason) => return Err(ControlError::Source(reason)),
        }
        Ok(())
    }

    fn attach(&mut self, peer: PeerId, hello: &Hello, mut outlet: Box<dyn Outlet>) {
        if self.peer.is_some() {
            self.status.count().refused(refusal::Reason::Busy);
            outlet.refuse(Refused::new(
                refusal::Reason::Busy,
                "another data half is connected, and there can be one only",
            ));
            return;
        }
        match self.session.attach(hello, &mut |frame| outlet.send(frame)) {
            Ok(()) => {
                self.peer = Some((peer, outlet));
                self.status.on_attach(&hello.build);
            }
            Err(refused) => {
                self.status.count().refused(refused.reason);
                outlet.refuse(refused);
            }
        }
    }

    fn detach(&mut self) {
        self.peer = None;
        self.session.detach();
        self.status.on_detach();
        self.counting.give_up();
    }

    fn frame(&mut self, peer: PeerId, frame: FromData) {
        let Some((_, outlet)) = self.peer.as_mut().filter(|(id, _)| *id == peer) else {
            return;
        };
        self.outward.heard();
        match self.session.receive(frame) {
            Ok(Heard::Ack { ack, stamp }) => {
                log_ack(&ack, stamp, self.status.receipts());
                // One of an earlier life tells of endpoints that may be gone.
                if ack.epoch == self.session.epoch() {
                    self.status.on_ack(&ack, stamp);
                }
            }
            Ok(Heard::Report(report)) => self.status.on_report(report),
            Ok(Heard::Alive) => {}
            Ok(Heard::Felix(message)) => debug!(?message, "the data half reports"),
            Ok(Heard::Extension(Extension { name, value })) if name == COUNTS => {
                match Counts::decode(value.as_slice()) {
                    Ok(counts) => self.status.on_counts(counts),
                    Err(error) => warn!(%error, "what rules have counted cannot be read"),
                }
                self.counting.answered();
            }
            Ok(Heard::Extension(Extension { name, value })) if name == FLOWS => {
                match Flows::decode(value.as_slice()) {
                    Ok(flows) => self.status.on_flows(flows),
                    Err(error) => warn!(%error, "what rules decided about flows cannot be read"),
                }
                let taken = to_data::Frame::Extension(Extension { name, value: Vec::new() });
                outlet.send(ToData { frame: Some(taken) });
            }
            Ok(Heard::Extension(extension)) => debug!(name = extension.name, "an extension that is not known here"),
            Err(refused) => {
                self.status.count().refused(refused.reason);
                outlet.refuse(refused);
                self.detach();
            }
        }
    }

    /// Sends what the data half and the clients of policy sync can take now.
    fn flush(&mut self) {
        if !self.unsettled && self.calculator.is_settled() {
            self.flush_to_data_half();
            self.flush_to_policysync();
        }
    }

    fn flush_to_data_half(&mut self) {
        let (Some(kind), Some((_, outlet))) = (self.session.wants(), &mut self.peer) else {
            return;
        };
        // A snapshot of half the cluster would have the data half remove the other half.
        let ready = match kind {
            RevisionKind::Snapshot => self.calculator.is_complete(),
            RevisionKind::Delta => self.calculator.is_dirty(),
        };
        if !ready {
            return;
        }
        let (session, status) = (&mut self.session, &mut self.status);
        session.begin(kind, &mut |frame| outlet.send(frame));
        if kind == RevisionKind::Snapshot {
            status.on_snapshot();
        }
        let mut message = |message: felix::ToDataplane| {
            status.on_message(&message);
            session.message(message, &mut |frame| outlet.send(frame));
        };
        let policysync = &mut self.policysync;
        let stamp = match kind {
            RevisionKind::Snapshot if policysync.is_following() => {
                let stamp = self.calculator.flush(&mut |told| policysync.on_message(&told));
                self.calculator.snapshot(&mut message);
                stamp
            }
            RevisionKind::Snapshot => self.calculator.snapshot(&mut message),
            RevisionKind::Delta => self.calculator.flush(&mut |told| {
                policysync.on_message(&told);
                message(told);
            }),
        };
        let stamp = stamp.map_or(0, |stamp| stamp.0);
        if let Some(revision) = session.commit(stamp, &mut |frame| outlet.send(frame)) {
            debug!(revision, ?kind, "sent");
            self.status.on_commit(revision);
        }
    }

    /// Clients of policy sync follow the revisions of the data half while there is one.
    fn flush_to_policysync(&mut self) {
        if !self.policysync.has_clients() || !self.calculator.is_complete() {
            return;
        }
        if self.calculator.is_dirty() {
            if self.session.is_attached() {
                // What is dirty goes into the next revision, and comes here with it.
                return;
            }
            self.session.forget();
        }
        let (calculator, policysync) = (&mut self.calculator, &mut self.policysync);
        if policysync.is_following() {
            calculator.flush(&mut |message| policysync.on_message(&message));
        } else {
            policysync.on_snapshot(|out| calculator.snapshot(out));
        }
    }
}

/// `before` is what was acknowledged before.
fn log_ack(ack: &Ack, stamp: u64, before: &Receipts) {
    let Ack { epoch: _, revision, outcomes, committed, error } = ack;
    if error.is_empty() {
        // Both are readings of one clock: the halves are on one host.
        let since_change = committed.checked_sub(stamp).filter(|_| stamp != 0).map(Duration::from_nanos);
        debug!(revision, ?since_change, "in the kernel");
    } else if before.failure() == Some(error) {
        debug!(revision, "not programmed either: {error}");
    } else {
        warn!(revision, "not programmed, the last good state stands: {error}");
    }
    for outcome in outcomes {
        log_outcome(outcome, before);
    }
}

fn log_outcome(outcome: &EndpointOutcome, before: &Receipts) {
    use endpoint_outcome::Outcome;
    let id = match (&outcome.id, &outcome.host) {
        (Some(id), _) => format!("{}/{}/{}", id.orchestrator_id, id.workload_id, id.endpoint_id),
        (None, Some(host)) => format!("host endpoint {}", host.endpoint_id),
        (None, None) => String::new(),
    };
    let reason = outcome.reason.as_str();
    match outcome.outcome() {
        Outcome::Programmed if reason.is_empty() && before.was_lacking(outcome) => info!(endpoint = id, "in force now"),
        Outcome::Programmed if reason.is_empty() => debug!(endpoint = id, "programmed"),
        Outcome::Programmed => warn!(endpoint = id, "programmed, but: {reason}"),
        Outcome::WaitingForInterface => info!(endpoint = id, "waits for its interface"),
        Outcome::Shadowed => warn!(endpoint = id, "shadowed by another endpoint of the same interface"),
        Outcome::Quarantined => warn!(endpoint = id, "closed, the kernel refused its rules: {reason}"),
        Outcome::Removed => debug!(endpoint = id, "removed"),
    }
}

/// A number that no other life of the control half has had.
fn fresh_epoch() -> u64 {
    RandomState::new().hash_one(std::process::id()).max(1)
}

#[cfg(test)]
mod tests;
