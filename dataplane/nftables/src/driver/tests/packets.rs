//! Real packets.

use caracal_net::Protocol;
use caracal_program::{Direction, Packet, Transport, Verdict, evaluate_endpoint};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::testing::random::{everything_on, packet, routed};
use crate::testing::wire::Wire;

fn udp(port: u16) -> Packet {
    let [src, dst] = ["10.0.0.1", "10.0.0.2"].map(|addr| addr.parse().expect("an address"));
    Packet::new(src, dst, Protocol::UDP, Transport::Ports { src: 1024, dst: port }).expect("one family")
}

/// Two pods that let everything through.
fn open() -> World {
    let mut world = World::default();
    world.profile("open", &[rule("allow")], &[rule("allow")]).in_sync();
    world.endpoint("ns/0", "cali0", &[], &["open"]).endpoint("ns/1", "cali1", &[], &["open"]);
    world
}

#[test]
fn an_interface_without_an_endpoint_carries_nothing() {
    let wire = Wire::new();
    assert!(wire.passes(&udp(80)), "before the first ruleset");
    let mut world = World::default();
    world.in_sync();
    let mut driver = wire.in_router(driver);
    apply(&mut driver, &mut world);
    assert!(!wire.passes(&udp(80)));
    let mut world = open();
    driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
    assert!(wire.passes(&udp(80)));
    world.changes();
    world.remove_endpoint("ns/1");
    apply(&mut driver, &mut world);
    assert!(!wire.passes(&udp(80)));
}

/// What an old packet sees of an endpoint that has just come: its entry in the
/// map, and a chain without rules.
#[test]
fn an_empty_endpoint_chain_carries_nothing() {
    let wire = Wire::new();
    let mut world = open();
    let mut driver = wire.in_router(driver);
    apply(&mut driver, &mut world);
    assert!(wire.passes(&udp(80)));
    for stub in ["from/cali0", "to/cali1"] {
        wire.in_router(|| nft(&["flush", "chain", "inet", TABLE, stub], "")).expect("nft flushes the chain");
        assert!(!wire.passes(&udp(80)), "{stub}");
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        assert!(wire.passes(&udp(80)), "{stub}");
    }
}

/// Random programs and packets: the kernel and the evaluator never disagree.
#[test]
fn the_kernel_judges_packets_as_the_evaluator_does() {
    let wire = Wire::new();
    let mut driver = wire.in_router(driver);
    let mut runner = TestRunner::deterministic();
    let (mut allowed, mut denied) = (0, 0);
    for round in 0..40 {
        let start = everything_on(&["cali0", "cali1"]).new_tree(&mut runner).expect("a store").current();
        let mut world = World::default();
        start.iter().for_each(|told| world.hear(told));
        // One end lets everything through, so that the other decides.
        let open_end = round % 2;
        world.profile("open", &[rule("allow")], &[rule("allow")]);
        world.endpoint(["ns/0", "ns/1"][open_end], ["cali0", "cali1"][open_end], &[], &["open"]).in_sync();
        let receipt = driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        assert!(receipt.outcomes.iter().all(|o| !matches!(o.outcome, Outcome::Quarantined { .. })), "{receipt:?}");
        for _ in 0..25 {
            let packet = packet().prop_filter("goes through a router", routed).new_tree(&mut runner);
            let packet = packet.expect("a packet").current();
            let passes =
                [(Direction::Egress, "cali0"), (Direction::Ingress, "cali1")].iter().all(|(direction, interface)| {
                    let endpoint = world.store.active_on(interface);
                    endpoint.is_some_and(|e| {
                        evaluate_endpoint(e, *direction, &world.store, &packet).verdict == Verdict::Allow
                    })
                });
            assert_eq!(wire.passes(&packet), passes, "{packet:?}\n{}", render_text(&world.store, &Settings::default()));
            *(if passes { &mut allowed } else { &mut denied }) += 1;
        }
    }
    assert!(allowed > 50 && denied > 50, "{allowed} allowed, {denied} denied");
}

/// The text of a ruleset in which each rule of the table counts, before it looks at
/// anything, that one of our packets has met it: interfaces send some by themselves.
fn with_meetings_counted(text: &str) -> String {
    let mut counted = String::new();
    let mut in_chain = false;
    for line in text.lines() {
        in_chain = match line.strip_prefix('\t') {
            Some(object) if !object.starts_with('\t') => object.starts_with("chain "),
            _ => in_chain,
        };
        if in_chain && line.starts_with("\t\t") && !line.starts_with("\t\ttype ") {
            counted += "\t\tmeta l4proto 253 counter name met\n";
        }
        counted += line;
        counted += "\n";
    }
    counted.replacen("{\n", "{\n\tcounter met { }\n", 1)
}

/// How many rules a packet meets that begins a connection, and one of a connection
/// that is established, for endpoints with so many policies each way.
fn rules_met(policies: usize) -> [u64; 2] {
    let names: Vec<String> = (0..policies).map(|n| format!("default/p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::default();
    world.set("s:others", &["10.9.0.1/32"]).profile("open", &[rule("allow")], &[rule("allow")]).in_sync();
    let (last, others) = names.split_last().expect("at least one policy");
    for name in others {
        world.policy(name, &[allow_from("s:others", "80")], &[allow_from("s:others", "80")]);
    }
    world.policy(last, &[rule("allow")], &[rule("allow")]);
    let tier = [("default", "Deny", &names[..], &names[..])];
    for (endpoint, interface) in [("ns/0", "cali0"), ("ns/1", "cali1")] {
        world.endpoint(endpoint, interface, &tier, &[]);
    }
    let wire = Wire::new();
    let met = || {
        let text = wire.in_router(|| nft(&["list", "counter", "inet", TABLE, "met"], "")).expect("nft lists it");
        let packets = text.split_whitespace().skip_while(|word| *word != "packets").nth(1);
        packets.and_then(|packets| packets.parse::<u64>().ok()).expect("a counter's packets")
    };
    wire.in_router(|| {
        // Connections are tracked here.
        let tracked = "flush chain inet probe untracked; add rule inet probe untracked ip ttl 64 counter name arrived";
        nft(&["-f", "-"], tracked).expect("nft edits the probe");
        let text = with_meetings_counted(&render_text(&world.store, &Settings::default()));
        nft(&["-f", "-"], &text).expect("nft loads the text");
    });
    // Everything comes from the first pod here, the answer too. Connection tracking looks
    // for nothing in a protocol that it does not know.
    let protocol = Protocol::from_number(253).expect("a protocol for experiments");
    let [there, back] = [("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1")].map(|(from, to)| {
        let [from, to] = [from, to].map(|addr| addr.parse().expect("an address"));
        Packet::new(from, to, protocol, Transport::Opaque).expect("one family")
    });
    let of = |packet: &Packet| {
        let before = met();
        assert!(wire.passes(packet), "{policies} policies");
        met() - before
    };
    let first = of(&there);
    of(&back);
    [first, of(&there)]
}

#[test]
fn an_established_packet_meets_as_many_rules_however_many_policies_there_are() {
    let [few, many] = [1, 1000].map(rules_met);
    assert!(many[0] > few[0] + 2 * 999, "the first packet meets the policies: {few:?}, {many:?}");
    assert_eq!(few[1], many[1]);
    assert!(few[1] < 20, "{few:?}");
}
