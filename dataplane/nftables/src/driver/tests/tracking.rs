//! What connection tracking makes of packets that may begin a connection, and
//! what the evaluator says of them.

use caracal_net::{Family, Protocol};
use caracal_program::{FirstPacket, Packet, Transport};
use caracal_sys::netns::NetNs;

use super::*;
use crate::testing::crossroads::{Sockets, send, sockets};
use crate::testing::wire::{Shape, bytes};

/// Counts what this host makes by its state, and lets none of it become a connection.
const STATES: &str = "
table inet states {
    counter new { }
    counter invalid { }
    counter untracked { }
    chain output {
        type filter hook output priority 0; policy drop;
        ct state new counter name new
        ct state invalid counter name invalid
        ct state untracked counter name untracked
    }
}";

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const FIN: u8 = 0x01;

/// A namespace whose connections are tracked and never begin.
struct Tracker {
    namespace: NetNs,
    lo: Sockets,
    socket: NftSocket,
    table: TableId,
}

impl Tracker {
    fn new() -> Self {
        let namespace = NetNs::new().expect("a network namespace; needs root");
        let inside = namespace.run(|| {
            let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.expect("ip is installed").success());
            nft(&["-f", "-"], STATES).expect("nft loads the counters");
            (sockets("lo"), NftSocket::open().expect("a socket"))
        });
        let (lo, socket) = inside.expect("the namespace");
        let table = TableId::inet(Name::new("states").expect("a name"));
        Self { namespace, lo, socket, table }
    }

    /// Whether segments that begin nothing may be those of a connection that is older than the tracking.
    fn set_loose(&self, value: &str) {
        let set = || std::fs::write("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", value);
        self.namespace.run(set).expect("the namespace").expect("a setting of the namespace");
    }

    /// What connection tracking takes a packet for.
    fn state(&mut self, packet: &Packet, bytes: &[u8]) -> FirstPacket {
        let before = self.counts();
        send(&self.lo, packet.dst(), bytes);
        let after = self.counts();
        let moved: Vec<FirstPacket> = after
            .into_iter()
            .zip(before)
            .filter(|((_, after), (_, before))| after > before)
            .map(|((state, _), _)| state)
            .collect();
        assert_eq!(moved.len(), 1, "{packet:?} has one state: {moved:?}");
        moved[0]
    }

    fn counts(&mut self) -> [(FirstPacket, u64); 3] {
        let counters = self.socket.counters(&self.table).expect("the counters");
        let count = |name: &str| counters.iter().find(|counter| &*counter.name == name).map_or(0, |held| held.packets);
        [
            (FirstPacket::New, count("new")),
            (FirstPacket::Invalid, count("invalid")),
            (FirstPacket::Untracked, count("untracked")),
        ]
    }
}

fn to_itself(family: Family, protocol: Protocol, transport: Transport) -> Packet {
    let addr = match family {
        Family::V4 => "127.0.0.1",
        Family::V6 => "::1",
    };
    let addr = addr.parse().expect("an address");
    Packet::new(addr, addr, protocol, transport).expect("one family")
}

/// Where the IP header ends.
const fn head(family: Family) -> usize {
    match family {
        Family::V4 => 20,
        Family::V6 => 40,
    }
}

/// A segment with these flags.
fn segment(family: Family, flags: u8) -> (Packet, Vec<u8>) {
    let packet = to_itself(family, Protocol::TCP, Transport::Ports { src: 40000, dst: 80 });
    let mut bytes = bytes(&packet, Shape::Plain);
    // Five words of header (RFC 9293, 3.1).
    bytes[head(family) + 12] = 5 << 4;
    bytes[head(family) + 13] = flags;
    (packet, bytes)
}

/// A message of ICMP that bears the beginning of a packet of no connection.
fn message(family: Family, protocol: Protocol, icmp_type: u8) -> (Packet, Vec<u8>) {
    let packet = to_itself(family, protocol, Transport::Icmp { icmp_type, code: 0 });
    let mut message = bytes(&packet, Shape::Plain);
    message.truncate(head(family) + 8);
    let about = to_itself(family, Protocol::UDP, Transport::Ports { src: 4000, dst: 5000 });
    message.extend(bytes(&about, Shape::Plain));
    let whole = message.len();
    let length = |bytes: usize| u16::try_from(bytes).expect("a short packet").to_be_bytes();
    match family {
        Family::V4 => message[2..4].copy_from_slice(&length(whole)),
        Family::V6 => message[4..6].copy_from_slice(&length(whole - head(family))),
    }
    (packet, message)
}

/// The evaluator speaks of segments that bear SYN alone; of others it depends on
/// the flags, and on `nf_conntrack_tcp_loose`.
#[test]
fn a_segment_begins_a_connection_by_its_flags() {
    let mut tracker = Tracker::new();
    for (flags, loose, strict) in [
        (SYN, FirstPacket::New, FirstPacket::New),
        (ACK, FirstPacket::New, FirstPacket::Invalid),
        (RST, FirstPacket::Invalid, FirstPacket::Invalid),
        (RST | ACK, FirstPacket::Invalid, FirstPacket::Invalid),
        (SYN | ACK, FirstPacket::Invalid, FirstPacket::Invalid),
        (FIN, FirstPacket::Invalid, FirstPacket::Invalid),
        (SYN | FIN, FirstPacket::Invalid, FirstPacket::Invalid),
        (0, FirstPacket::Invalid, FirstPacket::Invalid),
    ] {
        for (value, wanted) in [("1", loose), ("0", strict)] {
            tracker.set_loose(value);
            for family in [Family::V4, Family::V6] {
                let (packet, bytes) = segment(family, flags);
                assert_eq!(tracker.state(&packet, &bytes), wanted, "{family} flags {flags:#x}, loose {value}");
                if flags == SYN {
                    assert_eq!(FirstPacket::of(&packet), wanted);
                }
            }
        }
    }
}

/// Requests begin something; answers without a request and errors about nothing
/// that is known do not.
#[test]
fn every_message_of_icmp_is_taken_for_what_the_evaluator_says() {
    let mut tracker = Tracker::new();
    let mut seen = Vec::new();
    for family in [Family::V4, Family::V6] {
        for protocol in [Protocol::ICMP, Protocol::ICMPV6] {
            for icmp_type in 0..=u8::MAX {
                let (packet, bytes) = message(family, protocol, icmp_type);
                let state = tracker.state(&packet, &bytes);
                // What elder kernels do not know.
                if !(protocol == Protocol::ICMPV6 && (151..=153).contains(&icmp_type) && state == FirstPacket::Invalid)
                {
                    assert_eq!(FirstPacket::of(&packet), state, "{family} {protocol:?} {icmp_type}");
                }
                seen.push(state);
            }
        }
    }
    for state in [FirstPacket::New, FirstPacket::Invalid, FirstPacket::Untracked] {
        assert!(seen.contains(&state), "{state:?}");
    }
}

#[test]
fn what_has_no_flags_and_no_type_begins_a_connection() {
    let mut tracker = Tracker::new();
    for family in [Family::V4, Family::V6] {
        let ports = Transport::Ports { src: 40000, dst: 53 };
        let packets = [to_itself(family, Protocol::UDP, ports), to_itself(family, Protocol::IPIP, Transport::Opaque)];
        for packet in packets {
            let mut bytes = bytes(&packet, Shape::Plain);
            if packet.protocol() == Protocol::UDP {
                // The length of the datagram (RFC 768).
                bytes[head(family) + 4..head(family) + 6].copy_from_slice(&20_u16.to_be_bytes());
            }
            assert_eq!(
                (tracker.state(&packet, &bytes), FirstPacket::of(&packet)),
                (FirstPacket::New, FirstPacket::New)
            );
        }
    }
}
