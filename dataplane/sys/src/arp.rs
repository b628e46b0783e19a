//! ARP requests in the name of an address that this host does not have (RFC 826).

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use caracal_net::IfIndex;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket};

const BROADCAST: [u8; 6] = [0xff; 6];

/// Hardware type Ethernet, protocol type IPv4, their addresses' lengths, and the
/// operation REQUEST, each as RFC 826 lays it.
const HEADER: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];

/// Who asks, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpRequest {
    /// The asker's address, and where it is: whoever has the target's address notes both down.
    pub sender: (Ipv4Addr, [u8; 6]),
    /// The address that is asked for.
    pub target: Ipv4Addr,
}

impl ArpRequest {
    fn bytes(&self) -> [u8; 28] {
        let mut bytes = [0; 28];
        let (addr, mac) = self.sender;
        bytes[..8].copy_from_slice(&HEADER);
        bytes[8..14].copy_from_slice(&mac);
        bytes[14..18].copy_from_slice(&addr.octets());
        bytes[24..].copy_from_slice(&self.target.octets());
        bytes
    }
}

/// A socket that sends ARP requests in the network namespace of the thread that
/// opened it, and receives nothing.
#[derive(Debug)]
pub struct ArpSocket(OwnedFd);

impl ArpSocket {
    /// Opens a socket. To close one takes the kernel some milliseconds (it waits
    /// for all processors), so it should be kept.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // Without a protocol it receives nothing (packet(7)).
        Ok(Self(socket(AddressFamily::Packet, SockType::Datagram, flags, None)?))
    }

    /// Asks everybody behind an Ethernet interface.
    ///
    /// # Errors
    /// When the interface is gone or down.
    pub fn request(&self, interface: IfIndex, request: &ArpRequest) -> io::Result<()> {
        sendto(self.0.as_raw_fd(), &request.bytes(), &everybody(interface)?, MsgFlags::empty())?;
        Ok(())
    }
}

/// Everybody behind an interface, as the receiver of ARP.
#[cfg_attr(not(test), expect(unsafe_code, reason = "nix reads addresses of AF_PACKET from memory only"))]
fn everybody(interface: IfIndex) -> io::Result<LinkAddr> {
    let narrow = |number: i32| u16::try_from(number).map_err(io::Error::other);
    let mut sll_addr = [0; 8];
    sll_addr[..6].copy_from_slice(&BROADCAST);
    let everybody = libc::sockaddr_ll {
        sll_family: narrow(libc::AF_PACKET)?,
        sll_protocol: narrow(libc::ETH_P_ARP)?.to_be(),
        sll_ifindex: i32::try_from(interface.0).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr,
    };
    let len = libc::socklen_t::try_from(size_of_val(&everybody)).map_err(io::Error::other)?;
    // SAFETY: the pointer is to a whole `sockaddr_ll` of that length, which lives until it has been read.
    let addr = unsafe { LinkAddr::from_raw((&raw const everybody).cast(), Some(len)) };
    addr.ok_or_else(|| io::Error::other("nix does not know AF_PACKET"))
}
