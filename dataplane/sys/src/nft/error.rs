//! How a commit or a question to the kernel fails.

use std::fmt;
use std::io;

use nix::errno::Errno;

use super::batch::{Batch, Op};
use super::uapi;
use crate::netlink::Report;
use crate::wire::{Attr, Attrs, Malformed, Messages};

/// A commit that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The kernel refused messages and did nothing. It names all that it refuses,
    /// unless there are very many.
    #[error("the kernel refused to {}", Listed(.0))]
    Refused(Vec<Refused>),
    /// Somebody has committed since the generation that the batch was meant for;
    /// nothing was done. Read again and build the batch anew.
    #[error("the ruleset has changed since it was read")]
    Stale,
    /// The batch is larger than the socket may send; nothing was done. Split it.
    #[error("a batch of {bytes} bytes is more than the socket may send")]
    TooBig {
        /// The batch's size.
        bytes: usize,
    },
    /// The kernel's answer was lost: whether the batch was committed shows the generation.
    #[error("the kernel's answer was lost, the outcome is unknown")]
    Unknown,
    /// The socket failed, or what the kernel says makes no sense; the outcome is unknown.
    #[error("the netlink socket failed")]
    Io(#[from] io::Error),
}

/// A message that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The call that wrote the message; `None` if the kernel blames the batch as a whole.
    pub op: Option<Op>,
    /// For a call with elements: the one at fault, counted from 0, where the kernel tells it.
    pub element: Option<usize>,
    /// Why.
    pub errno: Errno,
    /// Where in the message, in bytes from its start, where the kernel tells it.
    pub offset: Option<usize>,
    /// What the message was to do, for people: a verb first.
    pub message: String,
}

/// The first one, and how many there are besides.
struct Listed<'a>(&'a [Refused]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("take the batch"),
            [first] => first.fmt(f),
            [first, others @ ..] => write!(f, "{first}, and {} more", others.len()),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(element) = self.element {
            write!(f, "[{element}]")?;
        }
        write!(f, ": {}", self.errno)
    }
}

impl Refused {
    pub(super) fn new(batch: &Batch, seq: u32, report: Report) -> Self {
        let Report { errno, offset } = report;
        let Some((mark, bytes)) = batch.mark(seq) else {
            let message = "take the batch".to_owned();
            return Self { op: None, element: None, errno, offset, message };
        };
        let element = offset.and_then(|offset| element_at(bytes, offset)).map(|nth| mark.elements_before + nth);
        Self { op: Some(mark.op), element, errno, offset, message: describe(bytes) }
    }
}

const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = uapi::NFTA_SET_ELEM_LIST_ELEMENTS;

fn is_elements(kind: u16) -> bool {
    [libc::NFT_MSG_NEWSETELEM, libc::NFT_MSG_DELSETELEM, uapi::NFT_MSG_DESTROYSETELEM]
        .iter()
        .any(|&number| uapi::message(number) == kind)
}

/// Which element of a message a byte belongs to.
fn element_at(bytes: &[u8], offset: usize) -> Option<usize> {
    let message = Messages(bytes).next()?.ok()?;
    if !is_elements(message.head.kind) {
        return None;
    }
    let (_, attrs) = message.netfilter().ok()?;
    let list = attrs.flatten().find(|attr| attr.kind == NFTA_SET_ELEM_LIST_ELEMENTS)?;
    let position = |part: &[u8]| part.as_ptr().addr() - bytes.as_ptr().addr();
    list.nested()
        .flatten()
        .position(|element: Attr<'_>| offset < position(element.payload) + element.payload.len())
        .filter(|_| offset + 4 >= position(list.payload))
}

/// A message in words: what is done, and the names in it.
fn describe(bytes: &[u8]) -> String {
    let message = Messages(bytes).next().and_then(Result::ok);
    let Some((head, Ok((_, attrs)))) = message.map(|message| (message.head, message.netfilter())) else {
        return "an unreadable message".to_owned();
    };
    let number = i32::from(head.kind & 0xff);
    let verb = match number {
        libc::NFT_MSG_NEWTABLE => "add table",
        libc::NFT_MSG_DELTABLE => "delete table",
        libc::NFT_MSG_NEWCHAIN => "add chain",
        libc::NFT_MSG_DELCHAIN => "delete chain",
        libc::NFT_MSG_NEWRULE => "add rule to",
        libc::NFT_MSG_DELRULE => "delete rules of",
        libc::NFT_MSG_NEWSET => "add set",
        libc::NFT_MSG_DELSET => "delete set",
        libc::NFT_MSG_NEWSETELEM => "add elements to",
        libc::NFT_MSG_DELSETELEM => "delete elements of",
        uapi::NFT_MSG_DESTROYSETELEM => "destroy elements of",
        libc::NFT_MSG_NEWOBJ => "add object",
        libc::NFT_MSG_DELOBJ => "delete object",
        _ => "message about",
    };
    let name = match number {
        libc::NFT_MSG_NEWTABLE | libc::NFT_MSG_DELTABLE => uapi::NFTA_ANY_TABLE,
        libc::NFT_MSG_NEWCHAIN | libc::NFT_MSG_DELCHAIN => uapi::NFTA_CHAIN_NAME,
        // The chain of a rule, the set of elements and the name of a set or object.
        _ => uapi::NFTA_RULE_CHAIN,
    };
    format!("{verb} {}", find_text(attrs, name).unwrap_or("?"))
}

fn find_text(attrs: Attrs<'_>, kind: u16) -> Option<&str> {
    attrs.flatten().find(|attr| attr.kind == kind)?.text().ok()
}

/// A question to the kernel that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The kernel refused it.
    #[error("the kernel refused to list {what}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// The ruleset changed under each of several attempts. Ask again later.
    #[error("the ruleset did not stand still while {what} were listed")]
    Restless {
        /// What was asked for.
        what: &'static str,
    },
    /// The kernel's answer makes no sense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The socket failed.
    #[error("the netlink socket failed")]
    Io(#[from] io::Error),
}
