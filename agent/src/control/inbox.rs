//! What the graph's thread is told, by whom.

use std::sync::mpsc::{self, TrySendError};
use std::time::Duration;

use caracal_proto::sync::{FromData, Hello, ToData};

use crate::sync::Refused;

/// Inputs that may wait. A source that is faster than the graph waits for it.
const CAPACITY: usize = 4096;

/// How soon to look again whether a full inbox has room.
const RETRY: Duration = Duration::from_millis(1);

/// One stream of the sync API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerId(pub u64);

/// Takes frames for one data half, in order. Dropping it ends the stream.
pub trait Outlet: Send {
    /// Sends a frame. It never waits: the protocol bounds what is sent.
    fn send(&mut self, frame: ToData);

    /// Ends the stream with a reason.
    fn refuse(&mut self, refused: Refused);
}

/// One input of the graph's thread.
pub enum Input {
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
        frame: FromData,
    },
    /// A stream has ended.
    Detach {
        /// The stream.
        peer: PeerId,
    },
    /// The end.
    Stop,
}

/// The writing end of the inbox.
#[derive(Clone, Debug)]
pub struct Inbox(mpsc::SyncSender<Input>);

/// The reading end.
pub type Receiver = mpsc::Receiver<Input>;

/// A new inbox.
#[must_use]
pub fn inbox() -> (Inbox, Receiver) {
    let (sender, receiver) = mpsc::sync_channel(CAPACITY);
    (Inbox(sender), receiver)
}

impl Inbox {
    /// Sends an input; waits while the inbox is full. What comes after the end is dropped.
    pub fn send(&self, input: Input) {
        let _ = self.0.send(input);
    }

    /// As [`Inbox::send`], without holding up the runtime's thread.
    pub async fn send_async(&self, mut input: Input) {
        loop {
            match self.0.try_send(input) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => input = back,
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
