//! What was there before us: a table that another release laid out judges until
//! everything has been told, and nothing at all stays nothing for a moment.

use std::time::{Duration, Instant};

use caracal_program::{DriverError, Finding, PolicyStore, Problem};
use rustc_hash::FxHashMap;

use super::{Known, NftablesDriver, Standing, unanswered};
use crate::held::Held;
use crate::ir::TABLE;
use crate::layout;

/// How long a kernel without our table is left without one while nothing has been
/// told: on the first start of a node whatever is allowed goes on without a break if
/// everything is told within this time, and nothing new goes on for longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the kernel has under our name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    OurLayout,
    OtherLayout,
}

impl NftablesDriver {
    /// What the kernel has under our name.
    pub(super) fn before_us(&mut self) -> Result<Before, DriverError> {
        let table = self.socket.table(&self.table).map_err(|error| unanswered("the table", error))?;
        Ok(match table {
            None => Before::Nothing,
            Some(table) if layout::is_ours(&table) => Before::OurLayout,
            Some(_) => Before::OtherLayout,
        })
    }

    /// Leaves what was there before us as it is, if it is worth that; whether it does so.
    /// A table of another layout is if packets meet its chains, and nothing at all is
    /// when a driver looks for the first time, for a moment.
    pub(super) fn leave_alone(&mut self, before: Before, generation: u32) -> Result<bool, DriverError> {
        let table = match before {
            Before::OurLayout => return Ok(false),
            Before::Nothing => {
                let now = Instant::now();
                let is_first = self.told.is_none();
                let until = *self.patient_until.get_or_insert(if is_first { now + PATIENCE } else { now });
                if now >= until {
                    return Ok(false);
                }
                None
            }
            Before::OtherLayout => {
                self.patient_until = Some(Instant::now());
                let judging = layout::judging(&mut self.socket, &self.table);
                let judging = judging.map_err(|error| unanswered("the chains of a table of another layout", error))?;
                let Some(table) = judging else { return Ok(false) };
                if self.known.table != Some(table.handle) {
                    let comment = table.comment.as_ref().map_or("", |comment| comment.as_str());
                    tracing::info!(comment, "the table has another layout; it stays until everything has been told");
                }
                Some(table.handle)
            }
        };
        self.model = None;
        self.held = Held::default();
        self.known = Known { generation, table, ..Known::default() };
        self.retry = None;
        Ok(true)
    }

    /// Sees whether what was there before us still is, and may still be.
    pub(super) fn look_at_what_was_before(&mut self, store: &PolicyStore) -> Result<Finding, DriverError> {
        let generation = self.socket.generation().map_err(|error| unanswered("the generation", error))?;
        let is_due = self.known.table.is_none() && self.patient_until.is_none_or(|until| until <= Instant::now());
        if generation == self.known.generation && !is_due {
            return Ok(Finding::Unchanged);
        }
        let was_table = self.known.table.is_some();
        let receipt = self.read_back(store, Self::sweep_for(store), FxHashMap::default())?;
        // Where there was nothing, nobody has changed anything.
        let is_news = was_table || !receipt.outcomes.is_empty() || !receipt.hosts.is_empty();
        Ok(match receipt.transactions > 0 && is_news {
            true => Finding::Repaired(receipt),
            false => Finding::Unchanged,
        })
    }

    /// What is to be said of a table of another layout.
    pub(super) fn other_layout(&self) -> Option<Problem> {
        (self.standing == Standing::Foreign && self.known.table.is_some()).then(|| Problem {
            subject: format!("table inet {TABLE}"),
            reason: "another release laid it out: its rules stand until everything has been told".to_owned(),
        })
    }
}
