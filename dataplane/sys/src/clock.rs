//! The clock of stamps, and that of work.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Now, in nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn monotonic_nanos() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

/// The processor time that the calling thread has had.
#[must_use]
pub fn thread_time() -> Duration {
    Duration::from_nanos(nanos(ClockId::CLOCK_THREAD_CPUTIME_ID))
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("Linux has its clocks");
    let part = |n: i64| u64::try_from(n).expect("these clocks start at zero");
    part(time.tv_sec()) * 1_000_000_000 + part(time.tv_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_a_thread_that_sleeps_does_not_work() {
        let (before, work) = (monotonic_nanos(), thread_time());
        std::thread::sleep(Duration::from_millis(20));
        assert!(monotonic_nanos() - before >= 20_000_000);
        assert!(thread_time() - work < Duration::from_millis(20));
        assert!(thread_time() > work);
    }
}
