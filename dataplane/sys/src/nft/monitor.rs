//! Who commits: the kernel's notification of each new generation of the ruleset.
//!
//! The group has every message of every commit; they are read and thrown away, but
//! for the one that closes each. That is dear for whoever commits much, so this is
//! for those who want to know names, and nothing depends on it: events may be lost.

use std::collections::VecDeque;
use std::fmt;
use std::io;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::sys::socket::{setsockopt, sockopt};
use smol_str::SmolStr;

use super::uapi::{self, NFTA_GEN_ID, NFTA_GEN_PROC_NAME, NFTA_GEN_PROC_PID};
use crate::netlink::{self, Transport, malformed};
use crate::wire::{Attrs, Malformed, Messages};

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`.
const GROUP: u32 = 7;

/// Commits that are remembered; of older ones nobody asks.
const REMEMBERED: usize = 64;

/// Bytes of events that wait to be read; more are lost.
const ROOM: usize = 1 << 20;

/// A page holds any datagram of events: the kernel writes up to 8 KiB.
const PAGE: usize = 32 * 1024;

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

/// The last commits that were heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    recent: VecDeque<(u32, Culprit)>,
    /// Times that events were lost because they came faster than they were read.
    pub overruns: u64,
}

impl Commits {
    /// Who made a generation, if it was heard of.
    #[must_use]
    pub fn of(&self, generation: u32) -> Option<&Culprit> {
        self.recent.iter().rev().find(|(made, _)| *made == generation).map(|(_, culprit)| culprit)
    }

    fn note(&mut self, generation: u32, culprit: Culprit) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((generation, culprit));
    }
}

/// A subscription to the commits of the network namespace of the thread that
/// opened it.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    page: Box<[u8]>,
    commits: Commits,
}

impl Monitor {
    /// Subscribes.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or without `CAP_NET_ADMIN`.
    pub fn open() -> io::Result<Self> {
        let socket = netlink::open(NETLINK_NETFILTER)?;
        // Without the capability the default room stands, and more is lost.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &ROOM);
        socket.add_membership(GROUP)?;
        Ok(Self { socket, page: vec![0; PAGE].into(), commits: Commits::default() })
    }

    /// Takes in what has happened, and gives the last commits.
    ///
    /// # Errors
    /// When the socket fails; lost events are counted instead.
    pub fn commits(&mut self) -> io::Result<&Commits> {
        loop {
            match self.socket.receive(&mut self.page) {
                Ok(len) => {
                    let page = self.page.get(..len).unwrap_or_default();
                    for message in Messages(page) {
                        let message = message.map_err(malformed)?;
                        if message.head.kind == uapi::message(libc::NFT_MSG_NEWGEN) {
                            let (_, attrs) = message.netfilter().map_err(malformed)?;
                            let (generation, culprit) = decode(attrs).map_err(malformed)?;
                            self.commits.note(generation, culprit);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(&self.commits),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.commits.overruns += 1,
                Err(error) => return Err(error),
            }
        }
    }
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
        assert_eq!(commits.recent.len(), REMEMBERED);
        assert_eq!(commits.of(1), None);
        assert_eq!(commits.of(999).map(ToString::to_string).as_deref(), Some("nft (pid 1000)"));
    }
}
