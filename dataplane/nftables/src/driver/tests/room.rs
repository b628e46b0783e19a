//! Sets of bounded size.

use super::*;
use crate::garbage::WALK;

#[test]
fn a_set_that_is_full_gets_more_room_and_is_found_by_a_restart() {
    let mut world = small();
    in_namespace(|| {
        let mut first = driver();
        apply(&mut first, &mut world);
        for n in 1..=200 {
            world.members("s:clients", &[&format!("10.9.0.{n}/32")], &[]);
            apply(&mut first, &mut world);
        }
        let copies = first.held.sets.keys().filter(|name| name.starts_with("aclients/v")).count();
        assert!(copies > 0, "nothing was copied");
        let kernel = first.counts().kernel;
        assert!(!kernel.is_zero());
        assert_eq!(first.counts(), Counts { transactions: 201, kernel, ..Counts::default() });
        sleep(2 * WALK);
        assert_eq!(first.poll(&world.store).expect("the kernel answers"), Finding::Unchanged);
        let listed = listing();
        assert_eq!(listed.matches("set aclients").count(), 1, "{listed}");
        assert!(listed.contains("set aclients/v3"), "{listed}");
        let found = driver().resync(&world.store, Sweep::Remove).expect("the kernel answers");
        assert_eq!(found.messages, 0);
        assert_eq!(listing(), listed);
    });
}

/// A member is gone, and members of others leave no room for it.
#[test]
fn a_set_that_others_filled_is_healed() {
    let mut world = small();
    in_namespace(|| {
        let mut driver = driver();
        apply(&mut driver, &mut world);
        let wanted = listing();
        let theirs: Vec<String> = (1..=23).map(|n| format!("203.0.113.{n}")).collect();
        let fill = format!("add element inet caracal aclients {{ {} }}", theirs.join(", "));
        let damage = format!("delete element inet caracal aclients {{ 10.0.0.1 }}\n{fill}");
        nft(&["-f", "-"], &damage).expect("nft does the damage");
        assert!(nft(&["-f", "-"], "add element inet caracal aclients { 203.0.113.200 }").is_err(), "there is room");
        poll_until_healed(&mut driver, &world, &damage);
        assert_eq!(listing(), wanted);
        assert_eq!(driver.counts().refusals, 0);
    });
}
