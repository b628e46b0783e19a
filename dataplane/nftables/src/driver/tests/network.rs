//! What follows from the cluster's network and from the addresses of workloads,
//! in the kernel and on the wire.

use caracal_net::Protocol;
use caracal_program::{Packet, Transport};

use super::*;
use crate::settings::{InterfaceFilter, NatExclusions, ServiceLoops};
use crate::testing::wire::Wire;

fn open() -> World {
    let mut world = World::default();
    world.profile("open", &[rule("allow")], &[rule("allow")]).in_sync();
    world
}

/// A Log rule with two alternatives: addresses of the set, and prefixes.
fn logging() -> World {
    let mut world = open();
    let log = caracal_proto::felix::Rule { src_ip_set_ids: vec!["s:both".into()], ..rule("log") };
    world.set("s:both", &["10.0.0.1/32", "10.1.0.0/16"]);
    world.profile("open", &[log.clone(), rule("log"), rule("allow")], &[log, rule("allow")]);
    world.endpoint_at("ns/0", "cali0", &["10.0.0.1"], &[]);
    world
}

/// Whatever matches, a rule has one limit: its own.
#[test]
fn a_log_rule_has_one_limit_and_goes_on() {
    let mut settings = Settings::default();
    settings.ownership = Ownership::Shared;
    settings.log_rate = "10/minute".parse().ok();
    let mut world = logging();
    let text = render_text(&world.store, &settings);
    assert_eq!(text.matches("limit rate 10/minute burst 5 packets log prefix").count(), 3, "{text}");
    let (programmed, again) = in_namespace(|| {
        let choose = |chosen: &mut Settings| *chosen = settings.clone();
        apply(&mut driver_with(choose), &mut world);
        let again = driver_with(choose).resync(&world.store, Sweep::Remove).expect("the kernel answers");
        (listing(), again.messages)
    });
    assert_eq!((programmed, again), (loaded(&world, &settings), 0));
}

/// Each step is one change of the network.
fn steps() -> Vec<fn(&mut World) -> &mut World> {
    vec![
        |world| world.endpoint_at("ns/0", "cali0", &["10.0.0.1", "fd00::1"], &[]),
        |world| world.endpoint_at("ns/1", "cali1", &["10.0.0.2"], &["10.9.0.0/16", "fd09::/16", "10.8.0.1/32"]),
        |world| world.pool("10.0.0.0/8", "nat"),
        |world| world.node("a", "192.0.2.1/24", "2001:db8::1"),
        |world| world.pool("fd00::/8", "nat vxlan"),
        |world| world.services(&["10.96.0.0/12", "fd96::/112"]),
        |world| world.endpoint_at("ns/1", "cali1", &["10.0.0.3"], &["10.9.0.0/17"]),
        |world| world.pool("172.16.0.0/12", "ipip"),
        |world| world.remove_pool("fd00::/8"),
        |world| world.services(&[]),
        |world| world.pool("10.0.0.0/8", ""),
        |world| world.pool("10.0.0.0/8", "nat"),
        |world| world.remove_endpoint("ns/0"),
        |world| world.endpoint_at("ns/1", "cali1", &["10.0.0.3"], &[]),
        |world| world.remove_pool("10.0.0.0/8").remove_pool("172.16.0.0/12"),
    ]
}

fn loaded(world: &World, settings: &Settings) -> String {
    let text = render_text(&world.store, settings);
    in_namespace(|| {
        nft(&["-f", "-"], &text).expect("nft takes the text");
        listing()
    })
}

fn check(choose: impl Fn(&mut Settings) + Send + Sync) {
    let mut settings = Settings::default();
    choose(&mut settings);
    let mut world = open();
    let listings: Vec<(String, String)> = in_namespace(|| {
        let mut driver = driver_with(|settings| {
            settings.ownership = Ownership::Shared;
            choose(settings);
        });
        steps()
            .into_iter()
            .map(|step| {
                step(&mut world);
                apply(&mut driver, &mut world);
                assert_eq!(driver.counts().refusals, 0);
                sleep(2 * crate::garbage::WALK);
                apply(&mut driver, &mut world);
                assert_eq!(driver.look_at_everything(), None);
                let mut another = driver_with(|settings| {
                    settings.ownership = Ownership::Shared;
                    choose(settings);
                });
                let receipt = another.resync(&world.store, Sweep::Remove).expect("the kernel answers");
                assert_eq!(receipt.messages, 0, "{}", listing());
                (listing(), render_text(&world.store, &settings))
            })
            .collect()
    });
    for (programmed, text) in listings {
        let loaded = in_namespace(|| {
            nft(&["-f", "-"], &text).expect("nft takes the text");
            listing()
        });
        assert_eq!(programmed, loaded);
    }
    assert_eq!(loaded(&open(), &settings), loaded(&world_without_pods(), &settings));
}

fn world_without_pods() -> World {
    let mut world = open();
    for step in steps() {
        step(&mut world);
    }
    world.remove_endpoint("ns/1").node("a", "", "");
    world
}

#[test]
fn every_change_of_the_network_lists_as_its_text_does() {
    check(|_| {});
}

#[test]
fn so_it_does_with_every_setting() {
    check(|settings| {
        settings.nat.address = Some("192.0.2.9".parse().expect("an address"));
        settings.nat.ports = Some(caracal_net::PortRange::new(20000, 29999).expect("ports"));
        settings.nat.exclusions = NatExclusions::PoolsAndHosts;
        settings.nat.interface = InterfaceFilter::parse("eth0").expect("a name");
        settings.service_loops = ServiceLoops::Reject;
        settings.log_rate = "10/minute".parse().ok();
    });
}

fn from(src: &str, dst: &str) -> Packet {
    let [src, dst] = [src, dst].map(|addr| addr.parse().expect("an address"));
    Packet::new(src, dst, Protocol::UDP, Transport::Ports { src: 1024, dst: 80 }).expect("one family")
}

#[test]
fn a_packet_under_a_false_address_does_not_arrive() {
    let wire = Wire::new();
    let mut world = open();
    world.endpoint_at("ns/1", "cali1", &["10.0.0.2", "fd00::2"], &[]);
    world.endpoint_at("ns/0", "cali0", &["10.0.0.1", "fd00::1"], &[]);
    let mut driver = wire.in_router(driver);
    apply(&mut driver, &mut world);
    let mut check = |world: &mut World, arrives: &[&str], lost: &[&str]| {
        apply(&mut driver, world);
        for (sources, wanted) in [(arrives, true), (lost, false)] {
            for src in sources {
                let dst = if src.contains(':') { "fd00::2" } else { "10.0.0.2" };
                assert_eq!(wire.passes(&from(src, dst)), wanted, "{src}");
            }
        }
    };
    check(&mut world, &["10.0.0.1", "fd00::1"], &["10.0.0.3", "10.9.0.1", "fd00::3", "fd09::1"]);
    world.endpoint_at("ns/0", "cali0", &["10.0.0.1", "fd00::1"], &["10.9.0.0/16", "fd09::/16"]);
    check(&mut world, &["10.0.0.1", "fd00::1", "10.9.0.1", "fd09::1"], &["10.0.0.3", "10.10.0.1", "fd00::3", "fd0a::"]);
    world.endpoint_at("ns/0", "cali0", &["10.0.0.3"], &["10.9.0.0/24"]);
    check(&mut world, &["10.0.0.3", "10.9.0.1"], &["10.0.0.1", "fd00::1", "10.9.1.1", "fd09::1"]);
}
