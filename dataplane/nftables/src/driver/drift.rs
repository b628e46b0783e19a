//! What others did to our table.

use std::fmt;
use std::time::{Duration, Instant};

use caracal_sys::nft::Culprit;

/// Something in our table that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drift {
    pub(super) what: What,
    /// When the table was last known to be right.
    pub(super) since: Instant,
    /// Who did it, if events tell.
    pub(super) culprit: Option<Culprit>,
}

/// In what the kernel differs from what it must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The table is gone, or another one has its name.
    Table,
    /// No packet meets its chains.
    Dormant,
    /// Chains or sets came or went.
    Objects,
    /// A chain that should be there is not.
    ChainGone(String),
    /// A chain is there that should not be.
    ChainAdded(String),
    /// A base chain's hook, priority or policy.
    ChainKind(String),
    /// The rules of a chain.
    Rules(String),
    /// A set that should be there is not.
    SetGone(String),
    /// A set is there that should not be.
    SetAdded(String),
    /// The type of a set.
    SetKind(String),
    /// The elements of a set.
    Elements(String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => f.write_str("the table was deleted"),
            Self::Dormant => f.write_str("the table was made dormant"),
            Self::Objects => f.write_str("chains or sets were added or deleted"),
            Self::ChainGone(name) => write!(f, "chain {name} was deleted"),
            Self::ChainAdded(name) => write!(f, "chain {name} was added"),
            Self::ChainKind(name) => write!(f, "hook, priority or policy of chain {name} changed"),
            Self::Rules(name) => write!(f, "rules of chain {name} changed"),
            Self::SetGone(name) => write!(f, "set {name} was deleted"),
            Self::SetAdded(name) => write!(f, "set {name} was added"),
            Self::SetKind(name) => write!(f, "the type of set {name} changed"),
            Self::Elements(name) => write!(f, "elements of set {name} changed"),
        }
    }
}

/// Drift that was repaired.
#[derive(Clone, Debug, Default)]
pub(super) struct DriftLog {
    repairs: u64,
    /// All time in which a change by others may have been in force, from when the
    /// table was last known to be right.
    blind: Duration,
    longest: Duration,
    /// All time in which a lost table had a stand-in that refuses what is new.
    closed: Duration,
    last: Option<Repair>,
}

impl DriftLog {
    /// Takes note that the table is as it must be again, and of when what was open was
    /// closed, if that was before.
    pub(super) fn repaired(&mut self, drift: Drift, closed: Option<Instant>, now: Instant) {
        let Drift { what, since, culprit } = drift;
        let closed = closed.unwrap_or(now);
        let (blind, refusing) = (closed.saturating_duration_since(since), now.saturating_duration_since(closed));
        self.repairs += 1;
        self.blind += blind;
        self.longest = self.longest.max(blind);
        self.closed += refusing;
        let by = culprit.map_or_else(|| "somebody".to_owned(), |culprit| culprit.to_string());
        tracing::warn!(what = %what, by, blind = ?blind, closed = ?refusing, "our rules were changed; they are as they were again");
        self.last = Some(Repair { what: what.to_string(), by });
    }

    pub(super) const fn repairs(&self) -> u64 {
        self.repairs
    }

    pub(super) const fn blind(&self) -> Duration {
        self.blind
    }

    pub(super) const fn longest(&self) -> Duration {
        self.longest
    }

    pub(super) const fn closed(&self) -> Duration {
        self.closed
    }

    /// What was repaired last.
    pub(super) const fn last(&self) -> Option<&Repair> {
        self.last.as_ref()
    }
}

/// A repair, in words.
#[derive(Clone, Debug)]
pub(super) struct Repair {
    pub(super) what: String,
    /// Who had done it, if events told, or "somebody".
    pub(super) by: String,
}
