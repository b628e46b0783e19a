//! The one socket to nf_tables.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use libc::{NLM_F_ACK, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use nix::sys::socket::{NetlinkAddr, getsockname, setsockopt, sockopt};

use super::batch::{Batch, put_empty};
use super::error::{CommitError, QueryError, Refused};
use super::name::Name;
use super::table::{Ownership, Table, TableId};
use super::uapi;
use crate::netlink::{self, NetlinkSocket, Transport, Unanswered, Whole};
use crate::wire::{Attrs, Head, Malformed, Writer};

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
    netlink: NetlinkSocket,
    /// Bytes that one send may have.
    send_room: usize,
    /// Bytes of reports that are kept until they are read.
    receive_room: usize,
    /// The question that is asked, with the memory of those before.
    question: Writer,
}

impl NftSocket {
    /// Opens a socket.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or without `CAP_NET_ADMIN` later.
    pub fn open() -> io::Result<Self> {
        Ok(Self::over(Self::transport()?))
    }

    /// A socket over a transport to nf_tables: one of [`NftSocket::transport`], or
    /// one that stands before it.
    #[must_use]
    pub fn over(transport: Box<dyn Transport>) -> Self {
        let netlink = NetlinkSocket::over(transport);
        Self { netlink, send_room: 0, receive_room: 0, question: Writer::default() }
    }

    /// Opens the transport to nf_tables in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel has no nf_tables.
    pub fn transport() -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(netlink::open(NETLINK_NETFILTER)?))
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

    /// Asks the kernel whether it would take a batch, loops of jumps included.
    /// Changes nothing.
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
            |attrs| {
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
        match self.netlink.send(bytes) {
            Ok(()) => Ok(start.elapsed()),
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
            if setsockopt(&self.netlink, sockopt::SndBufForce, &room).is_ok() {
                self.send_room = room;
            }
        }
        let reports = messages.min(REPORTS_MAX) * REPORT;
        if reports > self.receive_room {
            let room = reports.next_power_of_two().max(1 << 18);
            if setsockopt(&self.netlink, sockopt::RcvBufForce, &room).is_ok() {
                self.receive_room = room;
            }
        }
    }

    /// Reads what the kernel had to say about the batch just sent.
    fn outcome(&mut self, batch: &Batch) -> Result<(), CommitError> {
        let mut refused = Vec::new();
        let read = self.netlink.failures(|seq, report| {
            refused.push(Refused::new(batch, seq, report));
            Ok(())
        });
        // A stale guard is reported on the message that opens the batch.
        if refused.iter().any(|refused| refused.op.is_none() && refused.errno == Errno::ERESTART) {
            return Err(CommitError::Stale);
        }
        // One refusal, and nothing was done, even if reports of others were lost.
        if !refused.is_empty() {
            return Err(CommitError::Refused(refused));
        }
        read.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOBUFS) => CommitError::Unknown,
            _ => CommitError::Io(error),
        })
    }

    /// Asks one question and hands every message of the answer to `take`.
    pub(super) fn ask(
        &mut self,
        request: Request,
        fill: impl FnOnce(&mut Writer),
        mut take: impl FnMut(Attrs<'_>) -> Result<(), Malformed>,
    ) -> Result<Whole, QueryError> {
        let flags = NLM_F_REQUEST | if request.flags == 0 { NLM_F_ACK } else { request.flags };
        let head = Head {
            kind: uapi::message(request.number),
            flags: u16::try_from(flags).expect("netlink flags have 16 bits"),
            seq: self.netlink.next_seq(),
        };
        self.question.clear();
        let open = self.question.begin(head, request.family, 0);
        fill(&mut self.question);
        self.question.end(open).expect("a question is short");
        let answer = self.netlink.ask(self.question.bytes(), |message| {
            let (_, attrs) = message.netfilter()?;
            Ok(take(attrs)?)
        });
        answer.map_err(|error| match error {
            Unanswered::Refused(report) => QueryError::Refused { what: request.what, errno: report.errno },
            Unanswered::Malformed(error) => QueryError::Malformed(error),
            Unanswered::Io(error) => QueryError::Io(error),
        })
    }

    /// The port by which the kernel knows this socket, in events too.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn port(&self) -> io::Result<u32> {
        Ok(getsockname::<NetlinkAddr>(self.netlink.as_fd().as_raw_fd())?.pid())
    }

    /// Waits until the kernel has finished a commit that it is at: an empty batch
    /// does nothing, but stands in line like any other.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn wait_for_commit(&mut self) -> io::Result<()> {
        self.question.clear();
        put_empty(&mut self.question);
        self.netlink.send(self.question.bytes())
    }

    /// Repeats a listing until nobody committed meanwhile.
    ///
    /// The kernel's own mark of an interrupted listing does not suffice: it is
    /// set between datagrams, not when the ruleset changes while one is filled,
    /// and never for elements. A commit raises the generation before it takes
    /// old objects out of the lists, so that one under way is waited for first.
    pub(super) fn until_whole<T>(
        &mut self,
        what: &'static str,
        mut attempt: impl FnMut(&mut Self) -> Result<(T, Whole), QueryError>,
    ) -> Result<T, QueryError> {
        for _ in 0..ATTEMPTS {
            self.wait_for_commit()?;
            let before = self.generation()?;
            let (answer, whole) = attempt(self)?;
            if whole == Whole::Yes && self.generation()? == before {
                return Ok(answer);
            }
        }
        Err(QueryError::Restless { what })
    }
}

impl AsFd for NftSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
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

#[cfg(test)]
mod tests;
