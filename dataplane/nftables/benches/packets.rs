//! What a packet costs on its way from one pod to another: the first one of a
//! connection, which policy decides, and one of a connection that is established.
//!
//! The sender's call returns when the packet is through the node and at the other
//! pod, so the time of a call is the time of the whole way: `first_ns` and
//! `established_ns` with the table, for an endpoint with so many policies of which the
//! last one decides; `tracked_ns` for the first packet of a connection where
//! connections are tracked and nothing is judged; `floor_ns` where nobody looks at it.
//! `pps` is how many connections one sender begins in a second.
//!
//! Needs root. `cargo bench -p caracal-nftables --bench packets -- 100` runs one number of
//! policies only.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use caracal_nftables::{NftablesDriver, Settings};
use caracal_program::{Driver as _, PolicyStore, Sweep};
use caracal_proto::felix::{self, to_dataplane::Payload};
use caracal_sys::netns::NetNs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket};
use nix::unistd::gettid;

/// How many policies the endpoint has.
const POLICIES: [usize; 4] = [1, 10, 100, 1000];

/// Packets of a round, each of a connection of its own or all of one.
const PACKETS: u16 = 10_000;

/// Rounds; the median counts.
const ROUNDS: u16 = 5;

/// Members of the set that each policy names.
const MEMBERS: u32 = 10;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// The first source port of the first round.
const FIRST_PORT: u16 = 1024;

/// Connections are tracked as soon as a rule asks for their state.
const TRACKING: &str = "table inet tracking { chain x { type filter hook forward priority 0; ct state new accept; }; }";

fn main() {
    let wanted: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let floor = Way::new().established();
    let tracked = Way::new();
    tracked.nft(TRACKING);
    let tracked = tracked.first();
    for policies in POLICIES.into_iter().filter(|number| wanted.is_empty() || wanted.contains(number)) {
        let way = Way::new();
        let store = store(policies);
        let driver = way.node.run(|| {
            let mut driver = NftablesDriver::new(Settings::default()).expect("nf_tables");
            driver.resync(&store, Sweep::Remove).expect("the kernel takes the ruleset");
            driver
        });
        let driver = driver.expect("the node");
        let (first, established) = (way.first(), way.established());
        drop(driver);
        let line = serde_json::json!({
            "workload": "packets",
            "policies": policies,
            "first_ns": first.round(),
            "established_ns": established.round(),
            "pps": (1e9 / first).round(),
            "tracked_ns": tracked.round(),
            "floor_ns": floor.round(),
        });
        writeln!(io::stdout(), "{line}").expect("standard output is open");
    }
}

/// The client may send what it likes; what comes to the server is judged by policies
/// that each let a few addresses come to one port. The last one lets the client come.
fn store(policies: usize) -> PolicyStore {
    let id = |n: usize| felix::PolicyId {
        name: format!("policy-{n}"),
        namespace: "default".to_owned(),
        kind: "NetworkPolicy".to_owned(),
    };
    let set = |n: usize| format!("s:{n}");
    let rule = |action: &str| felix::Rule { action: action.to_owned(), ..felix::Rule::default() };
    let mut payloads = Vec::new();
    for n in 0..policies {
        let others = (0..MEMBERS).map(|m| Ipv4Addr::from_bits(0x0a40_0000 + m).to_string() + "/32");
        let own = (n + 1 == policies).then(|| format!("{CLIENT}/32"));
        payloads.push(Payload::IpsetUpdate(felix::IpSetUpdate {
            id: set(n),
            members: others.chain(own).collect(),
            ..felix::IpSetUpdate::default()
        }));
        let allow = felix::Rule {
            protocol: Some(felix::Protocol {
                number_or_name: Some(felix::protocol::NumberOrName::Name("udp".to_owned())),
            }),
            src_ip_set_ids: vec![set(n)],
            dst_ports: vec![felix::PortRange { first: port(n, policies).into(), last: port(n, policies).into() }],
            ..rule("allow")
        };
        payloads.push(Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate {
            id: Some(id(n)),
            policy: Some(felix::Policy { inbound_rules: vec![allow], ..felix::Policy::default() }),
        }));
    }
    payloads.push(Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate {
        id: Some(felix::ProfileId { name: "open".to_owned() }),
        profile: Some(felix::Profile { inbound_rules: vec![rule("allow")], outbound_rules: vec![rule("allow")] }),
    }));
    let tier = felix::TierInfo {
        name: "default".to_owned(),
        default_action: "Deny".to_owned(),
        ingress_policies: (0..policies).map(id).collect(),
        ..felix::TierInfo::default()
    };
    for (n, addr, tiers) in [(0, CLIENT, vec![]), (1, SERVER, vec![tier])] {
        payloads.push(Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate {
            id: Some(felix::WorkloadEndpointId {
                orchestrator_id: "k8s".to_owned(),
                workload_id: format!("default/pod-{n}"),
                endpoint_id: "eth0".to_owned(),
            }),
            endpoint: Some(felix::WorkloadEndpoint {
                name: format!("cali{n}"),
                state: "active".to_owned(),
                ipv4_nets: vec![format!("{addr}/32")],
                profile_ids: vec!["open".to_owned()],
                tiers,
                ..felix::WorkloadEndpoint::default()
            }),
        }));
    }
    payloads.push(Payload::InSync(felix::InSync {}));
    let mut store = PolicyStore::new();
    for payload in payloads {
        let message = felix::ToDataplane { sequence_number: 0, payload: Some(payload) };
        store.apply(&message).expect("a message that can be understood");
    }
    store
}

/// The port of a policy's rule. Packets go to that of the last one.
fn port(policy: usize, policies: usize) -> u16 {
    SERVER_PORT + u16::try_from(policies - 1 - policy).expect("some thousand policies")
}

const SERVER_PORT: u16 = 4000;

/// A node between two pods, on its `cali0` and `cali1`.
struct Way {
    node: NetNs,
    _pods: [NetNs; 2],
    /// Sockets of the pods that send packets as they are.
    out: [OwnedFd; 2],
}

impl Way {
    fn new() -> Self {
        let [node, client, server] = std::array::from_fn(|_| NetNs::new().expect("a network namespace; needs root"));
        let pods = [client, server];
        for (n, pod) in pods.iter().enumerate() {
            let (tell, told) = mpsc::channel();
            let (leave, stay) = mpsc::channel::<()>();
            // `ip` names a namespace by a thread that is in it.
            let waiting = pod.spawn("pod", move || {
                tell.send(gettid()).expect("the thread that waits for it");
                let _ = stay.recv();
            });
            let thread = told.recv().expect("the thread inside the namespace");
            let link = format!("link add cali{n} address ee:ee:ee:ee:ee:ee type veth peer name eth0 netns {thread}");
            node.run(|| {
                ip(&link);
                ip(&format!("link set cali{n} up"));
            })
            .expect("the node");
            drop(leave);
            waiting.expect("a thread").join().expect("it only waits").expect("it entered the namespace");
            pod.run(|| {
                ip("link set lo up");
                ip("link set eth0 up");
                ip("neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0 nud permanent");
                ip("route add default via 169.254.1.1 dev eth0 onlink");
            })
            .expect("the pod");
        }
        node.run(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a setting of the namespace");
            std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").expect("a setting");
            for (n, addr) in [CLIENT, SERVER].iter().enumerate() {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/cali{n}/rp_filter"), "0").expect("a setting");
                ip(&format!("route add {addr} dev cali{n}"));
                // Nobody has the address: a packet ends where it arrives.
                ip(&format!("neigh add {addr} lladdr 02:00:00:00:00:01 dev cali{n} nud permanent"));
            }
        })
        .expect("the node");
        let raw = |pod: &NetNs| {
            let open = || socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw);
            pod.run(open).expect("the pod").expect("a raw socket")
        };
        let out = pods.each_ref().map(raw);
        Self { node, _pods: pods, out }
    }

    /// Has the node's nft load a text.
    fn nft(&self, text: &str) {
        let load = || {
            let mut nft =
                Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft is installed");
            nft.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("nft reads");
            assert!(nft.wait().expect("nft ends").success(), "nft takes {text}");
        };
        self.node.run(load).expect("the node");
    }

    /// The nanoseconds of a packet that begins a connection.
    fn first(&self) -> f64 {
        // Once for what the kernel finds out on the way.
        self.send(0, (CLIENT, FIRST_PORT - 1), (SERVER, SERVER_PORT));
        let rounds = (0..ROUNDS).map(|round| {
            let ports = FIRST_PORT + round * PACKETS..FIRST_PORT + (round + 1) * PACKETS;
            per_packet(|| ports.for_each(|port| self.send(0, (CLIENT, port), (SERVER, SERVER_PORT))))
        });
        median(rounds.collect())
    }

    /// The nanoseconds of a packet on a connection that has been answered.
    fn established(&self) -> f64 {
        let (client, server) = ((CLIENT, FIRST_PORT - 1), (SERVER, SERVER_PORT));
        self.send(0, client, server);
        self.send(1, server, client);
        let rounds = (0..ROUNDS).map(|_| per_packet(|| (0..PACKETS).for_each(|_| self.send(0, client, server))));
        median(rounds.collect())
    }

    /// Sends a datagram from a pod.
    fn send(&self, pod: usize, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) {
        let mut packet = [0; 36];
        // IPv4 without options, 64 hops, UDP; the kernel fills in length, identification and checksum.
        packet[0] = 0x45;
        packet[8] = 64;
        packet[9] = 17;
        packet[12..16].copy_from_slice(&from.0.octets());
        packet[16..20].copy_from_slice(&to.0.octets());
        packet[20..22].copy_from_slice(&from.1.to_be_bytes());
        packet[22..24].copy_from_slice(&to.1.to_be_bytes());
        // Of the datagram: its header and 8 bytes. Without a checksum nobody looks at it.
        packet[25] = 16;
        let to = SockaddrIn::from(SocketAddrV4::new(to.0, 0));
        sendto(self.out[pod].as_raw_fd(), &packet, &to, MsgFlags::empty()).expect("the packet is sent");
    }
}

fn per_packet(send: impl FnOnce()) -> f64 {
    let start = Instant::now();
    send();
    start.elapsed().as_secs_f64() * 1e9 / f64::from(PACKETS)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split_whitespace()).status().expect("ip is installed");
    assert!(status.success(), "ip {args}");
}
