//! Reading back, adopting, repairing.

use std::io;
use std::time::Instant;

use caracal_program::{DriverError, PolicyStore, Receipt, Sweep};
use caracal_sys::nft::{Guard, Name, QueryError};

use super::commit::{Failure, MOST_KEPT};
use super::predecessor::Before;
use super::{FIRST_PAUSE, LONGEST_PAUSE, NftablesDriver, REFUSED_PAUSES, RefusedObjects, Standing, unanswered};
use crate::adopt::{self, Way};
use crate::garbage::Garbage;
use crate::held::Held;
use crate::layout;
use crate::model::Model;
use crate::plan::{Step, plan};
use crate::readback::Found;
use crate::sets::Place;

/// How often the kernel is read again when others change it meanwhile, or when
/// it refuses objects that can be left out.
const ATTEMPTS: usize = 5;

/// `NFT_TABLE_F_OWNER` of `linux/netfilter/nf_tables.h`: somebody owns the table.
const OWNER: u32 = 2;

/// `NFT_TABLE_F_PERSIST`: the table outlives its owner, and can be owned again.
const PERSIST: u32 = 4;

/// The table as it was seen before anything was asked for.
#[derive(Debug)]
pub(super) struct Ahead {
    /// The generation before the look.
    generation: u32,
    found: Option<Found>,
}

impl NftablesDriver {
    /// After a failed transaction. What the kernel refused may be the fault of
    /// others who changed the table: it is read back, and only what is refused
    /// then is left out.
    pub(super) fn recover(&mut self, store: &PolicyStore, failure: &Failure) -> Result<Receipt, DriverError> {
        self.postpone();
        tracing::warn!(error = %failure.error, "the kernel refused a transaction; reading back what it holds");
        let refused = self.model.take().map(Model::into_refused).unwrap_or_default();
        self.read_back(store, Self::sweep_for(store), refused)
    }

    /// Reads back what the kernel holds and brings it to what is desired.
    pub(super) fn read_back(
        &mut self,
        store: &PolicyStore,
        sweep: Sweep,
        mut refused: RefusedObjects,
    ) -> Result<Receipt, DriverError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let attempt = match self.attempt(store, sweep, refused.clone()) {
                Ok(attempt) => attempt,
                Err(error) => {
                    self.postpone();
                    return Err(error);
                }
            };
            match attempt {
                Ok(mut receipt) => {
                    self.closed = None;
                    self.standing = match sweep {
                        Sweep::Keep if self.model.is_none() => Standing::Foreign,
                        Sweep::Keep => Standing::Kept,
                        Sweep::Remove => Standing::Whole,
                    };
                    self.told = Some(store.stamp());
                    // What made the transaction is several times as large as what is kept.
                    self.owes_memory |= receipt.bytes > MOST_KEPT;
                    let Receipt { outcomes, hosts, .. } = self.receipt_of_all(store);
                    (receipt.outcomes, receipt.hosts) = (outcomes, hosts);
                    return Ok(receipt);
                }
                Err(Failure { stale: true, error, .. }) => last = Some(error),
                Err(Failure { objects, error, .. }) => {
                    let nothing_new = objects.keys().all(|object| refused.contains_key(object));
                    note(&mut refused, objects);
                    last = Some(error);
                    if nothing_new {
                        break;
                    }
                }
            }
        }
        self.postpone();
        Err(last.unwrap_or_else(|| DriverError::Refused {
            what: "to hold still while the table was read".into(),
            source: io::Error::from(io::ErrorKind::WouldBlock),
        }))
    }

    /// One try: an inner failure is of the transaction, an outer one of a question.
    fn attempt(
        &mut self,
        store: &PolicyStore,
        sweep: Sweep,
        refused: RefusedObjects,
    ) -> Result<Result<Receipt, Failure>, DriverError> {
        self.standing = Standing::Unknown;
        let generation = self.socket.generation().map_err(|error| unanswered("the generation", error))?;
        let before_us = self.before_us()?;
        let is_other = before_us == Before::OtherLayout;
        if sweep == Sweep::Keep && self.leave_alone(before_us, generation)? {
            return Ok(Ok(Receipt::default()));
        }
        let generation = match before_us {
            // Where there never was one, nothing was lost.
            Before::Nothing if self.known.table.is_some() => self.close(generation),
            Before::Nothing | Before::OurLayout | Before::OtherLayout => generation,
        };
        let is_replaced = is_other || self.is_only_closed(generation);
        let mut found = match self.ahead.take() {
            _ if is_replaced => None,
            Some(Ahead { generation: seen, found }) if seen == generation => found,
            _ => Found::read(&mut self.socket, &self.table).map_err(|error| unanswered("the table", error))?,
        };
        let place = |first: &Name| found.as_ref().map_or(Place::Free(0), |found| found.place(first));
        let (mut model, desired) = Model::build(store, &self.settings, refused, place);
        let mut others = 0;
        let wants_ownership = self.wants_ownership();
        // What is made from nothing is noted step by step.
        let (steps, leftovers, held) = match &mut found {
            None => {
                self.known = super::Known { owned: wants_ownership, ..super::Known::default() };
                self.held = Held::default();
                let mut steps = Vec::new();
                steps.extend(is_replaced.then_some(Step::DeleteTable));
                steps.push(Step::AddTable);
                steps.extend(plan(desired, Garbage::default()));
                (steps, Garbage::default(), None)
            }
            Some(found) => {
                let is_owned = found.table.flags & OWNER != 0;
                let is_ours = is_owned && self.known.owned && self.known.table == Some(found.table.handle);
                let is_ownable = found.table.flags & PERSIST != 0;
                others = found.others();
                self.known.owned = wants_ownership && is_ownable;
                let mut held = Held::desired(&desired);
                // The flags of a table cannot be changed.
                let way = match wants_ownership && !is_ownable && sweep == Sweep::Remove {
                    true => Way::Rebuild(desired),
                    false => adopt::compare(&mut self.socket, &self.table, found, desired, &held, sweep)
                        .map_err(|error| unanswered("the elements of sets", error))?,
                };
                let takes_over = self.known.owned && !is_ours;
                let wakes = layout::is_dormant(&found.table);
                match way {
                    Way::Change(edits, leftovers) => {
                        let mut steps = Vec::new();
                        steps.extend((takes_over || wakes).then_some(Step::AddTable));
                        let chains = found.chains.iter().map(|(name, found)| (name, found.base));
                        held.and_found(chains, found.sets.keys());
                        if sweep == Sweep::Keep {
                            held.judge_no_interfaces();
                        }
                        self.held.note_rewritten(&edits, found);
                        steps.extend(plan(edits, Garbage::default()));
                        (steps, leftovers, Some(held))
                    }
                    Way::Rebuild(edits) => {
                        let mut steps = vec![Step::DeleteTable, Step::AddTable];
                        steps.extend(plan(edits, Garbage::default()));
                        self.known.owned = wants_ownership;
                        others = 0;
                        (steps, Garbage::default(), None)
                    }
                }
            }
        };
        model.discard(leftovers, Instant::now());
        self.model = Some(model);
        self.known.generation = generation;
        let sent = self.unheard(&steps, |driver| driver.send_guarded(&steps, Guard::Generation(generation)));
        if sent.is_ok() {
            if let Some(held) = held {
                self.held = held;
            }
            self.known.others = others;
            self.retry = None;
            self.audit.settle();
            self.forget_touched().map_err(|error| unanswered("the generation", error))?;
            let table = self.socket.table(&self.table).map_err(|error| unanswered("the table", error))?;
            self.known.table = table.map(|table| table.handle);
        }
        Ok(sent)
    }

    /// Looks at the whole table before anybody asks for it: what is told first is then
    /// compared with what was seen here, unless somebody committed since.
    pub(super) fn look_at_table(&mut self) -> Result<(), QueryError> {
        self.ahead = None;
        self.socket.wait_for_commit()?;
        let generation = self.socket.generation()?;
        let mut found = Found::read(&mut self.socket, &self.table)?;
        if let Some(found) = &mut found {
            found.look_at_all_elements(&mut self.socket, &self.table)?;
        }
        self.ahead = Some(Ahead { generation, found });
        Ok(())
    }

    pub(super) fn remove_table(&mut self) -> Result<(), DriverError> {
        let found = self.socket.table(&self.table).map_err(|error| unanswered("the table", error))?;
        if found.is_some() {
            self.send(&[Step::DeleteTable]).map_err(|failure| failure.error)?;
        }
        self.model = None;
        self.outcomes.clear();
        self.host_outcomes.clear();
        self.known = super::Known::default();
        self.held = Held::default();
        self.standing = Standing::Unknown;
        self.retry = None;
        Ok(())
    }

    /// Whether it is time to ask the kernel again for what it refused; the next time
    /// is twice as far away.
    pub(super) fn is_amnesty(&mut self, store: &PolicyStore, now: Instant) -> bool {
        if !self.model.as_ref().is_some_and(|model| model.was_refused_by_kernel(store)) {
            self.amnesty = None;
            return false;
        }
        let (first, longest) = REFUSED_PAUSES;
        let (due, pause) = *self.amnesty.get_or_insert((now + first, first));
        let is_due = now >= due;
        if is_due {
            let pause = (pause * 2).min(longest);
            self.amnesty = Some((now + pause, pause));
        }
        is_due
    }

    /// Makes the next attempt wait, twice as long each time.
    fn postpone(&mut self) {
        let pause = self.retry.map_or(FIRST_PAUSE, |(_, pause)| (pause * 2).min(LONGEST_PAUSE));
        self.retry = Some((Instant::now() + pause, pause));
    }
}

fn note(refused: &mut RefusedObjects, objects: RefusedObjects) {
    for (object, reason) in objects {
        tracing::warn!(?object, reason, "closing what the kernel refused");
        refused.insert(object, reason);
    }
}
