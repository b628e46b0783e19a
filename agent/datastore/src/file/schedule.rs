//! When a path that something happened to is looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use caracal_model::Stamp;

/// How long to wait before a path is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A file that is being written is read when it is closed, or when nothing
    /// was written for this long.
    pub(super) quiet: Duration,
    /// What went may come back under the same name at once: editors move a file
    /// away before they write it anew.
    pub(super) removal_grace: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(50), removal_grace: Duration::from_millis(5) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    until: Instant,
    noticed: Stamp,
    why: Why,
}

/// Why a path is not looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody may still be writing it.
    BeingWritten,
    /// It may come back.
    Removed,
}

/// Why a path is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Something came or changed. What is not there may be about to come back.
    Changed,
    /// It went for good, unless it is there again.
    Removed,
}

/// A path that is looked at in the next round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) reason: Reason,
    pub(super) noticed: Stamp,
}

/// Paths that something happened to.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    due: BTreeMap<PathBuf, Due>,
    waiting: BTreeMap<PathBuf, Waiting>,
}

impl Schedule {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, due: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// The path is to be looked at in the next round.
    pub(super) fn now(&mut self, path: PathBuf, noticed: Stamp, reason: Reason) {
        self.waiting.remove(&path);
        let due = self.due.entry(path).or_insert(Due { reason, noticed });
        *due = Due { reason, noticed: noticed.min(due.noticed) };
    }

    /// The path is to be looked at when it has come to rest.
    pub(super) fn later(&mut self, path: PathBuf, noticed: Stamp, at: Instant, why: Why) {
        // Something came after what was complete: it is not complete any more.
        self.due.remove(&path);
        let until = at
            + match why {
                Why::BeingWritten => self.pace.quiet,
                Why::Removed => self.pace.removal_grace,
            };
        self.waiting.insert(path, Waiting { until, noticed, why });
    }

    /// Whether the path is looked at in the next round.
    pub(super) fn is_due(&self, path: &Path) -> bool {
        self.due.contains_key(path)
    }

    /// Whether the path is looked at when it has come to rest.
    pub(super) fn is_waiting(&self, path: &Path) -> bool {
        self.waiting.contains_key(path)
    }

    /// Whether somebody may still be writing the path.
    pub(super) fn is_being_written(&self, path: &Path) -> bool {
        self.waiting.get(path).is_some_and(|waiting| waiting.why == Why::BeingWritten)
    }

    /// When the next path is to be looked at.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        if !self.due.is_empty() {
            return Some(now);
        }
        self.waiting.values().map(|waiting| waiting.until).min()
    }

    /// Takes what is to be looked at now.
    pub(super) fn take_due(&mut self, at: Instant) -> BTreeMap<PathBuf, Due> {
        for (path, Waiting { noticed, why, .. }) in self.waiting.extract_if(.., |_, waiting| waiting.until <= at) {
            let reason = match why {
                Why::BeingWritten => Reason::Changed,
                Why::Removed => Reason::Removed,
            };
            self.due.insert(path, Due { reason, noticed });
        }
        std::mem::take(&mut self.due)
    }
}
