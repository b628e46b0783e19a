//! When the driver looks for what others did.

use super::*;

#[test]
fn rules_that_somebody_changed_are_repaired() {
    let mut rig = Rig::with(&[config(&[("RouteRefreshInterval", "0")]), endpoint("a", "cali1", &[])]);
    assert_eq!(rig.wait(POLL), []);
    assert_eq!(rig.world.calls(), ["poll"]);
    rig.world.tamper();
    assert_eq!(rig.wait(POLL), [], "the endpoint is doing as before");
    rig.world.breaks("poll");
    assert_eq!(rig.wait(POLL), []);
    assert_eq!(rig.world.calls(), ["poll"; 2]);
}

#[test]
fn who_is_woken_looks_at_once_and_then_not_for_a_while() {
    let mut rig = Rig::with(&[config(&[("RouteRefreshInterval", "0")]), endpoint("a", "cali1", &[])]);
    assert_eq!(rig.wait(POLL / 2), []);
    for _ in 0..3 {
        rig.half.woken(rig.now);
    }
    assert_eq!(rig.half.deadline(), rig.now);
    assert_eq!(rig.wait(Duration::ZERO), []);
    assert_eq!(rig.world.calls(), ["poll"], "once for all that came before");
    assert_eq!(rig.wait(POLL - SECOND), []);
    assert_eq!(rig.world.calls(), [""; 0], "the pause begins anew");
    assert_eq!(rig.wait(SECOND), []);
    assert_eq!(rig.world.calls(), ["poll"]);
}
