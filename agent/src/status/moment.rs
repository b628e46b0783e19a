//! Points in time that both halves and other programs can name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use caracal_sys::clock::monotonic_nanos;

/// A reading of `CLOCK_MONOTONIC`, which is one clock for the whole host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self(monotonic_nanos())
    }

    /// A reading in nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// How long it was ago.
    #[must_use]
    pub fn age(self) -> Duration {
        Duration::from_nanos(monotonic_nanos().saturating_sub(self.0))
    }

    /// How long after an earlier moment it was.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since 1970, as the system's clock has it now.
    #[must_use]
    pub fn unix_seconds(self) -> f64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(self.age()).as_secs_f64()
    }
}
