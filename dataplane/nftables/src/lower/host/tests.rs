use caracal_program::{HostView, Packet, Passage, Tracking, Verdict as Decided, Way};
use proptest::prelude::*;

use super::*;
use crate::garbage::Garbage;
use crate::model::Model;
use crate::plan::plan;
use crate::render::render_text;
use crate::settings::DenyAction;
use crate::testing::random::{everything, packet};
use crate::testing::sim::{self, Sim};
use crate::testing::{World, in_namespace, nft, rule};

/// A mark of somebody else.
const FOREIGN: caracal_net::Mark = caracal_net::Mark(0xff);

const NAMES: [&str; 4] = ["eth0", "eth1", "lo", "cali0"];

/// A packet's way through the base chains of host endpoints, hook by hook.
struct Walk<'a> {
    sim: &'a Sim,
    passage: Passage<'a>,
    fate: sim::Fate,
}

impl<'a> Walk<'a> {
    fn to_the_end(sim: &'a Sim, passage: Passage<'a>) -> sim::Fate {
        let fate = sim::Fate { allowed: true, mark: FOREIGN, logged: 0, untracked: false };
        let mut walk = Walk { sim, passage, fate };
        for point in HostPoint::ALL {
            walk.point(point);
        }
        walk.fate
    }

    fn point(&mut self, point: HostPoint) {
        let (incoming, outgoing) = match (self.passage.way, point) {
            (Way::ToHost { from } | Way::Through { from, .. }, HostPoint::UntrackedIngress | HostPoint::PreDnat)
            | (Way::ToHost { from }, HostPoint::Input) => (Some(from), None),
            (
                Way::Through { from, to },
                HostPoint::ForwardIngress | HostPoint::ForwardEgress | HostPoint::Translated,
            ) => (Some(from), Some(to)),
            (Way::FromHost { to }, HostPoint::UntrackedEgress | HostPoint::Output | HostPoint::Translated) => {
                (None, Some(to))
            }
            _ => return,
        };
        let is_early = matches!(point, HostPoint::UntrackedIngress | HostPoint::UntrackedEgress | HostPoint::PreDnat);
        let translated = self.passage.translated.filter(|_| !is_early && !self.fate.untracked);
        let way = sim::Way { incoming, outgoing, translated: translated.is_some() };
        let base = names::host(point);
        if !self.fate.allowed || !self.sim.has_base(&base) {
            return;
        }
        let untracked = self.fate.untracked;
        let packet = translated.unwrap_or(self.passage.original);
        self.fate = self.sim.walk_on(&base, way, packet, self.fate.mark);
        self.fate.untracked |= untracked;
    }
}

fn check(world: &World, settings: &Settings, packets: &[(Packet, Option<Packet>)]) -> Result<(), TestCaseError> {
    let (_, edits) = Model::build(&world.store, settings, rustc_hash::FxHashMap::default(), |_| 0);
    let mut sim = Sim::default();
    prop_assert_eq!(sim.commit(&plan(edits, Garbage::default())), Ok(()));
    let view = HostView {
        store: &world.store,
        failsafes: &settings.failsafes,
        workload_prefixes: settings.interface_prefixes(),
    };
    let pairs = NAMES.iter().flat_map(|from| NAMES.iter().map(move |to| Way::Through { from, to }));
    let ways = NAMES.iter().flat_map(|name| [Way::ToHost { from: name }, Way::FromHost { to: name }]).chain(pairs);
    for (way, (original, translated)) in ways.flat_map(|way| packets.iter().map(move |packet| (way, packet))) {
        let passage = Passage { way, original, translated: translated.as_ref() };
        let wanted = view.evaluate(&passage);
        let fate = Walk::to_the_end(&sim, passage);
        let wanted_verdict = wanted.verdict == Decided::Allow;
        prop_assert_eq!(fate.allowed, wanted_verdict, "{:?}\n{:#?}\n{:#?}", passage, wanted, sim);
        if fate.allowed {
            prop_assert_eq!(fate.untracked, wanted.tracking == Tracking::Untracked, "{:?}\n{:#?}", passage, wanted);
            prop_assert_eq!(fate.mark, FOREIGN, "{:?}\n{:#?}", passage, wanted);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn packets_at_host_endpoints_end_as_the_evaluator_says(
        start in everything(),
        deny in prop::sample::select(vec![DenyAction::Drop, DenyAction::Reject]),
        packets in prop::collection::vec((packet(), prop::option::of(packet())), 6),
    ) {
        let mut world = World::default();
        start.iter().for_each(|told| world.hear(told));
        let mut settings = Settings::default();
        settings.deny = deny;
        let of_one_family = |(original, translated): (Packet, Option<Packet>)| {
            (original, translated.filter(|packet| packet.family() == original.family()))
        };
        let packets: Vec<_> = packets.into_iter().map(of_one_family).collect();
        check(&world, &settings, &packets)?;
    }
}

/// The text of a store whose policies are all `p`.
fn text(world: &mut World, settings: &Settings) -> String {
    world.policy("p", &[rule("allow")], &[rule("deny")]);
    let text = render_text(&world.store, settings);
    in_namespace(|| nft(&["-c", "-f", "-"], &text)).expect("nft takes the text");
    text
}

const P: &[crate::testing::Tier<'_>] = &[("default", "Deny", &["p"], &["p"])];

#[test]
fn an_endpoint_of_every_kind() {
    let mut world = World::default();
    world.host("named", "eth0", &[], [P, P, P, P], &["kns.default"]).host("all", "*", &[], [P, &[], P, P], &[]);
    insta::assert_snapshot!(text(&mut world, &Settings::default()));
}

#[test]
fn where_the_kernel_cannot_answer_a_packet_is_dropped() {
    let mut world = World::default();
    world.host("named", "eth0", &[], [P, P, P, P], &[]);
    let mut settings = Settings::default();
    settings.deny = DenyAction::Reject;
    let text = text(&mut world, &settings);
    let chain = |name: &str| {
        let chain = text.split("\n\n").find(|object| object.contains(&format!("chain {name} ")));
        chain.unwrap_or_else(|| panic!("{name} in {text}"))
    };
    assert!(chain("policy-egress/GlobalNetworkPolicy//p").contains("reject"));
    assert!(chain("policy-egress-leaving/GlobalNetworkPolicy//p").contains("drop"));
}

#[test]
fn without_host_endpoints_there_is_nothing() {
    let mut world = World::default();
    let none = text(&mut world, &Settings::default());
    assert!(!none.contains("host-") && !none.contains("failsafe"), "{none}");
    world.host("named", "cali0", &[], [P, P, P, P], &[]);
    assert_eq!(text(&mut world, &Settings::default()), none, "an interface of a workload has no host endpoint");
}
