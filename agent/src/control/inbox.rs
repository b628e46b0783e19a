//! What the graph's thread is told, by whom.

use std::sync::mpsc::{self, RecvError, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use caracal_datastore::{ConfigEvent, Report, convert};
use caracal_model::Event;
use caracal_proto::sync::{FromData, Hello, ToData, refusal};

use tokio::sync::oneshot;

use super::Question;
use crate::policysync;
use crate::sync::Refused;

/// What a source tells is handed over together up to so much: the graph's thread is woken
/// once for it, and does not stand in the source's way before it is whole.
pub(super) const PORTION: usize = 256;

/// Portions of a source that may wait. A source that is faster than the graph waits for it.
const CAPACITY: usize = 16;

/// One stream of the sync API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerId(pub u64);

/// Takes frames for one data half, in order. Dropping it ends the stream.
pub trait Outlet: Send {
    /// Sends a frame. It must not wait for the graph's thread.
    fn send(&mut self, frame: ToData);

    /// Ends the stream with a reason.
    fn refuse(&mut self, refused: Refused);
}

/// One input of the graph's thread.
pub enum Input {
    /// What a source tells, in order.
    Source(Vec<News>),
    /// A data half said hello.
    Attach {
        /// Its stream.
        peer: PeerId,
        /// What it said.
        hello: Hello,
        /// Takes the answers.
        outlet: Box<dyn Outlet>,
    },
    /// A data half said something else.
    Frame {
        /// Its stream.
        peer: PeerId,
        /// What it said.
        frame: Box<FromData>,
    },
    /// A stream has ended.
    Detach {
        /// The stream.
        peer: PeerId,
    },
    /// A stream was ended before it said hello, or because nothing more could be read of it.
    Refused(refusal::Reason),
    /// A client of policy sync asks for something.
    PolicySync(policysync::Request),
    /// Somebody wants to know something, when nothing else is due.
    Ask(Question),
    /// Somebody wants to know what rules have counted.
    Count(oneshot::Sender<()>),
    /// The configuration file is to be looked at now.
    Reload,
    /// The end.
    Stop,
}

impl Input {
    /// How many things it tells.
    pub(super) const fn count(&self) -> usize {
        match self {
            Self::Source(portion) => portion.len(),
            Self::Attach { .. }
            | Self::Frame { .. }
            | Self::Detach { .. }
            | Self::Refused(_)
            | Self::PolicySync(_)
            | Self::Ask(_)
            | Self::Count(_)
            | Self::Reload
            | Self::Stop => 1,
        }
    }
}

/// What a source tells.
pub enum News {
    /// An object came, changed or went, or a list begins or ends.
    Event(Box<Event>),
    /// The same for configuration.
    Config(ConfigEvent),
    /// What it tells is converted with these settings now.
    Converts(convert::Settings),
    /// Something is wrong, or not any more.
    Report(Report),
    /// The events so far lead to a state worth acting on.
    Settled,
    /// Everything that was done before this token was given has been told.
    Synced(String),
    /// The source has failed for good.
    Failed(String),
}

/// The writing end for peers and for whoever ends the loop. It never waits:
/// what peers may say is bounded by what they are sent.
#[derive(Clone, Debug)]
pub struct Inbox(mpsc::Sender<Input>);

/// The writing end for sources.
#[derive(Clone, Debug)]
pub struct SourceInbox {
    inbox: Inbox,
    /// One for each portion of a source that waits; the channel's bound is the inbox's.
    room: mpsc::SyncSender<()>,
}

/// The reading end.
#[derive(Debug)]
pub struct Receiver {
    inputs: mpsc::Receiver<Input>,
    room: mpsc::Receiver<()>,
}

/// A new inbox.
#[must_use]
pub fn inbox() -> (Inbox, SourceInbox, Receiver) {
    let (sender, inputs) = mpsc::channel();
    let (waiting, room) = mpsc::sync_channel(CAPACITY);
    let inbox = Inbox(sender);
    let source = SourceInbox { inbox: inbox.clone(), room: waiting };
    (inbox, source, Receiver { inputs, room })
}

impl Inbox {
    /// Sends an input. What comes after the end is dropped.
    pub fn send(&self, input: Input) {
        let _ = self.0.send(input);
    }
}

impl SourceInbox {
    /// Sends news; waits while too much waits. What comes after the end is dropped.
    pub fn send(&self, portion: Vec<News>) {
        if self.room.send(()).is_ok() {
            self.inbox.send(Input::Source(portion));
        }
    }
}

impl Receiver {
    /// The next input; waits for it.
    ///
    /// # Errors
    /// If nobody is left who could send one.
    pub fn recv(&self) -> Result<Input, RecvError> {
        self.inputs.recv().inspect(|input| self.make_room(input))
    }

    /// The next input; waits for it as long as that.
    ///
    /// # Errors
    /// If none comes, or nobody is left who could send one.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Input, RecvTimeoutError> {
        self.inputs.recv_timeout(timeout).inspect(|input| self.make_room(input))
    }

    /// The next input, if one waits.
    ///
    /// # Errors
    /// If none does.
    pub fn try_recv(&self) -> Result<Input, TryRecvError> {
        self.inputs.try_recv().inspect(|input| self.make_room(input))
    }

    fn make_room(&self, input: &Input) {
        if matches!(input, Input::Source(_)) {
            // Each portion of a source was announced before it was sent.
            let _ = self.room.try_recv();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_waits_and_a_peer_does_not() {
        let (inbox, source, receiver) = inbox();
        let feeder = std::thread::spawn(move || {
            for _ in 0..CAPACITY + 1 {
                source.send(vec![News::Settled]);
            }
        });
        for id in 0..CAPACITY as u64 * 2 {
            inbox.send(Input::Detach { peer: PeerId(id) });
        }
        assert!(!feeder.is_finished() || receiver.try_recv().is_ok(), "the source is one too many");
        let mut left = CAPACITY + 1;
        while left > 0 {
            left -= usize::from(matches!(receiver.recv(), Ok(Input::Source(_))));
        }
        feeder.join().expect("the source gets through");
    }
}
