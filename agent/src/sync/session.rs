//! The control half's end of the sync API.

use std::collections::VecDeque;

use caracal_proto::felix;
use caracal_proto::sync::{
    Ack, Begin, Commit, Extension, FromData, Hello, Position, Report, ToData, Welcome, begin, from_data, to_data,
};

use super::{Refused, VERSIONS, WINDOW, negotiate};

/// Whether messages are kept until they are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// They are: a data half that comes back can go on where it was.
    Resumable,
    /// They are not: both halves live and die together.
    Transient,
}

/// What a revision says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionKind {
    /// Everything that there is.
    Snapshot,
    /// What changed since the revision before.
    Delta,
}

/// What the data half told.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// It has programmed a revision, or could not.
    Ack {
        /// What it said; of an earlier life of the control half if the epoch says so.
        ack: Ack,
        /// When the datastore first showed the oldest change of the revision; 0 if unknown.
        stamp: u64,
    },
    /// A status of an endpoint or of the process.
    Felix(Box<felix::FromDataplane>),
    /// What it counted, and what does not work there.
    Report(Report),
    /// Its loop turns.
    Alive,
    /// Something that Felix's messages have no place for.
    Extension(Extension),
}

/// The control half's end: counts revisions, keeps those that are not
/// acknowledged, and knows what a data half that comes back has missed.
///
/// It outlives connections. Frames for the data half are given to an `out`
/// function in the order in which they must be sent.
#[derive(Debug)]
pub struct Session {
    /// Names this life of the control half; never 0.
    epoch: u64,
    retention: Retention,
    /// The last revision that was begun; 0 before the first.
    newest: u64,
    /// The last revision that the data half is known to hold.
    acked: Option<u64>,
    /// Revisions that were sent after `acked`, oldest first.
    in_flight: VecDeque<Kept>,
    /// The revision that is being written.
    open: Option<Kept>,
    peer: Peer,
    /// Felix messages sent on this connection.
    sequence: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// Nobody is connected.
    Away,
    /// A data half that holds nothing that a delta could build on.
    Blank,
    /// A data half that holds every revision that is not in flight.
    Following,
}

/// A revision that was sent.
#[derive(Debug)]
struct Kept {
    revision: u64,
    kind: RevisionKind,
    stamp: u64,
    /// Empty for a snapshot, which is never sent again, and without retention.
    messages: Vec<felix::ToDataplane>,
}

impl Session {
    /// A session that nobody is connected to. The epoch must differ from that
    /// of every other life of the control half, and from 0.
    #[must_use]
    pub fn new(epoch: u64, retention: Retention) -> Self {
        Self {
            epoch,
            retention,
            newest: 0,
            acked: None,
            in_flight: VecDeque::new(),
            open: None,
            peer: Peer::Away,
            sequence: 0,
        }
    }

    /// A data half said hello: welcomes it, and repeats the revisions that it missed.
    ///
    /// # Errors
    /// If no version is spoken by both. The session is then as before.
    pub fn attach(&mut self, hello: &Hello, out: &mut dyn FnMut(ToData)) -> Result<(), Refused> {
        let version = negotiate(&VERSIONS, hello)?;
        self.sequence = 0;
        send(
            out,
            to_data::Frame::Welcome(Welcome {
                version,
                build: crate::BUILD.to_owned(),
                capabilities: Vec::new(),
                epoch: self.epoch,
            }),
        );
        match hello.have.as_ref().filter(|have| self.can_resume(have)) {
            Some(have) => {
                self.peer = Peer::Following;
                self.acknowledge(have.revision);
                let missed = std::mem::take(&mut self.in_flight);
                for revision in &missed {
                    self.repeat(revision, out);
                }
                self.in_flight = missed;
            }
            None => {
                self.peer = Peer::Blank;
                self.acked = None;
                self.in_flight.clear();
            }
        }
        Ok(())
    }

    /// Whether everything after a position is kept.
    fn can_resume(&self, have: &Position) -> bool {
        let known =
            self.acked == Some(have.revision) || self.in_flight.iter().any(|kept| kept.revision == have.revision);
        let mut missed = self.in_flight.iter().filter(|kept| kept.revision > have.revision);
        self.retention == Retention::Resumable
            && have.epoch == self.epoch
            && known
            && missed.all(|kept| kept.kind == RevisionKind::Delta)
    }

    fn repeat(&mut self, kept: &Kept, out: &mut dyn FnMut(ToData)) {
        self.send_begin(kept.kind, kept.revision, out);
        for message in &kept.messages {
            self.send_message(message.clone(), out);
        }
        send_commit(kept, out);
    }

    /// The connection is gone. What is in flight is kept.
    pub fn detach(&mut self) {
        self.peer = Peer::Away;
    }

    /// Forgets what a data half that is away holds: it gets a snapshot when it
    /// comes back. From then on the graph may be flushed for others.
    pub fn forget(&mut self) {
        debug_assert!(!self.is_attached(), "a data half that is connected waits for its revisions");
        self.acked = None;
        self.in_flight.clear();
    }

    /// Whether a data half is connected.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.peer != Peer::Away
    }

    /// Names this life of the control half.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The last revision that was begun; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The revision that the data half could take now.
    #[must_use]
    pub fn wants(&self) -> Option<RevisionKind> {
        match self.peer {
            Peer::Away => None,
            Peer::Blank => Some(RevisionKind::Snapshot),
            Peer::Following if self.in_flight.len() < WINDOW => Some(RevisionKind::Delta),
            Peer::Following => None,
        }
    }

    /// Starts the revision that [`Session::wants`] asked for. A delta that gets no message is never sent.
    pub fn begin(&mut self, kind: RevisionKind, out: &mut dyn FnMut(ToData)) {
        let revision = self.newest + 1;
        self.open = Some(Kept { revision, kind, stamp: 0, messages: Vec::new() });
        if kind == RevisionKind::Snapshot {
            self.newest = revision;
            self.send_begin(kind, revision, out);
        }
    }

    /// Sends one message of the revision that was begun.
    pub fn message(&mut self, message: felix::ToDataplane, out: &mut dyn FnMut(ToData)) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        if self.newest < open.revision {
            self.newest = open.revision;
            self.send_begin(open.kind, open.revision, out);
        }
        if self.retention == Retention::Resumable && open.kind == RevisionKind::Delta {
            open.messages.push(message.clone());
        }
        self.send_message(message, out);
        self.open = Some(open);
    }

    /// Ends the revision that was begun, and says which one it is; `None` if it was empty.
    ///
    /// `stamp` is when the datastore first showed the oldest change, 0 if unknown.
    pub fn commit(&mut self, stamp: u64, out: &mut dyn FnMut(ToData)) -> Option<u64> {
        let mut open = self.open.take().filter(|open| open.revision == self.newest)?;
        open.stamp = stamp;
        send_commit(&open, out);
        let revision = open.revision;
        self.in_flight.push_back(open);
        if self.peer == Peer::Blank {
            self.peer = Peer::Following;
        }
        Some(revision)
    }

    /// Takes a frame of the data half.
    ///
    /// # Errors
    /// If the frame must not come here: the connection is to be dropped.
    pub fn receive(&mut self, frame: FromData) -> Result<Heard, Refused> {
        match frame.frame {
            Some(from_data::Frame::Ack(ack)) => {
                let mut stamp = 0;
                if ack.epoch == self.epoch {
                    if ack.revision > self.newest {
                        return Err(Refused::protocol(format!(
                            "revision {} was acknowledged, but the newest is {}",
                            ack.revision, self.newest
                        )));
                    }
                    let kept = self.in_flight.iter().find(|kept| kept.revision == ack.revision);
                    stamp = kept.map_or(0, |kept| kept.stamp);
                    self.acknowledge(ack.revision);
                }
                Ok(Heard::Ack { ack, stamp })
            }
            Some(from_data::Frame::Felix(message)) => Ok(Heard::Felix(Box::new(message))),
            Some(from_data::Frame::Report(report)) => Ok(Heard::Report(report)),
            Some(from_data::Frame::Alive(_)) => Ok(Heard::Alive),
            Some(from_data::Frame::Extension(extension)) => Ok(Heard::Extension(extension)),
            Some(from_data::Frame::Hello(_)) => Err(Refused::protocol("a second hello on one stream")),
            None => Err(Refused::protocol("a frame of an unknown kind")),
        }
    }

    /// Forgets what the data half holds now. An acknowledgement of something
    /// older, sent before the data half was told to start over, says nothing.
    fn acknowledge(&mut self, revision: u64) {
        while self.in_flight.front().is_some_and(|kept| kept.revision <= revision) {
            self.in_flight.pop_front();
            self.acked = Some(revision);
        }
    }

    fn send_begin(&self, kind: RevisionKind, revision: u64, out: &mut dyn FnMut(ToData)) {
        let (kind, from) = match kind {
            RevisionKind::Snapshot => (begin::Kind::Snapshot, 0),
            RevisionKind::Delta => (begin::Kind::Delta, revision - 1),
        };
        send(out, to_data::Frame::Begin(Begin { epoch: self.epoch, kind: kind.into(), from }));
    }

    fn send_message(&mut self, mut message: felix::ToDataplane, out: &mut dyn FnMut(ToData)) {
        message.sequence_number = self.sequence;
        self.sequence += 1;
        send(out, to_data::Frame::Felix(message));
    }
}

fn send_commit(kept: &Kept, out: &mut dyn FnMut(ToData)) {
    send(out, to_data::Frame::Commit(Commit { revision: kept.revision, stamp: kept.stamp }));
}

fn send(out: &mut dyn FnMut(ToData), frame: to_data::Frame) {
    out(ToData { frame: Some(frame) });
}

#[cfg(test)]
mod tests;
