//! Real packets through the forward hook of a namespace.

use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use caracal_net::{Family, Protocol};
use caracal_program::{Packet, Transport};
use caracal_sys::netns::NetNs;
use caracal_sys::nft::{Name, NftSocket, TableId};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, socket,
};
use nix::unistd::gettid;

/// A pod's namespace, kept open by a thread that waits in it.
pub(super) struct Pod {
    namespace: NetNs,
    thread: String,
    leave: Option<mpsc::Sender<()>>,
    waiting: Option<JoinHandle<std::io::Result<()>>>,
}

/// Two pods, on cali0 and cali1 of a router. Whatever the first sends is routed
/// to the second, whatever the addresses; connections are not tracked.
pub(crate) struct Wire {
    router: NetNs,
    /// Sockets of the first pod that send packets as they are, IPv4 and IPv6.
    out: [OwnedFd; 2],
    /// Reads the router's counters.
    probe: Mutex<Reader>,
    pods: [Pod; 2],
}

/// How a packet is written down, as far as policy must not care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The shortest header.
    Plain,
    /// IPv4 with options, IPv6 with a header of destination options.
    Options,
}

/// What was counted of packets so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    arrived: u64,
    passed: u64,
    marked: u64,
}

/// Reads what was counted.
struct Reader {
    socket: NftSocket,
    table: TableId,
    last: Seen,
}

/// Packets of tests have this hop limit and no others do: what the kernel says
/// of itself has 1 or 255.
const HOPS: u8 = 64;

/// Counts what arrives, and what comes through the forward hook after the base
/// chains of the driver: with and without bits in the mark.
const PROBE: &str = "
table inet probe {
    counter arrived { }
    counter passed { }
    counter marked { }
    chain untracked {
        type filter hook prerouting priority -301;
        ip ttl != 64 drop
        ip6 hoplimit != 64 drop
        counter name arrived
        notrack
    }
    chain after { type filter hook forward priority 100; counter name passed; meta mark != 0 counter name marked; }
}";

impl Pod {
    fn new() -> Self {
        let namespace = NetNs::new().expect("a network namespace; needs root");
        let (leave, stay) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let waiting = namespace.spawn("pod", move || {
            tell.send(gettid()).expect("the thread that waits for it");
            let _ = stay.recv();
        });
        let thread = told.recv().expect("the thread inside the namespace").to_string();
        Self { namespace, thread, leave: Some(leave), waiting: Some(waiting.expect("a thread")) }
    }

    /// Runs work in the pod.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(work).expect("the pod")
    }

    /// The thread that waits in it.
    pub(super) fn thread(&self) -> &str {
        &self.thread
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

pub(super) fn ip(args: &str) {
    let status = Command::new("ip").args(args.split_whitespace()).status().expect("ip is installed");
    assert!(status.success(), "ip {args}");
}

impl Wire {
    pub(crate) fn new() -> Self {
        let router = NetNs::new().expect("a network namespace; needs root");
        let pods = [0, 1].map(|n| {
            let pod = Pod::new();
            let (namespace, thread) = (pod.namespace.clone(), &pod.thread);
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
        let out = pods[0].namespace.run(|| [AddressFamily::Inet, AddressFamily::Inet6].map(raw)).expect("the pod");
        let socket = router.run(|| NftSocket::open().expect("a socket")).expect("the router");
        let table = TableId::inet(Name::new("probe").expect("a name"));
        let probe = Mutex::new(Reader { socket, table, last: Seen { arrived: 0, passed: 0, marked: 0 } });
        Self { router, out, probe, pods }
    }

    /// The pods: the one that sends, and the one that is sent to.
    pub(super) fn pods(&self) -> [&Pod; 2] {
        self.pods.each_ref()
    }

    /// Runs work in the router's namespace.
    pub(crate) fn in_router<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.router.run(work).expect("the router")
    }

    /// Lets connection tracking see packets from now on.
    pub(crate) fn track(&self) {
        let rules = PROBE.lines().filter(|line| line.trim() != "notrack").collect::<Vec<_>>().join("\n");
        // The counters are there already, and go on.
        let untracked = "flush chain inet probe untracked\nflush chain inet probe after\n";
        self.in_router(|| super::nft(&["-f", "-"], &format!("{untracked}{rules}"))).expect("nft takes the rules");
    }

    /// Sends a packet from the first pod. When this returns, the router has judged it.
    pub(crate) fn sends(&self, packet: &Packet) {
        self.passes(packet);
    }

    /// Sends a packet from the first pod; whether it came through the router.
    pub(crate) fn passes(&self, packet: &Packet) -> bool {
        self.passes_as(packet, Shape::Plain)
    }

    /// As [`Wire::passes`], with the header written in some way.
    pub(crate) fn passes_as(&self, packet: &Packet, shape: Shape) -> bool {
        self.came_through(packet, || self.send(packet, shape))
    }

    /// Whether a packet that is sent so came through the router.
    pub(super) fn came_through(&self, packet: &Packet, send: impl FnOnce()) -> bool {
        send();
        let mut probe = self.probe.lock().expect("no test has failed");
        let before = probe.last;
        let after = probe.once_arrived(before.arrived + 1);
        assert_eq!(before.marked, after.marked, "a bit was left in the mark of {packet:?}");
        after.passed > before.passed
    }

    /// Sends a packet over and over, as long as `more` says so of the number
    /// sent; how often it came through the router.
    pub(crate) fn blast(&self, packet: &Packet, mut more: impl FnMut(u64) -> bool) -> u64 {
        let mut probe = self.probe.lock().expect("no test has failed");
        let before = probe.last;
        let bytes = bytes(packet, Shape::Plain);
        let mut sent = 0;
        while more(sent) {
            self.send_bytes(packet.dst(), &bytes);
            sent += 1;
        }
        probe.once_arrived(before.arrived + sent).passed - before.passed
    }

    fn send(&self, packet: &Packet, shape: Shape) {
        self.send_bytes(packet.dst(), &bytes(packet, shape));
    }

    fn send_bytes(&self, to: IpAddr, bytes: &[u8]) {
        let none = MsgFlags::empty();
        let [v4, v6] = self.out.each_ref().map(AsRawFd::as_raw_fd);
        let sent = match to {
            IpAddr::V4(dst) => sendto(v4, bytes, &SockaddrIn::from(SocketAddrV4::new(dst, 0)), none),
            IpAddr::V6(dst) => sendto(v6, bytes, &SockaddrIn6::from(SocketAddrV6::new(dst, 0, 0, 0)), none),
        };
        sent.expect("the packet is sent");
    }
}

impl Reader {
    /// What was seen once so many packets have arrived. Sending mostly returns
    /// when the router has judged the packet; an elder kernel may leave that to a
    /// thread of its own.
    fn once_arrived(&mut self, packets: u64) -> Seen {
        let start = Instant::now();
        self.read();
        while self.last.arrived < packets {
            assert!(start.elapsed() < Duration::from_secs(20), "the packet did not arrive");
            sleep(Duration::from_millis(2));
            self.read();
            // It may be on its way through the router when it is seen to have come.
            if self.last.arrived >= packets {
                sleep(Duration::from_millis(2));
                self.read();
            }
        }
        self.last
    }

    fn read(&mut self) {
        let counters = self.socket.counters(&self.table).expect("the probe's counters");
        let packets = |name: &str| counters.iter().find(|c| &*c.name == name).map_or(0, |c| c.packets);
        self.last = Seen { arrived: packets("arrived"), passed: packets("passed"), marked: packets("marked") };
    }
}

fn raw(family: AddressFamily) -> OwnedFd {
    socket(family, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).expect("a raw socket")
}

/// A packet from its IP header on.
pub(crate) fn bytes(packet: &Packet, shape: Shape) -> Vec<u8> {
    let body = body(packet);
    let protocol = packet.protocol().number();
    match (packet.src(), packet.dst()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            // Four times "no operation" (RFC 791, 3.1).
            let options: &[u8] = match shape {
                Shape::Plain => &[],
                Shape::Options => &[1; 4],
            };
            let head = 20 + options.len();
            let length = u16::try_from(head + body.len()).expect("a short packet");
            let words = u8::try_from(head / 4).expect("a short header");
            let mut bytes = vec![0x40 | words, 0];
            bytes.extend(length.to_be_bytes());
            // The kernel fills in the identification and the checksum.
            bytes.extend([0, 0, 0, 0, HOPS, protocol, 0, 0]);
            bytes.extend(src.octets());
            bytes.extend(dst.octets());
            bytes.extend(options);
            bytes.extend(body);
            bytes
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            // Destination options (RFC 8200, 4.6): nothing but four bytes of padding.
            let (next, options): (u8, &[u8]) = match shape {
                Shape::Plain => (protocol, &[]),
                Shape::Options => (60, &[protocol, 0, 1, 4, 0, 0, 0, 0]),
            };
            let length = u16::try_from(options.len() + body.len()).expect("a short packet");
            let mut bytes = vec![0x60, 0, 0, 0];
            bytes.extend(length.to_be_bytes());
            bytes.extend([next, HOPS]);
            bytes.extend(src.octets());
            bytes.extend(dst.octets());
            bytes.extend(options);
            bytes.extend(body);
            bytes
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
    if packet.protocol() == Protocol::UDP {
        // Connection tracking wants to know how long it is.
        body[4..6].copy_from_slice(&20_u16.to_be_bytes());
    }
    body
}
