//! What ends a wait before its time: somebody who rings.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::{TimeSpec, TimeValLike as _};

/// Whoever holds it can end its owner's wait.
#[derive(Debug)]
pub(super) struct Bell(EventFd);

impl Bell {
    /// A bell that has not rung.
    ///
    /// # Errors
    /// When the process has no room for another descriptor.
    pub(super) fn new() -> nix::Result<Self> {
        EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map(Self)
    }

    /// Ends the wait at hand, or the next one.
    pub(super) fn ring(&self) {
        // One that has rung as often as can be counted rings already.
        let _ = self.0.write(1);
    }

    /// Waits until it rings, `other` can be read or the time is over.
    pub(super) fn wait(&self, other: Option<BorrowedFd<'_>>, at_most: Duration) {
        let readable = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
        let mut all: Vec<PollFd<'_>> = [self.0.as_fd()].into_iter().chain(other).map(readable).collect();
        let nanoseconds = i64::try_from(at_most.as_nanos()).unwrap_or(i64::MAX);
        // A signal ends a wait too; whoever waits looks at what there is.
        let _ = ppoll(&mut all, Some(TimeSpec::nanoseconds(nanoseconds)), None);
        // It has not rung, mostly.
        let _ = self.0.read();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_wait_ends_when_it_rings_or_time_is_over() {
        let (bell, start) = (Bell::new().expect("a descriptor"), Instant::now());
        bell.ring();
        bell.ring();
        bell.wait(None, LONG);
        bell.wait(None, Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(20), "two rings end one wait");
        std::thread::scope(|scope| {
            scope.spawn(|| bell.wait(None, LONG));
            bell.ring();
        });
        let other = Bell::new().expect("a descriptor");
        other.ring();
        bell.wait(Some(other.0.as_fd()), LONG);
        assert!(start.elapsed() < LONG);
    }
}
