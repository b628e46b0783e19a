//! The subscription to the kernel's events: what others commit wakes us and names
//! what they did, and what we commit makes none.

use std::time::Instant;

use caracal_sys::nft::{Monitor, QueryError};

use super::{LARGE, NftablesDriver};
use crate::plan::Step;
use crate::settings::Events;

impl NftablesDriver {
    /// Subscribes to the kernel's events, or ends that. Nobody else can change a table
    /// that is owned.
    pub(super) fn subscribe(&mut self) {
        let wanted = self.settings.events == Events::Heard && !self.wants_ownership();
        if !wanted {
            self.monitor = None;
            return;
        }
        if self.monitor.is_none() {
            match self.socket.port().and_then(|port| Monitor::open(&self.table, port)) {
                Ok(monitor) => self.monitor = Some(monitor),
                Err(error) => {
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!(%error, "cannot subscribe to events of nf_tables; the table is looked through instead");
                    }
                }
            }
        }
        if let (Some(monitor), Some(wake)) = (&mut self.monitor, &self.wake)
            && !monitor.is_watched()
        {
            let wake = wake.clone();
            if let Err(error) = monitor.watch(move || wake())
                && !std::mem::replace(&mut self.complained, true)
            {
                tracing::warn!(%error, "cannot wait for events of nf_tables; the generation is looked at several times a second instead");
            }
        }
    }

    /// Takes in the events that have come, and gives when the first of them did: before
    /// that, the table was as it was seen last. Nobody knows without a watch, or if events
    /// may be missing.
    pub(super) fn hear(&mut self) -> Option<Instant> {
        let is_unbroken = !std::mem::take(&mut self.overtaken);
        let monitor = self.monitor.as_mut()?;
        let since = monitor.noticed();
        // What cannot be heard now is missed when it is asked for.
        let _ = monitor.hear();
        since.filter(|_| is_unbroken)
    }

    /// Carries out a transaction. The kernel need not tell of a large one: that would cost
    /// more than the transaction. What others do meanwhile is missed, so all is suspected
    /// if they do anything.
    pub(super) fn unheard<T>(&mut self, steps: &[Step], send: impl FnOnce(&mut Self) -> T) -> T {
        let is_paused = weight(steps) > LARGE && self.monitor.as_mut().is_some_and(|monitor| monitor.pause().is_ok());
        let sent = send(self);
        if is_paused {
            self.monitor.take_if(|monitor| monitor.resume().is_err());
            self.subscribe();
            if self.ask_whether_overtaken().is_err() || self.overtaken {
                self.overtaken = true;
                self.audit.suspect();
            }
        }
        sent
    }

    /// Takes note of whether others committed what is not known yet. Events that were read
    /// wake nobody any more, so after reading some this is to be asked.
    pub(super) fn ask_whether_overtaken(&mut self) -> Result<(), QueryError> {
        self.overtaken |= self.socket.generation()? != self.known.generation;
        Ok(())
    }
}

/// Of how many things the kernel would tell.
fn weight(steps: &[Step]) -> usize {
    let things = |step: &Step| match step {
        Step::AddElements(_, elements) | Step::DeleteElements(_, elements) => elements.len(),
        Step::AddTable
        | Step::DeleteTable
        | Step::AddSet(_)
        | Step::AddChain(_)
        | Step::FlushChain(_)
        | Step::AddRule(..)
        | Step::EditRule(..)
        | Step::DeleteChain(_)
        | Step::DeleteSet(_) => 1,
    };
    steps.iter().map(things).sum()
}
