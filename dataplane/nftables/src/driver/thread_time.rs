//! What the calling thread has taken of a core.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The processor time of the calling thread. Unlike the time of day it does not go on
/// while others have the core, so that a busy machine does not make looking rarer.
pub(super) fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every kernel has this clock").into()
}
