//! Parameters that change while the data half runs.

use super::*;

#[test]
fn new_settings_are_followed_at_once() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1", "fd00::1"])]);
    rig.link("cali1", up(5));
    rig.world.calls();
    rig.delta(&[config(&[("IPv4NormalRoutePriority", "7"), ("DeviceRouteProtocol", "80"), ("Ipv6Support", "false")])]);
    let calls = [
        "configure".to_owned(),
        "prepare cali1 IPv4".to_owned(),
        "add 10.0.0.1/32 dev 5 proto 80 metric 7".to_owned(),
        route("del", "10.0.0.1", 5),
        route("del", "fd00::1", 5),
        introduction("10.0.0.1", 5),
        "forward IPv4".to_owned(),
        "list routes".to_owned(),
        "apply [config]".to_owned(),
    ];
    assert_eq!(rig.world.calls(), calls);
    rig.delta(&[config(&[
        ("IPv4NormalRoutePriority", "7"),
        ("DeviceRouteProtocol", "80"),
        ("Ipv6Support", "false"),
        ("HealthPort", "9099"),
    ])]);
    assert!(!rig.world.calls().iter().any(|call| call.starts_with("add") || call.starts_with("del")));
}

#[test]
fn settings_that_the_driver_refuses_change_nothing() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    rig.link("cali1", up(5));
    rig.world.calls();
    rig.world.breaks("configure");
    rig.delta(&[config(&[("IPv4NormalRoutePriority", "7")])]);
    assert_eq!(rig.world.calls(), ["configure", "apply [config]"]);
    let problems = rig.half.report().problems;
    let problem = problems.first().expect("they are a problem");
    assert_eq!(problem.subject, "configuration");
    assert!(problem.reason.starts_with("not in force, what it said before is: "), "{problem:?}");
    rig.delta(&[config(&[])]);
    assert_eq!(rig.half.report().problems, [], "what is asked for is in force");
}

/// No timer need come for them, and where there is none they are followed all the same.
#[test]
fn settings_of_the_host_are_followed_without_a_refresh() {
    let kept = ("RouteRefreshInterval", "0");
    let mut rig = Rig::start();
    rig.snapshot(&[
        config(&[kept, ("IPForwarding", "Disabled"), ("RemoveExternalRoutes", "false")]),
        endpoint("a", "cali1", &[]),
        in_sync(),
    ]);
    rig.link("cali1", up(5));
    rig.world.add_route(strange(80));
    let forwards = |rig: &Rig| rig.world.calls().iter().any(|call| call.starts_with("forward"));
    assert!(!forwards(&rig));
    rig.delta(&[config(&[kept, ("RemoveExternalRoutes", "false")])]);
    assert!(forwards(&rig));
    rig.delta(&[config(&[kept])]);
    rig.wait(GRACE + SECOND);
    assert!(rig.world.routes().is_empty());
}
