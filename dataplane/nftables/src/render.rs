//! A dry run: the ruleset as text.

use caracal_program::PolicyStore;
use rustc_hash::FxHashMap;

use crate::edits::ChainEdit;
use crate::ir::{Ruleset, Set};
use crate::model::Model;
use crate::sets::Place;
use crate::settings::Settings;

/// The whole ruleset for a store, in nft's own syntax: base chains first, then
/// chains and sets by name. What `nft -f -` makes of it is what the driver
/// programs, but for the flags of an owned table.
#[must_use]
pub fn render_text(store: &PolicyStore, settings: &Settings) -> String {
    ruleset(store, settings).to_string()
}

pub(crate) fn ruleset(store: &PolicyStore, settings: &Settings) -> Ruleset {
    let (_, edits) = Model::build(store, settings, FxHashMap::default(), |_| Place::Free(0));
    let mut elements: FxHashMap<_, _> = edits.elements.into_iter().map(|edit| (edit.set.name, edit.add)).collect();
    let mut sets: Vec<Set> = edits
        .sets
        .into_iter()
        .map(|spec| Set { elements: elements.remove(&spec.name).unwrap_or_default(), spec })
        .collect();
    sets.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    let mut chains: Vec<_> = edits
        .chains
        .into_iter()
        .map(|edit| match edit {
            ChainEdit::Create(chain) | ChainEdit::Rewrite(chain) => chain,
        })
        .collect();
    chains.sort_by(|a, b| (a.base.is_none(), &a.name).cmp(&(b.base.is_none(), &b.name)));
    Ruleset { sets, chains }
}
