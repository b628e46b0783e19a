//! Real packets through the forward hook of a namespace.

use std::net::IpAddr;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;

use caracal_net::Family;
use caracal_program::{Packet, Transport};
use caracal_sys::netns::NetNs;
use caracal_sys::nft::{Name, NftSocket, TableId};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, socket,
};
use nix::unistd::gettid;

/// A pod's namespace, kept open by a thread that waits in it.
struct Pod {
    namespace: NetNs,
    leave: Option<mpsc::Sender<()>>,
    waiting: Option<JoinHandle<std::io::Result<()>>>,
}

/// Two pods, on cali0 and cali1 of a router. Whatever the first sends is routed
/// to the second, whatever the addresses; connections are not tracked.
pub(crate) struct Wire {
    router: NetNs,
    pods: [Pod; 2],
}

/// Counts what comes through the forward hook after the base chains of the
/// driver: with and without bits in the mark.
const PROBE: &str = "
table inet probe {
    counter passed { }
    counter marked { }
    chain untracked { type filter hook prerouting priority raw; notrack; }
    chain after { type filter hook forward priority 100; counter name passed; meta mark != 0 counter name marked; }
}";

impl Pod {
    fn new() -> (Self, String) {
        let namespace = NetNs::new().expect("a network namespace; needs root");
        let (leave, stay) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let waiting = namespace.spawn("pod", move || {
            tell.send(gettid()).expect("the thread that waits for it");
            let _ = stay.recv();
        });
        let thread = told.recv().expect("the thread inside the namespace").to_string();
        let pod = Self { namespace, leave: Some(leave), waiting: Some(waiting.expect("a thread")) };
        (pod, thread)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(self.leave.take());
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.join();
        }
    }
}

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split_whitespace()).status().expect("ip is installed");
    assert!(status.success(), "ip {args}");
}

impl Wire {
    pub(crate) fn new() -> Self {
        let router = NetNs::new().expect("a network namespace; needs root");
        let pods = [0, 1].map(|n| {
            let (pod, thread) = Pod::new();
            let namespace = pod.namespace.clone();
            router
                .run(|| {
                    ip(&format!("link add cali{n} address ee:ee:ee:ee:ee:ee type veth peer name eth0 netns {thread}"))
                })
                .expect("the router");
            namespace
                .run(|| {
                    ip("link set lo up");
                    ip("link set eth0 up");
                    for (family, gateway) in [("-4", "169.254.1.1"), ("-6", "fe80::1")] {
                        ip(&format!("{family} neigh add {gateway} lladdr ee:ee:ee:ee:ee:ee dev eth0 nud permanent"));
                        ip(&format!("{family} route add default via {gateway} dev eth0 onlink"));
                    }
                })
                .expect("the pod");
            pod
        });
        router
            .run(|| {
                for setting in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
                    std::fs::write(format!("/proc/sys/{setting}"), "1").expect("a setting of the namespace");
                }
                for name in ["all", "default", "cali0"] {
                    std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "0").expect("a setting");
                }
                ip("link set cali0 up");
                // Nobody answers on the way out.
                ip("link set cali1 arp off up");
                ip("-4 route add default dev cali1");
                ip("-6 route add default dev cali1");
                super::nft(&["-f", "-"], PROBE).expect("nft loads the probe");
            })
            .expect("the router");
        Self { router, pods }
    }

    /// Runs work in the router's namespace.
    pub(crate) fn in_router<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.router.run(work).expect("the router")
    }

    /// Sends a packet from the first pod. When this returns, the router has judged it.
    pub(crate) fn sends(&self, packet: &Packet) {
        self.pods[0].namespace.run(|| send(packet)).expect("the pod");
    }

    /// Sends a packet from the first pod; whether it came through the router.
    pub(crate) fn passes(&self, packet: &Packet) -> bool {
        let before = self.counts();
        self.sends(packet);
        let after = self.counts();
        assert_eq!(before.1, after.1, "a bit was left in the mark of {packet:?}");
        after.0 > before.0
    }

    fn counts(&self) -> (u64, u64) {
        self.in_router(|| {
            let table = TableId::inet(Name::new("probe").expect("a name"));
            let mut socket = NftSocket::open().expect("a socket");
            let counters = socket.counters(&table).expect("the probe's counters");
            let packets = |name: &str| counters.iter().find(|c| &*c.name == name).map_or(0, |c| c.packets);
            (packets("passed"), packets("marked"))
        })
    }
}

/// Sends a packet as it is. The loop of two interfaces is synchronous: when this
/// returns, the router has judged it.
fn send(packet: &Packet) {
    let body = body(packet);
    let flags = SockFlag::empty();
    match (packet.src(), packet.dst()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let length = u16::try_from(20 + body.len()).expect("a short packet");
            let mut bytes = vec![0x45, 0];
            bytes.extend(length.to_be_bytes());
            // The kernel fills in the identification and the checksum.
            bytes.extend([0, 0, 0, 0, 64, packet.protocol().number(), 0, 0]);
            bytes.extend(src.octets());
            bytes.extend(dst.octets());
            bytes.extend(body);
            let raw = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Raw).expect("a raw socket");
            let to = SockaddrIn::from(std::net::SocketAddrV4::new(dst, 0));
            sendto(std::os::fd::AsRawFd::as_raw_fd(&raw), &bytes, &to, MsgFlags::empty()).expect("the packet is sent");
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let length = u16::try_from(body.len()).expect("a short packet");
            let mut bytes = vec![0x60, 0, 0, 0];
            bytes.extend(length.to_be_bytes());
            bytes.extend([packet.protocol().number(), 64]);
            bytes.extend(src.octets());
            bytes.extend(dst.octets());
            bytes.extend(body);
            let raw = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::Raw).expect("a raw socket");
            let to = SockaddrIn6::from(std::net::SocketAddrV6::new(dst, 0, 0, 0));
            sendto(std::os::fd::AsRawFd::as_raw_fd(&raw), &bytes, &to, MsgFlags::empty()).expect("the packet is sent");
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            unreachable!("a packet of {} and {}", Family::V4, Family::V6)
        }
    }
}

/// What follows the IP header, as far as rules look at it.
fn body(packet: &Packet) -> Vec<u8> {
    let mut body = match packet.transport() {
        Transport::Ports { src, dst } => [src.to_be_bytes(), dst.to_be_bytes()].concat(),
        Transport::Icmp { icmp_type, code } => vec![icmp_type, code, 0, 0],
        Transport::Opaque => Vec::new(),
    };
    body.resize(20, 0);
    body
}
