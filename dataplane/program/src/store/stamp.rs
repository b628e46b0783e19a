//! Telling whether a store is as it was.

use std::sync::atomic::{AtomicU64, Ordering};

/// The stamp of the next change of whatever store of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A mark that a store bears until it changes: stores with equal stamps hold the same.
/// The other way round is not true: what was changed and changed back has a new stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp(u64);

impl Stamp {
    /// One that no store has borne yet.
    fn fresh() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The stamp inside a store, which is no part of what the store holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Stamped(Stamp);

impl Stamped {
    pub(super) const fn stamp(&self) -> Stamp {
        self.0
    }

    pub(super) fn change(&mut self) {
        self.0 = Stamp::fresh();
    }
}

impl PartialEq for Stamped {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Stamped {}
