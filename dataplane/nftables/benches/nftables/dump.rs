//! What it takes to have the kernel list everything in the table: the questions are
//! written once, and what comes back is thrown away.

use std::time::{Duration, Instant};

use caracal_sys::nft::{Name, NftSocket, TableId, Transport};

/// `NLM_F_REQUEST | NLM_F_DUMP` of `linux/netlink.h`.
const DUMP: u16 = 0x301;

/// `NLMSG_DONE` of `linux/netlink.h`, which ends a listing.
const DONE: u16 = 3;

/// `NFNL_SUBSYS_NFTABLES` of `linux/netfilter/nfnetlink.h`, as part of a message's type.
const NFTABLES: u16 = 10 << 8;

/// `NFT_MSG_GET*` of `linux/netfilter/nf_tables.h`.
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_SET: u16 = 10;
const GET_ELEMENTS: u16 = 13;

/// `NFPROTO_INET`, the family of the table.
const INET: u8 = 1;

/// The name of the table is the first attribute of every question, and that of a
/// set the second one.
const TABLE: u16 = 1;
const SET: u16 = 2;

/// More than a page of a listing.
const PAGE: usize = 64 * 1024;

/// Questions about everything in a table, and a socket to ask them.
pub(crate) struct Dump {
    transport: Box<dyn Transport>,
    questions: Vec<Vec<u8>>,
    page: Vec<u8>,
}

impl Dump {
    /// In the network namespace of the calling thread.
    pub(crate) fn new(table: &TableId) -> Self {
        let mut socket = NftSocket::open().expect("a netlink socket");
        let sets: Vec<Name> = socket.sets(table).expect("the kernel answers").into_iter().map(|set| set.name).collect();
        let lists = [GET_CHAIN, GET_RULE, GET_SET].map(|kind| question(kind, &[(TABLE, &table.name)]));
        let elements = sets.iter().map(|set| question(GET_ELEMENTS, &[(TABLE, &table.name), (SET, set)]));
        Self {
            transport: NftSocket::transport().expect("a netlink socket"),
            questions: lists.into_iter().chain(elements).collect(),
            page: vec![0; PAGE],
        }
    }

    /// Asks everything once; the time until the last answer is there.
    pub(crate) fn read(&mut self) -> Duration {
        let start = Instant::now();
        for question in &self.questions {
            self.transport.send(question).expect("the kernel takes a question");
            let mut is_done = false;
            while !is_done {
                let len = self.transport.receive(&mut self.page).expect("the kernel answers");
                is_done = ends(&self.page[..len]);
            }
        }
        start.elapsed()
    }
}

/// Whether a page holds the end of a listing. That is a message of its own or the
/// last one of a page: the others are passed over by their lengths.
fn ends(mut page: &[u8]) -> bool {
    let mut kind = 0;
    while let Some((head, _)) = page.split_at_checked(16) {
        let [a, b, c, d, low, high, ..] = *head else { break };
        kind = u16::from_ne_bytes([low, high]);
        let len = usize::try_from(u32::from_ne_bytes([a, b, c, d])).expect("a length");
        page = page.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    kind == DONE
}

/// A request with texts as attributes (`struct nlmsghdr`, `struct nfgenmsg`, `struct nlattr`).
fn question(kind: u16, attrs: &[(u16, &Name)]) -> Vec<u8> {
    let mut body = vec![INET, 0, 0, 0];
    for (number, text) in attrs {
        let len = u16::try_from(4 + text.as_str().len() + 1).expect("a name is short");
        body.extend(len.to_ne_bytes());
        body.extend(number.to_ne_bytes());
        body.extend(text.as_str().bytes());
        body.resize(body.len() + 1, 0);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let len = u32::try_from(16 + body.len()).expect("a question is short");
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend((NFTABLES | kind).to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.resize(16, 0);
    bytes.extend(body);
    bytes
}
