//! The clock of stamps.

use caracal_model::Stamp;
use nix::time::{ClockId, clock_gettime};

/// Now, in nanoseconds of `CLOCK_MONOTONIC`.
pub(super) fn now() -> Stamp {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has CLOCK_MONOTONIC");
    let part = |n: i64| u64::try_from(n).expect("the monotonic clock starts at boot");
    Stamp(part(time.tv_sec()) * 1_000_000_000 + part(time.tv_nsec()))
}
