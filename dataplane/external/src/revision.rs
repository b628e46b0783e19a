//! Frames in, whole revisions out.

use caracal_proto::felix::ToDataplane;
use caracal_proto::sync::begin::Kind;
use caracal_proto::sync::{Position, ToData, to_data};

/// A revision that was received whole.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) kind: Kind,
    /// The revision that a delta builds on.
    pub(crate) base: Position,
    pub(crate) position: Position,
    pub(crate) messages: Vec<ToDataplane>,
}

/// Collects the frames of one revision; what a broken connection leaves of one is dropped.
#[derive(Debug, Default)]
pub(crate) struct Assembler(Option<Revision>);

impl Assembler {
    /// Takes a frame, and gives the revision that it completes.
    pub(crate) fn take(&mut self, frame: ToData) -> Option<Revision> {
        match frame.frame? {
            to_data::Frame::Begin(begin) => {
                let base = Position { epoch: begin.epoch, revision: begin.from };
                self.0 = Some(Revision { kind: begin.kind(), base, position: base, messages: Vec::new() });
                None
            }
            to_data::Frame::Felix(message) => {
                if let Some(open) = &mut self.0 {
                    open.messages.push(message);
                }
                None
            }
            to_data::Frame::Commit(commit) => {
                let mut whole = self.0.take()?;
                whole.position.revision = commit.revision;
                Some(whole)
            }
            // For the ends of the connection.
            to_data::Frame::Welcome(_) | to_data::Frame::Refusal(_) | to_data::Frame::Extension(_) => None,
        }
    }
}
