//! A kernel that fails when it is told to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_sys::nft::{NftSocket, Transport};
use nix::errno::Errno;

/// How a call to the kernel fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// With this error; the kernel sees nothing of the call.
    Error(Errno),
    /// The kernel has done what it was sent, or its answer was there, but all that
    /// arrives is that something was lost.
    Lost,
    /// Half of an answer arrives. What is sent, arrives.
    Truncated,
    /// Not, but only after a while.
    Slow,
}

impl Fault {
    /// Every way to fail.
    pub(crate) const ALL: [Self; 7] = [
        Self::Error(Errno::ENOBUFS),
        Self::Error(Errno::ENOMEM),
        Self::Error(Errno::EINTR),
        Self::Error(Errno::EPERM),
        Self::Lost,
        Self::Truncated,
        Self::Slow,
    ];
}

/// When to fail, and how many calls there were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) fault: Fault,
    /// The first call that fails, counted from 0, and how many do.
    pub(crate) first: usize,
    pub(crate) lasting: usize,
    pub(crate) calls: usize,
}

/// A socket that fails by a schedule.
pub(crate) fn faulty_socket(schedule: &Arc<Mutex<Schedule>>) -> NftSocket {
    let kernel = NftSocket::transport().expect("a netlink socket");
    NftSocket::over(Box::new(Faulty { kernel, schedule: Arc::clone(schedule) }))
}

#[derive(Debug)]
struct Faulty {
    kernel: Box<dyn Transport>,
    schedule: Arc<Mutex<Schedule>>,
}

impl Faulty {
    /// The fault of this call.
    fn next(&self) -> Option<Fault> {
        let mut schedule = self.schedule.lock().expect("no test panics with it");
        let call = schedule.calls;
        schedule.calls += 1;
        let Schedule { fault, first, lasting, .. } = *schedule;
        (first..first.saturating_add(lasting)).contains(&call).then_some(fault)
    }
}

impl Transport for Faulty {
    fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        match self.next() {
            Some(Fault::Error(errno)) => return Err(errno.into()),
            Some(Fault::Lost) => {
                self.kernel.send(requests)?;
                return Err(Errno::ENOBUFS.into());
            }
            Some(Fault::Slow) => std::thread::sleep(Duration::from_millis(3)),
            Some(Fault::Truncated) | None => {}
        }
        self.kernel.send(requests)
    }

    fn receive(&mut self, page: &mut [u8]) -> io::Result<usize> {
        let fault = self.next();
        if let Some(Fault::Error(errno)) = fault {
            return Err(errno.into());
        }
        let len = self.kernel.receive(page)?;
        match fault {
            Some(Fault::Lost) => Err(Errno::ENOBUFS.into()),
            Some(Fault::Truncated) => Ok(len / 2 + 3),
            Some(Fault::Slow) => {
                std::thread::sleep(Duration::from_millis(3));
                Ok(len)
            }
            Some(Fault::Error(_)) | None => Ok(len),
        }
    }
}

impl AsFd for Faulty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }
}
