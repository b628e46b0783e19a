//! The control half's end: the clients there are, and the processor while there are any.

use std::collections::BTreeMap;

use caracal_proto::felix::ToDataplane;
use tonic::Status;
use tracing::{debug, warn};

use super::{Ended, EndpointId, JoinId, Processor, Queue, Told};

/// What a client asks for.
#[derive(Debug)]
pub enum Request {
    /// What applies to its endpoint.
    Join {
        /// Who it is.
        endpoint: EndpointId,
        /// Its stream.
        join: JoinId,
        /// Takes the answers.
        queue: Queue,
    },
    /// Nothing any more.
    Leave {
        /// Who it was.
        endpoint: EndpointId,
        /// Its stream.
        join: JoinId,
    },
    /// Everybody is to go: the API is served somewhere else now, or nowhere.
    Dismiss,
}

/// The clients, and what they are told.
#[derive(Debug, Default)]
pub struct Hub {
    /// `None` while nobody listens: what it knows takes memory.
    processor: Option<Processor>,
    /// Clients that wait for the processor to be filled, oldest first.
    waiting: Vec<(EndpointId, JoinId)>,
    lines: BTreeMap<JoinId, Line>,
}

#[derive(Debug)]
struct Line {
    endpoint: EndpointId,
    queue: Queue,
}

impl Hub {
    /// Takes what a client asks for.
    pub fn on_request(&mut self, request: Request) {
        match request {
            Request::Join { endpoint, join, queue } => {
                debug!(endpoint = endpoint.workload, "a client of policy sync joins");
                self.lines.insert(join, Line { endpoint: endpoint.clone(), queue });
                self.waiting.push((endpoint, join));
                self.admit();
            }
            Request::Leave { endpoint, join } => self.leave(&endpoint, join),
            Request::Dismiss => *self = Self::default(),
        }
    }

    /// Whether somebody listens or waits to.
    #[must_use]
    pub fn has_clients(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Whether it follows the flushes: [`Hub::on_message`] must then see every
    /// message. Else the clients that there are wait for [`Hub::on_snapshot`].
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.processor.is_some()
    }

    /// Takes everything that the last flush amounts to, and lets in who waits for it.
    pub fn on_snapshot<T>(&mut self, tell: impl FnOnce(&mut dyn FnMut(ToDataplane)) -> T) {
        let mut processor = Processor::default();
        tell(&mut |message| processor.on_message(message, &mut |_, _| unreachable!("nobody has joined it")));
        self.processor = Some(processor);
        self.admit();
    }

    /// Takes the next message of a flush; nothing if nobody listens.
    pub fn on_message(&mut self, message: &ToDataplane) {
        let Some(processor) = &mut self.processor else {
            return;
        };
        let mut slow = Vec::new();
        processor.on_message(message.clone(), &mut |join, told| deliver(&mut self.lines, &mut slow, join, told));
        self.drop_slow(slow);
        if self.lines.is_empty() {
            self.processor = None;
        }
    }

    fn admit(&mut self) {
        let Some(processor) = &mut self.processor else {
            return;
        };
        for (endpoint, join) in std::mem::take(&mut self.waiting) {
            // A snapshot has no bound, so that nobody is too slow for it.
            processor.join(endpoint, join, &mut |join, told| deliver(&mut self.lines, &mut Vec::new(), join, told));
            if let Some(line) = self.lines.get_mut(&join) {
                line.queue.snapshot_told();
            }
        }
    }

    fn leave(&mut self, endpoint: &EndpointId, join: JoinId) {
        self.lines.remove(&join);
        self.waiting.retain(|(_, id)| *id != join);
        if let Some(processor) = &mut self.processor {
            processor.leave(endpoint, join);
        }
        if self.lines.is_empty() {
            self.processor = None;
        }
    }

    fn drop_slow(&mut self, slow: Vec<JoinId>) {
        for join in slow {
            if let Some(Line { endpoint, queue }) = self.lines.remove(&join) {
                warn!("the policy sync client of {} does not read what it is sent, and is dropped", endpoint.workload);
                queue.fail(Status::resource_exhausted("too many messages wait to be read; start again"));
                self.leave(&endpoint, join);
            }
        }
    }
}

fn deliver(lines: &mut BTreeMap<JoinId, Line>, slow: &mut Vec<JoinId>, join: JoinId, told: Told) {
    match told {
        Told::Message(message) => {
            if lines.get(&join).is_some_and(|line| line.queue.send(message).is_err()) {
                slow.push(join);
            }
        }
        // Clients of Felix expect a stream that ends well.
        Told::End(Ended::Replaced | Ended::Removed) => drop(lines.remove(&join)),
    }
}

#[cfg(test)]
mod tests;
