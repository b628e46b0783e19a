//! What the control half knows of how things are: what is wrong, what was told
//! to the data half, and what became of it.
//!
//! One [`Status`] belongs to the graph's thread, which tells it of everything
//! that passes; whoever wants to know asks that thread
//! ([`Insight`](crate::control::Insight)).

pub mod answer;
pub mod files;
mod flows;
mod ledger;
mod moment;
mod receipts;

use std::collections::BTreeMap;

use caracal_datastore::{Problem, Report};
use caracal_proto::sync::{self, Ack};

use crate::metrics::Numbers;

pub use flows::{FlowLog, MAX_FLOWS};
use ledger::About;
pub use ledger::{Host, Ledger, Policy, Tier, Workload};
pub use moment::Moment;
pub use receipts::{Acknowledged, Receipt, Receipts};

/// How things are.
#[derive(Debug)]
pub struct Status {
    started: Moment,
    /// What is wrong with what the source reads, by its text.
    source_problems: BTreeMap<String, Problem>,
    /// How many objects these keep from being in force: asked for at each change.
    absent: usize,
    ledger: Ledger,
    receipts: Receipts,
    data_half: DataHalf,
    /// The last revision that was sent, and when.
    sent: Option<(u64, Moment)>,
    numbers: Numbers,
    /// What rules had counted when the data half was last asked.
    counts: Option<sync::Counts>,
    flows: FlowLog,
    /// Grows when an endpoint may be doing otherwise than before.
    stirs: u64,
    /// Whether an endpoint may have gone since the last revision.
    gone: bool,
}

/// The data half, as far as it is known here.
#[derive(Clone, Debug, PartialEq)]
pub struct DataHalf {
    /// Whether it is connected.
    pub presence: Presence,
    /// When it came or went.
    pub since: Moment,
    /// Program and version; empty if it was never there.
    pub build: String,
    /// What it last reported; empty if nothing, or if it is away.
    pub report: sync::Report,
}

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Connected.
    Here,
    /// Not connected.
    Away,
}

impl Default for Status {
    fn default() -> Self {
        let started = Moment::now();
        Self {
            started,
            source_problems: BTreeMap::new(),
            absent: 0,
            ledger: Ledger::default(),
            receipts: Receipts::default(),
            data_half: DataHalf {
                presence: Presence::Away,
                since: started,
                build: String::new(),
                report: sync::Report::default(),
            },
            sent: None,
            numbers: Numbers::default(),
            counts: None,
            flows: FlowLog::default(),
            stirs: 0,
            gone: false,
        }
    }
}

impl Status {
    /// Takes news of what is wrong with what the source reads.
    pub fn on_source_report(&mut self, report: &Report) {
        let former = match report {
            Report::Raised(problem) => {
                self.absent += problem.absent();
                self.source_problems.insert(problem.to_string(), problem.clone())
            }
            Report::Cleared(problem) => self.source_problems.remove(&problem.to_string()),
            // Nothing is wrong with objects that are none of ours.
            Report::SkippedKind { .. } => None,
        };
        self.absent -= former.as_ref().map_or(0, Problem::absent);
    }

    /// A data half is connected.
    pub fn on_attach(&mut self, build: &str) {
        self.counts = None;
        self.data_half = DataHalf {
            presence: Presence::Here,
            since: Moment::now(),
            build: build.to_owned(),
            report: sync::Report::default(),
        };
    }

    /// The data half is not connected any more. What the kernel holds stays.
    pub fn on_detach(&mut self) {
        self.data_half.presence = Presence::Away;
        self.data_half.since = Moment::now();
        self.data_half.report = sync::Report::default();
    }

    /// A snapshot begins: what it does not tell is gone.
    pub fn on_snapshot(&mut self) {
        self.ledger.clear();
        self.receipts.start_over();
        self.stirs += 1;
        self.gone = true;
    }

    /// Takes a message to the data half.
    pub fn on_message(&mut self, message: &caracal_proto::felix::ToDataplane) {
        self.numbers.output();
        match self.ledger.on_message(message) {
            About::Endpoint => self.stirs += 1,
            About::EndpointGone => {
                self.stirs += 1;
                self.gone = true;
            }
            About::Other => {}
        }
    }

    /// A revision was sent whole.
    pub fn on_commit(&mut self, revision: u64) {
        self.sent = Some((revision, Moment::now()));
        if !std::mem::take(&mut self.gone) {
            return;
        }
        let (workloads, hosts) = (self.ledger.workloads(), self.ledger.hosts());
        self.receipts.retain(|id| workloads.contains_key(id), |id| hosts.contains_key(id));
    }

    /// The data half acknowledged a revision of this control half, or told how endpoints are doing.
    pub fn on_ack(&mut self, ack: &Ack, stamp: u64) {
        match ack.error.is_empty() {
            true if stamp != 0 => {
                let latency = Moment::from_nanos(ack.committed).since(Moment::from_nanos(stamp));
                self.numbers.acknowledged(latency);
            }
            true => {}
            false => self.numbers.failed(),
        }
        self.stirs += u64::from(!ack.outcomes.is_empty());
        self.receipts.on_ack(ack, stamp);
    }

    /// The data half reports.
    pub fn on_report(&mut self, report: sync::Report) {
        self.data_half.report = report;
    }

    /// The data half says what rules have counted.
    pub fn on_counts(&mut self, counts: sync::Counts) {
        self.counts = Some(counts);
    }

    /// What rules had counted when the data half was last asked; `None` if it never answered.
    #[must_use]
    pub const fn counts(&self) -> Option<&sync::Counts> {
        self.counts.as_ref()
    }

    /// The data half says what rules decided about flows.
    pub fn on_flows(&mut self, flows: sync::Flows) {
        self.flows.take(flows, &self.ledger);
    }

    /// What rules decided about flows.
    #[must_use]
    pub const fn flows(&self) -> &FlowLog {
        &self.flows
    }

    /// A number that grows whenever an endpoint may be doing otherwise than before.
    #[must_use]
    pub const fn stirs(&self) -> u64 {
        self.stirs
    }

    /// What was counted.
    #[must_use]
    pub const fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Where it is counted.
    pub fn count(&mut self) -> &mut Numbers {
        &mut self.numbers
    }

    /// When the control half started.
    #[must_use]
    pub const fn started(&self) -> Moment {
        self.started
    }

    /// What is wrong with what the source reads, in the order of its text.
    pub fn source_problems(&self) -> impl Iterator<Item = &Problem> {
        self.source_problems.values()
    }

    /// How many objects are kept from being in force by what is wrong with what the source reads.
    #[must_use]
    pub const fn absent(&self) -> usize {
        self.absent
    }

    /// What the data half was told.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What the kernel acknowledged.
    #[must_use]
    pub const fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// The data half.
    #[must_use]
    pub const fn data_half(&self) -> &DataHalf {
        &self.data_half
    }

    /// The last revision that was sent, and when.
    #[must_use]
    pub const fn sent(&self) -> Option<(u64, Moment)> {
        self.sent
    }
}

#[cfg(test)]
mod tests;
