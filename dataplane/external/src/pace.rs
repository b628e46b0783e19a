//! How much a driver may say.

use std::time::{Duration, Instant};

/// What a message costs, and as much again for each [`UNIT`] of its length: a thousand
/// small ones a second may come for as long as they like.
const COST: Duration = Duration::from_millis(1);

/// Bytes. A status takes about a tenth of it.
const UNIT: usize = 1 << 10;

/// How many may come at once: more than a node has endpoints.
const BURST: u32 = 10_000;

/// Bounds what is read of a driver, so that one that never rests fills its own
/// pipe and not the memory of the control half, nor its time.
#[derive(Debug)]
pub(crate) struct Pace {
    /// What was read and is not worked off yet, as of `since`.
    debt: Duration,
    since: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { debt: Duration::ZERO, since: now }
    }

    /// A message of so many bytes was read: how long to wait before the next.
    pub(crate) fn pause(&mut self, bytes: usize, now: Instant) -> Duration {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).saturating_add(1);
        self.debt = self.debt.saturating_sub(now.duration_since(self.since)) + COST * units;
        self.since = now;
        self.debt.saturating_sub(COST * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_at_once_and_then_a_thousand_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!((0..10_000).all(|_| pace.pause(100, start).is_zero()));
        let mut now = start;
        for _ in 0..1000 {
            now += pace.pause(100, now);
        }
        assert_eq!(now - start, Duration::from_secs(1));
        // Who rests may say as many at once again.
        now += Duration::from_secs(60);
        assert!((0..10_000).all(|_| pace.pause(100, now).is_zero()));
    }

    #[test]
    fn large_messages_count_for_many() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!(pace.pause(9 << 20, start).is_zero());
        assert!(pace.pause(9 << 20, start) > Duration::from_secs(8));
    }
}
