//! Looking at the whole table at once, against the prints of what it must hold: no
//! rule and no element is kept, so that this costs little more than the listing.

use caracal_program::{PolicyStore, Receipt};
use caracal_sys::nft::{Glance, QueryError, TableId};
use nix::errno::Errno;

use super::{NftablesDriver, Standing};
use crate::held::{Held, HeldChain, HeldSet, Print};
use crate::model::Affected;
use crate::readback::SeenElements;

impl NftablesDriver {
    /// The receipt of a resync that has nothing to do; `None` if there is something,
    /// or if a look at the prints cannot tell.
    pub(super) fn find_all_right(&mut self, store: &PolicyStore) -> Option<Receipt> {
        if self.standing != Standing::Whole || self.told != Some(store.stamp()) {
            return None;
        }
        match self.is_as_held() {
            Ok(true) => {
                self.retry = None;
                Some(self.receipt_of_all(store))
            }
            Ok(false) => None,
            Err(error) => {
                tracing::debug!(%error, "cannot look at the whole table");
                None
            }
        }
    }

    /// A receipt with the outcomes of all endpoints.
    pub(super) fn receipt_of_all(&mut self, store: &PolicyStore) -> Receipt {
        self.outcomes.retain(|id, _| store.workload(id).is_none());
        self.host_outcomes.retain(|id, _| store.host(id).is_none());
        let outcomes = self.outcomes_of(store, &Affected::All);
        Receipt { outcomes, hosts: self.host_outcomes_of(store), ..Receipt::default() }
    }

    /// Whether the kernel holds what it held after our last transaction.
    fn is_as_held(&mut self) -> Result<bool, QueryError> {
        let generation = self.socket.generation()?;
        if self.table_drift()?.is_some() || self.inventory_drift()?.is_some() {
            return Ok(false);
        }
        let Self { socket, table, held, .. } = self;
        let seen = socket.glance(|glance| Ok(has_rules(glance, table, held)? && has_elements(glance, table, held)?))?;
        if seen == Some(true) {
            self.known.generation = generation;
            self.audit.settle();
        }
        Ok(seen == Some(true))
    }
}

fn has_rules(glance: &mut Glance<'_>, table: &TableId, held: &Held) -> Result<bool, QueryError> {
    let mut seen = SeenRules { held, chain: String::new(), print: Print::default(), chains: 0, right: true };
    glance.rules(table, |chain, rule| {
        if chain != seen.chain {
            seen.judge();
            chain.clone_into(&mut seen.chain);
        }
        seen.print = seen.print.then(Print::of_rule(rule));
    })?;
    seen.judge();
    let with_rules = |chain: &&HeldChain| chain.rules.is_some_and(|print| print != Print::default());
    Ok(seen.right && seen.chains == held.chains.values().filter(with_rules).count())
}

/// The chains that were seen so far.
struct SeenRules<'h> {
    held: &'h Held,
    /// The chain whose rules are coming.
    chain: String,
    print: Print,
    /// How many of those that are to be judged had rules.
    chains: usize,
    right: bool,
}

impl SeenRules<'_> {
    /// Ends a chain.
    fn judge(&mut self) {
        let print = std::mem::take(&mut self.print);
        if self.chain.is_empty() {
            return;
        }
        match self.held.chains.get(self.chain.as_str()) {
            Some(HeldChain { rules: Some(wanted), .. }) => {
                self.chains += 1;
                self.right &= *wanted == print;
            }
            Some(HeldChain { rules: None, .. }) => {}
            None => self.right = false,
        }
    }
}

fn has_elements(glance: &mut Glance<'_>, table: &TableId, held: &Held) -> Result<bool, QueryError> {
    for (name, HeldSet { contents }) in &held.sets {
        let Some((kind, wanted)) = *contents else { continue };
        let mut seen = SeenElements::of(kind);
        match glance.elements(table, name, |element| seen.add(element)) {
            Err(QueryError::Refused { errno: Errno::ENOENT, .. }) => return Ok(false),
            listed => listed?,
        }
        if seen.print() != Some(wanted) {
            return Ok(false);
        }
    }
    Ok(true)
}
