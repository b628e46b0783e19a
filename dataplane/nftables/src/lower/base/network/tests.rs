//! What the cluster's network looks like in the kernel, and what that does to
//! packets on paper.

use std::net::IpAddr;

use caracal_net::{Mark, PortRange, Protocol};
use caracal_program::{Packet, Transport};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use rustc_hash::FxHashMap;

use crate::garbage::Garbage;
use crate::ir::IfName;
use crate::model::Model;
use crate::names;
use crate::plan::plan;
use crate::render::render_text;
use crate::sets::Place;
use crate::settings::{InterfaceFilter, Ipv6, NatExclusions, NatOutgoing, ServiceLoops, Settings};
use crate::testing::sim::{Fate, Sim, Way};
use crate::testing::{World, in_namespace, nft};

fn network() -> World {
    let mut world = World::default();
    world
        .pool("10.244.0.0/16", "nat ipip")
        .pool("10.245.0.0/16", "")
        .pool("fd44::/48", "nat vxlan")
        .node("a", "192.0.2.1/24", "2001:db8::1")
        .node("b", "192.0.2.2/24", "")
        .services(&["10.96.0.0/12", "fd96::/112"])
        .endpoint_at("ns/0", "cali0", &["10.244.0.1", "fd44::1"], &[])
        .endpoint_at("ns/1", "cali1", &["10.244.0.2"], &["10.9.0.0/16", "10.9.1.0/24", "fd00::/8"]);
    world
}

/// The objects of a ruleset that follow from the network, and those that check sources.
fn objects(world: &World, settings: &Settings) -> String {
    let text = render_text(&world.store, settings);
    in_namespace(|| nft(&["-c", "-f", "-"], &text)).expect("nft takes the text");
    let names = [
        "nat-",
        "service-prefixes",
        "tunnel-hosts",
        "workload-",
        "forward-service-loops",
        "input-tunnels",
        "prerouting-",
    ];
    let begins = |object: &&str| {
        let name = object.trim_start_matches("table inet caracal {\n").split_whitespace().nth(1).unwrap_or_default();
        names.iter().any(|wanted| name.starts_with(wanted))
    };
    text.split("\n\n")
        .filter(begins)
        .map(|object| format!("{}\n", object.trim_end_matches(['}', '\n', '\t'])))
        .collect()
}

#[test]
fn everything_that_follows_from_the_network() {
    insta::assert_snapshot!("network", objects(&network(), &Settings::default()));
}

#[test]
fn the_same_network_by_other_settings() {
    let mut settings = Settings::default();
    settings.nat = NatOutgoing {
        address: Some("192.0.2.9".parse().expect("an address")),
        ports: Some(PortRange::new(20000, 29999).expect("ports")),
        exclusions: NatExclusions::PoolsAndHosts,
        interface: Some(InterfaceFilter::Named(IfName::new("eth0").expect("a name"))),
    };
    settings.service_loops = ServiceLoops::Reject;
    settings.vxlan_port = 8472;
    let rejecting = objects(&network(), &settings);
    settings.ipv6 = Ipv6::Off;
    settings.nat.ports = Some(PortRange::single(4000));
    settings.nat.interface = Some(InterfaceFilter::Prefix("eth".into()));
    settings.service_loops = ServiceLoops::Forward;
    insta::assert_snapshot!(
        "settings",
        format!("{rejecting}# without IPv6, and loops let through\n{}", objects(&network(), &settings))
    );
}

#[test]
fn nothing_stands_that_nothing_asks_for() {
    let mut world = World::default();
    world.pool("10.244.0.0/16", "").node("a", "192.0.2.1/24", "");
    let text = render_text(&world.store, &Settings::default());
    for chain in [names::nat_outgoing(), names::service_loops(), names::tunnels()] {
        assert!(!text.contains(&format!("chain {chain} ")), "{text}");
    }
}

fn sim(world: &World, settings: &Settings) -> Sim {
    let (_, edits) = Model::build(&world.store, settings, FxHashMap::default(), |_| Place::Free(0));
    let mut sim = Sim::default();
    sim.commit(&plan(edits, Garbage::default())).expect("the kernel on paper takes it");
    sim
}

fn packet(src: &str, dst: &str, protocol: Protocol, dport: u16) -> Packet {
    let [src, dst]: [IpAddr; 2] = [src, dst].map(|addr| addr.parse().expect("an address"));
    let transport = match (protocol, dport) {
        (Protocol::ICMP | Protocol::ICMPV6, _) => Transport::Icmp { icmp_type: 135, code: 0 },
        (_, 0) => Transport::Opaque,
        (_, dst) => Transport::Ports { src: 1024, dst },
    };
    Packet::new(src, dst, protocol, transport).expect("one family")
}

const SOURCES: &[&str] = &[
    "10.0.0.1",
    "10.0.0.2",
    "10.9.0.0",
    "10.9.0.7",
    "10.9.255.255",
    "10.10.0.0",
    "0.0.0.0",
    "fd00::1",
    "fd00::2",
    "fd09::",
    "fd09:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::1",
    "fec0::1",
    "::",
];

proptest! {
    /// A packet passes from an interface if its source is its endpoint's, or may be,
    /// or if no router would take it. What is no workload's is left alone.
    #[test]
    fn workloads_send_from_their_own_addresses(
        first in subsequence(vec!["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"], 0..=4),
        second in subsequence(vec!["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"], 0..=4),
        beside in subsequence(vec!["10.9.0.0/16", "10.9.0.0/24", "10.0.0.2/32", "fd09::/16", "::/0", "0.0.0.0/0"], 0..=3),
        (src, interface) in (select(SOURCES), select(vec!["cali0", "cali1", "cali2", "eth0"])),
        (broadcast, protocol) in (any::<bool>(), select(vec![Protocol::UDP, Protocol::ICMPV6])),
    ) {
        let mut world = World::default();
        world.endpoint_at("ns/0", "cali0", &first, &beside).endpoint_at("ns/1", "cali1", &second, &[]);
        let addr: IpAddr = src.parse().expect("an address");
        let dst = match (addr, broadcast) {
            (IpAddr::V4(_), true) => "255.255.255.255",
            (IpAddr::V4(_), false) => "10.0.0.9",
            (IpAddr::V6(_), true) => "ff02::1:ff00:1",
            (IpAddr::V6(_), false) => "fd00::9",
        };
        let holds = |addrs: &[&str], nets: &[&str]| {
            let is = |text: &&str| text.parse::<IpAddr>().expect("an address") == addr;
            let has = |text: &&str| text.parse::<caracal_net::Cidr>().expect("a prefix").contains(addr);
            addrs.iter().any(is) || nets.iter().any(has)
        };
        let unrouted = match src {
            "0.0.0.0" => broadcast,
            "::" => broadcast && protocol == Protocol::ICMPV6,
            "fe80::1" => true,
            _ => false,
        };
        let wanted = match interface {
            "cali0" => holds(&first, &beside) || unrouted,
            "cali1" => holds(&second, &[]) || unrouted,
            "cali2" => unrouted,
            _ => true,
        };
        let sim = sim(&world, &Settings::default());
        let fate = sim.walk(&names::source(), interface, &packet(src, dst, protocol, 53), Mark(0));
        prop_assert_eq!(fate.allowed, wanted, "{} from {} to {}", interface, src, dst);
    }
}

/// The fate of a packet that leaves by an interface, in a base chain that need not be there.
fn fate(sim: &Sim, base: &crate::ir::Name, packet: &Packet, outgoing: &str) -> Fate {
    let way = Way { incoming: Some("cali0"), outgoing: Some(outgoing), translated: false };
    sim.walk_on(base, way, packet, Mark(0))
}

#[test]
fn what_leaves_the_pools_is_translated() {
    let mut settings = Settings::default();
    let check = |settings: &Settings, src: &str, dst: &str, outgoing: &str, wanted: bool| {
        let fate =
            fate(&sim(&network(), settings), &names::nat_outgoing(), &packet(src, dst, Protocol::TCP, 80), outgoing);
        assert_eq!((fate.allowed, fate.translated), (true, wanted), "{src} {dst} {outgoing}");
    };
    for (src, dst, wanted) in [
        ("10.244.0.1", "198.51.100.1", true),
        ("10.244.0.1", "192.0.2.2", true),
        ("10.244.0.1", "10.244.9.9", false),
        ("10.244.0.1", "10.245.0.1", false),
        ("10.245.0.1", "198.51.100.1", false),
        ("192.0.2.1", "198.51.100.1", false),
        ("fd44::1", "2001:db8::9", true),
        ("fd44::1", "fd44::2", false),
    ] {
        check(&settings, src, dst, "eth0", wanted);
    }
    settings.nat.exclusions = NatExclusions::PoolsAndHosts;
    check(&settings, "10.244.0.1", "192.0.2.2", "eth0", false);
    check(&settings, "10.244.0.1", "198.51.100.1", "eth0", true);
    settings.nat.interface = Some(InterfaceFilter::Prefix("eth".into()));
    check(&settings, "10.244.0.1", "198.51.100.1", "eth1", true);
    check(&settings, "10.244.0.1", "198.51.100.1", "wlan0", false);
}

#[test]
fn tunnels_are_for_hosts_and_services_are_translated() {
    let sim = sim(&network(), &Settings::default());
    let ipip = Protocol::IPIP;
    for (base, src, dst, protocol, dport, wanted) in [
        (names::tunnels(), "192.0.2.2", "192.0.2.1", ipip, 0, true),
        (names::tunnels(), "198.51.100.1", "192.0.2.1", ipip, 0, false),
        (names::tunnels(), "198.51.100.1", "192.0.2.1", Protocol::UDP, 4789, true),
        (names::tunnels(), "2001:db8::1", "2001:db8::2", Protocol::UDP, 4789, true),
        (names::tunnels(), "2001:db8::9", "2001:db8::2", Protocol::UDP, 4789, false),
        (names::tunnels(), "2001:db8::9", "2001:db8::2", Protocol::UDP, 53, true),
        (names::service_loops(), "10.244.0.1", "10.96.0.1", Protocol::TCP, 80, false),
        (names::service_loops(), "fd44::1", "fd96::1", Protocol::TCP, 80, false),
        (names::service_loops(), "10.244.0.1", "10.95.0.1", Protocol::TCP, 80, true),
    ] {
        let fate = fate(&sim, &base, &packet(src, dst, protocol, dport), "eth0");
        assert_eq!(fate.allowed, wanted, "{base} {src} {dst} {protocol:?} {dport}");
    }
}

#[test]
fn workloads_encapsulate_nothing_unless_they_may() {
    use crate::settings::Encapsulated::{Drop, Judge};
    let mut world = network();
    world.profile("open", &[crate::testing::rule("allow")], &[crate::testing::rule("allow")]);
    for (ipip, vxlan, port) in [(Drop, Drop, 4789), (Judge, Drop, 8472), (Drop, Judge, 4789), (Judge, Judge, 4789)] {
        let mut settings = Settings::default();
        (settings.ipip_from_workloads, settings.vxlan_from_workloads, settings.vxlan_port) = (ipip, vxlan, port);
        let sim = sim(&world, &settings);
        for base in [names::base(caracal_program::Direction::Egress), names::to_host()] {
            let passes = |protocol, dport| {
                let src = if protocol == Protocol::IPIP { "10.244.0.1" } else { "fd44::1" };
                let dst = if protocol == Protocol::IPIP { "192.0.2.2" } else { "2001:db8::9" };
                fate(&sim, &base, &packet(src, dst, protocol, dport), "eth0").allowed
            };
            assert_eq!(passes(Protocol::IPIP, 0), ipip == Judge, "{base}");
            assert_eq!(passes(Protocol::UDP, port), vxlan == Judge, "{base}");
            assert!(passes(Protocol::UDP, 53) && passes(Protocol::TCP, port), "{base}");
        }
    }
}
