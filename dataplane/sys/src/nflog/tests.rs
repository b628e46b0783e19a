use std::net::IpAddr;

use super::*;

fn addr(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A packet of the kernel: to group 2, with these attributes.
fn datagram(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    let open = writer.begin(Head { kind: PACKET, flags: 0, seq: 0 }, 2, 2);
    fill(&mut writer);
    writer.end(open).expect("short");
    writer.bytes().to_vec()
}

fn v4(protocol: u8, fragment: u16, transport: &[u8]) -> Vec<u8> {
    let [high, low] = fragment.to_be_bytes();
    let head = [0x46, 0, 0, 40, 0, 0, high, low, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0];
    [&head, transport].concat()
}

fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 20, next, 64];
    for last in [1, 2] {
        let mut address = [0; 16];
        address[0] = 0xfd;
        address[15] = last;
        packet.extend(address);
    }
    [&packet, rest].concat()
}

#[test]
fn ends_are_read_from_headers() {
    let ports = Key::Ports { source: 0x1234, destination: 80 };
    let tcp = [0x12, 0x34, 0, 80, 0, 0, 0, 1];
    let echo = Key::Icmp { icmp_type: 8, code: 0 };
    let hop_by_hop = [&[6, 0, 0, 0, 0, 0, 0, 0][..], &tcp].concat();
    let first = [&[17, 0, 0, 1, 0, 0, 0, 9][..], &tcp].concat();
    let later = [&[17, 0, 0, 9, 0, 0, 0, 9][..], &tcp].concat();
    let table = [
        ("TCP behind an option", v4(6, 0, &tcp), 6, ports),
        ("a fragment that is not the first", v4(17, 1, &tcp), 17, Key::Opaque),
        ("a snapshot that ends too early", v4(6, 0, &tcp[..3]), 6, Key::Opaque),
        ("a ping", v4(1, 0, &[8, 0, 0, 0]), 1, echo),
        ("SCTP", v4(132, 0, &tcp), 132, ports),
        ("a protocol without ports", v4(47, 0, &tcp), 47, Key::Opaque),
        ("TCP over IPv6", v6(6, &tcp), 6, ports),
        ("TCP behind hop-by-hop options", v6(0, &hop_by_hop), 6, ports),
        ("a first fragment", v6(44, &first), 17, ports),
        ("a later fragment", v6(44, &later), 17, Key::Opaque),
        ("a ping over IPv6", v6(58, &[128, 0]), 58, Key::Icmp { icmp_type: 128, code: 0 }),
        ("options that end too early", v6(0, &[6]), 0, Key::Opaque),
    ];
    for (what, packet, protocol, key) in table {
        let [source, destination] = match packet[0] >> 4 {
            4 => ["10.0.0.1", "10.0.0.2"].map(addr),
            _ => ["fd00::1", "fd00::2"].map(addr),
        };
        assert_eq!(Tuple::of_packet(&packet), Ok(Tuple { source, destination, protocol, key }), "{what}");
    }
    for bad in [&[][..], &[0x45; 19], &[0x60; 39], &[0x15; 60]] {
        Tuple::of_packet(bad).expect_err("not a packet");
    }
}

#[test]
fn a_message_says_what_a_rule_told_of() {
    let packet = v4(6, 0, &[0x12, 0x34, 0, 80]);
    let bytes = datagram(|w| {
        w.text(NFULA_PREFIX, "API0|np/shop/web");
        w.be32(2, 0xdead);
        w.attr(NFULA_PAYLOAD, &packet);
        w.nest(NFULA_CT, |w| {
            // `CTA_TUPLE_ORIG`: addresses, then protocol and ports.
            w.nest(1, |w| {
                w.nest(1, |w| {
                    w.attr(1, &[10, 0, 0, 1]);
                    w.attr(2, &[10, 96, 0, 1]);
                });
                w.nest(2, |w| {
                    w.attr(1, &[6]);
                    w.be16(2, 0x1234);
                    w.be16(3, 443);
                });
            });
        });
    });
    let mut told = Vec::new();
    assert_eq!(read(&bytes, &mut |logged| told.push(logged)), 0);
    let key = Key::Ports { source: 0x1234, destination: 80 };
    let logged = Logged {
        prefix: "API0|np/shop/web".into(),
        tuple: Tuple { source: addr("10.0.0.1"), destination: addr("10.0.0.2"), protocol: 6, key },
        called: Some("10.96.0.1:443".parse().expect("an address and a port")),
    };
    assert_eq!(told, [logged]);
}

#[test]
fn what_makes_no_sense_is_counted_and_loses_nothing_else() {
    let good = datagram(|w| w.attr(NFULA_PAYLOAD, &v4(6, 0, &[0, 1, 0, 2])));
    let headless = datagram(|w| w.text(NFULA_PREFIX, "DRI"));
    let short = datagram(|w| w.attr(NFULA_PAYLOAD, &[0x45]));
    let bytes = [&good[..], &headless, &short, &good, &[9; 20]].concat();
    let mut told = 0;
    assert_eq!(read(&bytes, &mut |_| told += 1), 3);
    assert_eq!(told, 2);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, packet: Vec<u8>) {
        let mut told = 0;
        let malformed = read(&datagram(|w| w.attr(NFULA_PAYLOAD, &packet)), &mut |_| told += 1);
        proptest::prop_assert_eq!(told + malformed, 1);
        read(&bytes, &mut |_| {});
    }
}
