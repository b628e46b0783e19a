use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use caracal_sys::conntrack::ConntrackSocket;

use super::*;

/// A namespace that tracks connections between addresses of its own.
pub(super) fn tracking(work: impl FnOnce() + Send) {
    in_namespace(|| {
        run("ip link set lo up");
        for last in 1..=5 {
            run(&format!("ip addr add 10.0.0.{last}/32 dev lo"));
            run(&format!("ip -6 addr add fd00::{last}/128 dev lo nodad"));
        }
        run("nft add table inet t");
        run("nft add chain inet t input { type filter hook input priority 0; }");
        run("nft add rule inet t input ct state new accept");
        work();
    });
}

pub(super) fn addr(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Sends one datagram to port 53.
pub(super) fn flow(from: &str, to: &str) {
    let socket = UdpSocket::bind(SocketAddr::new(addr(from), 0)).expect("an address of this host");
    socket.send_to(b"x", SocketAddr::new(addr(to), 53)).expect("sent");
}

/// The original source and destination of each tracked connection.
fn tracked() -> BTreeSet<(String, String)> {
    let listed = run("conntrack -L -f ipv4") + &run("conntrack -L -f ipv6");
    let value = |line: &str, key: &str| {
        line.split_whitespace().find_map(|word| word.strip_prefix(key)).expect("a tuple").to_owned()
    };
    listed.lines().map(|line| (value(line, "src="), value(line, "dst="))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
}

fn forget(addrs: &[&str]) -> usize {
    let addrs: Vec<IpAddr> = addrs.iter().map(|text| addr(text)).collect();
    ConntrackSocket::open().expect("sockets").forget(&addrs).expect("the table can be read")
}

#[test]
fn connections_from_and_to_an_address_are_forgotten_and_others_stay() {
    tracking(|| {
        flow("10.0.0.1", "10.0.0.2");
        flow("10.0.0.2", "10.0.0.3");
        flow("10.0.0.3", "10.0.0.1");
        flow("fd00::1", "fd00::2");
        flow("fd00::3", "fd00::4");
        assert_eq!(tracked().len(), 5);
        assert_eq!(forget(&["10.0.0.1"]), 2);
        assert_eq!(tracked(), pairs(&[("10.0.0.2", "10.0.0.3"), ("fd00::1", "fd00::2"), ("fd00::3", "fd00::4")]));
        assert_eq!(forget(&["10.0.0.2", "fd00::2"]), 2, "both families in one pass");
        assert_eq!(tracked(), pairs(&[("fd00::3", "fd00::4")]));
        assert_eq!(forget(&["10.0.0.5", "fd00::5"]), 0);
        assert_eq!(forget(&[]), 0);
        assert_eq!(tracked(), pairs(&[("fd00::3", "fd00::4")]));
    });
}

#[test]
fn the_one_who_answers_behind_a_translation_is_an_end() {
    tracking(|| {
        run("nft add chain inet t translate { type nat hook output priority -100; }");
        run("nft add rule inet t translate ip daddr 10.0.0.9 dnat ip to 10.0.0.2");
        run("ip route add 10.0.0.9/32 dev lo");
        flow("10.0.0.1", "10.0.0.9");
        flow("10.0.0.3", "10.0.0.4");
        assert_eq!(tracked(), pairs(&[("10.0.0.1", "10.0.0.9"), ("10.0.0.3", "10.0.0.4")]));
        assert_eq!(forget(&["10.0.0.2"]), 1);
        assert_eq!(tracked(), pairs(&[("10.0.0.3", "10.0.0.4")]));
    });
}

#[test]
fn connections_in_a_zone_are_forgotten() {
    tracking(|| {
        run("nft add chain inet t zones { type filter hook output priority -300; }");
        run("nft add rule inet t zones ip saddr 10.0.0.1 ct zone set 7");
        flow("10.0.0.1", "10.0.0.2");
        flow("10.0.0.3", "10.0.0.4");
        assert_eq!(forget(&["10.0.0.2"]), 1);
        assert_eq!(tracked(), pairs(&[("10.0.0.3", "10.0.0.4")]));
    });
}

#[test]
fn a_long_table_is_read_to_its_end() {
    tracking(|| {
        const FLOWS: usize = 4_000;
        for n in 0..FLOWS {
            flow("10.0.0.1", "10.0.0.2");
            if n % 100 == 0 {
                flow("10.0.0.3", "10.0.0.4");
            }
        }
        // The kernel may use a source port twice.
        let of = |from: &str| run(&format!("conntrack -L -f ipv4 -s {from}")).lines().count();
        let before = of("10.0.0.1");
        assert!(before > FLOWS / 2, "{before}");
        let kept = of("10.0.0.3");
        assert_eq!(forget(&["10.0.0.2"]), before);
        assert_eq!((of("10.0.0.1"), of("10.0.0.3")), (0, kept));
    });
}
