//! When to try again what failed.

use std::time::{Duration, Instant};

/// The first pause after a failure.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that double with each failure, up to [`LONGEST`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    due: Option<Instant>,
}

impl Backoff {
    /// A try failed: the next one is due after a longer pause.
    pub(crate) fn failed(&mut self, now: Instant) {
        let pause = FIRST.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now + pause);
    }

    /// A try worked.
    pub(crate) fn worked(&mut self) {
        *self = Self::default();
    }

    /// When the next try is due; `None` if nothing failed.
    #[must_use]
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.due(), None);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            backoff.failed(now);
            pauses.push(backoff.due().expect("a try is due") - now);
        }
        assert_eq!(pauses[..3], [100, 200, 400].map(Duration::from_millis));
        assert!(pauses[9..].iter().all(|pause| *pause == LONGEST));
        backoff.worked();
        assert_eq!(backoff.due(), None);
    }
}
