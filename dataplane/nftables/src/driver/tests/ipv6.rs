//! Without IPv6 (`Ipv6Support`) a workload has none, whatever policy says and
//! whatever is established.

use caracal_net::Protocol;
use caracal_program::{Packet, Transport};

use super::*;
use crate::settings::Ipv6;
use crate::testing::wire::Wire;

/// A packet that may belong to a connection, of a protocol that connection
/// tracking knows nothing of.
fn packet([from, to]: [&str; 2]) -> Packet {
    let [from, to] = [from, to].map(|addr| addr.parse().expect("an address"));
    let protocol = Protocol::from_number(253).expect("a protocol for experiments");
    Packet::new(from, to, protocol, Transport::Opaque).expect("one family")
}

const V4: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
const V6: [&str; 2] = ["fd00::1", "fd00::2"];

/// Both pods with one profile, which does this to everything.
fn world(action: &str) -> World {
    let mut world = World::default();
    world.profile("all", &[rule(action)], &[rule(action)]).in_sync();
    world.endpoint("ns/0", "cali0", &[], &["all"]).endpoint("ns/1", "cali1", &[], &["all"]);
    world
}

/// Which of the packets pass that the first pod sends to the second, IPv4 and IPv6.
fn passing(wire: &Wire) -> [bool; 2] {
    [V4, V6].map(|ends| wire.passes(&packet(ends)))
}

/// With interfaces of these prefixes as workloads: IPv6 passes without `Ipv6Support`, or not.
fn check(prefixes: &[&str], [first, established]: [bool; 2]) {
    let wire = Wire::new();
    let mut settings = Settings::default().with_interface_prefixes(prefixes).expect("prefixes");
    settings.ownership = Ownership::Shared;
    let mut driver = wire.in_router(|| {
        // Connections are tracked here.
        let tracked = "flush chain inet probe untracked
            add rule inet probe untracked ip ttl 64 counter name arrived
            add rule inet probe untracked ip6 hoplimit 64 counter name arrived";
        nft(&["-f", "-"], tracked).expect("nft edits the probe");
        NftablesDriver::new(settings.clone()).expect("nf_tables")
    });
    let mut put = |ipv6: Ipv6, world: &World| {
        settings.ipv6 = ipv6;
        driver.set_settings(settings.clone());
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
    };
    let (open, closed) = (world("allow"), world("deny"));
    put(Ipv6::Off, &open);
    assert_eq!(passing(&wire), [true, first], "{prefixes:?}: what policy allows");
    put(Ipv6::On, &open);
    assert_eq!(passing(&wire), [true, true], "{prefixes:?}: with IPv6");
    for [from, to] in [V4, V6] {
        assert!(wire.passes(&packet([to, from])), "{prefixes:?}: an answer");
    }
    put(Ipv6::On, &closed);
    assert_eq!(passing(&wire), [true, true], "{prefixes:?}: what is established");
    put(Ipv6::Off, &closed);
    assert_eq!(passing(&wire), [true, established], "{prefixes:?}: what is established, without IPv6");
    put(Ipv6::On, &closed);
    assert_eq!(passing(&wire), [true, true], "{prefixes:?}: what is still established");
}

#[test]
fn no_packet_from_or_to_a_workload_passes_without_ipv6() {
    check(&["cali"], [false, false]);
    check(&["cali0"], [false, false]);
    check(&["cali1"], [false, false]);
}

#[test]
fn what_goes_no_workloads_way_is_left_alone() {
    check(&["tap"], [true, true]);
}
