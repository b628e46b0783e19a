//! The order of all active policies, as one number per policy.
//!
//! Input: policies that came, went or moved. Output: a rank that orders any two
//! active policies as tiers, orders and names do. Memory: 8 bytes per policy.
//! Cost: a merge of what moved into what is sorted; a whole sort only after a
//! change of tiers. Invariant: ranks are strictly ascending in evaluation order.

use std::collections::BTreeSet;

use crate::ids::{Place, PolicyIx};
use crate::policies::Policies;
use crate::tiers::Tiers;

#[derive(Debug, Default)]
pub(crate) struct PolicyRank {
    sorted: Vec<PolicyIx>,
    /// By policy.
    ranks: Vec<u32>,
}

impl PolicyRank {
    /// Brings the order up to date after policies moved, or after tiers did.
    pub(crate) fn refresh(
        &mut self,
        policies: &Policies,
        tiers: &Tiers,
        moved: &BTreeSet<PolicyIx>,
        tiers_changed: TiersChanged,
    ) {
        let compare = |a: &PolicyIx, b: &PolicyIx| policies.compare(tiers, *a, *b);
        match tiers_changed {
            TiersChanged::Yes => {
                self.sorted.clear();
                self.sorted.extend(policies.active());
                self.sorted.sort_by(compare);
            }
            TiersChanged::No if moved.is_empty() => return,
            TiersChanged::No => {
                self.sorted.retain(|at| !moved.contains(at));
                let mut arrived: Vec<PolicyIx> = moved.iter().filter(|at| policies.is_active(**at)).copied().collect();
                arrived.sort_by(compare);
                self.sorted = merge(&self.sorted, &arrived, compare);
            }
        }
        for (rank, at) in (0u32..).zip(&self.sorted) {
            if self.ranks.len() <= at.ix() {
                self.ranks.resize(at.ix() + 1, 0);
            }
            self.ranks[at.ix()] = rank;
        }
    }

    /// The place of an active policy among all.
    pub(crate) fn of(&self, at: PolicyIx) -> u32 {
        self.ranks[at.ix()]
    }
}

/// Whether tiers changed since the last refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TiersChanged {
    Yes,
    No,
}

/// Two sorted lists as one: each arrival is looked for, and what lies between is copied.
fn merge(
    sorted: &[PolicyIx],
    arrived: &[PolicyIx],
    compare: impl Fn(&PolicyIx, &PolicyIx) -> std::cmp::Ordering,
) -> Vec<PolicyIx> {
    let mut merged = Vec::with_capacity(sorted.len() + arrived.len());
    let mut rest = sorted;
    for at in arrived {
        let before = rest.partition_point(|other| compare(other, at).is_lt());
        merged.extend_from_slice(&rest[..before]);
        merged.push(*at);
        rest = &rest[before..];
    }
    merged.extend_from_slice(rest);
    merged
}
