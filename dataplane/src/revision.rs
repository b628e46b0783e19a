//! Revisions: frames in, whole revisions out.

use std::collections::BTreeSet;

use caracal_program::{Change, PolicyStore, coalesce};
use caracal_proto::felix;
use caracal_proto::sync::begin::Kind;
use caracal_proto::sync::{Begin, Commit, Position};
use smol_str::SmolStr;

use crate::misunderstood::{Misunderstood, closing};

/// A frame came where it must not. The connection is to be given up; what the
/// store holds stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// A message or a commit without a begin.
    #[error("a message outside a revision")]
    Outside,
    /// A delta that builds on a revision that is not held.
    #[error("a delta from revision {from} of epoch {epoch:#x}, which is not held")]
    Baseless {
        /// The epoch that the delta names.
        epoch: u64,
        /// The revision that it builds on.
        from: u64,
    },
}

/// A revision that was received whole and folded.
#[derive(Debug)]
pub struct Revision {
    /// Where the store stands now.
    pub position: Position,
    /// What differs from the state before, at most one change for each object.
    pub changes: Vec<Change>,
    /// When the datastore showed the oldest change, nanoseconds of `CLOCK_MONOTONIC`; 0 if unknown.
    pub stamp: u64,
    /// Messages that could not be understood; all others were folded.
    pub misunderstood: Vec<Misunderstood>,
    /// Whether it was a snapshot.
    pub kind: Kind,
}

impl Revision {
    /// The interfaces whose active endpoint may be another one now, in order.
    pub(crate) fn interfaces(&self) -> BTreeSet<SmolStr> {
        let interfaces = self.changes.iter().flat_map(|change| match change {
            Change::Endpoint { interfaces, .. } => interfaces.as_slice(),
            Change::Nothing
            | Change::SetMembers { .. }
            | Change::SetReplaced(_)
            | Change::SetRemoved(_)
            | Change::Policy(_)
            | Change::Profile(_)
            | Change::HostEndpoint(_)
            | Change::HostAddresses
            | Change::IpPool(_)
            | Change::Cluster
            | Change::Config
            | Change::InSync => &[],
        });
        interfaces.cloned().collect()
    }
}

/// Collects the frames of one revision at a time, and folds it into the store
/// at its commit: what a broken connection leaves behind changes nothing.
#[derive(Debug, Default)]
pub struct Assembler {
    open: Option<Open>,
    held: Option<Position>,
}

#[derive(Debug)]
enum Open {
    /// Messages wait for the commit: they change the store that is in force.
    Delta { epoch: u64, messages: Vec<felix::ToDataplane> },
    /// Messages are folded at once, into a store that is not in force yet.
    Snapshot { epoch: u64, store: Box<PolicyStore>, misunderstood: Vec<Misunderstood> },
}

impl Assembler {
    /// What is held whole; a resumed stream may build on it.
    #[must_use]
    pub const fn held(&self) -> Option<Position> {
        self.held
    }

    /// Whether a revision has begun and is not whole.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A revision begins. One that was open is forgotten.
    ///
    /// # Errors
    /// [`RevisionError::Baseless`] for a delta on a revision that is not held.
    pub fn begin(&mut self, begin: &Begin) -> Result<(), RevisionError> {
        let Begin { epoch, kind: _, from } = *begin;
        self.open = None;
        self.open = Some(match begin.kind() {
            Kind::Snapshot => Open::Snapshot { epoch, store: Box::default(), misunderstood: Vec::new() },
            Kind::Delta if self.held == Some(Position { epoch, revision: from }) => {
                Open::Delta { epoch, messages: Vec::new() }
            }
            Kind::Delta => return Err(RevisionError::Baseless { epoch, from }),
        });
        Ok(())
    }

    /// A message of the open revision.
    ///
    /// # Errors
    /// [`RevisionError::Outside`] if none is open.
    pub fn message(&mut self, message: felix::ToDataplane) -> Result<(), RevisionError> {
        match self.open.as_mut().ok_or(RevisionError::Outside)? {
            Open::Delta { messages, .. } => messages.push(message),
            Open::Snapshot { store, misunderstood, .. } => drop(fold(store, &message, misunderstood)),
        }
        Ok(())
    }

    /// The open revision is whole: folds it into the store.
    ///
    /// # Errors
    /// [`RevisionError::Outside`] if none is open.
    pub fn commit(&mut self, commit: &Commit, store: &mut PolicyStore) -> Result<Revision, RevisionError> {
        let (epoch, kind, changes, misunderstood) = match self.open.take().ok_or(RevisionError::Outside)? {
            Open::Delta { epoch, messages } => {
                let mut misunderstood = Vec::new();
                let changes: Vec<_> =
                    messages.iter().filter_map(|message| fold(store, message, &mut misunderstood)).collect();
                (epoch, Kind::Delta, coalesce(changes), misunderstood)
            }
            Open::Snapshot { epoch, store: fresh, misunderstood } => {
                let mut fresh = *fresh;
                fresh.take_addresses(store);
                let changes = fresh.diff_from(store);
                *store = fresh;
                (epoch, Kind::Snapshot, changes, misunderstood)
            }
        };
        let position = Position { epoch, revision: commit.revision };
        self.held = Some(position);
        Ok(Revision { position, changes, stamp: commit.stamp, misunderstood, kind })
    }
}

/// Folds one message; if it cannot be understood, what it is about goes from
/// the store, so that nothing older stands in its place.
fn fold(
    store: &mut PolicyStore,
    message: &felix::ToDataplane,
    misunderstood: &mut Vec<Misunderstood>,
) -> Option<Change> {
    match store.apply(message) {
        Ok(change) => Some(change),
        Err(error) => {
            misunderstood.push(Misunderstood::new(message, error));
            closing(message).and_then(|removal| store.apply(&removal).ok())
        }
    }
}

#[cfg(test)]
mod tests;
