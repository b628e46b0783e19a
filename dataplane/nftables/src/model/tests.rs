//! The model against a kernel on paper and the reference evaluator.

use caracal_net::{Family, Mark, Protocol};
use caracal_program::{Action, Packet, Step as ProgramStep, Transport, Verdict, evaluate_endpoint, trace_endpoint};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::garbage::WALK;
use crate::lower::NEIGHBOUR_DISCOVERY;
use crate::plan::{Step, plan};
use crate::settings::EndpointToHost;
use crate::testing::host::check_hosts;
use crate::testing::random::{INTERFACES, everything, packet, rule_of_choices, told};
use crate::testing::sim::Sim;
use crate::testing::{Tier, World, rule};

fn build(world: &World, settings: &Settings) -> (Model, Vec<Step>) {
    let (model, edits) = Model::build(&world.store, settings, FxHashMap::default(), |_| Place::Free(0));
    (model, plan(edits, Garbage::default()))
}

/// Every packet on every interface ends as the evaluator says, its mark as it was.
fn check(sim: &Sim, world: &World, packets: &[Packet]) -> Result<(), TestCaseError> {
    let foreign = Mark(0xff);
    for interface in INTERFACES {
        let endpoint = world.store.active_on(interface).filter(|_| IfName::new(interface).is_ok());
        for (direction, packet) in Direction::ALL.iter().flat_map(|d| packets.iter().map(move |p| (*d, p))) {
            let fate = sim.walk(&names::base(direction), interface, packet, foreign);
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

/// Every packet to this host ends as the egress policy of its workload and then the setting say; what neighbour
/// discovery needs passes, and what is not of a workload is left alone.
fn check_to_host(sim: &Sim, world: &World, settings: &Settings, packets: &[Packet]) -> Result<(), TestCaseError> {
    let foreign = Mark(0xff);
    for interface in INTERFACES {
        let endpoint = world.store.active_on(interface).filter(|_| IfName::new(interface).is_ok());
        for packet in packets {
            let free = is_neighbour_discovery(packet);
            let by_policy = free
                || match endpoint {
                    Some(endpoint) => {
                        evaluate_endpoint(endpoint, Direction::Egress, &world.store, packet).verdict == Verdict::Allow
                    }
                    None => !interface.starts_with("cali"),
                };
            let by_setting = free
                || !interface.starts_with("cali")
                || match settings.endpoint_to_host {
                    EndpointToHost::Drop => false,
                    EndpointToHost::Return | EndpointToHost::Accept => true,
                };
            for (base, wanted) in [(names::to_host(), by_policy), (names::endpoint_to_host(), by_setting)] {
                let fate = sim.walk(&base, interface, packet, foreign);
                prop_assert_eq!((fate.allowed, fate.mark), (wanted, foreign), "{} {} {:?}", base, interface, packet);
            }
        }
    }
    Ok(())
}

fn is_neighbour_discovery(packet: &Packet) -> bool {
    match (packet.protocol(), packet.family(), packet.transport()) {
        (Protocol::ICMPV6, Family::V6, Transport::Icmp { icmp_type, .. }) => NEIGHBOUR_DISCOVERY.contains(&icmp_type),
        _ => false,
    }
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
            let pairs: Vec<_> = packets.iter().take(2).map(|packet| (*packet, None)).collect();
            check_hosts(&sim, &world, &Settings::default(), &pairs)?;
        }
        // What is not used any more goes with the next transaction, and then nothing is left to do.
        let update = model.update(&world.store, &[], later());
        prop_assert_eq!(sim.commit(&plan(update.edits, update.garbage)), Ok(()));
        prop_assert!(!model.has_garbage());
        let update = model.update(&world.store, &[], later());
        prop_assert_eq!(plan(update.edits, update.garbage), vec![]);
    }

    #[test]
    fn packets_to_this_host_meet_the_egress_policy_and_the_setting(
        start in everything(),
        endpoint_to_host in select(vec![EndpointToHost::Drop, EndpointToHost::Return, EndpointToHost::Accept]),
        mut packets in prop::collection::vec(packet(), 12),
    ) {
        let [src, dst] = ["fe80::1", "ff02::1"].map(|addr| addr.parse().expect("an address"));
        packets.extend((128..=137).map(|icmp_type| {
            let transport = Transport::Icmp { icmp_type, code: 0 };
            Packet::new(src, dst, Protocol::ICMPV6, transport).expect("one family")
        }));
        let mut settings = Settings::default();
        settings.endpoint_to_host = endpoint_to_host;
        let mut world = World::default();
        start.iter().for_each(|told| world.hear(told));
        let mut sim = Sim::default();
        let (_, steps) = build(&world, &settings);
        prop_assert_eq!(sim.commit(&steps), Ok(()));
        check_to_host(&sim, &world, &settings, &packets)?;
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
