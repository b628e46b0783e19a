//! Flow records: what rules decided about the first packets of connections.
//!
//! Rules tell over NFLOG ([`caracal_nftables::flow_log`]); a thread of its own
//! listens and puts together what belongs to one flow. Every second the data half
//! takes what is new and sends it to the control half, one bounded batch at a time:
//! the next one waits for an answer.

mod aggregator;
mod batch;
mod listener;

use std::time::{Duration, Instant};

use caracal_program::{Measurement, PolicyStore, Problem};
use caracal_proto::sync::FromData;

pub use listener::FlowListener;

use crate::host::Host;
use crate::retry::Backoff;

/// The pause between two batches.
const PAUSE: Duration = Duration::from_secs(1);

/// The same while more is there than a batch takes.
const SHORT_PAUSE: Duration = Duration::from_millis(20);

/// Records in one batch.
const BATCH: usize = 1024;

/// How long an answer is waited for. A batch that got none is lost, with its
/// connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether rules may tell of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Somebody listens.
    Yes,
    /// Nobody does.
    No,
}

/// The flows of this node.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    listener: Option<FlowListener>,
    /// Why nobody listens although somebody should.
    failure: Option<String>,
    retry: Backoff,
    next: Option<Instant>,
    /// Whether the last batch was not answered yet.
    unanswered: bool,
    /// Records that were sent and may never have come.
    unacknowledged: usize,
    lost: u64,
}

impl Flows {
    /// Listens, or ends that.
    pub(crate) fn configure(&mut self, now: Instant, wanted: bool, host: &mut impl Host) -> Telling {
        if !wanted {
            *self = Self { lost: self.lost, ..Self::default() };
            return Telling::No;
        }
        if self.listener.is_none() {
            match host.listen_to_flows() {
                Ok(listener) => {
                    self.listener = Some(listener);
                    self.failure = None;
                    self.retry.worked();
                    self.unanswered = false;
                    self.next = Some(now + PAUSE);
                }
                Err(error) => {
                    self.failure = Some(error.to_string());
                    self.retry.failed(now);
                }
            }
        }
        match self.listener {
            Some(_) => Telling::Yes,
            None => Telling::No,
        }
    }

    /// When it is worth trying to listen again.
    pub(crate) const fn retry_due(&self) -> Option<Instant> {
        self.retry.due()
    }

    /// When there may be something to send.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.next
    }

    /// The control half has taken the last batch.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.unanswered = false;
        self.unacknowledged = 0;
        self.next = self.listener.as_ref().map(|_| now + SHORT_PAUSE);
    }

    /// Takes what is new, if it is time to.
    pub(crate) fn take(&mut self, now: Instant, store: &PolicyStore) -> Option<FromData> {
        let listener = self.listener.as_ref()?;
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        if let Some(error) = listener.failure() {
            self.failure = Some(error);
            self.listener = None;
            self.next = None;
            self.retry.failed(now);
            return None;
        }
        if std::mem::take(&mut self.unanswered) {
            self.lost += std::mem::take(&mut self.unacknowledged) as u64;
        }
        let records = listener.take(now, BATCH);
        self.next = Some(now + PAUSE);
        if records.is_empty() {
            return None;
        }
        self.next = Some(now + PATIENCE);
        self.unanswered = true;
        self.unacknowledged = records.len();
        Some(batch::encode(listener.life(), records, store))
    }

    pub(crate) fn measurements(&self) -> Vec<Measurement> {
        let Some(listener) = &self.listener else { return Vec::new() };
        let mut measurements = listener.measurements();
        measurements.push(Measurement::counter(
            "caracal_flow_records_lost_total",
            "Flow records that were sent to a control half that did not answer.",
            self.lost,
        ));
        measurements
    }

    pub(crate) fn problems(&self) -> Option<Problem> {
        self.failure.as_ref().map(|why| Problem {
            subject: "flow records".to_owned(),
            reason: format!("nobody can listen to what rules tell, so they tell nothing: {why}; trying again"),
        })
    }
}

#[cfg(test)]
mod tests;
