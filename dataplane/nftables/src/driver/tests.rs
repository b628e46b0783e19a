//! What the kernel makes of it, each test in a network namespace of its own.

use caracal_program::{Driver, Outcome, Sweep};

use super::*;
use crate::render::render_text;
use crate::testing::{World, allow_from, in_namespace, listing, nft, rule};

fn driver() -> NftablesDriver {
    driver_with(|settings| settings.ownership = Ownership::Shared)
}

fn driver_with(choose: impl FnOnce(&mut Settings)) -> NftablesDriver {
    let mut settings = Settings::default();
    choose(&mut settings);
    NftablesDriver::new(settings).expect("nf_tables")
}

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

#[test]
fn one_pod_and_one_policy_list_as_their_text_does() {
    let mut world = small();
    let text = render_text(&world.store, &Settings::default());
    println!("{text}");
    let loaded = in_namespace(|| {
        nft(&["-f", "-"], &text).expect("nft loads the text");
        listing()
    });
    let programmed = in_namespace(|| {
        let mut driver = driver();
        let changes = world.changes();
        let receipt = driver.apply(&world.store, &changes).expect("the kernel takes it");
        println!("{receipt:?}");
        listing()
    });
    println!("{programmed}");
    assert_eq!(loaded, programmed);
}
