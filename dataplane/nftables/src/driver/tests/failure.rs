//! What cannot be put into force closes what needs it, and nothing else.

use super::*;
use crate::garbage::Garbage;
use crate::lower::Stage;
use crate::model::{ListKey, Owner};
use crate::plan::Step;
use crate::sets::Place;
use crate::testing::texts;
use caracal_program::Direction;
use caracal_sys::nft::Refused;

fn outcome_of<'a>(receipt: &'a Receipt, pod: &str) -> Option<&'a Outcome> {
    receipt.outcomes.iter().find(|o| o.id.workload == pod).map(|o| &o.outcome)
}

fn reason(outcome: Option<&Outcome>) -> &str {
    match outcome {
        Some(Outcome::Quarantined { reason }) => reason,
        other => panic!("not quarantined but {other:?}"),
    }
}

#[test]
fn an_interface_that_cannot_be_named_closes_its_endpoint_only() {
    let mut world = small();
    world.endpoint("default/odd-0", "cali\"0", &[], &["kns.default"]);
    in_namespace(|| {
        let mut driver = driver();
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/web-0"), Some(&Outcome::Programmed));
        assert!(reason(outcome_of(&receipt, "default/odd-0")).contains("cannot name a workload's interface"));
        world.endpoint("default/odd-0", "cali1", &[], &["kns.default"]);
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/odd-0"), Some(&Outcome::Programmed));
        assert_eq!(outcome_of(&receipt, "default/web-0"), None, "no news");
    });
}

#[test]
fn endpoints_of_one_interface_take_turns() {
    let mut world = small();
    in_namespace(|| {
        let mut driver = driver();
        apply(&mut driver, &mut world);
        world.endpoint("default/a", "cali0", &[], &["kns.default"]);
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/a"), Some(&Outcome::Programmed));
        assert_eq!(outcome_of(&receipt, "default/web-0"), Some(&Outcome::Shadowed));
        world.remove_endpoint("default/a");
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/a"), Some(&Outcome::Removed));
        assert_eq!(outcome_of(&receipt, "default/web-0"), Some(&Outcome::Programmed));
    });
}

#[test]
fn a_rule_that_cannot_be_expressed_denies() {
    let mut world = small();
    let ids: Vec<String> = (0..9).map(|n| format!("s:{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for id in &ids {
        world.set(id, &["10.0.0.1/32", "10.1.0.0/16"]);
    }
    let wide = |ids: &[&str]| caracal_proto::felix::Rule { src_ip_set_ids: texts(ids), ..rule("allow") };
    in_namespace(|| {
        let mut driver = driver();
        world.policy("default/web", &[wide(&ids[..8])], &[]);
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/web-0"), Some(&Outcome::Programmed));
        world.policy("default/web", &[wide(&ids)], &[]);
        let receipt = apply(&mut driver, &mut world);
        assert!(reason(outcome_of(&receipt, "default/web-0")).contains("NetworkPolicy default/web ingress 0: 9 sets"));
        world.policy("default/web", &[wide(&ids[..1])], &[]);
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/web-0"), Some(&Outcome::Programmed));
        assert_eq!(driver.counts().refusals, 0);
    });
}

/// Somebody made a set of our next name and another type, and no poll has seen it.
#[test]
fn a_refused_transaction_is_made_good_at_once() {
    let mut world = small();
    in_namespace(|| {
        let mut driver = driver();
        apply(&mut driver, &mut world);
        nft(&["-f", "-"], "add set inet caracal anew { type ipv6_addr; }").expect("nft adds a set");
        world.set("s:new", &["10.0.0.1/32"]).policy("default/web", &[allow_from("s:new", "80")], &[]);
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(driver.counts().refusals, 1);
        assert_eq!(outcome_of(&receipt, "default/web-0"), Some(&Outcome::Programmed));
        assert_eq!(listing(), loaded(&world));
    });
}

/// What the kernel goes on refusing is closed until it changes.
#[test]
fn what_is_refused_is_closed_until_it_changes() {
    let mut world = small();
    world.policy("default/db", &[rule("allow")], &[]);
    world.endpoint("default/db-0", "cali1", &[("default", "Deny", &["default/db"], &[])], &[]);
    in_namespace(|| {
        let mut driver = driver();
        apply(&mut driver, &mut world);
        let policy = world.store.policies().find(|p| p.id.name == "web").expect("the policy").id.clone();
        let key = ListKey { owner: Owner::Policy(policy), direction: Direction::Ingress, stage: Stage::Filter };
        let objects = FxHashMap::from_iter([(Object::List(key), "the kernel has no room".to_owned())]);

        let receipt = driver.read_back(&world.store, Sweep::Remove, objects).expect("the rest is in force");
        assert_eq!(reason(outcome_of(&receipt, "default/web-0")), "the kernel has no room");
        assert_eq!(outcome_of(&receipt, "default/db-0"), Some(&Outcome::Programmed));
        let closed = "counter drop comment \"NetworkPolicy default/web ingress: the kernel has no room\"";
        assert!(listing().contains(closed), "{}", listing());

        world.members("s:clients", &["10.0.0.3/32"], &[]);
        assert_eq!(apply(&mut driver, &mut world).outcomes, [], "still closed");
        assert!(listing().contains(closed));

        world.policy("default/web", &[allow_from("s:clients", "81")], &[]);
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/web-0"), Some(&Outcome::Programmed));
        assert!(!listing().contains(closed));
    });
}

/// The kernel names messages; each is some object of the model, or none that could be left out.
#[test]
fn a_refused_message_blames_the_object_that_it_is_about() {
    let mut world = small();
    world.pool("10.0.0.0/8", "nat");
    let (model, edits) = Model::build(&world.store, &Settings::default(), FxHashMap::default(), |_| Place::Free(0));
    let steps = plan(edits, Garbage::default());
    let mut seen = std::collections::BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        let op = Some(caracal_sys::nft::Op(u32::try_from(at).expect("few steps")));
        let element = matches!(step, Step::AddElements(..)).then_some(0);
        let refused = Refused { op, element, errno: nix::errno::Errno::ENOMEM, offset: None, message: "do it".into() };
        let objects: Vec<_> = commit::blamed(&model, &steps, &refused).into_iter().map(|(object, _)| object).collect();
        let what = objects.iter().map(|object| match object {
            Object::Set(id) => format!("set {id}"),
            Object::List(key) => format!("{} of {:?}", key.direction, key.owner).chars().take(19).collect(),
            Object::Program(_) => "program".to_owned(),
            Object::Interface(name) => format!("interface {name}"),
            Object::Hosts => "hosts".to_owned(),
            Object::Network => "network".to_owned(),
        });
        let name = step.object().expect("none is about the table").split('/').next().expect("a name").to_owned();
        seen.entry(name).or_insert_with(Vec::new).push(what.collect::<Vec<_>>().join(" "));
    }
    let first: Vec<(&str, &str)> =
        seen.iter().map(|(name, whats)| (name.as_str(), whats[whats.len() - 1].as_str())).collect();
    assert_eq!(
        first,
        [
            ("aclients", "set s:clients"),
            ("forward-egress", ""),
            ("forward-ingress", ""),
            ("from", "interface cali0"),
            ("from-workload", "interface cali0"),
            ("input-egress", ""),
            ("input-endpoint-to-host", ""),
            ("input-established", ""),
            ("nat-from4", "network"),
            ("nat-inside4", "network"),
            ("nat-outgoing", "network"),
            ("output-revoked", ""),
            ("policy-ingress", "ingress of Policy(Po"),
            ("prerouting-source", ""),
            ("profile-egress", "egress of Profile(\"k"),
            ("profile-ingress", "ingress of Profile("),
            ("program-egress", "program"),
            ("program-ingress", "program"),
            ("revoked", ""),
            ("to", "interface cali0"),
            ("to-workload", "interface cali0"),
            ("workload-addrs4", ""),
            ("workload-addrs6", ""),
            ("workload-loopback", ""),
            ("workload-nets4", "interface cali0"),
            ("workload-nets6", "interface cali0"),
            ("workload-related", ""),
            ("workload-source", ""),
        ]
        .map(|(name, what)| (name, &what[..what.len().min(19)]))
    );
}

/// The policy closes who has it; everybody else is as before, and it opens when the set comes.
#[test]
fn a_policy_about_a_set_that_was_not_sent_closes_its_endpoints_only() {
    let mut world = small();
    world.policy("default/db", &[allow_from("s:missing", "5432"), rule("allow")], &[]);
    world.endpoint("default/db-0", "cali1", &[("default", "Deny", &["default/db"], &[])], &[]);
    in_namespace(|| {
        let mut driver = driver();
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/web-0"), Some(&Outcome::Programmed));
        let told = reason(outcome_of(&receipt, "default/db-0")).to_owned();
        assert_eq!(told, "NetworkPolicy default/db ingress 0: set s:missing is unknown");
        let problems = driver.report().problems;
        assert!(problems.iter().any(|problem| problem.subject.contains("default/db-0")), "{problems:?}");
        world.set("s:missing", &["10.0.0.1/32"]);
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/db-0"), Some(&Outcome::Programmed));
    });
}

/// A second policy with a set of its own, and an endpoint that has neither.
fn with_large_set(members: &[&str]) -> World {
    let mut world = small();
    world.set("s:large", members);
    world.policy("default/db", &[allow_from("s:large", "5432")], &[]);
    world.endpoint("default/db-0", "cali1", &[("default", "Deny", &["default/db"], &[])], &[]);
    world
}

/// The endpoints of a set that is too large are closed, are told why, and open when it is smaller.
#[test]
fn a_set_that_is_too_large_closes_its_endpoints_only() {
    let mut world = with_large_set(&["10.0.0.1/32", "10.0.0.2/32", "fd00::1/128"]);
    in_namespace(|| {
        let mut driver = driver_with(|settings| settings.largest_set = Some(2));
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/web-0"), Some(&Outcome::Programmed));
        let why = "IP set s:large has 3 members, more than MaxIpsetSize allows (2)";
        assert_eq!(reason(outcome_of(&receipt, "default/db-0")), why);
        let report = driver.report();
        assert!(report.problems.iter().any(|p| (p.subject.as_str(), p.reason.as_str()) == ("IP set s:large", why)));
        let count = |report: &Report| {
            report.measurements.iter().find(|m| m.name == "caracal_nftables_refused_sets").expect("it is counted").value
        };
        assert!((count(&report) - 1.0).abs() < f64::EPSILON);

        world.members("s:large", &[], &["10.0.0.2/32"]);
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/db-0"), Some(&Outcome::Programmed));
        assert_eq!(outcome_of(&receipt, "default/web-0"), None, "no news");
        assert!(count(&driver.report()).abs() < f64::EPSILON);
        assert_eq!(listing(), loaded(&world));

        world.members("s:large", &["10.0.0.3/32", "10.0.0.4/32"], &[]);
        let receipt = apply(&mut driver, &mut world);
        assert!(reason(outcome_of(&receipt, "default/db-0")).contains("has 4 members"));
        world.members("s:large", &["10.0.0.5/32"], &[]);
        let receipt = apply(&mut driver, &mut world);
        assert!(reason(outcome_of(&receipt, "default/db-0")).contains("has 5 members"));
    });
}

/// The kernel refuses one set each time: whoever needs it is closed and told of, the
/// rest goes on, and the kernel is asked again after longer and longer pauses.
#[test]
fn what_the_kernel_goes_on_refusing_is_quarantined() {
    let mut world = with_large_set(&["10.0.0.1/32"]);
    in_namespace(|| {
        let mut settings = Settings::default();
        settings.ownership = Ownership::Shared;
        let socket = crate::testing::faults::refusing_socket("large");
        let mut driver = NftablesDriver::over(settings, socket).expect("nf_tables");
        let receipt = apply(&mut driver, &mut world);
        assert_eq!(outcome_of(&receipt, "default/web-0"), Some(&Outcome::Programmed));
        let why = reason(outcome_of(&receipt, "default/db-0")).to_owned();
        assert!(why.starts_with("the kernel refused to") && why.contains("large"), "{why}");
        let subjects: Vec<String> = driver.report().problems.into_iter().map(|problem| problem.subject).collect();
        assert!(subjects.iter().any(|subject| subject == "IP set s:large"), "{subjects:?}");
        assert!(subjects.iter().any(|subject| subject.contains("default/db-0")), "{subjects:?}");

        world.members("s:clients", &["10.0.0.7/32"], &[]);
        let receipt = apply(&mut driver, &mut world);
        assert_eq!((receipt.transactions, &receipt.outcomes[..]), (1, &[][..]), "others go on");

        let (refused, mut now) = (driver.counts().refusals, Instant::now());
        let mut asked = Vec::new();
        for second in 0..1500 {
            now += Duration::from_secs(1);
            if driver.is_amnesty(&world.store, now) {
                asked.push(second);
            }
        }
        assert_eq!(asked[..5], [1, 3, 7, 15, 31]);
        let last = &asked[asked.len() - 2..];
        assert_eq!(last[1] - last[0], 300, "{asked:?}");
        driver.amnesty = Some((Instant::now(), Duration::from_secs(1)));
        let found = driver.poll(&world.store).expect("the rest is in force");
        assert!(matches!(found, Finding::Repaired(receipt) if reason(outcome_of(&receipt, "default/db-0")) == why));
        assert_eq!(driver.counts().refusals, refused + 1);
    });
}
