//! A netlink socket: requests, their answers, reports of errors.
//!
//! The kernel works on a request while it is sent: what it answers is there when
//! sending returns, and each page of a listing is written while the one before is
//! read. So nothing here waits: an answer that is not there was lost.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

use crate::wire::{Attrs, HEADER, Malformed, Message, Messages, ne32};

/// The kernel fills datagrams of a listing up to 32 KiB.
const PAGE: usize = 64 * 1024;

/// What carries datagrams to the kernel and back.
pub trait Transport: AsFd + fmt::Debug + Send {
    /// Sends a datagram of one or more requests; the kernel works on them before
    /// this returns.
    ///
    /// # Errors
    /// Those of `sendto(2)`.
    fn send(&mut self, requests: &[u8]) -> io::Result<()>;

    /// Reads the next datagram into the beginning of a page and gives its length,
    /// which is larger than the page's if it was cut off. Does not wait.
    ///
    /// # Errors
    /// Those of `recvfrom(2)`; `WouldBlock` if there is none.
    fn receive(&mut self, page: &mut [u8]) -> io::Result<usize>;
}

impl Transport for Socket {
    fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.send_to(requests, &SocketAddr::new(0, 0), 0).map(drop)
    }

    fn receive(&mut self, mut page: &mut [u8]) -> io::Result<usize> {
        self.recv(&mut page, libc::MSG_DONTWAIT | libc::MSG_TRUNC)
    }
}

/// A socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct NetlinkSocket {
    transport: Box<dyn Transport>,
    page: Box<[u8]>,
    seq: u32,
}

/// Whether a listing is of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// It is.
    Yes,
    /// What was listed changed meanwhile: entries may be missing or doubled.
    No,
}

/// Whether an answer was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Reached,
    Ahead,
}

/// An error that the kernel reports of a request (`struct nlmsgerr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) errno: Errno,
    /// Where in the request its cause is, if the kernel tells (`NLMSGERR_ATTR_OFFS`).
    pub(crate) offset: Option<usize>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The kernel refused it.
    Refused(Report),
    /// The answer makes no sense.
    Malformed(Malformed),
    /// The socket failed.
    Io(io::Error),
}

impl From<Malformed> for Unanswered {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Unanswered> for io::Error {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::Refused(report) => report.errno.into(),
            Unanswered::Malformed(error) => malformed(error),
            Unanswered::Io(error) => error,
        }
    }
}

pub(crate) fn malformed(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl NetlinkSocket {
    /// Opens a socket of one of the `NETLINK_*` protocols.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        Ok(Self::over(Box::new(open(protocol)?)))
    }

    /// A socket over a transport that is open.
    pub(crate) fn over(transport: Box<dyn Transport>) -> Self {
        Self { transport, page: vec![0; PAGE].into(), seq: 0 }
    }

    /// The number of the next request.
    pub(crate) const fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    /// Sends one or more requests; the kernel works on them before this returns.
    pub(crate) fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        loop {
            match self.transport.send(requests) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Sends one request, which bears the number given out last, and hands each
    /// message of its answer to `take`, up to the acknowledgement or the end of
    /// the listing. The answer is read to its end whatever fails: a socket with
    /// half a listing takes no other.
    pub(crate) fn ask(
        &mut self,
        request: &[u8],
        take: impl FnMut(&Message<'_>) -> Result<(), Unanswered>,
    ) -> Result<Whole, Unanswered> {
        let answer = self.exchange(request, take);
        if matches!(answer, Err(Unanswered::Malformed(_) | Unanswered::Io(_))) {
            self.discard();
        }
        answer
    }

    fn exchange(
        &mut self,
        request: &[u8],
        mut take: impl FnMut(&Message<'_>) -> Result<(), Unanswered>,
    ) -> Result<Whole, Unanswered> {
        self.send(request)?;
        let (mut whole, mut taken) = (Whole::Yes, Ok(()));
        loop {
            let end = self.read_page(&mut whole, |message| {
                // Its first error is kept, and the rest of the answer read away.
                if taken.is_ok() {
                    taken = take(message);
                }
                Ok(())
            })?;
            if end == End::Reached {
                return taken.map(|()| whole);
            }
        }
    }

    /// Reads the next datagram of a listing and gives it whole, with other work
    /// before the next one. The request that was sent last is the one that is
    /// answered; an error ends the listing, and the socket takes no other.
    pub(crate) fn datagram(&mut self) -> Result<(&[u8], End), Unanswered> {
        let seq = self.seq;
        let page = self.answer()?;
        let mut end = End::Ahead;
        for message in Messages(page) {
            let message = message?;
            if message.head.seq == seq && is_end(&message) {
                match report(&message)? {
                    Some(report) => return Err(Unanswered::Refused(report)),
                    None => end = End::Reached,
                }
            }
        }
        Ok((page, end))
    }

    fn read_page(
        &mut self,
        whole: &mut Whole,
        mut take: impl FnMut(&Message<'_>) -> Result<(), Unanswered>,
    ) -> Result<End, Unanswered> {
        let seq = self.seq;
        for message in Messages(self.answer()?) {
            let message = message?;
            if message.head.seq != seq {
                // Left over from a request that failed half way.
                continue;
            }
            if i32::from(message.head.flags) & libc::NLM_F_DUMP_INTR != 0 {
                *whole = Whole::No;
            }
            if !is_end(&message) {
                take(&message)?;
                continue;
            }
            return match report(&message)? {
                Some(report) => Err(Unanswered::Refused(report)),
                None => Ok(End::Reached),
            };
        }
        Ok(End::Ahead)
    }

    /// The next datagram of an answer, which is there already.
    fn answer(&mut self) -> Result<&[u8], Unanswered> {
        self.receive().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::UnexpectedEof, "the kernel's answer was lost").into()
            }
            _ => error.into(),
        })
    }

    /// Hands the reports of what failed in the requests sent last to `take`, with
    /// the number of the request. Does not wait: they are all there when sending
    /// returns.
    ///
    /// # Errors
    /// `ENOBUFS` when reports were lost; the others were handed over, and the
    /// socket can be used on.
    pub(crate) fn failures(&mut self, mut take: impl FnMut(u32, Report) -> io::Result<()>) -> io::Result<()> {
        let mut lost = None;
        loop {
            let page = match self.receive() {
                Ok(page) => page,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return lost.map_or(Ok(()), Err),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    lost = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for message in Messages(page) {
                let message = message.map_err(malformed)?;
                if i32::from(message.head.kind) == libc::NLMSG_ERROR
                    && let Some(report) = report(&message).map_err(malformed)?
                {
                    take(message.head.seq, report)?;
                }
            }
        }
    }

    /// Reads away what is left of an answer.
    fn discard(&mut self) {
        loop {
            match self.receive() {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.transport.receive(&mut self.page) {
                Ok(len) if len > PAGE => return Err(io::Error::other("a netlink datagram is longer than a page")),
                Ok(len) => return Ok(&self.page[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether an answer ends with this message.
fn is_end(message: &Message<'_>) -> bool {
    matches!(i32::from(message.head.kind), libc::NLMSG_DONE | libc::NLMSG_ERROR)
}

/// Opens a socket of one of the `NETLINK_*` protocols, in the network namespace of
/// the calling thread.
pub(crate) fn open(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    // An error report then does not repeat the request, but tells what is wrong in it.
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    Ok(socket)
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

/// The error that a report, or the end of a listing, tells of; an acknowledgement
/// tells of none.
fn report(message: &Message<'_>) -> Result<Option<Report>, Malformed> {
    const NLMSGERR_ATTR_OFFS: u16 = 2;
    let code = ne32(message.body).ok_or(Malformed("a short error report"))?.cast_signed();
    if code >= 0 {
        return Ok(None);
    }
    let mut offset = None;
    if i32::from(message.head.flags) & libc::NLM_F_ACK_TLVS != 0 {
        // The header of the request at fault stands between the error and the attributes.
        let attrs = match i32::from(message.head.kind) {
            libc::NLMSG_ERROR => message.body.get(4 + HEADER..),
            _ => message.body.get(4..),
        };
        for attr in Attrs(attrs.unwrap_or_default()) {
            let attr = attr?;
            if attr.kind == NLMSGERR_ATTR_OFFS {
                offset = ne32(attr.payload).and_then(|offset| usize::try_from(offset).ok());
            }
        }
    }
    Ok(Some(Report { errno: Errno::from_raw(-code), offset }))
}
