//! Reading what all rules have counted, chain by chain.
//!
//! The kernel needs a third of a second to tell of 20,000 rules. Whoever waits for a
//! change is not to wait for that: the driver reads for a while, does what else there is
//! to do, and goes on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use caracal_sys::nft::{CountedRule, NftSocket, QueryError, TableId};
use rustc_hash::FxHashMap;

use crate::ir::Name;

/// How long is read at a time; each time one chain at least.
const TURN: Duration = Duration::from_millis(1);

/// A reading that goes on.
#[derive(Debug)]
pub(in crate::driver) struct Reading {
    /// The table that the chains are in.
    table: Option<u64>,
    unread: VecDeque<Name>,
    read: FxHashMap<Name, Vec<CountedRule>>,
}

impl Reading {
    /// A reading of these chains of a table.
    pub(super) fn of(table: Option<u64>, chains: impl Iterator<Item = Name>) -> Self {
        Self { table, unread: chains.collect(), read: FxHashMap::default() }
    }

    pub(super) fn is_of(&self, table: Option<u64>) -> bool {
        self.table == table
    }

    /// Rules of a chain came or went: what was read of it may go on in others. It is read
    /// again behind all others, which are not to wait for one that changes all the time.
    pub(super) fn changed(&mut self, chain: &Name) {
        if let Some((chain, _)) = self.read.remove_entry(chain) {
            self.unread.push_back(chain);
        }
    }

    /// Reads on for a while; gives all of it, once, when there is no more to read.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub(super) fn go_on(
        &mut self,
        socket: &mut NftSocket,
        table: &TableId,
    ) -> Result<Option<Vec<CountedRule>>, QueryError> {
        let start = Instant::now();
        while let Some(chain) = self.unread.pop_front() {
            let rules = socket.counted_rules_of(table, &chain)?;
            self.read.insert(chain, rules);
            if start.elapsed() >= TURN && !self.unread.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(self.read.drain().flat_map(|(_, rules)| rules).collect()))
    }
}
