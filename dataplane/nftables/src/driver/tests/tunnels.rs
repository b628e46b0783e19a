//! Tunnels of the cluster and host endpoints, on the wire.

use std::net::IpAddr;

use caracal_net::Protocol;
use caracal_program::{Packet, Transport};

use super::*;
use crate::testing::Tier;
use crate::testing::crossroads::{Crossroads, Road};
use crate::testing::wire::Shape;

const IN: Road = Road::TO_HOST;
const OUT: Road = Road::FROM_HOST;

/// Two hosts of the cluster that speak by all tunnels, and a host endpoint of
/// every interface that allows nothing.
fn closed() -> World {
    let mut world = World::default();
    world
        .pool("10.0.0.0/8", "ipip vxlan")
        .pool("fd00::/8", "vxlan")
        .node("here", "192.0.2.1/24", "2001:db8::1")
        .node("there", "192.0.2.2/24", "2001:db8::2")
        .host("all", "*", &[], [&[]; 4], &[])
        .in_sync();
    world
}

fn tunnelled(src: &str, dst: &str, protocol: Protocol, port: u16) -> Packet {
    let [src, dst]: [IpAddr; 2] = [src, dst].map(|addr| addr.parse().expect("an address"));
    let transport = match protocol {
        Protocol::IPIP => Transport::Opaque,
        _ => Transport::Ports { src: 40000, dst: port },
    };
    Packet::new(src, dst, protocol, transport).expect("one family")
}

/// A router that enforces what a world is told.
struct Lab {
    roads: Crossroads,
    driver: NftablesDriver,
    world: World,
}

impl Lab {
    fn new(mut world: World) -> Self {
        let roads = Crossroads::new();
        let mut driver = roads.in_router(driver);
        apply(&mut driver, &mut world);
        Self { roads, driver, world }
    }

    fn tell(&mut self, tell: impl Fn(&mut World) -> &mut World) {
        tell(&mut self.world);
        apply(&mut self.driver, &mut self.world);
        assert_eq!(self.driver.counts().refusals, 0);
    }

    fn passes(&self, packet: &Packet, road: Road) -> bool {
        self.roads.passes(packet, Shape::Plain, road)
    }
}

#[test]
fn only_hosts_of_the_cluster_tunnel_through_an_endpoint_that_allows_nothing() {
    let lab = Lab::new(closed());
    let (udp, ipip) = (Protocol::UDP, Protocol::IPIP);
    for (road, src, dst, protocol, port, arrives) in [
        (IN, "192.0.2.2", "192.0.2.1", udp, 4789, true),
        (IN, "192.0.2.3", "192.0.2.1", udp, 4789, false),
        (IN, "192.0.2.2", "192.0.2.1", udp, 4790, false),
        (IN, "192.0.2.2", "192.0.2.1", Protocol::TCP, 4789, false),
        (IN, "192.0.2.2", "192.0.2.1", ipip, 0, true),
        (IN, "192.0.2.3", "192.0.2.1", ipip, 0, false),
        (IN, "2001:db8::2", "2001:db8::1", udp, 4789, true),
        (IN, "2001:db8::3", "2001:db8::1", udp, 4789, false),
        (IN, "2001:db8::2", "2001:db8::1", ipip, 0, false),
        (OUT, "192.0.2.1", "192.0.2.2", udp, 4789, true),
        (OUT, "192.0.2.1", "192.0.2.3", udp, 4789, false),
        (OUT, "192.0.2.1", "192.0.2.2", udp, 4790, false),
        (OUT, "192.0.2.1", "192.0.2.2", ipip, 0, true),
        (OUT, "192.0.2.1", "192.0.2.3", ipip, 0, false),
        (OUT, "2001:db8::1", "2001:db8::2", udp, 4789, true),
        (OUT, "2001:db8::1", "2001:db8::3", udp, 4789, false),
    ] {
        let passes = lab.passes(&tunnelled(src, dst, protocol, port), road);
        assert_eq!(passes, arrives, "{:?} {src} > {dst} {protocol:?} {port}", road.way());
    }
}

/// A change of the world, and whether tunnels pass after it.
type Step<'a> = (&'a str, bool, &'a dyn Fn(&mut World) -> &mut World);

/// Pools, hosts and endpoints come and go in any order.
#[test]
fn tunnels_pass_as_long_as_a_pool_and_a_host_are_there() {
    let mut lab = Lab::new(closed());
    let packet = tunnelled("192.0.2.2", "192.0.2.1", Protocol::UDP, 4789);
    let back = tunnelled("192.0.2.1", "192.0.2.2", Protocol::UDP, 4789);
    let closed: &[Tier<'_>] = &[("default", "Deny", &["closed"], &[])];
    let steps: [Step<'_>; 7] = [
        ("without a pool", false, &|world| world.pool("10.0.0.0/8", "")),
        ("with a pool", true, &|world| world.pool("10.0.0.0/8", "vxlan")),
        ("of a host that has moved", false, &|world| world.node("there", "192.0.2.9/24", "")),
        ("of a host that is back", true, &|world| world.node("there", "192.0.2.2/24", "")),
        ("without an endpoint", true, &|world| world.remove_host("all").remove_pool("10.0.0.0/8")),
        ("with an endpoint only", false, &|world| world.host("all", "*", &[], [&[]; 4], &[])),
        ("with both", true, &|world| world.pool("10.0.0.0/8", "vxlan")),
    ];
    for (what, arrives, tell) in steps {
        lab.tell(tell);
        assert_eq!(lab.passes(&packet, IN), arrives, "{what}");
        assert_eq!(lab.passes(&back, OUT), arrives, "{what}, on the way back");
    }
    // As in Felix, what comes before the normal program is asked.
    lab.tell(|world| world.policy("closed", &[rule("deny")], &[]).host("all", "*", &[], [&[], &[], closed, &[]], &[]));
    assert!(!lab.passes(&packet, IN), "denied before DNAT");
    assert!(lab.passes(&back, OUT), "no policy denies it on the way out");
}
