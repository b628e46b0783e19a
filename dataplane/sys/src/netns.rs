//! Network namespaces.
//!
//! A namespace belongs to a thread, not to the process: work inside one runs on
//! a thread of its own, which ends in that namespace and is never given back to
//! a pool.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, kept alive by an open file.
#[derive(Clone, Debug)]
pub struct NetNs {
    file: Arc<File>,
}

impl NetNs {
    /// Makes a fresh namespace: only a loopback interface, which is down.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`, or when the kernel has no room for another namespace.
    pub fn new() -> io::Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Self::current()
        });
        made.join().map_err(|_| io::Error::other("the thread that made the namespace panicked"))?
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        Ok(Self { file: Arc::new(File::open("/proc/thread-self/ns/net")?) })
    }

    /// Runs `work` inside the namespace, on a new thread, and waits for it.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    ///
    /// # Panics
    /// If `work` panics, with its message.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter()?;
                Ok(work())
            });
            match inside.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Starts a named thread that runs `work` inside the namespace.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<io::Result<T>>> {
        let namespace = self.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            namespace.enter()?;
            Ok(work())
        })
    }

    /// Moves the calling thread into the namespace, for good. Only for a thread
    /// that belongs to the caller alone.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`.
    pub fn enter(&self) -> io::Result<()> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
        Ok(())
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn interfaces() -> BTreeSet<String> {
        let listed = std::fs::read_to_string("/proc/thread-self/net/dev").expect("the list of interfaces");
        listed.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect()
    }

    #[test]
    fn a_fresh_namespace_has_loopback_only_and_the_caller_stays_outside() {
        let before = interfaces();
        let namespace = NetNs::new().expect("a namespace; needs root");
        assert_eq!(namespace.run(interfaces).expect("the namespace can be entered"), BTreeSet::from(["lo".to_owned()]));
        assert_eq!(interfaces(), before);
    }
}
