//! The data half's end of the sync API.

use caracal_proto::sync::{Begin, FromData, Hello, Position, ToData, Welcome, from_data, to_data};

use super::{Refused, VERSIONS};

/// Why the data half gives a connection up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The control half ended the stream and said why.
    #[error("the control half refused the connection: {0}")]
    Refused(#[from] Refused),
    /// The control half sent what it must not.
    #[error("the control half broke the protocol: {0}")]
    Protocol(&'static str),
}

/// The data half's end: says hello, checks the welcome, and passes on the
/// frames of revisions.
///
/// It outlives connections and knows what was passed on whole, so that a new
/// connection goes on there.
#[derive(Debug, Default)]
pub struct Link {
    state: State,
    /// The last revision that was passed on whole.
    passed: Option<Position>,
}

#[derive(Debug, Default)]
enum State {
    /// Not connected, or nothing heard yet.
    #[default]
    Greeting,
    /// Welcomed; between two revisions.
    Idle { epoch: u64 },
    /// Within a revision.
    Revision { epoch: u64 },
}

impl Link {
    /// A link that has passed nothing on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was passed on whole.
    #[must_use]
    pub fn passed(&self) -> Option<Position> {
        self.passed
    }

    /// The first frame of a new connection. `have` is what the receiver of the
    /// frames holds: [`Link::passed`], or `None` to ask for a snapshot.
    pub fn hello(&mut self, have: Option<Position>) -> FromData {
        self.state = State::Greeting;
        FromData {
            frame: Some(from_data::Frame::Hello(Hello {
                min_version: *VERSIONS.start(),
                max_version: *VERSIONS.end(),
                build: crate::BUILD.to_owned(),
                capabilities: Vec::new(),
                have,
            })),
        }
    }

    /// Takes a frame, and returns it if it is for the data half's loop.
    ///
    /// # Errors
    /// If the connection is to be given up. What was passed on stays as it is.
    pub fn receive(&mut self, frame: ToData) -> Result<Option<ToData>, LinkError> {
        let Some(kind) = &frame.frame else {
            return Err(LinkError::Protocol("a frame of an unknown kind"));
        };
        match (kind, &self.state) {
            (to_data::Frame::Refusal(refusal), _) => Err(Refused::from(refusal.clone()).into()),
            (to_data::Frame::Welcome(Welcome { version, epoch, .. }), State::Greeting) => {
                if !VERSIONS.contains(version) {
                    return Err(LinkError::Protocol("it chose a version that was not offered"));
                }
                self.state = State::Idle { epoch: *epoch };
                Ok(None)
            }
            (to_data::Frame::Welcome(_), _) => Err(LinkError::Protocol("a second welcome")),
            (_, State::Greeting) => Err(LinkError::Protocol("no welcome before the first revision")),
            (to_data::Frame::Begin(Begin { epoch, .. }), State::Idle { epoch: ours }) => {
                if epoch != ours {
                    return Err(LinkError::Protocol("a revision of another epoch than the welcome's"));
                }
                self.state = State::Revision { epoch: *epoch };
                Ok(Some(frame))
            }
            (to_data::Frame::Felix(_), State::Revision { .. }) => Ok(Some(frame)),
            (to_data::Frame::Commit(commit), State::Revision { epoch }) => {
                let epoch = *epoch;
                self.passed = Some(Position { epoch, revision: commit.revision });
                self.state = State::Idle { epoch };
                Ok(Some(frame))
            }
            (to_data::Frame::Begin(_), State::Revision { .. }) => {
                Err(LinkError::Protocol("a revision began within another"))
            }
            (to_data::Frame::Felix(_) | to_data::Frame::Commit(_), State::Idle { .. }) => {
                Err(LinkError::Protocol("a message outside a revision"))
            }
            (to_data::Frame::Extension(_), State::Idle { .. } | State::Revision { .. }) => Ok(Some(frame)),
        }
    }
}

#[cfg(test)]
mod tests;
