//! A blocking netlink socket: one request, its answer.

use std::io;

use netlink_sys::{Socket, SocketAddr};

use crate::wire::{Malformed, Message, Messages, ne32};

/// The kernel fills datagrams of a listing up to 32 KiB.
const PAGE: usize = 64 * 1024;

/// A socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct NetlinkSocket {
    socket: Socket,
    page: Box<[u8]>,
    seq: u32,
}

/// Whether an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// It is of one piece.
    Yes,
    /// What was listed changed meanwhile: entries may be missing or doubled.
    No,
}

impl NetlinkSocket {
    /// Opens a socket of one of the `NETLINK_*` protocols.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        // An error report then does not repeat the request.
        socket.set_cap_ack(true)?;
        Ok(Self { socket, page: vec![0; PAGE].into_boxed_slice(), seq: 0 })
    }

    pub(crate) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The number of the next request.
    pub(crate) const fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    /// Sends one or more requests; the kernel works on them before this returns.
    pub(crate) fn send(&self, requests: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(requests, &SocketAddr::new(0, 0), 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map(drop),
            }
        }
    }

    /// Sends one request, which bears the number given out last, and hands each message of its answer to `take`, up to
    /// the acknowledgement or the end of the listing. The answer is read to its
    /// end even if `take` fails: a socket with half a listing takes no other.
    pub(crate) fn ask(
        &mut self,
        request: &[u8],
        mut take: impl FnMut(&Message<'_>) -> io::Result<()>,
    ) -> io::Result<Whole> {
        let seq = self.seq;
        self.send(request)?;
        let mut whole = Whole::Yes;
        let mut taken = Ok(());
        loop {
            let page = self.receive(0)?;
            for message in Messages(page) {
                let message = message.map_err(malformed)?;
                if message.head.seq != seq {
                    // Left over from a request that failed half way.
                    continue;
                }
                if i32::from(message.head.flags) & libc::NLM_F_DUMP_INTR != 0 {
                    whole = Whole::No;
                }
                match i32::from(message.head.kind) {
                    libc::NLMSG_DONE => return taken.map(|()| whole),
                    libc::NLMSG_ERROR => return taken.and_then(|()| report(&message)).map(|()| whole),
                    _ => taken = taken.and_then(|()| take(&message)),
                }
            }
        }
    }

    /// The reports of what failed in the requests sent last, without waiting:
    /// they are all there when sending returns.
    pub(crate) fn failures(&mut self, mut take: impl FnMut(io::Error) -> io::Result<()>) -> io::Result<()> {
        loop {
            let page = match self.receive(libc::MSG_DONTWAIT) {
                Ok(page) => page,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            for message in Messages(page) {
                let message = message.map_err(malformed)?;
                if i32::from(message.head.kind) == libc::NLMSG_ERROR
                    && let Err(error) = report(&message)
                {
                    take(error)?;
                }
            }
        }
    }

    fn receive(&mut self, flags: libc::c_int) -> io::Result<&[u8]> {
        loop {
            match self.socket.recv(&mut &mut *self.page, flags | libc::MSG_TRUNC) {
                Ok(len) if len > PAGE => return Err(io::Error::other("a netlink datagram is longer than a page")),
                Ok(len) => return Ok(&self.page[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The error that a report tells of; an acknowledgement tells of none (`struct nlmsgerr`).
fn report(message: &Message<'_>) -> io::Result<()> {
    match ne32(message.body).map(u32::cast_signed) {
        None => Err(malformed(Malformed("a short error report"))),
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(-errno)),
    }
}

pub(crate) fn malformed(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
