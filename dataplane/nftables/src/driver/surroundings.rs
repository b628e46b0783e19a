//! A look at what others have beside our table, now and then.

use std::time::{Duration, Instant};

use caracal_net::Mark;
use caracal_sys::nft::{NftSocket, QueryError};

use super::thread_time::thread_time;
use crate::neighbours::{Neighbour, Survey};

/// The part of a core that looking may take: one in this many.
const SHARE: u32 = 2000;

/// The time between the end of one look and the beginning of the next.
const PERIOD: Duration = Duration::from_secs(60);

/// How long one poll may look; a chain that was begun is ended.
const SLICE: Duration = Duration::from_millis(2);

/// What others have beside our table.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// Whether somebody committed since the last look began.
    stale: bool,
    survey: Option<Survey>,
    /// When to go on; at once if there is none.
    due: Option<Instant>,
    found: Vec<Neighbour>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { stale: true, survey: None, due: None, found: Vec::new() }
    }
}

impl Surroundings {
    /// Somebody committed.
    pub(super) const fn changed(&mut self) {
        self.stale = true;
    }

    /// What the last look found.
    pub(super) fn found(&self) -> &[Neighbour] {
        &self.found
    }

    /// Goes on looking, if it is time. What others have is no reason to fail: a look
    /// that does not succeed begins anew later.
    pub(super) fn look(&mut self, socket: &mut NftSocket, ours: Mark, now: Instant) {
        if !(self.stale || self.survey.is_some()) || self.due.is_some_and(|due| now < due) {
            return;
        }
        let before = thread_time();
        match self.go_on(socket, ours, Instant::now()) {
            Ok(()) => self.due = self.due.max(Some(now + thread_time().saturating_sub(before) * SHARE)),
            Err(error) => {
                tracing::debug!(%error, "cannot look at the rules of others");
                self.survey = None;
                self.stale = true;
                self.due = Some(now + PERIOD);
            }
        }
    }

    fn go_on(&mut self, socket: &mut NftSocket, ours: Mark, start: Instant) -> Result<(), QueryError> {
        let mut survey = match self.survey.take() {
            Some(survey) => survey,
            None => {
                self.stale = false;
                Survey::begin(socket)?
            }
        };
        while survey.step(socket, ours)? {
            if start.elapsed() >= SLICE {
                self.survey = Some(survey);
                return Ok(());
            }
        }
        let found = survey.finish();
        for neighbour in found.iter().filter(|neighbour| !self.found.contains(neighbour)) {
            tracing::warn!("{neighbour}: {}", neighbour.matter);
        }
        self.found = found;
        self.due = Some(start + PERIOD);
        Ok(())
    }
}

#[cfg(test)]
impl Surroundings {
    /// Forgets how much time was spent.
    pub(super) const fn hurry(&mut self) {
        self.due = None;
    }
}
