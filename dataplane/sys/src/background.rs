//! A thread that yields to others.

use std::io;
use std::os::unix::thread::JoinHandleExt as _;
use std::thread::{Builder, JoinHandle};

/// A thread that has what others leave of the processors (`SCHED_IDLE`, sched(7)):
/// whoever wakes up takes the processor from it at once. It goes on by itself when
/// this is dropped.
#[derive(Debug)]
pub(crate) struct Background(JoinHandle<()>);

impl Background {
    /// Starts a thread. Where the kernel does not let it yield it is like any other.
    ///
    /// # Errors
    /// If the system has no room for another thread.
    pub(crate) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let thread = Self(Builder::new().name(name.to_owned()).spawn(work)?);
        thread.schedule(libc::SCHED_IDLE);
        Ok(thread)
    }

    /// It has waited for long enough: from now on it is a thread like any other.
    pub(crate) fn hurry(&self) {
        self.schedule(libc::SCHED_OTHER);
    }

    #[cfg_attr(not(test), expect(unsafe_code, reason = "no library has it"))]
    fn schedule(&self, policy: libc::c_int) {
        let param = libc::sched_param { sched_priority: 0 };
        // SAFETY: the thread is neither joined nor detached as long as its handle is here,
        // so its number is valid, even if it has ended; `param` is only read.
        let refused = unsafe { libc::pthread_setschedparam(self.0.as_pthread_t(), policy, &raw const param) };
        // Of one that has ended (ESRCH) nothing is wanted any more.
        if refused != 0 && refused != libc::ESRCH {
            tracing::debug!(error = %io::Error::from_raw_os_error(refused), "a thread cannot be scheduled otherwise");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// The policy of the calling thread.
    fn policy() -> libc::c_int {
        // SAFETY: asks about the calling thread.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn a_thread_yields_until_it_is_to_hurry() {
        let (ask, asked) = channel::<()>();
        let (answer, answers) = channel();
        let thread = Background::start("yields", move || {
            for () in asked {
                answer.send(policy()).expect("somebody listens");
            }
        })
        .expect("room for a thread");
        let now = || {
            ask.send(()).expect("it is there");
            answers.recv().expect("it answers")
        };
        assert_eq!(now(), libc::SCHED_IDLE);
        thread.hurry();
        assert_eq!(now(), libc::SCHED_OTHER);
        assert_eq!(policy(), libc::SCHED_OTHER, "the others are as they were");
    }

    #[test]
    fn one_that_has_ended_need_not_hurry() {
        let thread = Background::start("ends", || {}).expect("room for a thread");
        while !thread.0.is_finished() {
            std::thread::yield_now();
        }
        thread.hurry();
    }
}
