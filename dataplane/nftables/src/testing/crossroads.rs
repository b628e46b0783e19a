//! Real packets on every way through a node: from and to pods, the world outside
//! and the node itself.

use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

use caracal_program::{Packet, Way};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, setsockopt, socket,
    sockopt::BindToDevice,
};

use super::wire::{Shape, Wire, bytes, ip};

/// Who sends, or is to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A pod: the first sends, the second receives.
    Pod,
    /// What is behind an interface of the host: eth0 sends, eth1 receives.
    Outside,
    /// The router itself.
    Host,
}

/// The way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Road {
    pub(crate) from: Place,
    pub(crate) to: Place,
}

impl Road {
    /// From one pod to the other.
    pub(crate) const BETWEEN_PODS: Self = Self { from: Place::Pod, to: Place::Pod };

    /// From the world to the router itself.
    pub(crate) const TO_HOST: Self = Self { from: Place::Outside, to: Place::Host };

    /// From the router itself to the world.
    pub(crate) const FROM_HOST: Self = Self { from: Place::Host, to: Place::Outside };

    /// Every way that leads somewhere else.
    pub(crate) const ALL: [Self; 8] = [
        Self::BETWEEN_PODS,
        Self { from: Place::Pod, to: Place::Outside },
        Self { from: Place::Pod, to: Place::Host },
        Self { from: Place::Outside, to: Place::Pod },
        Self { from: Place::Outside, to: Place::Outside },
        Self::TO_HOST,
        Self { from: Place::Host, to: Place::Pod },
        Self::FROM_HOST,
    ];

    /// By which interfaces of the router.
    pub(crate) fn way(self) -> Way<'static> {
        let from = match self.from {
            Place::Pod => Some("cali0"),
            Place::Outside => Some("eth0"),
            Place::Host => None,
        };
        let to = match self.to {
            Place::Pod => Some("cali1"),
            Place::Outside => Some("eth1"),
            Place::Host => None,
        };
        match (from, to) {
            (Some(from), Some(to)) => Way::Through { from, to },
            (Some(from), None) => Way::ToHost { from },
            (None, Some(to)) => Way::FromHost { to },
            (None, None) => unreachable!("the router does not speak to itself"),
        }
    }

    /// The class of service that leads a packet there; nothing else looks at it.
    const fn class(self) -> u8 {
        match self.to {
            Place::Pod => 0,
            Place::Outside => 0x08,
            Place::Host => 0x10,
        }
    }
}

/// What is counted beside [`Wire`]'s: what this host makes, as it is made and
/// after its last judge, and what is for this host after its last judge.
const PROBE: &str = "
table inet probe {
    chain made {
        type filter hook output priority -301;
        ip ttl != 64 drop
        ip6 hoplimit != 64 drop
        counter name arrived
        notrack
    }
    chain sent { type filter hook output priority 100; counter name passed; meta mark != 0 counter name marked; }
    chain received {
        type filter hook input priority 100
        counter name passed
        meta mark != 0 counter name marked
        drop
    }
}";

/// Sockets that send packets as they are, IPv4 and IPv6.
pub(crate) type Sockets = [OwnedFd; 2];

/// A router with pods on cali0 and cali1, and the world on eth0 and eth1.
pub(crate) struct Crossroads {
    wire: Wire,
    pod: Sockets,
    outside: Sockets,
    /// Of the router: to the pod, and to the world.
    host: [Sockets; 2],
}

impl Crossroads {
    pub(crate) fn new() -> Self {
        let wire = Wire::new();
        let [sender, receiver] = wire.pods();
        let [from, to] = [sender, receiver].map(|pod| pod.thread().to_owned());
        wire.in_router(|| {
            ip("link set lo up");
            ip(&format!("link add eth0 address ee:ee:ee:ee:ee:ee type veth peer name out0 netns {from}"));
            ip(&format!("link add eth1 type veth peer name far0 netns {to}"));
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/rp_filter", "0").expect("a setting");
            ip("link set eth0 up");
            // Nobody answers on the way out.
            ip("link set eth1 arp off up");
            for family in ["-4", "-6"] {
                ip(&format!("{family} route add default dev eth1 metric 4000"));
                ip(&format!("{family} route add default dev eth1 table 101"));
                ip(&format!("{family} route add local default dev lo table 100"));
                for interface in ["cali0", "eth0"] {
                    ip(&format!("{family} rule add iif {interface} tos 0x10 lookup 100"));
                    ip(&format!("{family} rule add iif {interface} tos 0x08 lookup 101"));
                }
            }
            super::nft(&["-f", "-"], PROBE).expect("nft loads the probe");
        });
        sender.run(|| {
            ip("link set out0 up");
            for (family, gateway) in [("-4", "169.254.1.1"), ("-6", "fe80::1")] {
                ip(&format!("{family} neigh add {gateway} lladdr ee:ee:ee:ee:ee:ee dev out0 nud permanent"));
                ip(&format!("{family} route add default via {gateway} dev out0 onlink metric 4000"));
            }
        });
        receiver.run(|| ip("link set far0 up"));
        let [pod, outside] = ["eth0", "out0"].map(|device| sender.run(|| sockets(device)));
        let host = ["cali1", "eth1"].map(|device| wire.in_router(|| sockets(device)));
        Self { wire, pod, outside, host }
    }

    /// Runs work in the router's namespace.
    pub(crate) fn in_router<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.wire.in_router(work)
    }

    /// Sends a packet on its way; whether it came to the end of it.
    pub(crate) fn passes(&self, packet: &Packet, shape: Shape, road: Road) -> bool {
        let sockets = match (road.from, road.to) {
            (Place::Pod, _) => &self.pod,
            (Place::Outside, _) => &self.outside,
            (Place::Host, Place::Pod | Place::Host) => &self.host[0],
            (Place::Host, Place::Outside) => &self.host[1],
        };
        let mut bytes = bytes(packet, shape);
        let class = road.class();
        match packet.dst() {
            IpAddr::V4(_) => bytes[1] = class,
            IpAddr::V6(_) => {
                bytes[0] |= class >> 4;
                bytes[1] |= class << 4;
            }
        }
        self.wire.came_through(packet, || send(sockets, packet.dst(), &bytes))
    }
}

/// What the kernel refuses where it is made is told to its maker.
pub(crate) fn send([v4, v6]: &Sockets, to: IpAddr, bytes: &[u8]) {
    let none = MsgFlags::empty();
    let sent = match to {
        IpAddr::V4(dst) => sendto(v4.as_raw_fd(), bytes, &SockaddrIn::from(SocketAddrV4::new(dst, 0)), none),
        IpAddr::V6(dst) => sendto(v6.as_raw_fd(), bytes, &SockaddrIn6::from(SocketAddrV6::new(dst, 0, 0, 0)), none),
    };
    match sent {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => panic!("a packet to {to} cannot be sent: {error}"),
    }
}

/// Sockets that send by a device of this namespace.
pub(crate) fn sockets(device: &str) -> Sockets {
    [AddressFamily::Inet, AddressFamily::Inet6].map(|family| {
        let socket = socket(family, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).expect("a raw socket");
        setsockopt(&socket, BindToDevice, &device.into()).expect("the device is there");
        socket
    })
}
