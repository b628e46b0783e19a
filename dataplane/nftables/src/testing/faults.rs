//! A kernel that fails when it is told to.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// A socket to a kernel that refuses to make any set whose name has this text in it.
pub(crate) fn refusing_socket(text: &'static str) -> NftSocket {
    let kernel = NftSocket::transport().expect("a netlink socket");
    NftSocket::over(Box::new(Refusing { kernel, text }))
}

/// Spoils what would make the set, so that the kernel itself answers.
#[derive(Debug)]
struct Refusing {
    kernel: Box<dyn Transport>,
    text: &'static str,
}

impl Transport for Refusing {
    fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        /// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_NEWSET` of the kernel's headers.
        const NEW_SET: u16 = (10 << 8) | 9;
        let mut requests = requests.to_vec();
        let mut at = 0;
        while let Some(header) = requests.get(at..at + 16) {
            let len = u32::from_ne_bytes(header[..4].try_into().expect("four bytes")) as usize;
            let kind = u16::from_ne_bytes(header[4..6].try_into().expect("two bytes"));
            let body = &mut requests[at + 16..at + len];
            if kind == NEW_SET && body.windows(self.text.len()).any(|bytes| bytes == self.text.as_bytes()) {
                // NFTA_SET_KEY_LEN: no key has 4096 bytes.
                let key_len = [8, 0, 5, 0];
                let place = body.windows(4).position(|bytes| bytes == key_len).expect("a set has a key");
                body[place + 4..place + 8].copy_from_slice(&4096_u32.to_be_bytes());
            }
            at += len.next_multiple_of(4);
        }
        self.kernel.send(&requests)
    }

    fn receive(&mut self, page: &mut [u8]) -> io::Result<usize> {
        self.kernel.receive(page)
    }
}

impl AsFd for Refusing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }
}

/// A socket behind whose first large transaction somebody else does something at once;
/// `done` tells that it was.
pub(crate) fn behind_a_large_send(done: &Arc<AtomicBool>, act: impl FnMut() + Send + 'static) -> NftSocket {
    let kernel = NftSocket::transport().expect("a netlink socket");
    NftSocket::over(Box::new(Followed { kernel, done: Arc::clone(done), act: Act(Box::new(act)) }))
}

#[derive(Debug)]
struct Followed {
    kernel: Box<dyn Transport>,
    done: Arc<AtomicBool>,
    act: Act,
}

struct Act(Box<dyn FnMut() + Send>);

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Act")
    }
}

impl Transport for Followed {
    fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        /// More than a question has, or a small ruleset.
        const LARGE: usize = 50_000;
        self.kernel.send(requests)?;
        if requests.len() > LARGE && !self.done.swap(true, Ordering::Relaxed) {
            (self.act.0)();
        }
        Ok(())
    }

    fn receive(&mut self, page: &mut [u8]) -> io::Result<usize> {
        self.kernel.receive(page)
    }
}

impl AsFd for Followed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kernel.as_fd()
    }
}

/// A socket whose port nobody can tell: to the kernel's events no one can subscribe beside it.
pub(crate) fn nameless_socket() -> NftSocket {
    let kernel = NftSocket::transport().expect("a netlink socket");
    NftSocket::over(Box::new(Nameless { kernel, face: File::open("/dev/null").expect("the device") }))
}

#[derive(Debug)]
struct Nameless {
    kernel: Box<dyn Transport>,
    /// What it shows instead of its socket.
    face: File,
}

impl Transport for Nameless {
    fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.kernel.send(requests)
    }

    fn receive(&mut self, page: &mut [u8]) -> io::Result<usize> {
        self.kernel.receive(page)
    }
}

impl AsFd for Nameless {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.face.as_fd()
    }
}
