//! The model against a kernel on paper and the reference evaluator.

use caracal_net::Mark;
use caracal_program::{Action, Packet, Step as ProgramStep, Verdict, evaluate_endpoint, trace_endpoint};
use proptest::prelude::*;

use super::*;
use crate::garbage::WALK;
use crate::plan::{Step, plan};
use crate::testing::random::{INTERFACES, everything, packet, rule_of_choices, told};
use crate::testing::sim::Sim;
use crate::testing::{Tier, World, rule};

fn build(world: &World, settings: &Settings) -> (Model, Vec<Step>) {
    let (model, edits) = Model::build(&world.store, settings, FxHashMap::default(), |_| 0);
    (model, plan(edits, Garbage::default()))
}

/// Every packet on every interface ends as the evaluator says, its mark as it was.
fn check(sim: &Sim, world: &World, packets: &[Packet]) -> Result<(), TestCaseError> {
    let foreign = Mark(0xff);
    for interface in INTERFACES {
        let endpoint = world.store.active_on(interface).filter(|_| IfName::new(interface).is_ok());
        for (direction, packet) in Direction::ALL.iter().flat_map(|d| packets.iter().map(move |p| (*d, p))) {
            let fate = sim.walk(direction, interface, packet, foreign);
            let wanted = match endpoint {
                Some(endpoint) => {
                    evaluate_endpoint(endpoint, direction, &world.store, packet).verdict == Verdict::Allow
                }
                None => !interface.starts_with("cali"),
            };
            let trail = endpoint.map(|endpoint| trace_endpoint(endpoint, direction, &world.store, packet));
            let logged = trail.iter().flat_map(|(_, steps)| steps).filter(|step| is_logged(step)).count();
            prop_assert_eq!(fate.allowed, wanted, "{} {} {:?}\n{:#?}\n{:#?}", interface, direction, packet, trail, sim);
            prop_assert_eq!(fate.logged, logged, "{} {} {:?}\n{:#?}\n{:#?}", interface, direction, packet, trail, sim);
            prop_assert_eq!(fate.mark, foreign, "{} {} {:?}", interface, direction, packet);
        }
    }
    Ok(())
}

fn is_logged(step: &ProgramStep<'_>) -> bool {
    matches!(step, ProgramStep::Rule { rule, mismatches, .. } if rule.action == Action::Log && mismatches.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_revision_judges_packets_as_the_evaluator_does(
        start in everything(),
        revisions in prop::collection::vec(prop::collection::vec(told(), 1..6), 0..5),
        packets in prop::collection::vec(packet(), 12),
    ) {
        let mut world = World::default();
        let mut sim = Sim::default();
        let mut time = Instant::now();
        let mut later = || {
            time += WALK;
            time
        };
        let (mut model, steps) = build(&world, &Settings::default());
        prop_assert_eq!(sim.commit(&steps), Ok(()));
        for revision in [&start].into_iter().chain(&revisions) {
            for told in revision {
                world.hear(told);
            }
            let changes = world.changes();
            let update = model.update(&world.store, &changes, later());
            let steps = plan(update.edits, update.garbage);
            prop_assert_eq!(sim.commit(&steps), Ok(()), "{:?}", revision);
            check(&sim, &world, &packets)?;
        }
        // What is not used any more goes with the next transaction, and then nothing is left to do.
        let update = model.update(&world.store, &[], later());
        prop_assert_eq!(sim.commit(&plan(update.edits, update.garbage)), Ok(()));
        prop_assert!(!model.has_garbage());
        let update = model.update(&world.store, &[], later());
        prop_assert_eq!(plan(update.edits, update.garbage), vec![]);
    }

    #[test]
    fn alternatives_match_once(
        (first, second) in (rule_of_choices(), rule_of_choices()),
        profile in rule_of_choices(),
        packets in prop::collection::vec(packet(), 60),
    ) {
        let mut world = World::default();
        let mixed = ["10.0.0.1/32", "10.0.0.0/24", "10.1.0.0/16", "fd00::1/128", "fd00::/64"];
        for id in ["s:a", "s:b", "s:c"] {
            world.set(id, &mixed);
        }
        world.set("n:a", &["10.0.0.1,tcp:80", "10.0.0.2,udp:443", "fd00::1,tcp:443"]);
        let rules = [first, second, rule("allow")];
        world.policy("c", &rules, &rules).policy("d", &[rule("deny")], &[rule("deny")]);
        let profile = [profile, rule("allow")];
        world.profile("p", &profile, &profile).profile("q", &[rule("deny")], &[rule("deny")]);
        let tiers: [Tier<'_>; 2] = [("first", "Deny", &["c"], &["c"]), ("last", "Pass", &[], &["d"])];
        world.endpoint("ns/0", "cali0", &tiers, &["p", "q"]).endpoint("ns/1", "cali1", &[], &["p", "q"]);
        let mut sim = Sim::default();
        let (_, steps) = build(&world, &Settings::default());
        prop_assert_eq!(sim.commit(&steps), Ok(()));
        check(&sim, &world, &packets)?;
    }
}
