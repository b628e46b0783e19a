//! What the data half reports of itself.

use caracal_proto::sync::{Counts, Extension};
use prost::Message as _;

use super::*;
use crate::fakes::no_endpoint;

impl Rig {
    /// The value of a measurement with this name and these label values.
    fn measured(&self, name: &str, labels: &[&str]) -> f64 {
        let report = self.half.report();
        let has = |value: &&str, of: &[(&str, SmolStr)]| of.iter().any(|(_, held)| held == value);
        let found: Vec<f64> = report
            .measurements
            .iter()
            .filter(|measurement| {
                measurement.name == name && labels.iter().all(|label| has(label, &measurement.labels))
            })
            .map(|measurement| measurement.value)
            .collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}");
        found[0]
    }

    /// What does not work, each as its subject and the beginning of the reason.
    fn problems(&self) -> Vec<String> {
        let problems = self.half.report().problems.into_iter();
        problems.map(|problem| format!("{}: {}", problem.subject, problem.reason)).collect()
    }
}

/// An endpoint whose address is none.
fn garbled(workload: &str, interface: &str) -> felix::ToDataplane {
    endpoint(workload, interface, &["10.0.0.256"])
}

fn policy(protocol: &str) -> felix::ToDataplane {
    let protocol = felix::Protocol { number_or_name: Some(felix::protocol::NumberOrName::Name(protocol.to_owned())) };
    let rule = felix::Rule { action: "allow".to_owned(), protocol: Some(protocol), ..Default::default() };
    let id = felix::PolicyId { name: "p".to_owned(), namespace: "shop".to_owned(), kind: "NetworkPolicy".to_owned() };
    let policy = felix::Policy { inbound_rules: vec![rule], tier: "default".to_owned(), ..Default::default() };
    message(Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate { id: Some(id), policy: Some(policy) }))
}

#[test]
fn what_rules_have_counted_is_read_for_whoever_asks_but_not_too_often() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    rig.world.calls();
    let ask = |rig: &mut Rig, after: Duration| {
        let question = Extension { name: COUNTS.to_owned(), value: Vec::new() };
        let frame = ToData { frame: Some(to_data::Frame::Extension(question)) };
        let answer = rig.half.frame(rig.now + after, frame).expect("a question is no break of order");
        assert_eq!((answer, rig.half.counts_due()), (None, Some(rig.now + after)), "rules are read in turns");
        let answer = rig.half.counts(rig.now + after);
        assert_eq!(rig.half.counts_due(), None);
        let Some(from_data::Frame::Extension(answer)) = answer.and_then(|answer| answer.frame) else {
            panic!("an extension is answered by one");
        };
        assert_eq!(answer.name, COUNTS);
        let counts = Counts::decode(answer.value.as_slice()).expect("counts");
        let rules: Vec<_> = counts.rules.into_iter().map(|rule| (rule.kind, rule.packets)).collect();
        (rules, counts.totals.len(), rig.world.calls())
    };
    let counted = |rules: &[(&str, u64)], calls: &[&str]| {
        let rules: Vec<_> = rules.iter().map(|(kind, packets)| ((*kind).to_owned(), *packets)).collect();
        (rules, 1, calls.iter().map(ToString::to_string).collect())
    };
    let denied = |calls: &[&str]| counted(&[("EndOfTier", 1)], calls);
    assert_eq!(ask(&mut rig, Duration::ZERO), denied(&["count"]));
    assert_eq!(ask(&mut rig, Duration::from_millis(99)), denied(&[]));
    // Reading takes the driver of the test no time.
    assert_eq!(ask(&mut rig, SECOND), denied(&["count"]));
    rig.delta(&[policy("tcp")]);
    rig.world.calls();
    assert_eq!(ask(&mut rig, SECOND), counted(&[], &[]), "a rule may have another place by now");
    assert_eq!(ask(&mut rig, 2 * SECOND), denied(&["count"]));
    rig.world.breaks("count");
    assert_eq!(ask(&mut rig, 30 * SECOND), denied(&["count"]), "what was read last");
}

#[test]
fn a_garbled_endpoint_is_closed_alone_and_named_until_it_is_mended() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"]), endpoint("b", "cali2", &["10.0.0.2"])]);
    rig.link("cali1", up(1));
    rig.link("cali2", up(2));

    let told = rig.delta(&[garbled("a", "cali1")]);
    let (workload, outcome, reason) = &told.outcomes[0];
    assert_eq!((workload.as_str(), *outcome, told.outcomes.len()), ("a", Outcome::Quarantined, 1));
    assert!(reason.contains("k8s/a/eth0") && reason.contains("10.0.0.256"), "{reason}");
    assert!(rig.half.store.workload(&crate::fakes::id("a")).is_none(), "what it said before does not stand");
    assert!(rig.half.store.workload(&crate::fakes::id("b")).is_some());
    assert_eq!(rig.measured("caracal_dataplane_message_faults_total", &["WorkloadEndpointUpdate"]), 1.0);
    assert_eq!(rig.measured("caracal_dataplane_endpoints", &["quarantined"]), 1.0);
    assert_eq!(rig.measured("caracal_dataplane_endpoints", &["programmed"]), 1.0);
    assert!(rig.problems()[0].starts_with("k8s/a/eth0: closed: WorkloadEndpointUpdate of k8s/a/eth0: "));

    let told = rig.delta(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    assert_eq!(told.outcomes.len(), 1);
    assert_eq!(told.outcomes[0].1, Programmed);
    assert_eq!(rig.problems(), [""; 0]);

    rig.delta(&[garbled("a", "cali1")]);
    assert_eq!(rig.delta(&[no_endpoint("a")]).outcomes[0].1, Removed);
    assert_eq!(rig.problems(), [""; 0]);

    rig.delta(&[garbled("b", "cali2")]);
    rig.snapshot(&[endpoint("b", "cali2", &["10.0.0.2"]), in_sync()]);
    assert_eq!(rig.problems(), [""; 0]);
}

#[test]
fn a_garbled_policy_does_not_leave_its_older_rules_in_force() {
    let mut rig = Rig::with(&[policy("tcp")]);
    rig.delta(&[policy("nonsense")]);
    assert_eq!(rig.half.store.policies().len(), 0, "whoever lists it is denied");
    let problems = rig.problems();
    assert!(
        problems[0].starts_with("NetworkPolicy shop/p: closed: ") && problems[0].contains("nonsense"),
        "{problems:?}"
    );
    rig.delta(&[policy("udp")]);
    assert_eq!((rig.half.store.policies().len(), rig.problems().len()), (1, 0));
    assert_eq!(rig.measured("felix_int_dataplane_messages", &["ActivePolicyUpdate"]), 3.0);
}

#[test]
fn frames_out_of_place_are_counted() {
    let mut rig = Rig::with(&[]);
    let commit = to_data::Frame::Commit(Commit { revision: 9, stamp: 0 });
    rig.half.frame(rig.now, ToData { frame: Some(commit) }).expect_err("nothing was begun");
    assert_eq!(rig.measured("caracal_dataplane_disordered_frames_total", &[]), 1.0);
    assert_eq!(rig.measured("caracal_dataplane_revisions_total", &["snapshot"]), 1.0);
}

#[test]
fn what_failed_is_a_problem_until_it_works() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    rig.world.breaks("apply");
    rig.world.breaks("add");
    rig.delta(&[endpoint("b", "cali2", &["10.0.0.2"])]);
    rig.link("cali1", up(1));
    let problems = rig.problems();
    assert!(problems[0].starts_with("rules: cannot be put in force, the last good ones stand: "), "{problems:?}");
    assert!(
        problems[1]
            .starts_with("workload endpoint k8s/a/eth0: interface cali1: cannot write the route to 10.0.0.1/32: "),
        "{problems:?}"
    );
    assert_eq!(rig.measured("felix_int_dataplane_failures", &[]), 1.0);
    assert_eq!(rig.measured("caracal_dataplane_retries_total", &["interface"]), 1.0);
    rig.world.heals();
    rig.wait(SECOND);
    assert_eq!(rig.problems(), [""; 0]);
    assert_eq!(rig.measured("felix_route_table_num_routes", &["254"]), 1.0);
}

#[test]
fn what_is_tried_again_and_again_is_a_problem_until_it_works() {
    let mut rig = Rig::with(&[]);
    rig.world.breaks("forward");
    rig.link("cali1", up(5));
    rig.delta(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    let forwarding =
        |rig: &Rig| rig.problems().into_iter().filter(|it| it.starts_with("forwarding")).collect::<Vec<_>>();
    let broken = |family: &str| format!("forwarding of {family}: cannot be turned on: broken by the test");
    assert_eq!(forwarding(&rig), [broken("IPv4"), broken("IPv6")]);
    rig.world.heals();
    // The next look at the routes.
    rig.wait(120 * SECOND);
    assert_eq!(forwarding(&rig), [""; 0]);
}
