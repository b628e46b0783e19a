//! The driver: puts revisions into force and keeps them there.

mod commit;
mod report;
mod resync;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use caracal_program::{
    Change, Driver, DriverError, EndpointOutcome, Finding, Outcome, PolicyStore, Receipt, Report, Sweep, WorkloadId,
};
use caracal_sys::nft::{Batch, Features, Name, NftSocket, QueryError, TableId};
use rustc_hash::FxHashMap;

use crate::ir::TABLE;
use crate::model::{Affected, Model, Object, Update};
use crate::plan::plan;
use crate::settings::{Ownership, Settings};

/// How often the generation is looked at.
const POLL: Duration = Duration::from_millis(25);

/// The longest pause between attempts to put right what failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How much is known of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It must be read back: nothing was done yet, or something failed.
    Unknown,
    /// It holds what is desired, and what was there before.
    Kept,
    /// It holds what is desired and nothing else.
    Whole,
}

/// What the kernel is known to hold.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The generation after our last transaction.
    generation: u32,
    /// The table's handle.
    table: Option<u64>,
    /// Whether we made the table our own.
    owned: bool,
    /// The table's chains and sets.
    objects: u32,
}

/// Counts of what the driver did, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Members of sets that were edited in place although a rule that uses them
    /// changed in the same revision: sets too big to copy. A packet on its way
    /// may have met the old rule with the new members.
    pub uncopied_members: u64,
    /// Times that somebody else's change was found and repaired.
    pub repairs: u64,
    /// Transactions that the kernel refused.
    pub refusals: u64,
}

/// Puts rule programs into force with nftables.
pub struct NftablesDriver {
    settings: Settings,
    socket: NftSocket,
    features: Features,
    table: TableId,
    batch: Batch,
    model: Option<Model>,
    outcomes: BTreeMap<WorkloadId, Outcome>,
    standing: Standing,
    known: Known,
    /// When the next attempt is due after a failure, and the pause after that.
    retry: Option<(Instant, Duration)>,
    repairs: u64,
    refusals: u64,
}

impl NftablesDriver {
    /// Opens a socket in the network namespace of the calling thread and finds
    /// out what the kernel can do. Changes nothing.
    ///
    /// # Errors
    /// [`DriverError::Unavailable`] without nf_tables or without `CAP_NET_ADMIN`.
    pub fn new(settings: Settings) -> Result<Self, DriverError> {
        let unavailable = |source| DriverError::Unavailable { what: "nf_tables over netlink".into(), source };
        let mut socket = NftSocket::open().map_err(unavailable)?;
        let features = socket.features().map_err(|error| unavailable(io::Error::other(error)))?;
        let table = TableId::inet(Name::new(TABLE).expect("the table's name is short"));
        Ok(Self {
            batch: Batch::new(&table),
            settings,
            socket,
            features,
            table,
            model: None,
            outcomes: BTreeMap::new(),
            standing: Standing::Unknown,
            known: Known::default(),
            retry: None,
            repairs: 0,
            refusals: 0,
        })
    }

    /// Takes other settings: the next revision compares the whole ruleset with
    /// what they ask for and changes what differs.
    pub fn set_settings(&mut self, settings: Settings) {
        if self.settings == settings {
            return;
        }
        self.settings = settings;
        self.model = None;
        self.standing = Standing::Unknown;
    }

    /// What the driver counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let uncopied_members = self.model.as_ref().map_or(0, Model::uncopied);
        Counts { uncopied_members, repairs: self.repairs, refusals: self.refusals }
    }

    /// Whether the table is made our own.
    fn wants_ownership(&self) -> bool {
        self.settings.ownership == Ownership::Owned && self.features.owned_persistent
    }

    /// What became of the affected endpoints, as far as it is news.
    fn outcomes_of(&mut self, store: &PolicyStore, affected: &Affected) -> Vec<EndpointOutcome> {
        let Some(model) = &self.model else { return Vec::new() };
        let ids: Vec<WorkloadId> = match affected {
            Affected::These(ids) => {
                let mut ids = ids.clone();
                ids.sort_unstable();
                ids.dedup();
                ids
            }
            Affected::All => {
                let mut ids: Vec<_> = store.workloads().map(|endpoint| endpoint.id.clone()).collect();
                ids.extend(self.outcomes.keys().filter(|id| store.workload(id).is_none()).cloned());
                ids
            }
        };
        let mut news = Vec::new();
        for id in ids {
            let outcome = model.outcome(store, &id);
            let before = match outcome {
                Outcome::Removed => self.outcomes.remove(&id),
                Outcome::Programmed | Outcome::Shadowed | Outcome::Quarantined { .. } => {
                    self.outcomes.insert(id.clone(), outcome.clone())
                }
            };
            let was_never_there = before.is_none() && outcome == Outcome::Removed;
            if before.as_ref() != Some(&outcome) && !was_never_there {
                news.push(EndpointOutcome { id, outcome });
            }
        }
        news
    }

    fn sweep_for(store: &PolicyStore) -> Sweep {
        if store.in_sync() { Sweep::Remove } else { Sweep::Keep }
    }
}

impl Driver for NftablesDriver {
    fn apply(&mut self, store: &PolicyStore, changes: &[Change]) -> Result<Receipt, DriverError> {
        let model = match (self.standing, &mut self.model) {
            (Standing::Whole, Some(model)) => model,
            // Only what is read back can be told from what is new.
            (Standing::Unknown | Standing::Kept | Standing::Whole, _) => {
                return self.read_back(store, Self::sweep_for(store), FxHashMap::default());
            }
        };
        let Update { edits, garbage, affected } = model.update(store, changes, Instant::now());
        let steps = plan(edits, garbage);
        match self.send(&steps) {
            Ok(mut receipt) => {
                receipt.outcomes = self.outcomes_of(store, &affected);
                Ok(receipt)
            }
            Err(failure) => self.recover(store, &failure),
        }
    }

    fn resync(&mut self, store: &PolicyStore, sweep: Sweep) -> Result<Receipt, DriverError> {
        self.read_back(store, sweep, FxHashMap::default())
    }

    fn poll(&mut self, store: &PolicyStore) -> Result<Finding, DriverError> {
        match self.standing {
            Standing::Unknown => {
                let due = self.retry.is_some_and(|(due, _)| Instant::now() >= due);
                if self.model.is_none() || !due {
                    return Ok(Finding::Unchanged);
                }
                let receipt = self.read_back(store, Self::sweep_for(store), FxHashMap::default())?;
                return Ok(Finding::Repaired(receipt));
            }
            Standing::Kept | Standing::Whole => {}
        }
        let generation = self.socket.generation().map_err(|error| unanswered("the generation", error))?;
        if generation != self.known.generation {
            if !self.is_intact()? {
                self.repairs += 1;
                let receipt = self.read_back(store, Self::sweep_for(store), FxHashMap::default())?;
                return Ok(Finding::Repaired(receipt));
            }
            self.known.generation = generation;
        }
        if self.standing == Standing::Whole && self.model.as_ref().is_some_and(Model::has_garbage) {
            self.apply(store, &[])?;
        }
        Ok(Finding::Unchanged)
    }

    fn poll_interval(&self) -> Duration {
        POLL
    }

    fn report(&self) -> Report {
        report::report(&self.counts(), &self.outcomes)
    }

    fn remove(&mut self) -> Result<(), DriverError> {
        self.remove_table()
    }
}

/// A question that the kernel did not answer.
fn unanswered(what: &str, error: QueryError) -> DriverError {
    DriverError::Refused { what: format!("to tell {what}"), source: io::Error::other(error) }
}

/// What the kernel refused, as objects of the model.
type RefusedObjects = FxHashMap<Object, String>;

#[cfg(test)]
mod tests;
