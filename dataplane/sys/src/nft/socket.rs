//! The one socket to nf_tables.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use libc::NLM_F_REQUEST;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::batch::{Batch, FIRST_SEQ};
use super::error::{CommitError, QueryError, Refused};
use super::name::Name;
use super::table::{Ownership, Table, TableId};
use super::uapi;
use crate::wire::{Attrs, Head, Malformed, Message, Messages, Writer, ne32};

/// What the kernel can do beyond what is always there. Probed, not guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Tables can be [`Ownership::OwnedPersistent`].
    pub owned_persistent: bool,
    /// [`Batch::destroy_elements`] works.
    pub destroy: bool,
}

/// What is known of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The messages that were sent, without those that open and close the batch.
    pub messages: usize,
    /// The time the kernel took.
    pub kernel: Duration,
}

/// The largest buffer that is asked for: `SO_SNDBUFFORCE` doubles it into an `int`.
const BUFFER_MAX: usize = (i32::MAX / 2) as usize;
/// What an error report takes up in the receive buffer, generously.
const REPORT: usize = 2048;
/// Above this many messages not every report needs to arrive.
const REPORTS_MAX: usize = 16 * 1024;
/// The kernel fills pages of a listing up to 32 KiB.
const PAGE: usize = 64 * 1024;
/// How often a listing is begun anew when the ruleset changes under it.
const ATTEMPTS: usize = 16;

/// A netlink socket for nf_tables in the network namespace of the thread that
/// opened it.
///
/// Meant to live as long as the program, on a thread of its own: a commit blocks
/// it until the kernel is done, and closing the socket after a deletion takes
/// milliseconds.
#[derive(Debug)]
pub struct NftSocket {
    socket: Socket,
    /// Bytes that one send may have.
    send_room: usize,
    /// Bytes of reports that are kept until they are read.
    receive_room: usize,
    page: Box<[u8]>,
    seq: u32,
}

impl NftSocket {
    /// Opens a socket.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or without `CAP_NET_ADMIN` later.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, send_room: 0, receive_room: 0, page: vec![0; PAGE].into(), seq: FIRST_SEQ })
    }

    /// Sends a batch and waits until the kernel has done all of it or nothing.
    /// An empty batch is not sent.
    ///
    /// The batch is left as it was, so that the operations that an error names
    /// can be looked up; [`Batch::restart`] empties it.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn commit(&mut self, batch: &mut Batch) -> Result<Commit, CommitError> {
        let messages = batch.messages();
        if messages == 0 {
            return Ok(Commit { messages, kernel: Duration::ZERO });
        }
        let sent = self.transact(batch.close(), messages);
        batch.reopen();
        let kernel = sent?;
        self.outcome(batch)?;
        Ok(Commit { messages, kernel })
    }

    /// Asks the kernel whether it would take a batch. Changes nothing. Faults that
    /// show only in the whole, such as a loop of jumps, are not found.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn check(&mut self, batch: &Batch) -> Result<(), CommitError> {
        self.transact(batch.unclosed(), batch.messages())?;
        self.outcome(batch)
    }

    /// Finds out what the kernel can do, without leaving a trace.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn features(&mut self) -> Result<Features, CommitError> {
        let name = Name::new("caracal-probe").expect("a short name");
        let table = TableId::inet(name.clone());
        let mut batch = Batch::new(&table);
        let owned = Table { ownership: Ownership::OwnedPersistent, comment: None };
        batch.add_table(&owned).expect("a table is short");
        let owned_persistent = self.accepts(&batch)?;

        batch = Batch::new(&table);
        batch.add_table(&Table::default()).expect("a table is short");
        let set = super::Set::new(name.clone(), super::SetKind::Hash, [super::Field::Mark].as_slice());
        batch.add_set(&set).expect("a set is short");
        let header = super::SetHeader::new(&table, &name);
        batch.destroy_elements(&header, [super::Element::at(caracal_net::Mark(0))]).expect("an element is short");
        let destroy = self.accepts(&batch)?;
        Ok(Features { owned_persistent, destroy })
    }

    fn accepts(&mut self, batch: &Batch) -> Result<bool, CommitError> {
        match self.check(batch) {
            Ok(()) => Ok(true),
            Err(CommitError::Refused(refused)) if refused.iter().any(|r| r.errno == Errno::EPERM) => {
                Err(CommitError::Refused(refused))
            }
            Err(CommitError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The generation of the ruleset: every commit of whoever in the namespace raises it.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn generation(&mut self) -> Result<u32, QueryError> {
        let mut generation = None;
        let request = Request { what: "the generation", number: libc::NFT_MSG_GETGEN, flags: 0, family: 0 };
        self.ask(
            request,
            |_| {},
            |_, attrs| {
                for attr in attrs {
                    let attr = attr?;
                    if attr.kind == uapi::NFTA_GEN_ID {
                        generation = Some(attr.be32()?);
                    }
                }
                Ok(())
            },
        )?;
        generation.ok_or(QueryError::Malformed(Malformed("no generation")))
    }

    /// Sends bytes in one piece; the kernel works on them before this returns.
    fn transact(&mut self, bytes: &[u8], messages: usize) -> Result<Duration, CommitError> {
        self.make_room(bytes.len(), messages);
        let start = Instant::now();
        match self.socket.send_to(bytes, &SocketAddr::new(0, 0), 0) {
            Ok(_) => Ok(start.elapsed()),
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                Err(CommitError::TooBig { bytes: bytes.len() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Grows the buffers. If the kernel does not allow it, sending tells.
    fn make_room(&mut self, bytes: usize, messages: usize) {
        if bytes > self.send_room && bytes <= BUFFER_MAX {
            // The kernel doubles what it is asked for and takes its own overhead off.
            let room = bytes.next_power_of_two().clamp(1 << 18, BUFFER_MAX);
            if setsockopt(&self.socket, sockopt::SndBufForce, &room).is_ok() {
                self.send_room = room;
            }
        }
        let reports = messages.min(REPORTS_MAX) * REPORT;
        if reports > self.receive_room {
            let room = reports.next_power_of_two().max(1 << 18);
            if setsockopt(&self.socket, sockopt::RcvBufForce, &room).is_ok() {
                self.receive_room = room;
            }
        }
    }

    /// Reads what the kernel had to say about the batch just sent. All of it is
    /// there when sending returns.
    fn outcome(&mut self, batch: &Batch) -> Result<(), CommitError> {
        let mut refused = Vec::new();
        let mut lost = false;
        loop {
            let len = match receive(&self.socket, &mut self.page, libc::MSG_DONTWAIT) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    lost = true;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for message in Messages(&self.page[..len]) {
                let message = message?;
                if let Some((errno, offset)) = report(&message)? {
                    refused.push(Refused::new(batch, message.head.seq, errno, offset));
                }
            }
        }
        // A stale guard is reported on the message that opens the batch.
        if refused.iter().any(|refused| refused.op.is_none() && refused.errno == Errno::ERESTART) {
            return Err(CommitError::Stale);
        }
        match (refused.is_empty(), lost) {
            (true, false) => Ok(()),
            (true, true) => Err(CommitError::Unknown),
            (false, _) => Err(CommitError::Refused(refused)),
        }
    }

    /// Asks one question and hands every message of the answer to `take`. Returns
    /// whether the answer is of one piece: not, if the ruleset changed under it.
    pub(super) fn ask(
        &mut self,
        request: Request,
        fill: impl FnOnce(&mut Writer),
        mut take: impl FnMut(u8, Attrs<'_>) -> Result<(), Malformed>,
    ) -> Result<Whole, QueryError> {
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        let flags = NLM_F_REQUEST | request.flags;
        let head = Head {
            kind: uapi::message(request.number),
            flags: u16::try_from(flags).expect("netlink flags have 16 bits"),
            seq,
        };
        let mut writer = Writer::default();
        let open = writer.begin(head, request.family, 0);
        fill(&mut writer);
        writer.end(open).expect("a question is short");
        self.socket.send_to(writer.bytes(), &SocketAddr::new(0, 0), 0)?;

        let mut whole = Whole::Yes;
        loop {
            let len = receive(&self.socket, &mut self.page, 0)?;
            for message in Messages(&self.page[..len]) {
                let message = message?;
                if message.head.seq != seq {
                    continue;
                }
                if i32::from(message.head.flags) & libc::NLM_F_DUMP_INTR != 0 {
                    whole = Whole::No;
                }
                match i32::from(message.head.kind) {
                    libc::NLMSG_DONE => return Ok(whole),
                    libc::NLMSG_ERROR => {
                        let Some((errno, _)) = report(&message)? else { return Ok(whole) };
                        return Err(QueryError::Refused { what: request.what, errno });
                    }
                    _ => {
                        let (family, attrs) = message.netfilter()?;
                        take(family, attrs)?;
                        if request.flags & libc::NLM_F_DUMP == 0 {
                            return Ok(whole);
                        }
                    }
                }
            }
        }
    }

    /// Repeats a listing until nothing changed under it.
    pub(super) fn until_whole<T>(
        &mut self,
        what: &'static str,
        mut attempt: impl FnMut(&mut Self) -> Result<(T, Whole), QueryError>,
    ) -> Result<T, QueryError> {
        for _ in 0..ATTEMPTS {
            if let (answer, Whole::Yes) = attempt(self)? {
                return Ok(answer);
            }
        }
        Err(QueryError::Restless { what })
    }
}

impl AsFd for NftSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A question to nf_tables.
#[derive(Clone, Copy)]
pub(super) struct Request {
    /// In words, for errors.
    pub(super) what: &'static str,
    /// `NFT_MSG_GET*`.
    pub(super) number: i32,
    pub(super) flags: i32,
    pub(super) family: u8,
}

/// Whether nothing changed while an answer was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    Yes,
    No,
}

/// One datagram. A datagram longer than the page is an error, not cut.
fn receive(socket: &Socket, page: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    loop {
        match socket.recv(&mut &mut *page, flags | libc::MSG_TRUNC) {
            Ok(len) if len > page.len() => return Err(io::Error::other("a netlink datagram is longer than a page")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// The error that a message reports, and the offset of its cause in the message
/// it is about; `None` for an acknowledgement (`struct nlmsgerr`, `NLMSGERR_ATTR_*`).
fn report(message: &Message<'_>) -> Result<Option<(Errno, Option<usize>)>, Malformed> {
    const NLMSGERR_ATTR_OFFS: u16 = 2;
    if i32::from(message.head.kind) != libc::NLMSG_ERROR {
        return Ok(None);
    }
    let short = Malformed("a short error report");
    let errno = ne32(message.body).ok_or(short)?.cast_signed();
    if errno == 0 {
        return Ok(None);
    }
    let mut offset = None;
    // With NETLINK_CAP_ACK only the header of the message at fault is repeated.
    let attrs = message.body.get(4 + crate::wire::HEADER..).ok_or(short)?;
    if i32::from(message.head.flags) & libc::NLM_F_ACK_TLVS != 0 {
        for attr in Attrs(attrs) {
            let attr = attr?;
            if attr.kind == NLMSGERR_ATTR_OFFS {
                offset = ne32(attr.payload).and_then(|offset| usize::try_from(offset).ok());
            }
        }
    }
    Ok(Some((Errno::from_raw(-errno), offset)))
}
