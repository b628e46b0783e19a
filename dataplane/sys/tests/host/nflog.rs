use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use caracal_sys::nflog::{Key, Logged, NflogSocket};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connections::{addr, flow, tracking};
use super::*;

/// Adds rules that log datagrams to port 53 and count what they let through.
fn log(group: u16, prefix: &str) {
    run("nft add chain inet t logs { type filter hook input priority 1; }");
    let rules = format!("add rule inet t logs udp dport 53 log prefix \"{prefix}\" group {group} snaplen 80");
    let output = Command::new("nft").arg(rules).output().expect("nft is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What comes until `count` packets are there, or too much time has passed.
fn heard(socket: &mut NflogSocket, count: usize) -> Vec<Logged> {
    let (mut packets, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(5));
    while packets.len() < count && Instant::now() < deadline {
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(200u16)).expect("a socket");
        let received = socket.receive(|logged| packets.push(logged)).expect("a socket that works");
        assert_eq!((received.malformed, received.overruns), (0, 0));
    }
    packets
}

#[test]
fn packets_of_both_families_are_told_with_their_prefix() {
    tracking(|| {
        log(2, "APE0|np/shop/web");
        let mut socket = NflogSocket::open(2, 80, 1 << 20).expect("NFLOG; needs root");
        flow("10.0.0.1", "10.0.0.2");
        flow("fd00::1", "fd00::2");
        let packets = heard(&mut socket, 2);
        for (logged, [from, to]) in packets.iter().zip([["10.0.0.1", "10.0.0.2"], ["fd00::1", "fd00::2"]]) {
            assert_eq!(logged.prefix, "APE0|np/shop/web");
            assert_eq!((logged.tuple.source, logged.tuple.destination), (addr(from), addr(to)));
            assert_eq!(logged.tuple.protocol, 17);
            assert!(matches!(logged.tuple.key, Key::Ports { destination: 53, .. }), "{logged:?}");
            assert_eq!(logged.called, None, "nobody translated it");
        }
        assert_eq!(packets.len(), 2);
    });
}

#[test]
fn a_translated_connection_names_whom_it_called_if_the_kernel_can_tell() {
    tracking(|| {
        log(1, "API0|np/dns/dns");
        run("nft add chain inet t nat { type nat hook output priority -100; }");
        run("nft add rule inet t nat ip daddr 10.96.0.10 udp dport 530 dnat to 10.0.0.2:53");
        run("ip route add 10.96.0.0/16 dev lo");
        let mut socket = NflogSocket::open(1, 80, 1 << 20).expect("NFLOG; needs root");
        let client = UdpSocket::bind(SocketAddr::new(addr("10.0.0.1"), 0)).expect("an address of this host");
        client.send_to(b"x", SocketAddr::new(addr("10.96.0.10"), 530)).expect("sent");
        let packets = heard(&mut socket, 1);
        let called: Vec<_> = packets.iter().map(|logged| (logged.tuple.destination, logged.called)).collect();
        let known = socket.tells_of_connections().then(|| "10.96.0.10:530".parse().expect("an address and a port"));
        assert_eq!(called, [(addr("10.0.0.2"), known)]);
    });
}

#[test]
fn a_group_has_one_listener() {
    tracking(|| {
        let first = NflogSocket::open(7, 80, 1 << 16).expect("NFLOG; needs root");
        let error = NflogSocket::open(7, 80, 1 << 16).expect_err("somebody listens");
        assert_eq!(error.raw_os_error(), Some(nix::libc::EPERM));
        drop(first);
        NflogSocket::open(7, 80, 1 << 16).expect("nobody listens any more");
    });
}

#[test]
fn what_nobody_reads_is_lost_and_told_of() {
    tracking(|| {
        log(1, "DRI");
        let mut socket = NflogSocket::open(1, 80, 4096).expect("NFLOG; needs root");
        let client = UdpSocket::bind(SocketAddr::new(addr("10.0.0.1"), 0)).expect("an address of this host");
        for _ in 0..20_000 {
            client.send_to(b"x", SocketAddr::new(addr("10.0.0.2"), 53)).expect("sent");
        }
        let (mut packets, mut overruns, deadline) = (0, 0, Instant::now() + Duration::from_secs(5));
        while overruns == 0 && Instant::now() < deadline {
            overruns += socket.receive(|_| packets += 1).expect("the socket goes on").overruns;
        }
        assert!(overruns > 0 && packets < 20_000, "{overruns} overruns, {packets} packets");
    });
}
