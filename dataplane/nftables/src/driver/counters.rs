//! Rules that outlive a rewrite of their chain go on counting.
//!
//! The kernel counts in the rule, so that flushing a chain loses what its rules
//! have counted, and the state of their limits. Where a rule of a chain that is
//! rewritten was there before, the chain is edited rule by rule instead: what
//! stays as it is is not touched and loses nothing. A rule that does the same as
//! before and only has another comment (it names the rule's place in the policy)
//! or another copy of a set, or that stands in another order, is made anew with
//! what the old one had counted when the chain was read; what that counted from
//! then to the commit is lost. Nothing is counted twice.

mod align;
mod reading;
mod tally;

use caracal_program::{PolicyStore, RuleCounts};
use caracal_sys::nft::{self, Expr, Handle, QueryError};
use reading::Reading;
use rustc_hash::FxHashMap;
use tally::Tally;

use super::NftablesDriver;
use crate::encode;
use crate::held::Print;
use crate::ir::{Name, Rule};
use crate::plan::{Count, Step};

/// What rules of the chains that the driver wrote do, to tell without asking the
/// kernel whether one of them outlives a rewrite.
#[derive(Debug, Default)]
pub(super) struct Counters {
    chains: FxHashMap<Name, Vec<Deed>>,
    /// Of the rules that are being sent.
    sending: Vec<Deed>,
    tally: Tally,
    reading: Option<Reading>,
}

/// A hash of what a rule does, whatever its comment and the copies of sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Deed(u32);

/// Steps in which chains are edited rule by rule.
#[derive(Debug, Default)]
pub(super) struct Edited {
    pub(super) steps: Vec<Step>,
    /// The chains with what they hold afterwards.
    pub(super) chains: Vec<(Name, Print, Vec<Deed>)>,
    /// The rules that go on in others.
    pub(super) carried: Vec<Handle>,
}

/// A rule that the kernel has.
#[derive(Clone, Debug)]
struct Old {
    handle: Handle,
    deed: Deed,
    /// With its counter at zero.
    rule: nft::Rule,
    counted: Count,
}

/// A rule that the kernel is to have.
#[derive(Clone, Debug)]
struct New {
    deed: Deed,
    rule: Rule,
    encoded: nft::Rule,
}

impl Deed {
    pub(super) fn of(rule: &nft::Rule) -> Self {
        let (low, high) = Print::of_deed(rule).halves();
        Self(low ^ high)
    }
}

fn counts(rule: &nft::Rule) -> bool {
    rule.exprs.iter().any(|expr| matches!(expr, Expr::Counter { .. }))
}

impl Counters {
    /// Starts over with what is being sent.
    pub(super) fn clear_sending(&mut self) {
        self.sending.clear();
    }

    /// A rule is being sent.
    pub(super) fn send(&mut self, rule: &nft::Rule) {
        self.sending.push(Deed::of(rule));
    }

    /// The kernel has carried out steps.
    pub(super) fn record(&mut self, steps: &[Step]) {
        let Self { chains, sending, tally: _, reading } = self;
        let mut sent = sending.drain(..);
        for step in steps {
            match step {
                Step::DeleteTable => chains.clear(),
                Step::AddRule(name, _) => match (chains.get_mut(name), sent.next()) {
                    (Some(rules), deed) => rules.extend(deed),
                    (None, deed) => drop(chains.insert(name.clone(), deed.into_iter().collect())),
                },
                Step::FlushChain(name) | Step::DeleteChain(name) => {
                    chains.remove(name);
                    if let Some(reading) = reading {
                        reading.changed(name);
                    }
                }
                Step::EditRule(..)
                | Step::AddTable
                | Step::AddSet(_)
                | Step::AddChain(_)
                | Step::AddElements(..)
                | Step::DeleteElements(..)
                | Step::DeleteSet(_) => {}
            }
        }
    }

    /// A chain was edited rule by rule.
    pub(super) fn edited(&mut self, name: Name, deeds: Vec<Deed>) {
        if let Some(reading) = &mut self.reading {
            reading.changed(&name);
        }
        self.chains.insert(name, deeds);
    }

    /// A rule goes on in another one.
    pub(super) fn carried(&mut self, handle: Handle) {
        self.tally.carried(handle);
    }

    /// Whether a chain may have a rule that counts and that is among new ones.
    fn may_outlive(&self, name: &Name, new: &[New]) -> bool {
        let mut counting = new.iter().filter(|rule| counts(&rule.encoded));
        match self.chains.get(name) {
            Some(held) => counting.any(|rule| held.contains(&rule.deed)),
            // Nothing is known of it: an earlier process wrote it.
            None => counting.next().is_some(),
        }
    }
}

impl NftablesDriver {
    /// The steps with chains that have rules which outlive the rewrite edited rule
    /// by rule; `None` if there are none. Reads such chains.
    pub(super) fn keep_counts(&mut self, steps: &[Step]) -> Option<Edited> {
        let mut edited = Edited::default();
        let mut done = 0;
        for (at, step) in steps.iter().enumerate() {
            let Step::FlushChain(name) = step else { continue };
            let rules = steps[at + 1..].iter().map_while(|step| match step {
                Step::AddRule(chain, rule) if chain == name => Some(rule),
                _ => None,
            });
            let new: Vec<New> = rules.map(New::of).collect();
            let Some(align::Way { edits, carried }) = self.edits(name, &new) else { continue };
            edited.carried.extend(carried);
            edited.steps.extend_from_slice(&steps[done..at]);
            edited.steps.extend(edits.into_iter().map(|edit| Step::EditRule(name.clone(), edit)));
            done = at + 1 + new.len();
            let print = Print::of_rules(new.iter().map(|rule| &rule.encoded));
            edited.chains.push((name.clone(), print, new.iter().map(|rule| rule.deed).collect()));
        }
        if edited.chains.is_empty() {
            return None;
        }
        edited.steps.extend_from_slice(&steps[done..]);
        Some(edited)
    }

    /// The way from what the kernel holds of a chain to new rules; `None` if it
    /// is to be flushed.
    fn edits(&mut self, name: &Name, new: &[New]) -> Option<align::Way> {
        let held = self.held.chains.get(name)?.rules?;
        if !self.counters.may_outlive(name, new) {
            return None;
        }
        let listed = match self.socket.rules_of(&self.table, name) {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, chain = %name, "cannot read what was counted; its counters start anew");
                return None;
            }
        };
        // Somebody else has been there: it is written as a whole.
        if Print::of_rules(listed.iter().map(|listed| &listed.rule)) != held {
            return None;
        }
        let old: Vec<Old> = listed.into_iter().map(Old::of).collect();
        align::edits(&old, new)
    }

    /// What the rules have counted by now, or in a later call: this one reads for a while.
    pub(super) fn read_counts(&mut self, store: &PolicyStore) -> Result<Option<RuleCounts>, QueryError> {
        let table = self.known.table;
        let reading = self.counters.reading.take().filter(|reading| reading.is_of(table));
        let Some(model) = &self.model else { return Ok(Some(RuleCounts::default())) };
        let mut reading = reading.unwrap_or_else(|| Reading::of(table, self.held.chains.keys().cloned()));
        let Some(listed) = reading.go_on(&mut self.socket, &self.table)? else {
            self.counters.reading = Some(reading);
            return Ok(None);
        };
        Ok(Some(self.counters.tally.take(table, listed, model, store)))
    }
}

impl Old {
    fn of(listed: nft::ListedRule) -> Self {
        let nft::ListedRule { chain: _, handle, mut rule } = listed;
        let mut counted = Count::default();
        for expr in &mut rule.exprs {
            if let Expr::Counter { packets, bytes } = *expr {
                counted = Count { packets, bytes };
                *expr = Expr::COUNTER;
            }
        }
        Self { handle, deed: Deed::of(&rule), rule, counted }
    }
}

impl New {
    fn of(rule: &Rule) -> Self {
        let encoded = encode::rule(rule);
        Self { deed: Deed::of(&encoded), rule: rule.clone(), encoded }
    }
}

/// A rule that goes on counting from somewhere.
pub(super) fn encode_counted(rule: &Rule, counted: Count) -> nft::Rule {
    let mut rule = encode::rule(rule);
    for expr in &mut rule.exprs {
        if let Expr::Counter { packets, bytes } = expr {
            (*packets, *bytes) = (counted.packets, counted.bytes);
        }
    }
    rule
}
