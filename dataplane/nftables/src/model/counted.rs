//! From the kernel's rules back to what they stand for.

use caracal_program::{Action, Decider, Direction, PolicyStore, Program};
use caracal_sys::nft::Comment;
use rustc_hash::FxHashMap;

use super::compile::rules_of;
use super::{ListKey, Model};
use crate::ir::Name;
use crate::names;

/// What the rules of a chain stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counting<'a> {
    /// Rules of a policy or profile.
    List(&'a ListKey),
    /// A program, with the ends of its tiers and its own.
    Program(&'a Program),
}

impl Model {
    /// The chains whose rules count, and what they stand for.
    pub(crate) fn counting(&self) -> FxHashMap<&Name, Counting<'_>> {
        let lists = self
            .lists
            .iter()
            .flat_map(|(key, list)| list.chains.iter().map(move |(chain, _)| (chain, Counting::List(key))));
        let programs = self
            .programs
            .values()
            .flat_map(|state| state.chains.iter().map(|(chain, _)| (chain, Counting::Program(&state.program))));
        lists.chain(programs).collect()
    }
}

impl Counting<'_> {
    /// What a rule with a comment decides; `None` for one that stands for nothing
    /// that was told, such as a denial in the place of what cannot be had.
    pub(crate) fn decider(self, store: &PolicyStore, comment: &Comment) -> Option<(Decider, Direction, Action)> {
        match self {
            Self::List(key) => {
                let index = names::place_of_rule(&key.title(), comment)?;
                let action = rules_of(store, key)?.get(index)?.action;
                Some((key.owner.decider(index), key.direction, action))
            }
            Self::Program(program) => {
                let direction = program.direction();
                let is = |text: &str| names::comment(text) == *comment;
                if is(&names::no_match(direction)) {
                    return Some((Decider::NoMatch, direction, Action::Deny));
                }
                let tier = program.tiers().iter().find(|tier| is(&names::end_of_tier(&tier.name)))?;
                Some((Decider::EndOfTier(tier.name.clone()), direction, Action::Deny))
            }
        }
    }
}
