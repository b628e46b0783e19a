//! The work of each change, step by step.

use std::time::Instant;

use caracal_program::Change;
use rustc_hash::FxHashMap;

use super::*;
use crate::garbage::WALK;
use crate::model::{Model, Update};
use crate::sets::Place;
use crate::settings::Settings;
use crate::testing::sim::Sim;
use crate::testing::{World, allow_from, rule};

/// Two pods that share a policy, and a third of another kind.
fn start() -> World {
    let mut world = World::default();
    let tier = [("default", "Deny", &["default/web"][..], &[][..])];
    world
        .set("s:clients", &["10.0.0.1/32", "10.0.0.2/32"])
        .set("s:office", &["192.0.2.0/24"])
        .policy("default/web", &[allow_from("s:clients", "80"), allow_from("s:office", "80")], &[])
        .policy("default/db", &[allow_from("s:clients", "5432")], &[])
        .profile("kns.default", &[rule("allow")], &[rule("allow")])
        .endpoint("default/web-0", "cali0", &tier, &["kns.default"])
        .endpoint("default/web-1", "cali1", &tier, &["kns.default"])
        .endpoint("default/db-0", "cali2", &[("default", "Deny", &["default/db"], &[])], &["kns.default"])
        .in_sync();
    world.changes();
    world
}

/// A programmed state that changes are made to.
struct Programmed {
    world: World,
    model: Model,
    sim: Sim,
    now: Instant,
}

impl Programmed {
    fn new() -> Self {
        let world = start();
        let (model, edits) = Model::build(&world.store, &Settings::default(), FxHashMap::default(), |_| Place::Free(0));
        let mut sim = Sim::default();
        sim.commit(&plan(edits, Garbage::default())).expect("a ruleset from nothing");
        Self { world, model, sim, now: Instant::now() }
    }

    /// The steps of one revision, one a line, long after the one before.
    fn revision(&mut self, edit: impl FnOnce(&mut World)) -> String {
        self.now += WALK;
        edit(&mut self.world);
        let changes: Vec<Change> = self.world.changes();
        let Update { edits, garbage, .. } = self.model.update(&self.world.store, &changes, self.now);
        let steps = plan(edits, garbage);
        self.sim.commit(&steps).expect("a plan that the kernel takes");
        steps.iter().map(|step| format!("{step}\n")).collect()
    }
}

/// The steps of a change to the start, and of the transaction after it.
fn work_of(edit: impl FnOnce(&mut World)) -> String {
    let mut programmed = Programmed::new();
    let first = programmed.revision(edit);
    let second = programmed.revision(|_| {});
    match second.is_empty() {
        true => first,
        false => format!("{first}-- with the next transaction --\n{second}"),
    }
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(work_of(|_| {}), "");
    // A message that says what is known already.
    assert_eq!(
        work_of(|world| {
            world.set("s:clients", &["10.0.0.2/32", "10.0.0.1/32"]);
        }),
        ""
    );
    // A profile that is set as it was, and one that nobody uses.
    assert_eq!(
        work_of(|world| {
            world.profile("kns.default", &[rule("allow")], &[rule("allow")]);
        }),
        ""
    );
    assert_eq!(
        work_of(|world| {
            world.profile("kns.other", &[rule("allow")], &[]);
        }),
        ""
    );
}

type Edit = fn(&mut World);

/// Exactly what the kernel is told about each change.
#[test]
fn the_work_of_each_change() {
    let changes: &[(&str, Edit)] = &[
        ("a member comes", |world| {
            world.members("s:clients", &["10.0.0.3/32"], &[]);
        }),
        ("a member goes", |world| {
            world.members("s:clients", &[], &["10.0.0.1/32"]);
        }),
        ("members come and go", |world| {
            world.members("s:clients", &["10.0.0.3/32", "10.0.0.4/32"], &["10.0.0.1/32"]);
        }),
        ("the last member goes", |world| {
            world.members("s:clients", &[], &["10.0.0.1/32", "10.0.0.2/32"]);
        }),
        ("more members come than there is room for", |world| {
            let members: Vec<String> = (1..=23).map(|n| format!("10.0.1.{n}/32")).collect();
            let members: Vec<&str> = members.iter().map(String::as_str).collect();
            world.members("s:clients", &members, &[]);
        }),
        ("two sets come whose ids begin alike", |world| {
            let ids = ["a", "b"].map(|last| format!("s:{}{last}", "x".repeat(37)));
            for id in &ids {
                world.set(id, &["10.0.0.1/32"]);
            }
            world.policy("default/db", &[allow_from(&ids[0], "1"), allow_from(&ids[1], "2")], &[]);
        }),
        ("a prefix is covered", |world| {
            world.members("s:office", &["192.0.2.128/25"], &[]);
        }),
        ("a prefix covers", |world| {
            world.members("s:office", &["192.0.0.0/16"], &[]);
        }),
        ("the first prefix comes", |world| {
            world.members("s:clients", &["172.16.0.0/12"], &[]);
        }),
        ("the first ipv6 member comes", |world| {
            world.members("s:clients", &["fd00::1/128"], &[]);
        }),
        ("a rule changes", |world| {
            world.policy("default/web", &[allow_from("s:clients", "81"), allow_from("s:office", "80")], &[]);
        }),
        ("a rule passes", |world| {
            world.policy("default/web", &[rule("next-tier")], &[]);
        }),
        ("a rule and its set change", |world| {
            world.members("s:clients", &["10.0.0.3/32"], &[]);
            world.policy("default/db", &[allow_from("s:clients", "5433")], &[]);
        }),
        ("two rules and their set change", |world| {
            world.members("s:clients", &["10.0.0.3/32"], &[]);
            world.policy("default/db", &[allow_from("s:clients", "5433")], &[]);
            world.policy("default/web", &[allow_from("s:clients", "81")], &[]);
        }),
        ("a pod like others comes", |world| {
            let tier = [("default", "Deny", &["default/web"][..], &[][..])];
            world.endpoint("default/web-2", "cali3", &tier, &["kns.default"]);
        }),
        ("a pod of a new kind comes", |world| {
            let tier = [("default", "Deny", &["default/db", "default/web"][..], &[][..])];
            world.endpoint("default/both-0", "cali3", &tier, &["kns.default"]);
        }),
        ("one of two equal pods goes", |world| {
            world.remove_endpoint("default/web-0");
        }),
        ("the only pod of its kind goes", |world| {
            world.remove_endpoint("default/db-0");
        }),
        ("a pod changes its policies", |world| {
            world.endpoint("default/db-0", "cali2", &[], &["kns.default"]);
        }),
        ("a pod goes down", |world| {
            let tier = [("default", "Deny", &["default/db"][..], &[][..])];
            world.endpoint_in_state("down", "default/db-0", "cali2", &tier, &["kns.default"]);
        }),
        ("a pod with a lower id takes an interface", |world| {
            world.endpoint("default/a", "cali2", &[], &["kns.default"]);
        }),
        ("a set goes that a rule names", |world| {
            world.remove_set("s:clients");
        }),
        ("a policy goes that a pod has", |world| {
            world.remove_policy("default/db");
        }),
    ];
    let work: String = changes.iter().map(|(name, edit)| format!("# {name}\n{}\n", work_of(edit))).collect();
    insta::assert_snapshot!("work", work);
}

#[test]
fn a_chain_that_is_wanted_again_is_rewritten_in_place() {
    let mut programmed = Programmed::new();
    programmed.revision(|world| {
        world.remove_endpoint("default/db-0");
    });
    let tier = [("default", "Deny", &["default/db"][..], &[][..])];
    let steps = programmed.revision(|world| {
        world.endpoint("default/db-1", "cali2", &tier, &["kns.default"]);
    });
    assert!(!steps.contains("add chain") && !steps.contains("delete chain"), "{steps}");
    assert_eq!(programmed.revision(|_| {}), "");
}

#[test]
fn a_set_too_big_to_copy_is_edited_in_place_and_counted() {
    let mut programmed = Programmed::new();
    let members: Vec<String> =
        (0..10_001u32).map(|n| format!("10.{}.{}.{}/32", n >> 16, n >> 8 & 255, n & 255)).collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    programmed.revision(|world| {
        world.set("s:clients", &members);
    });
    let steps = programmed.revision(|world| {
        world.members("s:clients", &["11.0.0.1/32"], &[]);
        world.policy("default/db", &[allow_from("s:clients", "5433")], &[]);
    });
    assert!(!steps.contains("add set"), "{steps}");
    assert_eq!(programmed.model.uncopied(), 10_002);
}

#[test]
fn what_packets_may_still_walk_is_deleted_later() {
    let mut programmed = Programmed::new();
    programmed.revision(|world| {
        world.remove_endpoint("default/db-0");
    });
    let Update { edits, garbage, .. } = programmed.model.update(&programmed.world.store, &[], programmed.now);
    assert_eq!(plan(edits, garbage), []);
    let steps = programmed.revision(|_| {});
    assert!(steps.contains("delete chain inet caracal to/cali2"), "{steps}");
}
