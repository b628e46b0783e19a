//! Packets that rules tell of, by `NFNL_SUBSYS_ULOG` (`linux/netfilter/nfnetlink_log.h`).
//!
//! Nothing here waits for the kernel's tables: it writes what a rule logs into the
//! socket's buffer, and what finds no room there is lost and told of.

mod packet;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::sys::socket::{setsockopt, sockopt};
use smol_str::SmolStr;

pub use packet::{Key, Tuple};

use crate::netlink::{self, Transport, malformed};
use crate::wire::{Head, Malformed, Message, Messages, Writer};

/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`, and `NFULNL_MSG_CONFIG`.
const PACKET: u16 = 0x0400;
const CONFIG: u16 = 0x0401;

/// `enum nfulnl_attr_type`.
const NFULA_PAYLOAD: u16 = 9;
const NFULA_PREFIX: u16 = 10;
const NFULA_CT: u16 = 18;

/// `enum nfulnl_attr_config`.
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_NLBUFSIZ: u16 = 3;
const NFULA_CFG_TIMEOUT: u16 = 4;
const NFULA_CFG_FLAGS: u16 = 6;
/// `NFULNL_CFG_CMD_BIND`, `NFULNL_COPY_PACKET` and `NFULNL_CFG_F_CONNTRACK`.
const BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const WITH_CONNECTION: u16 = 4;

/// Bytes that the kernel collects for one group before it sends them.
const COLLECTED: u32 = 16 * 1024;

/// How long it collects at most, in hundredths of a second.
const COLLECTING: u32 = 10;

/// A page holds any datagram: the kernel writes up to [`COLLECTED`], and the end.
const PAGE: usize = 64 * 1024;

/// A packet that a rule told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The rule's prefix; empty if it has none.
    pub prefix: SmolStr,
    /// The packet's ends as the rule saw them.
    pub tuple: Tuple,
    /// Where who opened the connection sent it, before DNAT, if that was elsewhere.
    /// The port is 0 for a protocol without ports.
    pub called: Option<SocketAddr>,
}

/// What came out of one datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Datagrams that came: 0 if none was there.
    pub datagrams: usize,
    /// Messages that could not be understood.
    pub malformed: usize,
    /// Times that messages were lost because nobody read them in time.
    pub overruns: usize,
}

/// A listener to a group, in the network namespace of the thread that opened it.
pub struct NflogSocket {
    socket: Socket,
    page: Box<[u8]>,
    tells_of_connections: bool,
}

impl fmt::Debug for NflogSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NflogSocket").finish_non_exhaustive()
    }
}

impl NflogSocket {
    /// Listens to a group. Of each packet up to `snaplen` bytes are sent along; up to
    /// `room` bytes of messages wait to be read.
    ///
    /// # Errors
    /// `EPERM` if somebody else listens to the group, or without `CAP_NET_ADMIN`;
    /// others if the kernel has no NFLOG.
    pub fn open(group: u16, snaplen: u32, room: usize) -> io::Result<Self> {
        let mut socket = netlink::open(NETLINK_NETFILTER)?;
        // Without the capability the default room stands, and more is lost.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &room);
        let mut page: Box<[u8]> = vec![0; PAGE].into();
        ask(&mut socket, &mut page, group, 1, |w| {
            w.attr(NFULA_CFG_CMD, &[BIND]);
            // `struct nfulnl_msg_config_mode`.
            w.pieces(NFULA_CFG_MODE, &[&snaplen.to_be_bytes(), &[COPY_PACKET, 0]]);
            w.be32(NFULA_CFG_NLBUFSIZ, COLLECTED);
            w.be32(NFULA_CFG_TIMEOUT, COLLECTING);
        })?;
        let tells_of_connections =
            match ask(&mut socket, &mut page, group, 2, |w| w.be16(NFULA_CFG_FLAGS, WITH_CONNECTION)) {
                Ok(()) => true,
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => false,
                Err(error) => return Err(error),
            };
        Ok(Self { socket, page, tells_of_connections })
    }

    /// Whether the kernel tells of the connection that a packet belongs to
    /// (`CONFIG_NETFILTER_NETLINK_GLUE_CT`): else [`Logged::called`] stays unknown.
    #[must_use]
    pub const fn tells_of_connections(&self) -> bool {
        self.tells_of_connections
    }

    /// Hands each packet of one datagram that is there to `take`. Does not wait.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn receive(&mut self, mut take: impl FnMut(Logged)) -> io::Result<Received> {
        let Self { socket, page, .. } = self;
        let mut received = Received::default();
        let len = loop {
            match socket.receive(page) {
                Ok(len) => break len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(received),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => received.overruns += 1,
                Err(error) => return Err(error),
            }
        };
        received.datagrams = 1;
        received.malformed = read(page.get(..len).unwrap_or_default(), &mut take);
        Ok(received)
    }
}

impl AsFd for NflogSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Configures a group and waits for the acknowledgement, which is there when
/// sending returns. Packets of a group that is bound already may come before it.
fn ask(socket: &mut Socket, page: &mut [u8], group: u16, seq: u32, fill: impl FnOnce(&mut Writer)) -> io::Result<()> {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK).expect("netlink flags have 16 bits");
    let mut request = Writer::default();
    let family = u8::try_from(libc::AF_UNSPEC).expect("address families are small numbers");
    let open = request.begin(Head { kind: CONFIG, flags, seq }, family, group);
    fill(&mut request);
    request.end(open).expect("a configuration is short");
    socket.send(request.bytes())?;
    loop {
        let len = match socket.receive(page) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => continue,
            Err(error) => return Err(error),
        };
        for message in Messages(page.get(..len).unwrap_or_default()) {
            let message = message.map_err(malformed)?;
            if i32::from(message.head.kind) == libc::NLMSG_ERROR && message.head.seq == seq {
                let code = crate::wire::ne32(message.body).unwrap_or_default().cast_signed();
                return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
            }
        }
    }
}

/// Hands the packets of a datagram to `take`; says how many messages made no sense.
fn read(datagram: &[u8], take: &mut impl FnMut(Logged)) -> usize {
    let mut malformed = 0;
    for message in Messages(datagram) {
        let logged = message.and_then(|message| match message.head.kind {
            PACKET => logged(&message).map(Some),
            _ => Ok(None),
        });
        match logged {
            Ok(logged) => logged.into_iter().for_each(&mut *take),
            Err(Malformed(_)) => malformed += 1,
        }
    }
    malformed
}

fn logged(message: &Message<'_>) -> Result<Logged, Malformed> {
    let (_, attrs) = message.netfilter()?;
    let (mut prefix, mut tuple, mut called) = (SmolStr::default(), None, None);
    for attr in attrs {
        let attr = attr?;
        match attr.kind {
            NFULA_PREFIX => prefix = attr.text()?.into(),
            NFULA_PAYLOAD => tuple = Some(Tuple::of_packet(attr.payload)?),
            NFULA_CT => called = crate::conntrack::called(attr)?,
            _ => {}
        }
    }
    let tuple = tuple.ok_or(Malformed("a packet without its headers"))?;
    Ok(Logged { prefix, called: called.filter(|called| !tuple.goes_to(called)), tuple })
}

impl Tuple {
    /// Whether it has this destination.
    fn goes_to(&self, to: &SocketAddr) -> bool {
        let port = match self.key {
            Key::Ports { destination, .. } => destination,
            Key::Icmp { .. } | Key::Opaque => 0,
        };
        (self.destination, port) == (to.ip(), to.port())
    }
}

#[cfg(test)]
mod tests;
