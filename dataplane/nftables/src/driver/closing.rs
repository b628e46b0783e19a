//! Closing what a lost table left open.
//!
//! A table that somebody deleted refuses nothing any more, and the kernel needs up to
//! a second to make a large one anew. So the chains that judge workloads come first,
//! with no endpoint in their maps, in a transaction that takes less than a millisecond:
//! what is established passes, and what is new from and to workloads waits for the rest.

use std::time::Instant;

use caracal_program::DriverError;
use caracal_sys::nft::Guard;

use super::predecessor::Before;
use super::{NftablesDriver, Standing, unanswered};
use crate::edits::{ChainEdit, Edits};
use crate::garbage::Garbage;
use crate::lower::{base_sets, dispatch_maps, judging_chains};
use crate::plan::{Step, plan};
use crate::settings::Settings;

/// A table that refuses what is new from and to workloads, and nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) since: Instant,
    /// That its transaction made.
    generation: u32,
}

impl NftablesDriver {
    /// Closes what a lost table left open, before it is found out who lost it.
    pub(super) fn close_if_lost(&mut self) -> Result<(), DriverError> {
        match self.standing {
            Standing::Kept | Standing::Whole => {}
            Standing::Unknown | Standing::Foreign => return Ok(()),
        }
        let generation = self.socket.generation().map_err(|error| unanswered("the generation", error))?;
        if generation != self.known.generation && self.before_us()? == Before::Nothing {
            self.close(generation);
        }
        Ok(())
    }

    /// Closes what is open without our table, and gives the generation after that. What
    /// the kernel refuses stays open until the whole table is there.
    pub(super) fn close(&mut self, generation: u32) -> u32 {
        // This is not what the kernel is to hold.
        let (standing, known) = (self.standing, self.known);
        let sent = self.send_guarded(&steps(&self.settings), Guard::Generation(generation));
        (self.standing, self.known) = (standing, known);
        match sent {
            Ok(_) => {
                let closed = Closed { since: Instant::now(), generation: generation.wrapping_add(1) };
                self.closed = Some(closed);
                closed.generation
            }
            Err(failure) => {
                tracing::warn!(error = %failure.error, "cannot close what our table, which is gone, left open");
                generation
            }
        }
    }

    /// Whether all that the kernel holds of our table is what closes it.
    pub(super) fn is_only_closed(&self, generation: u32) -> bool {
        self.closed.is_some_and(|closed| closed.generation == generation)
    }
}

fn steps(settings: &Settings) -> Vec<Step> {
    let edits = Edits {
        sets: dispatch_maps().into_iter().chain(base_sets(settings)).collect(),
        chains: judging_chains(settings).into_iter().map(ChainEdit::Create).collect(),
        ..Edits::default()
    };
    std::iter::once(Step::AddTable).chain(plan(edits, Garbage::default())).collect()
}
