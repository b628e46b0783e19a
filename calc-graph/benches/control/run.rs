//! A workload under the clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use caracal_calc_graph::{CalcGraph, Delta, Locality, Settings};
use caracal_model::Event;

use crate::clock::processor_time;
use crate::wire::Wire;
use crate::workloads::{CONFIGURATION, HERE, Step, Workload};

/// How many events are made at a time, outside the timed part. Few, because they
/// count as memory while they wait.
pub(crate) const BATCH: usize = 64;

pub(crate) struct Run {
    workload: Workload,
    pub(crate) graph: CalcGraph,
    wire: Wire,
    batch: Vec<Event>,
    /// Time of day and processor time since the last sample.
    pending: [Duration; 2],
    keep: fn(&mut Samples, &'static str, Duration),
    measured: bool,
    pub(crate) figures: Figures,
}

/// What a run measured.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) spent: Duration,
    pub(crate) messages: usize,
    pub(crate) ip_sets: usize,
    pub(crate) samples: Samples,
}

/// Samples by kind, in the order of time.
pub(crate) type Samples = BTreeMap<&'static str, Vec<Duration>>;

impl Run {
    /// Does a workload; of what it made, the graph and the figures are left. The
    /// room for the events that wait is the caller's, as is what becomes of
    /// samples: they take memory beside the graph.
    pub(crate) fn of(workload: Workload, batch: Vec<Event>, keep: fn(&mut Samples, &'static str, Duration)) -> Self {
        let mut run = Self {
            workload,
            graph: CalcGraph::new(Locality::Node(HERE.into()), Settings::default()),
            wire: Wire::default(),
            batch,
            pending: [Duration::ZERO; 2],
            keep,
            measured: false,
            figures: Figures { messages: CONFIGURATION, ..Figures::default() },
        };
        workload.steps(&mut |step| run.step(step));
        run.feed();
        run.wire = Wire::default();
        run
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Event(event) => {
                self.batch.push(event);
                if self.batch.len() == BATCH {
                    self.feed();
                }
            }
            Step::Flush => self.flush(),
            Step::Measure => {
                self.feed();
                self.measured = true;
                self.pending = [Duration::ZERO; 2];
                self.figures.spent = Duration::ZERO;
            }
            Step::Sample(kind) => {
                self.feed();
                let [sample, _] = std::mem::take(&mut self.pending);
                (self.keep)(&mut self.figures.samples, kind, sample);
            }
            Step::Skip => {
                self.feed();
                let [_, skipped] = std::mem::take(&mut self.pending);
                self.figures.spent -= skipped.min(self.figures.spent);
            }
        }
    }

    fn feed(&mut self) {
        // Asking for the time is not to be counted as work.
        if self.batch.is_empty() {
            return;
        }
        let start = (processor_time(), Instant::now());
        self.take_batch();
        self.spend(start);
    }

    fn take_batch(&mut self) {
        for event in self.batch.drain(..) {
            self.graph.on_event(event);
        }
    }

    fn flush(&mut self) {
        let start = (processor_time(), Instant::now());
        self.take_batch();
        let (wire, encoded, sets) = (&mut self.wire, self.workload.is_encoded(), &mut self.figures.ip_sets);
        let flush = self.graph.flush(&mut |delta| {
            match delta {
                Delta::IpSetUpdate { .. } => *sets += 1,
                Delta::IpSetRemove { .. } => *sets -= 1,
                _ => {}
            }
            if encoded {
                wire.encode(&delta);
            }
        });
        self.spend(start);
        if self.measured {
            self.figures.messages += flush.deltas;
        }
    }

    /// Counts what was done since then.
    fn spend(&mut self, (processor, start): (Duration, Instant)) {
        let passed = start.elapsed();
        let spent = processor_time() - processor;
        self.pending[0] += passed;
        self.pending[1] += spent;
        self.figures.spent += spent;
    }
}
