//! The driver: puts revisions into force and keeps them there.

mod audit;
mod closing;
mod commit;
mod counters;
mod drift;
mod events;
mod predecessor;
mod report;
mod resync;
mod surroundings;
mod thread_time;
mod verify;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use audit::Audit;
use caracal_program::{
    Change, Driver, DriverError, EndpointOutcome, Finding, HostId, HostOutcome, Outcome, PolicyStore, Receipt, Report,
    RuleCounts, Stamp, Sweep, Wake, WorkloadId,
};
use caracal_sys::memory;
use caracal_sys::nft::{Batch, Features, Monitor, Name, NftSocket, QueryError, TableId};
use closing::Closed;
use counters::Counters;
use drift::DriftLog;
use resync::Ahead;
use rustc_hash::FxHashMap;
use surroundings::Surroundings;

use crate::held::{Held, Print};
use crate::ir::TABLE;
use crate::model::{Affected, HostWork, Model, Object, Update};
use crate::plan::plan;
use crate::settings::{Ownership, Settings};

/// How often the generation is looked at if the kernel lets nobody else change
/// the table: then it can only vanish with the namespace.
const OWNED_POLL: Duration = Duration::from_secs(1);

/// The same if anybody may change the table and the kernel's events tell when: then
/// only what happened while they were not heard is found by looking.
const WATCHED_POLL: Duration = Duration::from_secs(1);

/// How often it is looked at if anybody may change the table and nothing tells.
const SHARED_POLL: Duration = Duration::from_millis(25);

/// The same for a table so large that making it anew takes longer than finding out.
const LARGE_POLL: Duration = Duration::from_millis(100);

/// Chains and sets of a large table, and steps of a large transaction.
const LARGE: usize = 1000;

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The longest pause between attempts to put right what failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The first pause before the kernel is asked again for what it refused, and the
/// longest: each time, the whole table is read back.
const REFUSED_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How much is known of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It must be read back: nothing was done yet, or something failed.
    Unknown,
    /// It holds what was there before us, until everything has been told: a table of
    /// another layout, or for a moment nothing.
    Foreign,
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
    /// How many things it has that are neither chains nor sets: not ours.
    others: u32,
    /// The first and the last of the generations that others made since the table
    /// was last known to be right.
    suspects: (u32, u32),
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
    /// Times that the content of the whole table was looked through and was right.
    pub audits: u64,
    /// Transactions that the kernel carried out.
    pub transactions: u64,
    /// Time that it took for them.
    pub kernel: Duration,
    /// Transactions that the kernel refused.
    pub refusals: u64,
    /// Times that the kernel's events came faster than they were read.
    pub overruns: u64,
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
    host_outcomes: BTreeMap<HostId, Outcome>,
    standing: Standing,
    /// The store that the kernel was brought to.
    told: Option<Stamp>,
    known: Known,
    held: Held,
    /// What was looked at for the next resync.
    ahead: Option<Ahead>,
    /// What stands in for a lost table until it is there again.
    closed: Option<Closed>,
    counters: Counters,
    /// Of the steps that are being sent.
    prints: Vec<Print>,
    audit: Audit,
    drift: DriftLog,
    surroundings: Surroundings,
    /// The subscription to the kernel's events, if it is wanted.
    monitor: Option<Monitor>,
    /// What is called when they tell of others.
    wake: Option<Wake>,
    /// Whether others may have committed without our being woken for it again.
    overtaken: bool,
    /// Whether it was said that there is no subscription, or no being woken.
    complained: bool,
    /// When the next attempt is due after a failure, and the pause after that.
    retry: Option<(Instant, Duration)>,
    /// When the kernel is asked again for what it refused, and the pause before that.
    amnesty: Option<(Instant, Duration)>,
    transactions: u64,
    /// Time that the kernel took for them.
    kernel: Duration,
    refusals: u64,
    /// Until when a kernel without our table is left without one.
    patient_until: Option<Instant>,
    /// Whether the next poll gives memory back to the system: nobody waits for it.
    owes_memory: bool,
}

impl NftablesDriver {
    /// Opens a socket in the network namespace of the calling thread and finds
    /// out what the kernel can do. Changes nothing.
    ///
    /// # Errors
    /// [`DriverError::Unavailable`] without nf_tables or without `CAP_NET_ADMIN`.
    pub fn new(settings: Settings) -> Result<Self, DriverError> {
        Self::over(settings, NftSocket::open().map_err(unavailable)?)
    }

    /// As [`NftablesDriver::new`], with a socket that is open.
    pub(crate) fn over(settings: Settings, mut socket: NftSocket) -> Result<Self, DriverError> {
        let features = socket.features().map_err(|error| unavailable(io::Error::other(error)))?;
        let table = TableId::inet(Name::new(TABLE).expect("the table's name is short"));
        let mut driver = Self {
            batch: Batch::new(&table),
            settings,
            socket,
            features,
            table,
            model: None,
            outcomes: BTreeMap::new(),
            host_outcomes: BTreeMap::new(),
            standing: Standing::Unknown,
            told: None,
            known: Known::default(),
            held: Held::default(),
            ahead: None,
            closed: None,
            counters: Counters::default(),
            prints: Vec::new(),
            audit: Audit::default(),
            drift: DriftLog::default(),
            surroundings: Surroundings::default(),
            monitor: None,
            wake: None,
            overtaken: false,
            complained: false,
            retry: None,
            amnesty: None,
            transactions: 0,
            kernel: Duration::ZERO,
            refusals: 0,
            patient_until: None,
            owes_memory: false,
        };
        driver.subscribe();
        Ok(driver)
    }

    /// Takes other settings: the next revision compares the whole ruleset with
    /// what they ask for and changes what differs.
    pub fn set_settings(&mut self, settings: Settings) {
        if self.settings == settings {
            return;
        }
        if self.settings.pass_mark() != settings.pass_mark() {
            // What was found was about other bits.
            self.surroundings = Surroundings::default();
        }
        self.settings = settings;
        self.model = None;
        self.standing = Standing::Unknown;
        self.subscribe();
    }

    /// What the driver counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let uncopied_members = self.model.as_ref().map_or(0, Model::uncopied);
        let (repairs, audits) = (self.drift.repairs(), self.audit.finished());
        let overruns = self.monitor.as_ref().map_or(0, Monitor::overruns);
        let Self { transactions, kernel, refusals, .. } = *self;
        Counts { uncopied_members, repairs, audits, transactions, kernel, refusals, overruns }
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

    /// What became of host endpoints, as far as it is news.
    fn host_outcomes_of(&mut self, store: &PolicyStore) -> Vec<HostOutcome> {
        let Some(model) = &self.model else { return Vec::new() };
        let now: BTreeMap<HostId, Outcome> =
            store.hosts().map(|host| (host.id.clone(), model.host_outcome(store, &host.id))).collect();
        let before = std::mem::replace(&mut self.host_outcomes, now);
        let gone = before.keys().filter(|id| !self.host_outcomes.contains_key(*id)).map(|id| (id, &Outcome::Removed));
        let news = self.host_outcomes.iter().filter(|(id, outcome)| before.get(*id) != Some(outcome)).chain(gone);
        news.map(|(id, outcome)| HostOutcome { id: id.clone(), outcome: outcome.clone() }).collect()
    }

    fn sweep_for(store: &PolicyStore) -> Sweep {
        if store.in_sync() { Sweep::Remove } else { Sweep::Keep }
    }

    /// Looks for what others did, and does what was put off. `since` is when the kernel's
    /// events began that were heard now.
    fn look(&mut self, store: &PolicyStore, since: Option<Instant>) -> Result<Finding, DriverError> {
        let now = Instant::now();
        match self.standing {
            Standing::Unknown => {
                if self.retry.is_none_or(|(due, _)| now < due) {
                    return Ok(Finding::Unchanged);
                }
                let receipt = self.read_back(store, Self::sweep_for(store), FxHashMap::default())?;
                return Ok(Finding::Repaired(receipt));
            }
            Standing::Foreign => return self.look_at_what_was_before(store),
            Standing::Kept | Standing::Whole => {}
        }
        if std::mem::take(&mut self.owes_memory) {
            memory::give_back();
        }
        if let Some(drift) = self.find_drift(now, since)? {
            // Host endpoints are not closed: what they guard is the way to this host.
            let closed = self.closed.filter(|_| store.hosts().next().is_none()).map(|closed| closed.since);
            let receipt = self.read_back(store, Self::sweep_for(store), FxHashMap::default())?;
            self.drift.repaired(drift, closed, Instant::now());
            return Ok(Finding::Repaired(receipt));
        }
        if self.is_amnesty(store, now) {
            let receipt = self.read_back(store, Self::sweep_for(store), FxHashMap::default())?;
            return Ok(Finding::Repaired(receipt));
        }
        if self.standing == Standing::Whole && self.model.as_ref().is_some_and(Model::has_garbage) {
            self.apply(store, &[])?;
        }
        self.surroundings.look(&mut self.socket, self.settings.pass_mark(), now);
        Ok(Finding::Unchanged)
    }

    /// When something is due that no event tells of.
    fn due(&self) -> Option<Instant> {
        match self.standing {
            Standing::Unknown => self.retry.map(|(due, _)| due),
            Standing::Foreign if self.known.table.is_none() => self.patient_until,
            Standing::Foreign | Standing::Kept | Standing::Whole => None,
        }
    }
}

impl Driver for NftablesDriver {
    fn apply(&mut self, store: &PolicyStore, changes: &[Change]) -> Result<Receipt, DriverError> {
        let model = match (self.standing, &mut self.model) {
            (Standing::Whole, Some(model)) => model,
            // Only what is read back can be told from what is new.
            (Standing::Unknown | Standing::Foreign | Standing::Kept | Standing::Whole, _) => {
                return self.read_back(store, Self::sweep_for(store), FxHashMap::default());
            }
        };
        let Update { edits, garbage, affected, hosts } = model.update(store, changes, Instant::now());
        let steps = plan(edits, garbage);
        match self.unheard(&steps, |driver| driver.send(&steps)) {
            Ok(mut receipt) => {
                self.told = Some(store.stamp());
                receipt.outcomes = self.outcomes_of(store, &affected);
                if hosts == HostWork::Due {
                    receipt.hosts = self.host_outcomes_of(store);
                }
                Ok(receipt)
            }
            Err(failure) => self.recover(store, &failure),
        }
    }

    fn resync(&mut self, store: &PolicyStore, sweep: Sweep) -> Result<Receipt, DriverError> {
        if let Some(receipt) = self.find_all_right(store) {
            return Ok(receipt);
        }
        self.read_back(store, sweep, FxHashMap::default())
    }

    fn look_ahead(&mut self) {
        if let Err(error) = self.look_at_table() {
            tracing::debug!(%error, "cannot look at the table ahead of the first snapshot");
        }
    }

    fn poll(&mut self, store: &PolicyStore) -> Result<Finding, DriverError> {
        // To hear what happened takes as long as it was much.
        let closed = self.close_if_lost();
        let since = self.hear();
        let outcome = closed.and_then(|()| self.look(store, since));
        self.overtaken |= outcome.is_err();
        outcome
    }

    fn poll_interval(&self) -> Duration {
        let is_watched = self.monitor.as_ref().is_some_and(Monitor::is_watched) && !self.overtaken;
        let routine = match self.known.owned {
            true => OWNED_POLL,
            false if is_watched => WATCHED_POLL,
            false if self.held.chains.len() + self.held.sets.len() > LARGE => LARGE_POLL,
            false => SHARED_POLL,
        };
        let due = self.due().map(|due| due.saturating_duration_since(Instant::now()).max(FIRST_PAUSE));
        due.map_or(routine, |due| due.min(routine))
    }

    fn watch(&mut self, wake: Wake) {
        self.wake = Some(wake);
        self.subscribe();
    }

    fn report(&self) -> Report {
        let network = self.model.as_ref().and_then(Model::network_fault);
        let neighbours = self.surroundings.found();
        let refused_sets = self.model.as_ref().map(Model::refused_sets).unwrap_or_default();
        let mut report = report::report(
            &self.counts(),
            &self.drift,
            &self.outcomes,
            &self.host_outcomes,
            network,
            &refused_sets,
            neighbours,
        );
        report.measurements.extend(report::sizes(&self.held));
        report.problems.extend(self.other_layout());
        report
    }

    fn rule_counts(&mut self, store: &PolicyStore) -> Result<Option<RuleCounts>, DriverError> {
        self.read_counts(store).map_err(|error| unanswered("what rules have counted", error))
    }

    fn remove(&mut self) -> Result<(), DriverError> {
        self.remove_table()
    }
}

fn unavailable(source: io::Error) -> DriverError {
    DriverError::Unavailable { what: "nf_tables over netlink".into(), source }
}

/// A question that the kernel did not answer.
fn unanswered(what: &str, error: QueryError) -> DriverError {
    DriverError::Refused { what: format!("to tell {what}"), source: io::Error::other(error) }
}

/// What the kernel refused, as objects of the model.
type RefusedObjects = FxHashMap<Object, String>;

#[cfg(test)]
mod tests;
