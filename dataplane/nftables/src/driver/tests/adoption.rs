//! Restarts, damage by others, and what was there before.

use std::sync::{Arc, Mutex};

use super::*;
use crate::garbage::WALK;
use crate::settings::DenyAction;
use crate::testing::faults::{Fault, Schedule, faulty_socket};

/// Lets what was left without users be deleted.
fn settle(driver: &mut NftablesDriver, world: &World) {
    sleep(2 * WALK);
    assert_eq!(driver.poll(&world.store).expect("the kernel answers"), Finding::Unchanged);
}

fn resync(driver: &mut NftablesDriver, world: &World, sweep: Sweep) -> Receipt {
    driver.resync(&world.store, sweep).expect("the kernel takes it")
}

#[test]
fn a_restart_finds_everything_as_it_must_be() {
    let mut world = small();
    in_namespace(|| {
        apply(&mut driver(), &mut world);
        let before = listing();
        let receipt = resync(&mut driver(), &world, Sweep::Remove);
        assert_eq!((receipt.messages, receipt.transactions), (0, 0));
        assert_eq!(receipt.outcomes.len(), 1, "all outcomes after a resync");
        assert_eq!(listing(), before);
    });
}

#[test]
fn what_was_looked_at_ahead_is_not_read_again_until_somebody_commits() {
    let mut world = small();
    in_namespace(|| {
        apply(&mut driver(), &mut world);
        let before = listing();
        let schedule = Arc::new(Mutex::new(Schedule { fault: Fault::Slow, first: 0, lasting: 0, calls: 0 }));
        let calls = || std::mem::take(&mut schedule.lock().expect("no test panics with it").calls);
        let [afresh, ahead] = [false, true].map(|looks_ahead| {
            let mut settings = Settings::default();
            settings.ownership = Ownership::Shared;
            let mut driver = NftablesDriver::over(settings, faulty_socket(&schedule)).expect("nf_tables");
            assert_eq!(resync(&mut driver, &World::default(), Sweep::Keep).messages, 0);
            if looks_ahead {
                driver.look_ahead();
            }
            calls();
            assert_eq!(resync(&mut driver, &world, Sweep::Remove).messages, 0);
            calls()
        });
        assert!(ahead * 3 < afresh, "{ahead} calls, and {afresh} without a look ahead");

        let mut driver = driver();
        assert_eq!(resync(&mut driver, &World::default(), Sweep::Keep).messages, 0);
        driver.look_ahead();
        nft(&["-f", "-"], "delete element inet caracal aclients { 10.0.0.1 }").expect("nft does the damage");
        assert_eq!(resync(&mut driver, &world, Sweep::Remove).messages, 1);
        assert_eq!(listing(), before);
    });
}

#[test]
fn a_restart_finds_sets_that_were_copied() {
    let mut world = small();
    in_namespace(|| {
        let mut first = driver();
        apply(&mut first, &mut world);
        world.members("s:clients", &["10.0.0.3/32"], &[]);
        world.policy("default/web", &[allow_from("s:clients", "81")], &[]);
        apply(&mut first, &mut world);
        settle(&mut first, &world);
        assert!(listing().contains("set aclients/v1"));
        assert_eq!(resync(&mut driver(), &world, Sweep::Remove).messages, 0);
    });
}

/// Damage that a person with nft can do, and how many messages undo it at once. What is too much is deleted by the transaction after that.
const DAMAGE: &[(&str, usize)] = &[
    ("flush chain inet caracal policy-ingress/NetworkPolicy/default/web", 3),
    ("insert rule inet caracal policy-ingress/NetworkPolicy/default/web accept", 1),
    ("flush chain inet caracal forward-egress", 10),
    ("flush chain inet caracal to/cali0", 2),
    ("delete element inet caracal aclients { 10.0.0.1 }", 1),
    ("add element inet caracal aclients { 10.9.9.9 }", 1),
    ("flush set inet caracal noffice", 1),
    ("add element inet caracal noffice { 10.9.0.0/16 }", 1),
    ("delete element inet caracal noffice { 192.0.2.0/24 }; add element inet caracal noffice { 192.0.2.0/25 }", 2),
    ("delete element inet caracal to-workload { \"cali0\" : jump to/cali0 }", 1),
    (
        "delete element inet caracal to-workload { \"cali0\" : jump to/cali0 }; add element inet caracal to-workload { \"cali0\" : accept }",
        2,
    ),
    ("add element inet caracal to-workload { \"cali9\" : accept }", 1),
    ("chain inet caracal forward-egress { policy drop; }", 1),
    ("flush chain inet caracal forward-egress; delete chain inet caracal forward-egress", 10),
    (
        "flush chain inet caracal program-ingress/KEY; flush chain inet caracal policy-ingress/NetworkPolicy/default/web; delete chain inet caracal policy-ingress/NetworkPolicy/default/web",
        6,
    ),
    ("add chain inet caracal foreign; add rule inet caracal foreign accept", 0),
    ("add set inet caracal foreign { type ipv4_addr; }", 0),
    ("add chain inet caracal bad { type filter hook forward priority -5; policy drop; }", 0),
    (
        "add map inet caracal worse { type ifname : verdict; elements = { \"lo\" : jump to/cali0 }; }; add chain inet caracal bad { type filter hook forward priority -5; }; add rule inet caracal bad iifname vmap @worse",
        0,
    ),
    (
        "flush chain inet caracal policy-ingress/NetworkPolicy/default/web; delete set inet caracal aclients; add set inet caracal aclients { type ipv6_addr; }",
        112,
    ),
    ("delete table inet caracal", 112),
    ("flush ruleset", 112),
    ("delete table inet caracal; add table inet caracal", 112),
];

#[test]
fn damage_is_repaired_and_nothing_else_is_touched() {
    let office = caracal_proto::felix::Rule { src_ip_set_ids: vec!["s:office".into()], ..rule("allow") };
    for (damage, messages) in DAMAGE {
        let mut world = small();
        world.set("s:office", &["192.0.2.0/24"]);
        world.policy("default/web", &[allow_from("s:clients", "80"), office.clone()], &[]);
        in_namespace(|| {
            let mut driver = driver();
            apply(&mut driver, &mut world);
            let before = listing();
            let web = world.store.workloads().next().expect("the pod");
            let damage = damage.replace("KEY", &web.ingress.key().to_string());
            nft(&["-f", "-"], &damage).expect("nft does the damage");
            assert_ne!(listing(), before, "{damage}");

            let repair = poll_until_healed(&mut driver, &world, &damage).messages;
            assert_eq!(repair, *messages, "{damage}");
            settle(&mut driver, &world);
            assert_eq!(listing(), before, "{damage}");
            assert_eq!(resync(&mut self::driver(), &world, Sweep::Remove).messages, 0, "{damage}");
        });
    }
}

#[test]
fn before_in_sync_nothing_is_removed() {
    let mut old = small();
    old.endpoint("default/other-0", "cali7", &[], &["kns.default"]).set("s:other", &["10.7.0.1/32"]);
    in_namespace(|| {
        apply(&mut driver(), &mut old);
        let before = listing();

        // A data half without any control half yet.
        let mut world = World::default();
        let mut driver = driver();
        assert_eq!(resync(&mut driver, &world, Sweep::Keep).messages, 0);
        assert_eq!(listing(), before);

        // The first things that it is told.
        world.set("s:clients", &["10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"]);
        world.policy("default/web", &[allow_from("s:clients", "80")], &[]);
        world.profile("kns.default", &[rule("allow")], &[rule("allow")]);
        let tier = [("default", "Deny", &["default/web"][..], &[][..])];
        world.endpoint("default/web-0", "cali0", &tier, &["kns.default"]);
        assert_eq!(apply(&mut driver, &mut world).messages, 1, "one member");
        assert!(listing().contains("\"cali7\" : jump to/cali7"));
        sleep(2 * WALK);
        driver.poll(&world.store).expect("the kernel answers");
        assert!(listing().contains("set aother"));

        world.in_sync();
        apply(&mut driver, &mut world);
        assert!(!listing().contains("\"cali7\""));
        settle(&mut driver, &world);
        assert_eq!(listing(), loaded(&world));
    });
}

#[test]
fn others_may_do_what_they_like_elsewhere() {
    let mut world = small();
    in_namespace(|| {
        let mut driver = driver();
        apply(&mut driver, &mut world);
        for command in ["add table inet other", "add chain inet other x", "delete table inet other"] {
            nft(&["-f", "-"], command).expect("nft does it");
            assert_eq!(driver.poll(&world.store).expect("the kernel answers"), Finding::Unchanged);
        }
        assert_eq!((driver.counts().repairs, driver.counts().refusals), (0, 0));
    });
}

#[test]
fn other_settings_rewrite_what_they_change() {
    let mut world = small();
    in_namespace(|| {
        let mut driver = driver();
        apply(&mut driver, &mut world);
        let before = listing();
        let mut settings = driver.settings.clone();
        settings.deny = DenyAction::Reject;
        driver.set_settings(settings);
        // In each of the two programs the rule that denies gives way to one that counts on.
        assert_eq!(apply(&mut driver, &mut world).messages, 2);
        let rejecting = "reject comment \"end of tier default\"";
        assert!(listing().contains(rejecting), "{}", listing());
        let settings = Settings::default().with_interface_prefixes(["cali", "tap"]).expect("prefixes");
        driver.set_settings(settings);
        driver.settings.ownership = Ownership::Shared;
        apply(&mut driver, &mut world);
        assert!(listing().contains("iifname \"tap*\""));
        driver.set_settings(self::driver().settings);
        apply(&mut driver, &mut world);
        assert_eq!(listing(), before);
    });
}

#[test]
fn a_removed_driver_leaves_nothing() {
    let mut world = small();
    for ownership in [Ownership::Shared, Ownership::Owned] {
        in_namespace(|| {
            let mut driver = driver_with(|settings| settings.ownership = ownership);
            driver.remove().expect("there is nothing yet");
            driver.resync(&world.store, Sweep::Remove).expect("the kernel takes it");
            driver.remove().expect("the kernel takes it");
            assert_eq!(listing(), "");
            driver.resync(&world.store, Sweep::Remove).expect("it can begin again");
        });
    }
    world.changes();
}

/// On kernels without both flags (before 6.9) the table is shared instead.
#[test]
fn an_owned_table_stands_against_others_and_outlives_its_driver() {
    let mut world = small();
    in_namespace(|| {
        let mut first = driver_with(|settings| settings.ownership = Ownership::Owned);
        if !first.features.owned_persistent {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
            let version: Vec<u32> = release.split('.').take(2).map(|n| n.parse().expect("a number")).collect();
            assert!(version < vec![6, 9], "kernel {release} has both flags");
            return;
        }
        apply(&mut first, &mut world);
        let before = listing();
        nft(&["-f", "-"], "add chain inet caracal foreign").expect_err("the table is owned");
        nft(&["flush", "ruleset"], "").expect("nft flushes what it may");
        assert_eq!(listing(), before);
        assert_eq!(first.poll(&world.store).expect("the kernel answers"), Finding::Unchanged);

        let second = driver_with(|settings| settings.ownership = Ownership::Owned).resync(&world.store, Sweep::Remove);
        assert!(matches!(second, Err(DriverError::Unavailable { .. })), "{second:?}");

        // As after kill -9: the socket is gone, the rules stay, and the next run takes them over.
        drop(first);
        assert_eq!(listing(), before);
        let mut next = driver_with(|settings| settings.ownership = Ownership::Owned);
        assert_eq!(resync(&mut next, &world, Sweep::Remove).messages, 1);
        nft(&["-f", "-"], "add chain inet caracal foreign").expect_err("the table is owned again");
        assert_eq!(resync(&mut next, &world, Sweep::Remove).messages, 0);

        // A driver that shares can take over what an owner left.
        drop(next);
        world.members("s:clients", &["10.0.0.9/32"], &[]);
        assert_eq!(resync(&mut driver(), &world, Sweep::Remove).messages, 1);
    });
}

#[test]
fn a_shared_table_becomes_owned_after_in_sync() {
    let mut world = small();
    in_namespace(|| {
        apply(&mut driver(), &mut world);
        let before = listing();
        let mut owner = driver_with(|settings| settings.ownership = Ownership::Owned);
        assert_eq!(resync(&mut owner, &world, Sweep::Keep).messages, 0);
        resync(&mut owner, &world, Sweep::Remove);
        assert_eq!(listing(), before);
        if owner.features.owned_persistent {
            nft(&["-f", "-"], "add chain inet caracal foreign").expect_err("the table is owned");
        }
    });
}
