//! Chains and sets that lost their users.

use std::time::{Duration, Instant};

use crate::ir::Name;

/// How long after a transaction a packet may still walk the ruleset before it.
/// Measured: 50 µs were enough on an idle machine; a walk that is preempted takes
/// longer.
pub(crate) const WALK: Duration = Duration::from_millis(5);

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

    /// Takes out what can be deleted now.
    pub(crate) fn ripe(&mut self, now: Instant) -> Garbage {
        let mut ripe = Garbage::default();
        self.0.retain_mut(|(when, garbage)| {
            let stays = now.saturating_duration_since(*when) < WALK;
            if !stays {
                ripe.chains.append(&mut garbage.chains);
                ripe.sets.append(&mut garbage.sets);
            }
            stays
        });
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
}
