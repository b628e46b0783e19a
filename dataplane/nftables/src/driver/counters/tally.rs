//! Sums of what rules have counted, which do not fall when a rule goes.

use std::collections::BTreeMap;

use caracal_program::{Action, Decider, Direction, Measurement, PolicyId, PolicyStore, RuleCount, RuleCounts};
use caracal_sys::nft::{CountedRule, Handle};
use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use crate::model::Model;
use crate::plan::Count;

/// More sums than this are not told one by one, but the smallest of them together.
const MOST_SUMS: usize = 4_096;

/// What rules had counted when they were last read.
///
/// A rule that is not there any more leaves what it had counted then to the sum
/// that it was part of; what it counted since is lost.
#[derive(Debug, Default)]
pub(in crate::driver) struct Tally {
    /// The table that the rules are in.
    table: Option<u64>,
    seen: FxHashMap<Handle, (Sum, Count)>,
    /// Of rules that are gone.
    left: BTreeMap<Sum, Count>,
}

/// What is added up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sum {
    kind: SmolStr,
    namespace: SmolStr,
    name: SmolStr,
    direction: Direction,
    action: Action,
}

impl Sum {
    fn of(decider: &Decider, direction: Direction, action: Action) -> Self {
        let none = SmolStr::default;
        let (kind, namespace, name) = match decider {
            Decider::Policy(id, _) => (id.kind.clone(), id.namespace.clone(), id.name.clone()),
            Decider::Profile(name, _) => ("Profile".into(), none(), name.clone()),
            Decider::EndOfTier(tier) => ("EndOfTier".into(), none(), tier.clone()),
            Decider::NoMatch => ("NoMatch".into(), none(), none()),
        };
        Self { kind, namespace, name, direction, action }
    }

    /// Stands for all that are too many.
    fn others(direction: Direction, action: Action) -> Self {
        let none = SmolStr::default;
        Self { kind: "Others".into(), namespace: none(), name: none(), direction, action }
    }
}

impl Count {
    fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

impl Tally {
    /// A rule goes on in another one, with what it had counted.
    pub(super) fn carried(&mut self, handle: Handle) {
        self.seen.remove(&handle);
    }

    /// Takes what the rules of a table have counted by now.
    pub(super) fn take(
        &mut self,
        table: Option<u64>,
        listed: Vec<CountedRule>,
        model: &Model,
        store: &PolicyStore,
    ) -> RuleCounts {
        if self.table != table {
            // Handles begin anew with a table.
            self.leave(|_| true);
            self.table = table;
        }
        let counting = model.counting();
        let mut rules: BTreeMap<(Decider, Direction), (Action, Count)> = BTreeMap::new();
        let mut seen = FxHashMap::default();
        for CountedRule { chain, handle, comment, packets, bytes } in listed {
            let counted = Count { packets, bytes };
            let known = counting.get(&chain).zip(comment);
            if let Some((decider, direction, action)) = known.and_then(|(of, comment)| of.decider(store, &comment)) {
                seen.insert(handle, (Sum::of(&decider, direction, action), counted));
                rules.entry((decider, direction)).or_insert((action, Count::default())).1.add(counted);
            } else if let Some((sum, _)) = self.seen.get(&handle) {
                // Its chain waits for its deletion.
                seen.insert(handle, (sum.clone(), counted));
            }
        }
        self.leave(|handle| !seen.contains_key(handle));
        self.seen = seen;
        let rules = rules.into_iter().map(|((decider, direction), (action, Count { packets, bytes }))| RuleCount {
            decider,
            direction,
            action,
            packets,
            bytes,
        });
        RuleCounts { rules: rules.collect(), totals: self.totals(store) }
    }

    fn leave(&mut self, gone: impl Fn(&Handle) -> bool) {
        let Self { seen, left, .. } = self;
        seen.retain(|handle, (sum, counted)| {
            let stays = !gone(handle);
            if !stays {
                left.entry(sum.clone()).or_default().add(*counted);
            }
            stays
        });
    }

    fn totals(&mut self, store: &PolicyStore) -> Vec<Measurement> {
        // What has gone from this node counts no more.
        let is_here = |sum: &Sum| match sum.kind.as_str() {
            "Profile" => store.profile(&sum.name).is_some(),
            "EndOfTier" | "NoMatch" => true,
            _ => {
                let Sum { kind, namespace, name, .. } = sum.clone();
                store.policy(&PolicyId { kind, namespace, name }).is_some()
            }
        };
        self.left.retain(|sum, _| is_here(sum));
        let mut sums = self.left.clone();
        for (sum, counted) in self.seen.values() {
            sums.entry(sum.clone()).or_default().add(*counted);
        }
        bounded(sums).into_iter().flat_map(|(sum, counted)| measurements(sum, counted)).collect()
    }
}

/// The largest sums, and the others together.
fn bounded(sums: BTreeMap<Sum, Count>) -> BTreeMap<Sum, Count> {
    if sums.len() <= MOST_SUMS {
        return sums;
    }
    let mut by_size: Vec<_> = sums.into_iter().collect();
    by_size.sort_by_key(|(_, counted)| std::cmp::Reverse(counted.packets));
    let others = by_size.split_off(MOST_SUMS);
    let mut sums: BTreeMap<Sum, Count> = by_size.into_iter().collect();
    for (sum, counted) in others {
        sums.entry(Sum::others(sum.direction, sum.action)).or_default().add(counted);
    }
    sums
}

fn measurements(sum: Sum, counted: Count) -> [Measurement; 2] {
    let Sum { kind, namespace, name, direction, action } = sum;
    let action = match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
        Action::Log => "log",
    };
    [
        Measurement::counter(
            "caracal_policy_packets_total",
            "Packets that rules of policies and profiles, and ends of tiers, decided about.",
            counted.packets,
        ),
        Measurement::counter(
            "caracal_policy_bytes_total",
            "Bytes of the packets that rules of policies and profiles, and ends of tiers, decided about.",
            counted.bytes,
        ),
    ]
    .map(|measurement| {
        measurement
            .with("kind", kind.clone())
            .with("namespace", namespace.clone())
            .with("name", name.clone())
            .with("direction", if direction == Direction::Ingress { "inbound" } else { "outbound" })
            .with("action", action)
    })
}
