//! What connections have called for and has not come yet: the kernel lets it pass as
//! related to the connection that called, and gives it no label of that one.

use std::collections::BTreeSet;
use std::io;

use nix::errno::Errno;

use super::flags;
use crate::netlink::NetlinkSocket;
use crate::wire::{Attr, Head, Malformed, Message, Writer};

/// `NFNL_SUBSYS_CTNETLINK_EXP << 8 | IPCTNL_MSG_EXP_GET`; what is expected is listed as
/// `IPCTNL_MSG_EXP_NEW`.
const EXP_GET: u16 = 0x0201;
const EXP_NEW: u16 = 0x0200;
const EXP_DELETE: u16 = 0x0202;

/// `enum ctattr_expect`.
const CTA_EXPECT_MASTER: u16 = 1;
const CTA_EXPECT_TUPLE: u16 = 2;
const CTA_EXPECT_ID: u16 = 5;
const CTA_EXPECT_ZONE: u16 = 7;

/// Has the kernel expect nothing any more that these connections of the default zone,
/// by their original tuples, have called for.
pub(super) fn end(callers: &BTreeSet<Box<[u8]>>, socket: &mut NetlinkSocket) -> io::Result<()> {
    let (mut question, mut requests) = (Writer::default(), Writer::default());
    let seq = socket.next_seq();
    let head = Head { kind: EXP_GET, flags: flags(libc::NLM_F_REQUEST | libc::NLM_F_DUMP), seq };
    let open = question.begin(head, u8::try_from(libc::AF_UNSPEC).expect("address families are small numbers"), 0);
    question.end(open).expect("a message without attributes is short");
    socket.ask(question.bytes(), |message| {
        if message.head.kind == EXP_NEW
            && let Some(expected) = Expected::of(message)?
            && callers.contains(expected.master.payload)
        {
            expected.delete(&mut requests, seq);
        }
        Ok(())
    })?;
    if requests.len() == 0 {
        return Ok(());
    }
    socket.send(requests.bytes())?;
    socket.failures(|_, report| match report.errno {
        // It came, or nobody waits for it any more.
        Errno::ENOENT => Ok(()),
        errno => Err(errno.into()),
    })
}

struct Expected<'a> {
    family: u8,
    /// The original tuple of the connection that called for it.
    master: Attr<'a>,
    tuple: Attr<'a>,
    id: Option<Attr<'a>>,
}

impl<'a> Expected<'a> {
    /// `None` if it is of another zone than the default one.
    fn of(message: &Message<'a>) -> Result<Option<Self>, Malformed> {
        let (family, attrs) = message.netfilter()?;
        let (mut master, mut tuple, mut id, mut zone) = (None, None, None, None);
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                CTA_EXPECT_MASTER => master = Some(attr),
                CTA_EXPECT_TUPLE => tuple = Some(attr),
                CTA_EXPECT_ID => id = Some(attr),
                CTA_EXPECT_ZONE => zone = Some(attr),
                _ => {}
            }
        }
        let both = master.zip(tuple).filter(|_| zone.is_none());
        Ok(both.map(|(master, tuple)| Self { family, master, tuple, id }))
    }

    fn delete(&self, requests: &mut Writer, seq: u32) {
        let head = Head { kind: EXP_DELETE, flags: flags(libc::NLM_F_REQUEST), seq };
        let open = requests.begin(head, self.family, 0);
        // The kernel takes a deletion without a tuple for one of all that is expected.
        requests.nest(CTA_EXPECT_TUPLE, |w| w.raw(self.tuple.payload));
        if let Some(id) = self.id {
            requests.attr(CTA_EXPECT_ID, id.payload);
        }
        requests.end(open).expect("a tuple that came in one message fits into another");
    }
}
