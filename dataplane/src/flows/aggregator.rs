//! What belongs to one flow, put together within bounds.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use caracal_sys::nflog::{Logged, Tuple};
use rustc_hash::FxHashMap;
use smol_str::SmolStr;

/// A flow is one record for so long. Denied packets that are sent again, and
/// datagrams that nobody answers, are added to it.
pub(super) const WINDOW: Duration = Duration::from_secs(15);

/// Records that may still grow. With more, the oldest grows no longer.
const MOST_OPEN: usize = 8192;

/// Finished records that nobody has taken. More are dropped.
const MOST_WAITING: usize = 8192;

/// Packets that passed a tier and whose verdict has not come. With more, what
/// they passed is forgotten.
const MOST_PASSING: usize = 1024;

/// Tiers and rules that one packet passes, as far as they are kept.
const MOST_PASSED: usize = 16;

/// What was decided about a flow, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Counts the records of a direction.
    pub(super) number: u64,
    /// The prefix of what decided.
    pub(super) prefix: SmolStr,
    /// The prefixes of what had left it to others before, in order.
    pub(super) passed: Vec<SmolStr>,
    pub(super) tuple: Tuple,
    pub(super) called: Option<SocketAddr>,
    pub(super) packets: u64,
    /// Since 1970.
    pub(super) first: Duration,
    pub(super) last: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tuple: Tuple,
    prefix: SmolStr,
}

#[derive(Debug)]
struct Open {
    record: Record,
    since: Instant,
    /// How many of the packets somebody has been told of.
    told: u64,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) created: u64,
    pub(super) finished: u64,
    pub(super) dropped: u64,
}

/// The flows of one direction.
#[derive(Debug, Default)]
pub(super) struct Aggregator {
    open: FxHashMap<Key, Open>,
    /// The keys of what is open, oldest first.
    order: VecDeque<Key>,
    /// How many of the youngest nobody has been told of.
    untold: usize,
    /// Finished records that have grown since somebody was told of them, or of
    /// which nobody was.
    waiting: VecDeque<Record>,
    passing: FxHashMap<Tuple, Vec<SmolStr>>,
    counts: Counts,
}

impl Aggregator {
    /// Takes one packet that a rule told of. `clock` is the time since 1970.
    pub(super) fn note(&mut self, now: Instant, clock: Duration, logged: Logged) {
        let Logged { prefix, tuple, called } = logged;
        if prefix.starts_with('P') {
            self.pass(tuple, prefix);
            return;
        }
        let passed = self.passing.remove(&tuple).unwrap_or_default();
        let key = Key { tuple, prefix };
        self.finish_due(now);
        if let Some(Open { record, .. }) = self.open.get_mut(&key) {
            record.packets += 1;
            record.last = clock;
            return;
        }
        if self.open.len() >= MOST_OPEN {
            self.finish_oldest();
        }
        let prefix = key.prefix.clone();
        let number = self.counts.created;
        let record = Record { number, prefix, passed, tuple, called, packets: 1, first: clock, last: clock };
        self.counts.created += 1;
        self.untold += 1;
        self.order.push_back(key.clone());
        self.open.insert(key, Open { record, since: now, told: 0 });
    }

    fn pass(&mut self, tuple: Tuple, prefix: SmolStr) {
        if self.passing.len() >= MOST_PASSING && !self.passing.contains_key(&tuple) {
            self.passing.clear();
        }
        let passed = self.passing.entry(tuple).or_default();
        if passed.len() < MOST_PASSED {
            passed.push(prefix);
        }
    }

    /// Up to `most` records that are new, or have grown and grow no more. One that
    /// is told twice has the same number.
    pub(super) fn take(&mut self, now: Instant, most: usize) -> Vec<Record> {
        self.finish_due(now);
        let mut taken: Vec<Record> = self.waiting.drain(..most.min(self.waiting.len())).collect();
        let from = self.order.len() - self.untold;
        let new = self.untold.min(most - taken.len());
        for key in self.order.range(from..from + new) {
            let open = self.open.get_mut(key).expect("every key in order is open");
            open.told = open.record.packets;
            taken.push(open.record.clone());
        }
        self.untold -= new;
        taken
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    fn finish_due(&mut self, now: Instant) {
        let is_due = |open: &Open| now.saturating_duration_since(open.since) >= WINDOW;
        while self.order.front().and_then(|key| self.open.get(key)).is_some_and(is_due) {
            self.finish_oldest();
        }
    }

    fn finish_oldest(&mut self) {
        let Some(key) = self.order.pop_front() else { return };
        let Some(Open { record, told, .. }) = self.open.remove(&key) else { return };
        self.untold = self.untold.min(self.order.len());
        self.counts.finished += 1;
        if told == record.packets {
            return;
        }
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(record);
        } else {
            self.counts.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests;
