//! Packets of a pod that means ill, which the kernel takes for harmless: errors about
//! connections of others, what goes to the node's loopback addresses, and what looks
//! like another pod's connection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use caracal_fv_tests::agent::Process;
use caracal_fv_tests::cluster::{Cluster, NODE_V4, NODE_V6, OUTSIDE_V4, OUTSIDE_V6};
use caracal_fv_tests::pod::{interface_name, pod};
use caracal_sys::netns::NetNs;
use socket2::{Domain, Protocol, Socket, Type};

const CONVERGENCE: Duration = Duration::from_secs(10);
const ARRIVAL: Duration = Duration::from_millis(300);
const FOE: &str = "default/foe";
const VICTIM: &str = "default/victim";

/// What the forged errors bear, to be told from others.
const TEXT: &[u8] = b"news of somebody else";

const TO_HOST: &str = "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\n\
    spec: {defaultEndpointToHostAction: Accept}\n";

const FOE_SENDS_NOTHING: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
    metadata: {name: foe, namespace: default}\nspec: {podSelector: {matchLabels: {name: foe}}, policyTypes: [Egress]}\n";

/// A link-local address that two pods take, each on its own link.
const TAKEN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);

/// The node's on the links of all pods.
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);

fn run(namespace: &NetNs, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let status = namespace.run(|| Command::new(program).args(arguments).status())??;
    anyhow::ensure!(status.success(), "{program} {arguments:?}");
    Ok(())
}

fn cluster(names: &[&str]) -> anyhow::Result<Cluster> {
    let mut cluster = Cluster::new()?;
    cluster.namespace("default", &[])?;
    cluster.write("felix.yaml", TO_HOST)?;
    for name in names {
        cluster.start_pod(pod(name, &[("name", name.trim_start_matches("default/"))]))?;
        cluster.make_ready(name)?;
    }
    Ok(cluster)
}

/// The ones' complement sum of RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("two foldings leave 16 bits")
}

/// "Port unreachable" about a datagram. The kernel writes the checksum of ICMPv6 itself.
fn unreachable(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let len = u16::try_from(8 + TEXT.len()).expect("a short text");
    let ports = [from.port(), to.port(), len, 0].into_iter().flat_map(u16::to_be_bytes);
    let datagram: Vec<u8> = ports.chain(TEXT.iter().copied()).collect();
    let (head, quoted) = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = (20 + len).to_be_bytes();
            let header = [0x45, 0, high, low, 0, 0, 0, 0, 64, 17, 0, 0];
            ([3, 3], [&header[..], &from.octets(), &to.octets()].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = len.to_be_bytes();
            ([1, 4], [&[0x60, 0, 0, 0, high, low, 17, 64][..], &from.octets(), &to.octets()].concat())
        }
        _ => panic!("one family"),
    };
    let mut message = [&head[..], &[0; 6], &quoted, &datagram].concat();
    if from.is_ipv4() {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// A socket that sends and sees ICMP messages as they are.
fn icmp(namespace: &NetNs, like: IpAddr) -> anyhow::Result<UdpSocket> {
    let (domain, protocol) = match like {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket: UdpSocket = namespace.run(|| Socket::new(domain, Type::RAW, Some(protocol)))??.into();
    socket.set_read_timeout(Some(ARRIVAL))?;
    Ok(socket)
}

/// Whether one of the errors arrives where such a socket is.
fn is_seen(socket: &UdpSocket) -> anyhow::Result<bool> {
    let deadline = Instant::now() + ARRIVAL;
    let mut buffer = [0; 512];
    while Instant::now() < deadline {
        match socket.recv(&mut buffer) {
            Ok(len) if buffer[..len].ends_with(TEXT) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Opens a connection of datagrams, answered once. Its ends.
fn talk(from: (&NetNs, IpAddr), to: (&NetNs, IpAddr)) -> anyhow::Result<[UdpSocket; 2]> {
    let bind = |(namespace, at): (&NetNs, IpAddr)| namespace.run(|| UdpSocket::bind((at, 0)))?.context("bind");
    let ends = [bind(from)?, bind(to)?];
    let deadline = Instant::now() + CONVERGENCE;
    ends.iter().try_for_each(|end| end.set_read_timeout(Some(ARRIVAL)))?;
    let mut buffer = [0; 8];
    loop {
        ends[0].send_to(b"?", ends[1].local_addr()?)?;
        if let Ok((_, who)) = ends[1].recv_from(&mut buffer) {
            ends[1].send_to(b"!", who)?;
            if ends[0].recv_from(&mut buffer).is_ok() {
                return Ok(ends);
            }
        }
        anyhow::ensure!(Instant::now() < deadline, "{} does not reach {}", from.1, to.1);
    }
}

#[test]
fn a_pod_tells_of_no_connection_but_its_own() -> anyhow::Result<()> {
    let cluster = cluster(&[FOE, VICTIM])?;
    let agent = Process::agent(&cluster)?;
    let node: [IpAddr; 2] = [NODE_V4.into(), NODE_V6.into()];
    let outside: [IpAddr; 2] = [OUTSIDE_V4.into(), OUTSIDE_V6.into()];
    for family in 0..2 {
        let place = |name: &str| match name {
            "node" => (&cluster.node, node[family]),
            "outside" => (&cluster.peers["outside"].namespace, outside[family]),
            pod => (&cluster.peers[pod].namespace, cluster.peers[pod].addrs[family]),
        };
        let foe = icmp(place(FOE).0, outside[family])?;
        for (opener, answerer, is_own) in [
            (FOE, "outside", true),
            ("outside", FOE, true),
            (VICTIM, FOE, true),
            ("node", FOE, true),
            (VICTIM, "outside", false),
            ("outside", VICTIM, false),
            ("node", "outside", false),
            ("node", VICTIM, false),
        ] {
            let ends = talk(place(opener), place(answerer))?;
            let [one, other] = [ends[0].local_addr()?, ends[1].local_addr()?];
            // An error goes to who sent what it is about.
            for (to, about) in [(opener, (one, other)), (answerer, (other, one))] {
                if to == FOE {
                    continue;
                }
                let (namespace, address) = place(to);
                let seen = icmp(namespace, address)?;
                foe.send_to(&unreachable(about.0, about.1), SocketAddr::from((address, 0)))?;
                assert_eq!(is_seen(&seen)?, is_own, "to {to}, about {} -> {}", about.0, about.1);
            }
        }
    }
    agent.stop()
}

#[test]
fn a_pod_reaches_no_loopback_address_of_its_node() -> anyhow::Result<()> {
    let cluster = cluster(&[FOE])?;
    let translated = "table ip somebody { chain prerouting { type nat hook prerouting priority dstnat; \
        ip daddr 169.254.169.254 udp dport 9000 dnat to 127.0.0.1; }; }";
    run(&cluster.node, "nft", &[translated])?;
    // The pod's own loopback does not have it any more, so that it goes to the gateway.
    let foe = &cluster.peers[FOE];
    run(&foe.namespace, "ip", &["addr", "del", "127.0.0.1/8", "dev", "lo"])?;
    run(&foe.namespace, "ip", &["route", "add", "127.0.0.0/8", "via", "169.254.1.1", "dev", "eth0"])?;
    let agent = Process::agent(&cluster)?;
    let reaches = |state: &str, asked: &str, listens: &str, arrives: bool| -> anyhow::Result<()> {
        let listener =
            cluster.node.run(|| UdpSocket::bind((listens.parse::<IpAddr>()?, 9000)).map_err(anyhow::Error::from))??;
        listener.set_read_timeout(Some(ARRIVAL))?;
        let sender = foe.namespace.run(|| UdpSocket::bind((foe.addrs[0], 0)))??;
        let deadline = Instant::now() + CONVERGENCE;
        loop {
            sender.send_to(TEXT, (asked.parse::<IpAddr>()?, 9000))?;
            if listener.recv(&mut [0; 64]).is_ok() == arrives {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "{state}: {asked} arrives: {}", !arrives);
        }
    };
    reaches("an address of the node", "192.0.2.1", "192.0.2.1", true)?;
    for loopback in ["127.0.0.1", "127.1.2.3"] {
        reaches("a loopback address", loopback, loopback, false)?;
    }
    reaches("translated by somebody", "169.254.169.254", "127.0.0.1", true)?;
    agent.stop()
}

#[test]
fn a_pod_continues_no_connection_of_anothers_link() -> anyhow::Result<()> {
    let cluster = cluster(&[FOE, VICTIM])?;
    cluster.write("policy.yaml", FOE_SENDS_NOTHING)?;
    for name in [FOE, VICTIM] {
        let address = format!("{TAKEN}/64");
        run(&cluster.peers[name].namespace, "ip", &["addr", "add", &address, "dev", "eth0", "nodad"])?;
    }
    let agent = Process::agent(&cluster)?;
    let on = |address, port, interface: &str| -> anyhow::Result<SocketAddr> {
        Ok(SocketAddrV6::new(address, port, 0, nix::net::if_::if_nametoindex(interface)?).into())
    };
    let open = |name: &str, port: u16| -> anyhow::Result<UdpSocket> {
        let socket = cluster.peers[name].namespace.run(|| anyhow::Ok(UdpSocket::bind(on(TAKEN, port, "eth0")?)?))??;
        socket.set_read_timeout(Some(ARRIVAL))?;
        Ok(socket)
    };
    let node = cluster.node.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 9000)))??;
    node.set_read_timeout(Some(ARRIVAL))?;
    let mut buffer = [0; 8];
    let mut arrives = |name: &str| -> anyhow::Result<bool> {
        let sender = open(name, 4000)?;
        let gateway = cluster.peers[name].namespace.run(|| on(GATEWAY, 9000, "eth0"))??;
        sender.send_to(b"?", gateway)?;
        let Ok((_, who)) = node.recv_from(&mut buffer) else { return Ok(false) };
        node.send_to(b"!", who)?;
        sender.recv(&mut buffer).with_context(|| format!("{name} gets no answer"))?;
        Ok(true)
    };
    let deadline = Instant::now() + CONVERGENCE;
    while arrives(FOE)? || !arrives(VICTIM)? {
        anyhow::ensure!(Instant::now() < deadline, "the pods reach the node otherwise than policy says");
    }
    for (name, wanted) in [(FOE, false), (VICTIM, true), (FOE, false), (VICTIM, true)] {
        assert_eq!(arrives(name)?, wanted, "{name}");
    }
    // What the node opens is answered, though the pod may send nothing of its own.
    let foe = open(FOE, 4001)?;
    let there = cluster.node.run(|| on(TAKEN, 4001, &interface_name("default", "foe")))??;
    node.send_to(b"?", there)?;
    let (_, who) = foe.recv_from(&mut buffer)?;
    foe.send_to(b"!", who)?;
    node.recv(&mut buffer).context("the node gets no answer")?;
    agent.stop()
}
