//! Chains and sets that lost their users.

use std::time::{Duration, Instant};

use crate::ir::Name;

/// How long after a transaction a packet may still walk the ruleset before it.
/// Measured: 50 µs were enough on an idle machine; a walk that is preempted takes
/// longer.
pub(crate) const WALK: Duration = Duration::from_millis(5);

/// How many sets one transaction deletes at most. The kernel looks for each by walking along the sets of
/// the table, those that were just deleted among them, and whatever changes meanwhile waits.
const MOST_SETS: usize = 256;

/// Chains and sets to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Garbage {
    pub(crate) chains: Vec<Name>,
    pub(crate) sets: Vec<Name>,
}

/// What waits until no packet can be on its way through it.
#[derive(Debug, Default)]
pub(crate) struct Bin(Vec<(Instant, Garbage)>);

impl Garbage {
    pub(crate) const fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.sets.is_empty()
    }
}

impl Bin {
    /// Throws away what lost its users now.
    pub(crate) fn throw(&mut self, garbage: Garbage, now: Instant) {
        if !garbage.is_empty() {
            self.0.push((now, garbage));
        }
    }

    /// Takes out what can be deleted now: all chains, which may lead into each other, and some of
    /// the sets, which no rule names once those are gone.
    pub(crate) fn ripe(&mut self, now: Instant) -> Garbage {
        let mut ripe = Garbage::default();
        for (when, garbage) in &mut self.0 {
            if now.saturating_duration_since(*when) >= WALK {
                ripe.chains.append(&mut garbage.chains);
                let room = MOST_SETS - ripe.sets.len();
                ripe.sets.extend(garbage.sets.drain(..room.min(garbage.sets.len())));
            }
        }
        // Of what is thrown away at one time the revived may have left nothing.
        self.0.retain(|(_, garbage)| !garbage.is_empty());
        ripe
    }

    /// Takes out a chain that is wanted again; whether it was there.
    pub(crate) fn revive_chain(&mut self, name: &Name) -> bool {
        self.0.iter_mut().any(|(_, garbage)| take(&mut garbage.chains, name))
    }

    /// Takes out a set that is wanted again; whether it was there.
    pub(crate) fn revive_set(&mut self, name: &Name) -> bool {
        self.0.iter_mut().any(|(_, garbage)| take(&mut garbage.sets, name))
    }

    /// The sets that wait.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().flat_map(|(_, garbage)| &garbage.sets)
    }

    /// Whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn take(names: &mut Vec<Name>, name: &Name) -> bool {
    match names.iter().position(|held| held == name) {
        Some(at) => {
            names.remove(at);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_thrown_away_waits_for_the_last_walk() {
        let [a, b] = ["a", "b"].map(|text| Name::new(text).expect("a name"));
        let chains =
            |names: &[&Name]| Garbage { chains: names.iter().map(|n| (*n).clone()).collect(), sets: Vec::new() };
        let start = Instant::now();
        let mut bin = Bin::default();
        bin.throw(chains(&[&a]), start);
        bin.throw(chains(&[&b]), start + WALK / 2);
        assert_eq!(bin.ripe(start + WALK / 2), Garbage::default());
        assert_eq!(bin.ripe(start + WALK), chains(&[&a]));
        assert!(bin.revive_chain(&b) && !bin.revive_chain(&b) && !bin.revive_set(&a));
        assert_eq!(bin.ripe(start + 2 * WALK), Garbage::default());
        assert!(bin.is_empty());
    }

    #[test]
    fn many_sets_are_deleted_a_few_at_a_time_and_after_their_chains() {
        let names = |what: &str, count: usize| -> Vec<Name> {
            (0..count).map(|n| Name::new(format!("{what}{n}")).expect("a name")).collect()
        };
        let thrown = Garbage { chains: names("chain", 1_000), sets: names("set", 600) };
        let start = Instant::now();
        let mut bin = Bin::default();
        bin.throw(thrown.clone(), start);
        bin.throw(Garbage { chains: Vec::new(), sets: names("later", 10) }, start);
        let rounds: Vec<Garbage> = std::iter::from_fn(|| (!bin.is_empty()).then(|| bin.ripe(start + WALK))).collect();
        let sizes: Vec<_> = rounds.iter().map(|round| (round.chains.len(), round.sets.len())).collect();
        assert_eq!(sizes, [(1_000, 256), (0, 256), (0, 98)]);
        let sets: Vec<Name> = rounds.into_iter().flat_map(|round| round.sets).collect();
        assert_eq!(sets, [thrown.sets, names("later", 10)].concat());
    }
}
