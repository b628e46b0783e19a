//! Pauses between lives of a child.

use std::time::Duration;

/// The pause after the first end; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause. A child that lived longer than this starts over with the first.
const LONGEST: Duration = Duration::from_secs(30);

/// How long to wait before the next start.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The pause after a child that lived this long.
    pub(crate) fn pause(&mut self, lived: Duration) -> Duration {
        if lived > LONGEST {
            self.0 = FIRST;
        }
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..11).map(|_| backoff.pause(Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(backoff.pause(Duration::from_secs(31)), FIRST);
    }
}
