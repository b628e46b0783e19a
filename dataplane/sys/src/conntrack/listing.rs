//! All entries, listed by a thread of its own: the kernel walks along the whole
//! table while it is asked, for some ten milliseconds where there is hardly any
//! connection.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::{CT_GET, CT_NEW, Entry, flags};
use crate::clock::thread_time;
use crate::netlink::{End, NetlinkSocket};
use crate::wire::{Head, Malformed, Message, Messages, Writer};

/// How many pages of up to 32 KiB, with some 200 entries each, may wait to be looked at.
const AHEAD: usize = 16;

/// Lists connections on a thread of its own, with a socket that stays open: when a
/// socket of netfilter is closed, nf_tables takes no rules until it has freed what it
/// owes (`nft_rcv_nl_event` in Linux), for up to 15 ms.
#[derive(Debug)]
pub(super) struct Lister(Sender<SyncSender<io::Result<Page>>>);

/// A listing in progress.
#[derive(Debug)]
pub(super) struct Listing(Receiver<io::Result<Page>>);

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

impl Lister {
    /// Opens the socket, in the network namespace of the calling thread. The thread
    /// ends when this is dropped, and with a listing that fails or that nobody wants any more.
    ///
    /// # Errors
    /// If the system has no room for another socket or thread.
    pub(super) fn start() -> io::Result<Self> {
        let socket = NetlinkSocket::open(NETLINK_NETFILTER)?;
        let (orders, ordered) = channel();
        Builder::new().name("connections".to_owned()).spawn(move || work(socket, &ordered))?;
        Ok(Self(orders))
    }

    /// Has everything listed.
    pub(super) fn begin(&self) -> Listing {
        let (pages, listing) = sync_channel(AHEAD);
        // If the thread has ended, the listing says so.
        let _ = self.0.send(pages);
        Listing(listing)
    }
}

impl Listing {
    /// Does not wait.
    ///
    /// # Errors
    /// When the kernel refuses, or its answer was lost.
    pub(super) fn next(&self) -> io::Result<Next> {
        match self.0.try_recv() {
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

fn work(mut socket: NetlinkSocket, orders: &Receiver<SyncSender<io::Result<Page>>>) {
    for pages in orders {
        if list(&mut socket, &pages).is_break() {
            return;
        }
    }
}

/// Sends each page on, until the last one. Breaks off if the socket is of no use for
/// another listing.
fn list(socket: &mut NetlinkSocket, pages: &SyncSender<io::Result<Page>>) -> ControlFlow<()> {
    let begun = thread_time();
    if let Err(error) = ask(socket) {
        // Nobody may be there to be told.
        let _ = pages.send(Err(error));
        return ControlFlow::Break(());
    }
    loop {
        let page = socket.datagram().map_err(io::Error::from).map(|(bytes, end)| Page {
            bytes: bytes.to_vec(),
            took: match end {
                End::Ahead => None,
                End::Reached => Some(thread_time().saturating_sub(begun)),
            },
        });
        let is_broken = page.is_err();
        let is_last = page.as_ref().is_ok_and(|page| page.took.is_some());
        let is_wanted = pages.send(page).is_ok();
        if is_last {
            return ControlFlow::Continue(());
        }
        if is_broken || !is_wanted {
            return ControlFlow::Break(());
        }
        // Whoever waits for this processor would wait for some milliseconds else.
        std::thread::yield_now();
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
