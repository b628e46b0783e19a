//! All entries, listed by a thread of its own: the kernel walks along the whole
//! table while it is asked, for some ten milliseconds where there is hardly any
//! connection.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::{CT_GET, CT_NEW, Entry, flags};
use crate::background::Background;
use crate::clock::thread_time;
use crate::netlink::{End, NetlinkSocket};
use crate::wire::{Head, Malformed, Message, Messages, Writer};

/// How many pages of up to 32 KiB, with some 200 entries each, may wait to be looked at.
const AHEAD: usize = 16;

/// How long the listing has only what others leave of the processors: a connection
/// that policy denies must not live on because they leave nothing.
const PATIENCE: Duration = Duration::from_millis(20);

/// A listing in progress; it ends when dropped.
#[derive(Debug)]
pub(super) struct Listing {
    pages: Receiver<io::Result<Page>>,
    thread: Background,
    /// When it no longer yields to others, unless that is so already.
    hurry: Option<Instant>,
}

/// Entries as the kernel wrote them.
#[derive(Debug)]
pub(super) struct Page {
    bytes: Vec<u8>,
    /// The processor time that the listing took, if nothing follows.
    pub(super) took: Option<Duration>,
}

/// Whether a listing is further than it was.
#[derive(Debug)]
pub(super) enum Next {
    Page(Page),
    /// The kernel is at it.
    NotYet,
}

impl Listing {
    /// Begins to list, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the system has no room for another socket or thread.
    pub(super) fn begin() -> io::Result<Self> {
        let socket = NetlinkSocket::open(NETLINK_NETFILTER)?;
        let (pages, listing) = sync_channel(AHEAD);
        let thread = Background::start("connections", move || list(socket, &pages))?;
        Ok(Self { pages: listing, thread, hurry: Some(Instant::now() + PATIENCE) })
    }

    /// Does not wait.
    ///
    /// # Errors
    /// When the kernel refuses, or its answer was lost.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        if self.hurry.is_some_and(|at| at <= Instant::now()) {
            self.hurry = None;
            self.thread.hurry();
        }
        match self.pages.try_recv() {
            Ok(page) => page.map(Next::Page),
            Err(TryRecvError::Empty) => Ok(Next::NotYet),
            Err(TryRecvError::Disconnected) => Err(io::Error::other("the thread that lists connections has ended")),
        }
    }
}

impl Page {
    /// The entries of the default zone.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<Entry<'_>, Malformed>> {
        let is_ours = |entry: &Result<Entry<'_>, _>| !entry.as_ref().is_ok_and(|entry| entry.zone.is_some());
        Messages(&self.bytes).filter_map(entry).filter(is_ours)
    }
}

fn entry<'a>(message: Result<Message<'a>, Malformed>) -> Option<Result<Entry<'a>, Malformed>> {
    match message {
        Ok(message) if message.head.kind != CT_NEW => None,
        Ok(message) => Entry::of(&message).transpose(),
        Err(malformed) => Some(Err(malformed)),
    }
}

/// Sends each page on, until the last one or until nobody wants more.
fn list(mut socket: NetlinkSocket, pages: &SyncSender<io::Result<Page>>) {
    if let Err(error) = ask(&mut socket) {
        // Nobody may be there to be told.
        let _ = pages.send(Err(error));
        return;
    }
    loop {
        let page = socket.datagram().map_err(io::Error::from).map(|(bytes, end)| Page {
            bytes: bytes.to_vec(),
            took: match end {
                End::Ahead => None,
                End::Reached => Some(thread_time()),
            },
        });
        let is_last = page.as_ref().map_or(true, |page| page.took.is_some());
        if pages.send(page).is_err() || is_last {
            return;
        }
    }
}

fn ask(socket: &mut NetlinkSocket) -> io::Result<()> {
    let head = Head { kind: CT_GET, flags: flags(libc::NLM_F_REQUEST | libc::NLM_F_DUMP), seq: socket.next_seq() };
    let mut question = Writer::default();
    let family = u8::try_from(libc::AF_UNSPEC).expect("address families are small numbers");
    let open = question.begin(head, family, 0);
    question.end(open).expect("a message without attributes is short");
    socket.send(question.bytes())
}
