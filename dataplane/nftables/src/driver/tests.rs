//! What the kernel makes of it, each test in a network namespace of its own.

use std::thread::sleep;

use caracal_program::{Driver, Outcome, Sweep};
use proptest::prelude::*;

use super::*;
use crate::render::render_text;
use crate::testing::random::{everything, told};
use crate::testing::{World, allow_from, in_namespace, listing, nft, rule};

mod adoption;
mod closing;
mod coexistence;
mod counters;
mod differential;
mod drift;
mod failure;
mod faults;
mod flow_log;
mod ipv6;
mod live_edit;
mod network;
mod packets;
mod predecessor;
mod room;
mod tracking;
mod tunnels;

fn driver() -> NftablesDriver {
    driver_with(|settings| settings.ownership = Ownership::Shared)
}

fn driver_with(choose: impl FnOnce(&mut Settings)) -> NftablesDriver {
    let mut settings = Settings::default();
    choose(&mut settings);
    NftablesDriver::new(settings).expect("nf_tables")
}

/// One pod with one policy.
fn small() -> World {
    let mut world = World::default();
    world
        .set("s:clients", &["10.0.0.1/32", "10.0.0.2/32"])
        .policy("default/web", &[allow_from("s:clients", "80")], &[])
        .profile("kns.default", &[rule("allow")], &[rule("allow")])
        .endpoint("default/web-0", "cali0", &[("default", "Deny", &["default/web"], &[])], &["kns.default"])
        .in_sync();
    world
}

/// Applies what has changed since the last time.
fn apply(driver: &mut NftablesDriver, world: &mut World) -> Receipt {
    let changes = world.changes();
    driver.apply(&world.store, &changes).expect("the kernel takes it")
}

/// Polls as the data half does until something was found and repaired.
fn poll_until_healed(driver: &mut NftablesDriver, world: &World, damage: &str) -> Receipt {
    let start = Instant::now();
    loop {
        match driver.poll(&world.store).expect("the kernel answers") {
            Finding::Repaired(receipt) => return receipt,
            Finding::Unchanged => assert!(start.elapsed() < Duration::from_secs(60), "not found: {damage}"),
        }
        sleep(Duration::from_millis(5));
    }
}

/// What the text of a store loads to.
fn loaded(world: &World) -> String {
    loaded_by(world, &Settings::default())
}

/// The same by other settings.
fn loaded_by(world: &World, settings: &Settings) -> String {
    let text = render_text(&world.store, settings);
    in_namespace(|| {
        nft(&["-c", "-f", "-"], &text).expect("nft checks the text");
        nft(&["-f", "-"], &text).expect("nft loads the text");
        listing()
    })
}

#[test]
fn one_pod_and_one_policy_list_as_their_text_does() {
    let mut world = small();
    let programmed = in_namespace(|| {
        let mut driver = driver();
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(receipt.transactions, 1);
        listing()
    });
    assert_eq!(programmed, loaded(&world));
    assert!(programmed.contains("tcp dport 80 ip saddr @aclients counter accept"), "{programmed}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_store_lists_as_its_text_does(start in everything()) {
        let mut world = World::default();
        for told in &start {
            world.hear(told);
        }
        world.in_sync();
        let (programmed, again) = in_namespace(|| {
            let mut driver = driver();
            apply(&mut driver, &mut world);
            assert_eq!(driver.counts().refusals, 0);
            let programmed = listing();
            // A driver that knows nothing of the first finds everything as it must be.
            let again = self::driver().resync(&world.store, Sweep::Remove).expect("the kernel answers");
            (programmed, again.messages)
        });
        prop_assert_eq!(programmed, loaded(&world));
        prop_assert_eq!(again, 0);
    }

    #[test]
    fn the_kernel_takes_every_revision(
        start in everything(),
        revisions in prop::collection::vec(prop::collection::vec(told(), 1..6), 1..6),
    ) {
        let mut world = World::default();
        world.in_sync();
        in_namespace(|| {
            let mut driver = driver();
            for told in [&start].into_iter().chain(&revisions) {
                told.iter().for_each(|told| world.hear(told));
                apply(&mut driver, &mut world);
                assert_eq!((driver.counts().uncopied_members, driver.counts().refusals), (0, 0));
                assert_eq!(driver.look_at_everything(), None);
            }
        });
    }
}
