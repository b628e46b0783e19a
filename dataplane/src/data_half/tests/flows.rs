//! When rules tell of flows.

use super::*;

const ON: [(&str, &str); 1] = [("FlowLogsLocalReporter", "Enabled")];

#[test]
fn rules_tell_of_flows_only_while_somebody_listens() {
    let mut rig = Rig::with(&[]);
    rig.world.breaks("listen");
    rig.delta(&[config(&ON)]);
    assert_eq!(rig.world.calls(), ["listen to flows", "configure", "list routes", "apply [config]"]);
    let problems = rig.half.report().problems;
    assert_eq!(problems.iter().map(|problem| problem.subject.as_str()).collect::<Vec<_>>(), ["flow records"]);
    rig.world.heals();
    rig.wait(SECOND);
    assert_eq!(rig.world.calls(), ["listen to flows", "configure telling", "apply []"]);
    assert_eq!(rig.half.report().problems, []);
    rig.delta(&[config(&[])]);
    assert_eq!(rig.world.calls(), ["configure", "list routes", "apply [config]"]);
}

#[test]
fn rules_that_were_told_to_tell_from_the_start_do() {
    let (world, now) = (World::default(), Instant::now());
    let settings = Settings { flow_logs: true, ..Settings::default() };
    drop(DataHalf::start(now, FakeDriver::new(world.clone()), FakeHost(world.clone()), settings));
    assert_eq!(world.calls(), ["listen to flows", "configure telling", "resync keep"]);
}

#[test]
fn nobody_is_told_of_flows_before_there_is_somebody() {
    let (world, now) = (World::default(), Instant::now());
    let settings = Settings { flow_logs: true, ..Settings::default() };
    let mut half = DataHalf::start(now, FakeDriver::new(world.clone()), FakeHost(world), settings);
    assert_eq!(half.flows(now + 2 * SECOND), None);
    assert!(half.deadline() > now + 2 * SECOND, "nor is there anything to do");
}
