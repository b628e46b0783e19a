//! What a lost table left open is closed at once.

use std::process::Command;
use std::sync::{Arc, Mutex};

use caracal_net::Protocol;
use caracal_program::{Packet, Transport};
use nix::errno::Errno;

use super::*;
use crate::testing::faults::{Fault, Schedule, faulty_socket};
use crate::testing::wire::Wire;

/// What the kernel lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passing {
    Everything,
    Established,
    WhatPolicyAllows,
}

const CLIENT: &str = "10.0.0.1";
const SERVER: &str = "10.0.0.2";
const ALLOWED: u16 = 80;
const DENIED: u16 = 81;
const ESTABLISHED: u16 = 82;

fn udp(port: u16) -> Packet {
    let [src, dst] = [CLIENT, SERVER].map(|addr| addr.parse().expect("an address"));
    Packet::new(src, dst, Protocol::UDP, Transport::Ports { src: 1024, dst: port }).expect("one family")
}

/// A server that may be asked at one port, and a client that may ask for anything.
fn world() -> World {
    let mut world = World::default();
    world
        .set("s:clients", &["10.0.0.1/32"])
        .policy("default/web", &[allow_from("s:clients", "80")], &[])
        .profile("open", &[rule("allow")], &[rule("allow")])
        .endpoint("ns/0", "cali0", &[], &["open"])
        .endpoint("ns/1", "cali1", &[("default", "Deny", &["default/web"], &[])], &["open"])
        .in_sync();
    // `allow_from` is of TCP.
    let asked = caracal_proto::felix::Rule {
        protocol: crate::testing::protocol("udp"),
        dst_ports: crate::testing::ports(&["80"]),
        ..rule("allow")
    };
    world.policy("default/web", &[asked], &[]);
    world
}

/// Has an entry of connection tracking say that both ends of a connection were heard.
fn establish(wire: &Wire) {
    let entry =
        format!("-I -p udp -s {CLIENT} -d {SERVER} --sport 1024 --dport {ESTABLISHED} -t 600 -u SEEN_REPLY,ASSURED");
    let made = wire.in_router(|| Command::new("conntrack").args(entry.split(' ')).output());
    let made = made.expect("conntrack is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn passing(wire: &Wire) -> Passing {
    match [ALLOWED, DENIED, ESTABLISHED].map(|port| wire.passes(&udp(port))) {
        [true, true, true] => Passing::Everything,
        [false, false, true] => Passing::Established,
        [true, false, true] => Passing::WhatPolicyAllows,
        other => panic!("allowed, denied, established: {other:?}"),
    }
}

/// Deletes the table of a driver whose socket then fails for good, from a call on: what
/// passes after it has looked.
fn after_calls(wire: &Wire, world: &World, calls: usize) -> Passing {
    let schedule = Schedule { fault: Fault::Error(Errno::ENOMEM), first: usize::MAX, lasting: usize::MAX, calls: 0 };
    let schedule = Arc::new(Mutex::new(schedule));
    wire.in_router(|| {
        let mut settings = Settings::default();
        settings.ownership = Ownership::Shared;
        let mut driver = NftablesDriver::over(settings, faulty_socket(&schedule)).expect("nf_tables");
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        establish(wire);
        assert_eq!(passing(wire), Passing::WhatPolicyAllows);
        nft(&["delete", "table", "inet", TABLE], "").expect("nft deletes the table");
        {
            let mut schedule = schedule.lock().expect("no test panics with it");
            schedule.first = schedule.calls + calls;
        }
        // Whether it fails is the matter.
        let _ = driver.poll(&world.store);
    });
    let passing = passing(wire);
    wire.in_router(|| Command::new("conntrack").arg("-F").output()).expect("conntrack is installed");
    passing
}

/// Wherever the repair stops, the first thing that it does is to close what is open, at
/// the cost of a few short questions.
#[test]
fn what_a_lost_table_left_open_is_closed_first() {
    let wire = Wire::new();
    wire.track();
    let world = world();
    let mut seen = Vec::new();
    while seen.last() != Some(&Passing::WhatPolicyAllows) {
        seen.push(after_calls(&wire, &world, seen.len()));
        assert!(seen.len() < 100, "never repaired: {seen:?}");
    }
    let open = seen.iter().filter(|passing| **passing == Passing::Everything).count();
    // The generation, the table, and the transaction: each is sent and then received.
    assert!(open <= 8, "{seen:?}");
    seen.dedup();
    assert_eq!(seen, [Passing::Everything, Passing::Established, Passing::WhatPolicyAllows]);
}

/// The time that the table was closed is not time in which a change of others was in force.
#[test]
fn the_time_until_it_is_closed_is_told_apart_from_the_time_until_it_is_repaired() {
    let world = world();
    in_namespace(|| {
        let mut driver = driver();
        let start = Instant::now();
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        nft(&["delete", "table", "inet", TABLE], "").expect("nft deletes the table");
        driver.close_if_lost().expect("the kernel answers");
        let open = start.elapsed();
        sleep(Duration::from_millis(200));
        poll_until_healed(&mut driver, &world, "the table");
        let (blind, closed) = (driver.drift.longest(), driver.drift.closed());
        assert!(closed >= Duration::from_millis(200), "{closed:?}");
        assert!(blind <= open, "{blind:?}, {open:?}");
        assert_eq!(listing(), loaded(&world));
        assert_eq!(driver.look_at_everything(), None);
    });
}

/// Of a first start nobody whom policy allows notices anything.
#[test]
fn where_no_table_was_lost_nothing_is_closed() {
    let world = world();
    in_namespace(|| {
        let mut driver = driver();
        driver.resync(&PolicyStore::new(), Sweep::Keep).expect("the kernel answers");
        let before = driver.socket.generation().expect("the kernel answers");
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        assert_eq!(driver.socket.generation().expect("the kernel answers"), before + 1, "one transaction");
        assert_eq!(listing(), loaded(&world));
    });
}

/// What others changed otherwise is repaired where it is: nothing is refused meanwhile.
#[test]
fn a_table_that_is_there_is_not_closed() {
    let world = world();
    in_namespace(|| {
        let mut driver = driver();
        driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
        nft(&["flush", "chain", "inet", TABLE, "to/cali1"], "").expect("nft flushes the chain");
        poll_until_healed(&mut driver, &world, "a chain");
        assert_eq!(driver.drift.closed(), Duration::ZERO);
    });
}
