//! The wiring: which node is told what, and in which order a flush asks them.

use std::collections::{BTreeMap, BTreeSet};

use caracal_model::{Event, Key, Kind, Object, Stamp};

use crate::hosts::Hosts;
use crate::{Delta, Locality, Problem, Settings};

/// What a flush did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush {
    /// How many deltas went to the sink.
    pub deltas: usize,
    /// The oldest stamp among the events that the deltas are of.
    pub stamp: Option<Stamp>,
}

/// A snapshot was asked for between an event and its flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the graph holds changes that no flush has told; flush first")]
pub struct NotFlushed;

/// The calculation graph of one node.
pub struct CalcGraph {
    locality: Locality,
    settings: Settings,
    ended: BTreeSet<Kind>,
    in_sync_told: bool,
    stamp: Option<Stamp>,
    hosts: Hosts,
    problems: BTreeMap<(Key, Kind), Problem>,
}

impl CalcGraph {
    /// A graph that holds nothing.
    #[must_use]
    pub fn new(locality: Locality, settings: Settings) -> Self {
        Self {
            locality,
            settings,
            ended: BTreeSet::new(),
            in_sync_told: false,
            stamp: None,
            hosts: Hosts::default(),
            problems: BTreeMap::new(),
        }
    }

    /// Takes an event of a source. Nothing is told before the next [`flush`](Self::flush).
    pub fn on_event(&mut self, event: Event) {
        match event {
            Event::Begin(_) => {}
            Event::Apply(kind, object, stamp) => {
                if let Object::Node(name, node) = object {
                    self.hosts.put(kind, name, node);
                }
                self.note(stamp);
            }
            Event::Delete(_, key, stamp) => {
                if let Key::Node(name) = key {
                    self.hosts.remove(&name);
                }
                self.note(stamp);
            }
            Event::End(kind) => {
                self.ended.insert(kind);
            }
        }
    }

    /// Changes the settings; what follows from it is told by the next flush.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The endpoints that are calculated for.
    #[must_use]
    pub fn locality(&self) -> &Locality {
        &self.locality
    }

    /// Whether a flush has something to do. It may still turn out to tell
    /// nothing: what changed may have changed back.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.hosts.is_dirty() || (self.complete() && !self.in_sync_told)
    }

    /// Whether a flush has told [`Delta::InSync`].
    #[must_use]
    pub fn in_sync(&self) -> bool {
        self.in_sync_told
    }

    /// Tells what changed since the last flush, in the order that
    /// [`order::OrderChecker`](crate::order::OrderChecker) checks.
    pub fn flush(&mut self, sink: &mut dyn FnMut(Delta<'_>)) -> Flush {
        let mut deltas = 0;
        let mut counted = |delta: Delta<'_>| {
            deltas += 1;
            sink(delta);
        };
        self.hosts.flush(&mut counted);
        if self.complete() && !self.in_sync_told {
            self.in_sync_told = true;
            counted(Delta::InSync);
        }
        let stamp = self.stamp.take().filter(|_| deltas > 0);
        Flush { deltas, stamp }
    }

    /// Tells everything as of the last flush, in flush order, to a receiver
    /// that starts from nothing; [`Delta::InSync`] comes last if it was told.
    ///
    /// # Errors
    /// [`NotFlushed`] if the graph [is dirty](Self::is_dirty): flush, also when
    /// nobody else listens, and call again.
    pub fn snapshot(&self, sink: &mut dyn FnMut(Delta<'_>)) -> Result<(), NotFlushed> {
        if self.is_dirty() {
            return Err(NotFlushed);
        }
        self.hosts.snapshot(sink);
        if self.in_sync_told {
            sink(Delta::InSync);
        }
        Ok(())
    }

    /// The delivered objects that are not in force, and why.
    pub fn problems(&self) -> impl Iterator<Item = (&Key, Kind, &Problem)> {
        self.problems.iter().map(|((key, kind), problem)| (key, *kind, problem))
    }

    fn complete(&self) -> bool {
        self.ended.len() == Kind::ALL.len()
    }

    fn note(&mut self, stamp: Stamp) {
        if self.is_dirty() {
            self.stamp = Some(self.stamp.map_or(stamp, |oldest| oldest.min(stamp)));
        }
    }
}
