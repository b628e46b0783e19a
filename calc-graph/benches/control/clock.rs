//! The clock of whole workloads.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The processor time of the calling thread. Unlike the time of day it does not go
/// on while others have the processor; on an idle machine they are the same, for
/// the graph neither waits nor has threads.
pub(crate) fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every kernel has this clock").into()
}
