//! Packets through the base chains of host endpoints on paper, against the
//! reference evaluator.

use caracal_net::Mark;
use caracal_program::{HostView, Packet, Passage, Tracking, Verdict, Way};
use proptest::prelude::*;

use super::World;
use super::sim::{self, Sim};
use crate::lower::HostPoint;
use crate::names;
use crate::settings::Settings;

/// A mark of somebody else.
const FOREIGN: Mark = Mark(0xff);

const NAMES: [&str; 4] = ["eth0", "eth1", "lo", "cali0"];

/// A packet's way through the base chains of host endpoints, hook by hook.
struct Walk<'a> {
    sim: &'a Sim,
    passage: Passage<'a>,
    fate: sim::Fate,
}

impl<'a> Walk<'a> {
    fn to_the_end(sim: &'a Sim, passage: Passage<'a>) -> sim::Fate {
        let fate = sim::Fate { allowed: true, mark: FOREIGN, logged: 0, untracked: false, translated: false };
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

/// Every packet on every way ends as the evaluator says, tracked or not as it
/// says, and with the mark that it had. A packet may have another form after DNAT.
pub(crate) fn check_hosts(
    sim: &Sim,
    world: &World,
    settings: &Settings,
    packets: &[(Packet, Option<Packet>)],
) -> Result<(), TestCaseError> {
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
        let fate = Walk::to_the_end(sim, passage);
        let wanted_verdict = wanted.verdict == Verdict::Allow;
        prop_assert_eq!(fate.allowed, wanted_verdict, "{:?}\n{:#?}\n{:#?}", passage, wanted, sim);
        if fate.allowed {
            prop_assert_eq!(fate.untracked, wanted.tracking == Tracking::Untracked, "{:?}\n{:#?}", passage, wanted);
            prop_assert_eq!(fate.mark, FOREIGN, "{:?}\n{:#?}", passage, wanted);
        }
    }
    Ok(())
}
