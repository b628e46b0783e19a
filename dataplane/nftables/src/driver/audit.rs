//! Finding out what others did to our table.
//!
//! Every commit of anybody in the namespace raises the generation; most are not
//! about us. So questions are asked in the order of their price: the generation;
//! the table, whose handle and count of objects tell that it was made anew or that
//! something came or went; and, where others may write to it at all, what is in the
//! chains and sets that the kernel's events name. Where there are no events, or some
//! were lost, all are looked at in the background, in a small share of the time,
//! until everything was seen at or after the last foreign commit.

use std::time::{Duration, Instant};

use caracal_program::DriverError;
use caracal_sys::nft::{self, Name, QueryError, Touched};
use nix::errno::Errno;

use super::drift::{Drift, What};
use super::thread_time::thread_time;
use super::{NftablesDriver, unanswered};
use crate::encode;
use crate::held::Print;
use crate::layout;
use crate::readback;

/// The part of a core that looking through the table may take: one in this many.
const SHARE: u32 = 2000;

/// No more time than this is saved up while there is nothing to look for.
const MOST_SAVED: Duration = Duration::from_millis(10);

/// The longest that a revision has to wait for a look; one that has begun is ended.
const SLICE: Duration = Duration::from_millis(2);

/// One look.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    Chain(Name),
    Set(Name),
}

/// The way through the table.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// When the table was last known to be right.
    right: Option<Instant>,
    /// Since when it may not be, as of commits that the round at hand may have missed.
    suspected: Option<Instant>,
    round: Option<Round>,
    /// Up to when the time that was spent is paid for.
    paid: Option<Instant>,
    finished: u64,
}

#[derive(Debug)]
struct Round {
    since: Instant,
    looks: Vec<Look>,
}

impl Audit {
    /// Everything was compared, and is as it must be.
    pub(super) fn settle(&mut self) {
        self.right = Some(Instant::now());
        self.suspected = None;
        self.round = None;
    }

    /// Something may have been changed, and nobody knows what.
    pub(super) fn suspect(&mut self) {
        let right = self.right.unwrap_or_else(Instant::now);
        self.suspected.get_or_insert(right);
    }

    /// Whether there is nothing to look at.
    const fn is_settled(&self) -> bool {
        self.suspected.is_none() && self.round.is_none()
    }

    /// How many rounds ended without a finding.
    pub(super) const fn finished(&self) -> u64 {
        self.finished
    }

    /// The time that may be spent now.
    fn slice(&self, now: Instant) -> Duration {
        let saved = self.paid.map_or(MOST_SAVED, |paid| now.saturating_duration_since(paid) / SHARE);
        saved.min(SLICE)
    }

    fn spend(&mut self, now: Instant, spent: Duration) {
        let longest_ago = now.checked_sub(MOST_SAVED * SHARE).unwrap_or(now);
        let paid = self.paid.map_or(longest_ago, |paid| paid.max(longest_ago));
        self.paid = Some(paid + spent * SHARE);
    }
}

impl NftablesDriver {
    /// Looks for a change by others, as far as it is due. Up to `since`, if it is known,
    /// nobody has committed since the last time.
    pub(super) fn find_drift(&mut self, now: Instant, since: Option<Instant>) -> Result<Option<Drift>, DriverError> {
        let generation = self.socket.generation().map_err(|error| unanswered("the generation", error))?;
        let right = self.audit.right.unwrap_or(now);
        let right = since.filter(|_| self.audit.is_settled()).map_or(right, |since| right.max(since));
        if generation != self.known.generation {
            self.surroundings.changed();
            if let Some(what) = self.table_drift().map_err(|error| unanswered("the table", error))? {
                return Ok(Some(self.blame(what, right, generation)));
            }
            self.known.suspects = (self.known.generation.wrapping_add(1), generation);
            self.known.generation = generation;
            if !self.known.owned {
                match self.touched_drift() {
                    Ok(Some(what)) => return Ok(Some(self.blame(what, right, generation))),
                    Ok(None) => {}
                    Err(error) => {
                        self.audit.suspect();
                        return Err(unanswered("what was changed", error));
                    }
                }
            }
        } else if self.audit.is_settled() {
            self.audit.right = Some(now);
        }
        let found = self.look_on(now).map_err(|error| unanswered("what is in the table", error))?;
        Ok(found.map(|(what, since)| self.blame(what, since, generation)))
    }

    /// Looks at what others touched by the kernel's events; suspects everything if
    /// they do not tell.
    fn touched_drift(&mut self) -> Result<Option<What>, QueryError> {
        let touched = self.touched();
        if touched.as_ref().is_none_or(|touched| touched.more) {
            self.audit.suspect();
        }
        let Some(Touched { inventory, chains, sets, more: _ }) = touched else { return Ok(None) };
        self.ask_whether_overtaken()?;
        if inventory && let Some(what) = self.inventory_drift()? {
            return Ok(Some(what));
        }
        for name in &chains {
            if let Some(what) = self.chain_drift(name)? {
                return Ok(Some(what));
            }
        }
        for name in &sets {
            if let Some(what) = self.set_drift(name)? {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    /// What events tell of all commits up to now; `None` without a subscription.
    fn touched(&mut self) -> Option<Touched> {
        let monitor = self.monitor.as_mut()?;
        // The generation is raised before the events of a commit are sent.
        let touched = self.socket.wait_for_commit().and_then(|()| monitor.touched());
        touched.inspect_err(|error| tracing::warn!(%error, "cannot read events of nf_tables")).ok()
    }

    /// After a transaction of ours behind which everything was right: what others did
    /// before does not matter any more.
    pub(super) fn forget_touched(&mut self) -> Result<(), QueryError> {
        let Some(monitor) = &mut self.monitor else { return Ok(()) };
        self.overtaken = monitor.touched().is_err();
        self.ask_whether_overtaken()?;
        if self.overtaken {
            self.audit.suspect();
        }
        Ok(())
    }

    /// Goes on with a round for as long as it may take.
    fn look_on(&mut self, now: Instant) -> Result<Option<(What, Instant)>, QueryError> {
        if self.audit.is_settled() {
            return Ok(None);
        }
        let slice = self.audit.slice(now);
        if slice.is_zero() {
            return Ok(None);
        }
        let before = thread_time();
        let found = self.look_for(slice);
        self.audit.spend(now, thread_time().saturating_sub(before));
        found
    }

    fn look_for(&mut self, slice: Duration) -> Result<Option<(What, Instant)>, QueryError> {
        let start = Instant::now();
        loop {
            let since = match (&self.audit.round, self.audit.suspected.take()) {
                (Some(round), suspected) => {
                    self.audit.suspected = suspected;
                    round.since
                }
                (None, None) => return Ok(None),
                (None, Some(since)) => {
                    let looks = self.held.chains.keys().cloned().map(Look::Chain);
                    let looks = looks.chain(self.held.sets.keys().cloned().map(Look::Set)).collect();
                    self.audit.round = Some(Round { since, looks });
                    if let Some(what) = self.inventory_drift()? {
                        return Ok(Some((what, since)));
                    }
                    since
                }
            };
            let look = self.audit.round.as_mut().and_then(|round| round.looks.pop());
            let what = match look {
                Some(Look::Chain(name)) => self.chain_drift(&name)?,
                Some(Look::Set(name)) => self.set_drift(&name)?,
                None => {
                    self.audit.round = None;
                    self.audit.finished += 1;
                    None
                }
            };
            if let Some(what) = what {
                return Ok(Some((what, since)));
            }
            if start.elapsed() >= slice {
                return Ok(None);
            }
        }
    }

    /// Whether the table is gone, asleep, or has more or fewer objects.
    pub(super) fn table_drift(&mut self) -> Result<Option<What>, QueryError> {
        let table = self.socket.table(&self.table)?;
        Ok(match table {
            Some(table) if layout::is_dormant(&table) => Some(What::Dormant),
            Some(table) if Some(table.handle) == self.known.table => {
                let objects = self.held.chains.len() + self.held.sets.len();
                let counted = usize::try_from(table.objects.saturating_sub(self.known.others));
                (!self.known.owned && counted != Ok(objects)).then_some(What::Objects)
            }
            Some(_) | None => Some(What::Table),
        })
    }

    /// Which chains and sets there are, and of what kind.
    pub(super) fn inventory_drift(&mut self) -> Result<Option<What>, QueryError> {
        let chains = self.socket.chains(&self.table)?;
        for nft::ListedChain { chain, .. } in &chains {
            match self.held.chains.get(&chain.name) {
                None => return Ok(Some(What::ChainAdded(chain.name.to_string()))),
                Some(held) if held.base != chain.base => return Ok(Some(What::ChainKind(chain.name.to_string()))),
                Some(_) => {}
            }
        }
        if chains.len() < self.held.chains.len() {
            let gone = self.held.chains.keys().find(|name| chains.iter().all(|listed| listed.chain.name != **name));
            return Ok(gone.map(|name| What::ChainGone(name.to_string())));
        }
        let sets = self.socket.sets(&self.table)?;
        for nft::ListedSet { name, set, .. } in &sets {
            let Some(held) = self.held.sets.get(name) else { return Ok(Some(What::SetAdded(name.to_string()))) };
            let Some((kind, _)) = held.contents else { continue };
            if set.as_ref().is_none_or(|set| !encode::is_of_kind(set, kind)) {
                return Ok(Some(What::SetKind(name.to_string())));
            }
        }
        if sets.len() < self.held.sets.len() {
            let gone = self.held.sets.keys().find(|name| sets.iter().all(|listed| listed.name != **name));
            return Ok(gone.map(|name| What::SetGone(name.to_string())));
        }
        Ok(None)
    }

    fn chain_drift(&mut self, name: &Name) -> Result<Option<What>, QueryError> {
        // It may have gone with a revision since the round began.
        let Some(wanted) = self.held.chains.get(name).and_then(|held| held.rules) else { return Ok(None) };
        let listed = match self.socket.rules_of(&self.table, name) {
            Err(QueryError::Refused { errno: Errno::ENOENT, .. }) => {
                return Ok(Some(What::ChainGone(name.to_string())));
            }
            listed => listed?,
        };
        let rules = Print::of_rules(listed.iter().map(|listed| &listed.rule));
        Ok((rules != wanted).then(|| What::Rules(name.to_string())))
    }

    fn set_drift(&mut self, name: &Name) -> Result<Option<What>, QueryError> {
        let Some((kind, wanted)) = self.held.sets.get(name).and_then(|held| held.contents) else { return Ok(None) };
        let listed = match self.socket.elements(&self.table, name) {
            Err(QueryError::Refused { errno: Errno::ENOENT, .. }) => return Ok(Some(What::SetGone(name.to_string()))),
            listed => listed?,
        };
        let elements = readback::elements(kind, listed).map(|elements| Print::of_elements(&elements));
        Ok((elements != Some(wanted)).then(|| What::Elements(name.to_string())))
    }

    /// Names who did it: the last who committed and is not us.
    fn blame(&mut self, what: What, since: Instant, generation: u32) -> Drift {
        let (first, last) = match self.known.generation == generation {
            true => self.known.suspects,
            false => (self.known.generation.wrapping_add(1), generation),
        };
        let suspects = last.wrapping_sub(first).min(MOST_SUSPECTS);
        let culprit = self.monitor.as_mut().and_then(|monitor| {
            monitor.hear().ok()?;
            (0..=suspects).find_map(|back| monitor.culprit(last.wrapping_sub(back))).cloned()
        });
        Drift { what, since, culprit }
    }
}

/// How many generations back a culprit is looked for.
const MOST_SUSPECTS: u32 = 64;

#[cfg(test)]
impl Audit {
    /// Whether there is something to look at.
    pub(super) const fn is_due(&self) -> bool {
        !self.is_settled()
    }

    /// Forgets how much time was spent.
    pub(super) const fn hurry(&mut self) {
        self.paid = None;
    }
}

#[cfg(test)]
impl NftablesDriver {
    /// Looks through the whole table at once.
    pub(super) fn look_at_everything(&mut self) -> Option<What> {
        self.audit.suspected = Some(Instant::now());
        self.audit.round = None;
        let found = self.look_for(Duration::MAX).expect("the kernel answers");
        found.map(|(what, _)| what)
    }
}
