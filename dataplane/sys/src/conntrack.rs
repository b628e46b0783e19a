//! Connection tracking entries, by `NFNL_SUBSYS_CTNETLINK`
//! (`linux/netfilter/nfnetlink_conntrack.h`).

mod cut;
mod expected;
mod flow;
mod listing;
mod review;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

pub(crate) use flow::called;
pub use flow::{Flow, FlowKey};
pub use review::{Judgement, Progress, Review, Tally};

use crate::netlink::NetlinkSocket;
use crate::wire::{Attr, Head, Malformed, Message, Writer};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`; entries are listed as `IPCTNL_MSG_CT_NEW`.
const CT_GET: u16 = 0x0101;
const CT_NEW: u16 = 0x0100;
const CT_DELETE: u16 = 0x0102;

/// `enum ctattr_type`.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_HELP: u16 = 5;
const CTA_ID: u16 = 12;
const CTA_TUPLE_MASTER: u16 = 14;
const CTA_ZONE: u16 = 18;
const CTA_LABELS: u16 = 22;
const CTA_LABELS_MASK: u16 = 23;
/// `enum ctattr_tuple`.
const CTA_TUPLE_IP: u16 = 1;
/// `enum ctattr_ip`.
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;

/// The label of connections that policy allowed once and denies now, as a bit of
/// the 16 bytes of an entry's labels: nft's label 127. Other bits are never
/// written. Those who are known to use labels (OVN, Antrea) use lower bits, or
/// zones of their own, which are left alone.
pub const REVOKED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80];

/// Deletions that are sent together; each takes up to about 200 bytes.
const BATCH: usize = 128 * 1024;

/// Sockets for the connection tracking table of the network namespace of the
/// thread that opened them.
#[derive(Debug)]
pub struct ConntrackSocket {
    listing: NetlinkSocket,
    /// Deletions go out while the listing is read.
    deleting: NetlinkSocket,
    deletions: Writer,
}

/// What became of deletions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Deletions {
    asked: usize,
    failed: usize,
}

impl ConntrackSocket {
    /// Opens the sockets.
    ///
    /// # Errors
    /// When the system has no room for other sockets.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            listing: NetlinkSocket::open(NETLINK_NETFILTER)?,
            deleting: NetlinkSocket::open(NETLINK_NETFILTER)?,
            deletions: Writer::default(),
        })
    }

    /// Deletes the entries of which an address is an end: their original source
    /// or destination, or who answers. Reads the table once, whatever the number
    /// of addresses, and keeps none of it. Returns how many entries were deleted.
    ///
    /// # Errors
    /// When the kernel has no connection tracking or refuses; entries may be left.
    pub fn forget(&mut self, addrs: &[IpAddr]) -> io::Result<usize> {
        let addrs: BTreeSet<IpAddr> = addrs.iter().copied().collect();
        let Some(family) = listed_family(&addrs) else { return Ok(0) };
        let Self { listing, deleting, deletions } = self;
        deletions.clear();
        let mut tally = Deletions::default();
        let head = Head { kind: CT_GET, flags: flags(libc::NLM_F_REQUEST | libc::NLM_F_DUMP), seq: listing.next_seq() };
        let mut question = Writer::default();
        let open = question.begin(head, family, 0);
        question.end(open).expect("a message without attributes is short");
        listing.ask(question.bytes(), |message| {
            if message.head.kind != CT_NEW {
                return Ok(());
            }
            if let Some(entry) = Entry::of(message)?
                && entry.touches(&addrs)?
            {
                entry.delete(deletions, deleting.next_seq());
                tally.asked += 1;
            }
            if deletions.len() >= BATCH {
                flush(deleting, deletions, &mut tally)?;
            }
            Ok(())
        })?;
        flush(deleting, deletions, &mut tally)?;
        Ok(tally.asked - tally.failed)
    }
}

/// Sends the deletions that were collected.
fn flush(deleting: &mut NetlinkSocket, deletions: &mut Writer, tally: &mut Deletions) -> io::Result<()> {
    if deletions.len() == 0 {
        return Ok(());
    }
    let sent = deleting.send(deletions.bytes());
    deletions.clear();
    sent?;
    deleting.failures(|_, report| match report.errno {
        // It ended by itself meanwhile.
        Errno::ENOENT => {
            tally.failed += 1;
            Ok(())
        }
        errno => Err(errno.into()),
    })
}

/// What a listed entry says, as far as anybody asks.
struct Entry<'a> {
    family: u8,
    original: Attr<'a>,
    reply: Attr<'a>,
    zone: Option<Attr<'a>>,
    id: Option<Attr<'a>>,
    labels: Option<Attr<'a>>,
    /// The original tuple of the connection that called for it.
    master: Option<Attr<'a>>,
    /// Who reads it for what it calls for.
    helper: Option<Attr<'a>>,
}

impl<'a> Entry<'a> {
    fn of(message: &Message<'a>) -> Result<Option<Self>, Malformed> {
        let (family, attrs) = message.netfilter()?;
        let (mut original, mut reply, mut zone, mut id) = (None, None, None, None);
        let (mut labels, mut master, mut helper) = (None, None, None);
        for attr in attrs {
            let attr = attr?;
            let place = match attr.kind {
                CTA_TUPLE_ORIG => &mut original,
                CTA_TUPLE_REPLY => &mut reply,
                CTA_ZONE => &mut zone,
                CTA_ID => &mut id,
                CTA_LABELS => &mut labels,
                CTA_TUPLE_MASTER => &mut master,
                CTA_HELP => &mut helper,
                _ => continue,
            };
            *place = Some(attr);
        }
        let both = original.zip(reply);
        Ok(both.map(|(original, reply)| Self { family, original, reply, zone, id, labels, master, helper }))
    }

    fn touches(&self, addrs: &BTreeSet<IpAddr>) -> Result<bool, Malformed> {
        let (from, to) = ends(self.original)?;
        let (answers, _) = ends(self.reply)?;
        Ok([from, to, answers].into_iter().flatten().any(|addr| addrs.contains(&addr)))
    }

    /// Asks for the deletion of this entry, not of a younger one with the same ends.
    fn delete(&self, deletions: &mut Writer, seq: u32) {
        let more = [self.zone, self.id].into_iter().flatten().map(|attr| (attr.kind, attr.payload));
        delete(self.family, self.original.payload, more, deletions, seq);
    }
}

/// Asks for the deletion of the entry with an original tuple.
fn delete<'a>(
    family: u8,
    tuple: &[u8],
    more: impl IntoIterator<Item = (u16, &'a [u8])>,
    deletions: &mut Writer,
    seq: u32,
) {
    let head = Head { kind: CT_DELETE, flags: flags(libc::NLM_F_REQUEST), seq };
    let open = deletions.begin(head, family, 0);
    // The kernel takes a deletion without a tuple for one of the whole table.
    deletions.nest(CTA_TUPLE_ORIG, |w| w.raw(tuple));
    for (kind, payload) in more {
        deletions.attr(kind, payload);
    }
    deletions.end(open).expect("a tuple that came in one message fits into another");
}

/// The source and the destination of a tuple.
fn ends(tuple: Attr<'_>) -> Result<(Option<IpAddr>, Option<IpAddr>), Malformed> {
    let (mut source, mut destination) = (None, None);
    for attr in tuple.nested() {
        let attr = attr?;
        if attr.kind != CTA_TUPLE_IP {
            continue;
        }
        for addr in attr.nested() {
            let addr = addr?;
            match addr.kind {
                CTA_IP_V4_SRC | CTA_IP_V6_SRC => source = Some(address(addr)?),
                CTA_IP_V4_DST | CTA_IP_V6_DST => destination = Some(address(addr)?),
                _ => {}
            }
        }
    }
    Ok((source, destination))
}

fn address(attr: Attr<'_>) -> Result<IpAddr, Malformed> {
    let v4 = || <[u8; 4]>::try_from(attr.payload).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(attr.payload).map(IpAddr::from);
    v4().or_else(|_| v6()).map_err(|_| Malformed("an address of an unknown length"))
}

/// The family to list: all of them if the addresses are of both.
fn listed_family(addrs: &BTreeSet<IpAddr>) -> Option<u8> {
    let v4 = addrs.iter().any(IpAddr::is_ipv4);
    let v6 = addrs.iter().any(IpAddr::is_ipv6);
    let family = match (v4, v6) {
        (false, false) => return None,
        (true, true) => libc::AF_UNSPEC,
        (true, false) => libc::AF_INET,
        (false, true) => libc::AF_INET6,
    };
    Some(u8::try_from(family).expect("address families are small numbers"))
}

fn flags(flags: libc::c_int) -> u16 {
    u16::try_from(flags).expect("netlink flags have 16 bits")
}
