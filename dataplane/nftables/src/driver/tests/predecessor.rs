//! Tables that other releases laid out, and no table at all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use caracal_net::Protocol;
use caracal_program::{Packet, Transport};

use super::*;
use crate::testing::wire::Wire;

/// An older and a newer layout: `10.0.0.1` and `fd00::1` may send to `cali1`, nobody else may.
const LAYOUTS: [&str; 2] = [include_str!("../../../layouts/older.nft"), include_str!("../../../layouts/newer.nft")];

/// How often a table is replaced under fire.
const TAKEOVERS: usize = 60;

fn load(layout: &str) {
    let text = layout.replace("CLIENT4", "10.0.0.1").replace("CLIENT6", "fd00::1").replace("SERVER", "cali1");
    let text = format!("add table inet caracal\ndelete table inet caracal\n{text}");
    nft(&["-f", "-"], &text).expect("nft loads the layout");
}

/// The same policy as that of the layouts.
fn same_policy() -> World {
    let mut world = World::default();
    world
        .set("s:clients", &["10.0.0.1/32", "fd00::1/128"])
        .policy("default/web", &[rule_from("s:clients")], &[])
        .profile("open", &[rule("allow")], &[rule("allow")])
        .endpoint_at("default/client-0", "cali0", &["10.0.0.1", "10.0.0.3"], &[])
        .endpoint("default/web-0", "cali1", &[("default", "Deny", &["default/web"], &[])], &["open"]);
    world
}

fn rule_from(set: &str) -> caracal_proto::felix::Rule {
    caracal_proto::felix::Rule { src_ip_set_ids: vec![set.to_owned()], ..rule("allow") }
}

#[test]
fn a_table_of_another_layout_judges_until_everything_has_been_told() {
    for layout in LAYOUTS {
        let mut world = same_policy();
        let wanted = loaded(&world);
        in_namespace(|| {
            load(layout);
            let before = listing();
            let mut driver = driver();
            let nothing = World::default();
            assert_eq!(driver.resync(&nothing.store, Sweep::Keep).expect("the kernel answers"), Receipt::default());
            assert_eq!(apply(&mut driver, &mut world), Receipt::default(), "nothing is in force yet");
            assert_eq!(driver.poll(&world.store).expect("the kernel answers"), Finding::Unchanged);
            nft(&["add", "table", "inet", "other"], "").expect("nft makes a table");
            assert_eq!(driver.poll(&world.store).expect("the kernel answers"), Finding::Unchanged);
            nft(&["delete", "table", "inet", "other"], "").expect("nft deletes a table");
            assert_eq!(listing(), before);
            assert!(driver.rule_counts(&world.store).expect("the kernel answers") == Some(RuleCounts::default()));
            let problems = driver.report().problems;
            assert!(problems.iter().any(|problem| problem.subject == "table inet caracal"), "{problems:?}");

            world.in_sync();
            let receipt = apply(&mut driver, &mut world);
            assert_eq!((receipt.transactions, receipt.outcomes.len()), (1, 2));
            assert_eq!(listing(), wanted);
            assert_eq!(driver.report().problems, []);
            // It is known for what it is from here on, by others too.
            assert_eq!(self::driver().resync(&nothing.store, Sweep::Keep).expect("the kernel answers").messages, 0);
            assert_eq!(self::driver().resync(&world.store, Sweep::Remove).expect("the kernel answers").messages, 0);
        });
    }
}

#[test]
fn if_it_vanishes_nothing_waits_for_it() {
    in_namespace(|| {
        load(LAYOUTS[0]);
        let nothing = World::default();
        let mut driver = driver();
        driver.resync(&nothing.store, Sweep::Keep).expect("the kernel answers");
        nft(&["delete", "table", "inet", "caracal"], "").expect("nft deletes the table");
        let found = driver.poll(&nothing.store).expect("the kernel answers");
        assert!(matches!(found, Finding::Repaired(_)), "{found:?}");
        assert_eq!(listing(), loaded(&nothing));
    });
}

#[test]
fn a_kernel_without_a_table_is_closed_after_a_moment_or_by_what_is_told() {
    let nothing = World::default();
    in_namespace(|| {
        let mut driver = driver();
        assert_eq!(driver.resync(&nothing.store, Sweep::Keep).expect("the kernel answers"), Receipt::default());
        assert_eq!(driver.poll(&nothing.store).expect("the kernel answers"), Finding::Unchanged);
        assert_eq!(listing(), "");
        let mut world = same_policy();
        world.in_sync();
        assert_eq!(apply(&mut driver, &mut world).transactions, 1);
        assert_eq!(listing(), loaded(&world));
        nft(&["delete", "table", "inet", "caracal"], "").expect("nft deletes the table");
        poll_until_healed(&mut driver, &world, "delete table");
    });
    in_namespace(|| {
        let mut driver = driver();
        driver.resync(&nothing.store, Sweep::Keep).expect("the kernel answers");
        while listing().is_empty() {
            assert_eq!(driver.poll(&nothing.store).expect("the kernel answers"), Finding::Unchanged);
            sleep(Duration::from_millis(50));
        }
        assert_eq!(listing(), loaded(&nothing));
        assert_eq!(driver.report().problems, []);
    });
}

#[test]
fn one_that_judges_nothing_is_replaced_at_once() {
    for table in [
        "table inet caracal { }",
        "table inet caracal { comment \"somebody's\"; chain forward-egress { drop; }; set from-workload { type mark; }; }",
        "table inet caracal { flags dormant; chain x { type filter hook forward priority 0; }; }",
    ] {
        in_namespace(|| {
            nft(&["-f", "-"], table).expect("nft makes the table");
            let nothing = World::default();
            let receipt = driver().resync(&nothing.store, Sweep::Keep).expect("the kernel takes it");
            assert_eq!(receipt.transactions, 1, "{table}");
            assert_eq!(listing(), loaded(&nothing), "{table}");
        });
    }
}

/// A table that somebody has put to sleep judges nothing.
#[test]
fn a_table_that_sleeps_is_woken() {
    let mut world = same_policy();
    world.in_sync();
    in_namespace(|| {
        let sleeps = || nft(&["list", "table", "inet", "caracal"], "").expect("nft lists it").contains("flags dormant");
        let mut driver = driver();
        apply(&mut driver, &mut world);
        nft(&["-f", "-"], "table inet caracal { flags dormant; }").expect("nft puts it to sleep");
        assert!(sleeps());
        assert_eq!(poll_until_healed(&mut driver, &world, "dormant").messages, 1);
        assert!(!sleeps());
        assert_eq!(driver.poll(&world.store).expect("the kernel answers"), Finding::Unchanged);
    });
}

/// Packets are sent without a pause while tables of other layouts and ours take
/// turns: each of them denies one packet and allows the other. What is denied never
/// passes. Of what is allowed some packets of each moment may be lost that are on their
/// way through the older table: its rules they still see, its maps no longer.
#[test]
fn no_packet_comes_between_two_layouts() {
    for (src, allowed) in [("10.0.0.3", false), ("10.0.0.1", true)] {
        let wire = Wire::new();
        let mut world = same_policy();
        world.in_sync();
        wire.in_router(|| load(LAYOUTS[0]));
        let [src, dst] = [src, "10.0.0.2"].map(|addr| addr.parse().expect("an address"));
        let packet = Packet::new(src, dst, Protocol::UDP, Transport::Ports { src: 1024, dst: 80 }).expect("one family");
        let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let passed = std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                wire.blast(&packet, |number| {
                    sent.store(number, Ordering::Relaxed);
                    !done.load(Ordering::Relaxed)
                })
            });
            for layout in LAYOUTS.iter().cycle().take(TAKEOVERS) {
                wire.in_router(|| {
                    load(layout);
                    let mut driver = driver();
                    driver.resync(&World::default().store, Sweep::Keep).expect("the kernel answers");
                    let receipt = driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
                    assert_eq!(receipt.transactions, 1);
                });
            }
            done.store(true, Ordering::Relaxed);
            sender.join().expect("the sender")
        });
        let sent = sent.into_inner();
        assert!(sent > 1000, "{sent} sent");
        match allowed {
            // Microseconds each; a moment without any table would be some milliseconds.
            true => assert!((sent - passed) * 200 <= sent, "{} of {sent} packets were lost", sent - passed),
            false => assert_eq!(passed, 0, "of {sent} packets"),
        }
    }
}
