//! What others commit: the kernel's events of each new generation of the ruleset.
//!
//! The group has every message of every commit. Of each only the header and the
//! first attributes are read, which say what it is about. Events may be lost; that
//! they were is told.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::time::Instant;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::sys::socket::{setsockopt, sockopt};
use smol_str::SmolStr;
use socket2::{SockFilter, SockRef};

use super::name::Name;
use super::table::TableId;
use super::uapi::{
    self, NFTA_ANY_TABLE, NFTA_GEN_ID, NFTA_GEN_PROC_NAME, NFTA_GEN_PROC_PID, NFTA_RULE_CHAIN, NFTA_SET_ELEM_LIST_SET,
};
use super::watch::Watch;
use crate::netlink::{self, Transport, malformed};
use crate::wire::{Attrs, Malformed, Message, Messages};

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`.
const GROUP: u32 = 7;

/// Commits that are remembered; of older ones nobody asks.
const REMEMBERED: usize = 64;

/// Bytes of events that wait to be read; more are lost.
const ROOM: usize = 1 << 20;

/// A page holds any datagram of events: the kernel writes up to 8 KiB.
const PAGE: usize = 32 * 1024;

/// Chains and sets that are named; beyond that, all are suspects.
const NAMED: usize = 64;

/// A process that committed a change of the ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// Its process id.
    pub pid: u32,
    /// Its command, up to 15 bytes (`TASK_COMM_LEN`).
    pub command: SmolStr,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.command, self.pid)
    }
}

/// The last commits of others that were heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Commits(VecDeque<(u32, Culprit)>);

impl Commits {
    fn of(&self, generation: u32) -> Option<&Culprit> {
        self.0.iter().rev().find(|(made, _)| *made == generation).map(|(_, culprit)| culprit)
    }

    fn note(&mut self, generation: u32, culprit: Culprit) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((generation, culprit));
    }
}

/// What others changed in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Whether chains or sets came or went, or the table itself.
    pub inventory: bool,
    /// Chains whose rules changed.
    pub chains: BTreeSet<Name>,
    /// Sets whose elements changed.
    pub sets: BTreeSet<Name>,
    /// Whether more was changed than is named: events were lost, or too many.
    pub more: bool,
}

/// A subscription to what is committed in the network namespace of the thread that
/// opened it.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    page: Box<[u8]>,
    table: TableId,
    commits: Commits,
    touched: Touched,
    overruns: u64,
    watch: Option<Watch>,
}

impl Monitor {
    /// Subscribes. What is done to `table` by another socket than that with the port
    /// `own` ([`super::NftSocket::port`]) is told; nothing comes of what that one does.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or without `CAP_NET_ADMIN`.
    pub fn open(table: &TableId, own: u32) -> io::Result<Self> {
        let socket = netlink::open(NETLINK_NETFILTER)?;
        SockRef::from(&socket).attach_filter(&all_but(own))?;
        // Without the capability the default room stands, and more is lost.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &ROOM);
        socket.add_membership(GROUP)?;
        Ok(Self {
            socket,
            page: vec![0; PAGE].into(),
            table: table.clone(),
            commits: Commits::default(),
            touched: Touched::default(),
            overruns: 0,
            watch: None,
        })
    }

    /// Calls `wake` when others have committed, on a thread of its own, from now until
    /// the subscription ends: some 2 ms later, once for all that came meanwhile, and 20
    /// times a second at most. It also does when events were lost; what is then to be
    /// heard, or was heard already, it does not know. `wake` must not wait for whoever
    /// has the subscription.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn watch(&mut self, wake: impl Fn() + Send + 'static) -> io::Result<()> {
        self.watch = Some(Watch::begin(self.socket.as_fd(), wake)?);
        Ok(())
    }

    /// Whether somebody is woken when others have committed.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::is_alive)
    }

    /// When the first of the commits was noticed that came since this was asked last, if
    /// there is a watch. It may have been heard of before.
    #[must_use]
    pub fn noticed(&self) -> Option<Instant> {
        self.watch.as_ref()?.take_first()
    }

    /// What others did to the table since this was asked last. What [`super::NftSocket::wait_for_commit`] waited for is in it.
    ///
    /// # Errors
    /// When the socket fails; of lost events [`Touched::more`] tells.
    pub fn touched(&mut self) -> io::Result<Touched> {
        self.hear()?;
        Ok(std::mem::take(&mut self.touched))
    }

    /// Takes in what has happened, so that later events find room.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn hear(&mut self) -> io::Result<()> {
        loop {
            match self.socket.receive(&mut self.page) {
                Ok(len) => self.take(len)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.overruns += 1;
                    self.touched.more = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Hears nothing until [`Monitor::resume`]: the kernel need not tell of a large
    /// transaction of our own. What others do meanwhile is missed.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn pause(&mut self) -> io::Result<()> {
        self.socket.drop_membership(GROUP)
    }

    /// Hears again.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn resume(&mut self) -> io::Result<()> {
        self.socket.add_membership(GROUP)
    }

    /// Who made a generation, if it was somebody else and was heard of.
    #[must_use]
    pub fn culprit(&self, generation: u32) -> Option<&Culprit> {
        self.commits.of(generation)
    }

    /// Times that events were lost because they came faster than they were read.
    #[must_use]
    pub const fn overruns(&self) -> u64 {
        self.overruns
    }

    fn take(&mut self, len: usize) -> io::Result<()> {
        let Self { page, table, commits, touched, .. } = self;
        for message in Messages(page.get(..len).unwrap_or_default()) {
            let message = message.map_err(malformed)?;
            if message.head.kind == uapi::message(libc::NFT_MSG_NEWGEN) {
                let (_, attrs) = message.netfilter().map_err(malformed)?;
                let (generation, culprit) = decode(attrs).map_err(malformed)?;
                commits.note(generation, culprit);
            } else {
                touched.note(&message, table).map_err(malformed)?;
            }
        }
        Ok(())
    }
}

impl Touched {
    fn note(&mut self, message: &Message<'_>, table: &TableId) -> Result<(), Malformed> {
        let (family, attrs) = message.netfilter()?;
        if family != table.family.number() {
            return Ok(());
        }
        let named = |kind| {
            let mut found = attrs.flatten().filter(|attr| attr.kind == kind);
            found.next().map(|attr| attr.text()).transpose()
        };
        if named(NFTA_ANY_TABLE)? != Some(table.name.as_str()) {
            return Ok(());
        }
        let is = |numbers: [i32; 2]| numbers.map(uapi::message).contains(&message.head.kind);
        let (names, name) = if is([libc::NFT_MSG_NEWRULE, libc::NFT_MSG_DELRULE]) {
            (&mut self.chains, named(NFTA_RULE_CHAIN)?)
        } else if is([libc::NFT_MSG_NEWSETELEM, libc::NFT_MSG_DELSETELEM]) {
            (&mut self.sets, named(NFTA_SET_ELEM_LIST_SET)?)
        } else {
            self.inventory = true;
            return Ok(());
        };
        match name {
            Some(name) if names.contains(name) => {}
            Some(name) if names.len() < NAMED => {
                names.insert(Name::new(name).map_err(|_| Malformed("an event without a name"))?);
            }
            Some(_) | None => self.more = true,
        }
        Ok(())
    }
}

/// A filter that lets all datagrams pass but those with the commits of the socket with
/// this port: the kernel then neither keeps them for us nor wakes us for them. A datagram
/// holds messages of one commit, and each bears the port of who made it.
fn all_but(port: u32) -> [SockFilter; 4] {
    /// Where `struct nlmsghdr` has the port.
    const PORT: u32 = 12;
    /// Bytes of a datagram that pass.
    const ALL: u32 = u32::MAX;
    let step = |code: u32, then, otherwise, value| {
        let code = u16::try_from(code).expect("codes have 16 bits");
        SockFilter::new(code, then, otherwise, value)
    };
    [
        // A filter reads in the byte order of networks.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, PORT),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, u32::from_be_bytes(port.to_ne_bytes())),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, ALL),
    ]
}

fn decode(attrs: Attrs<'_>) -> Result<(u32, Culprit), Malformed> {
    let (mut generation, mut pid, mut command) = (0, 0, SmolStr::default());
    for attr in attrs {
        let attr = attr?;
        match attr.kind {
            NFTA_GEN_ID => generation = attr.be32()?,
            NFTA_GEN_PROC_PID => pid = attr.be32()?,
            NFTA_GEN_PROC_NAME => command = attr.text()?.into(),
            _ => {}
        }
    }
    Ok((generation, Culprit { pid, command }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_commits_are_remembered() {
        let mut commits = Commits::default();
        for generation in 0..1000 {
            commits.note(generation, Culprit { pid: generation + 1, command: "nft".into() });
        }
        assert_eq!(commits.0.len(), REMEMBERED);
        assert_eq!(commits.of(1), None);
        assert_eq!(commits.of(999).map(ToString::to_string).as_deref(), Some("nft (pid 1000)"));
    }
}
