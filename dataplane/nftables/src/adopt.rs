//! From what the kernel holds to what it should hold.

use caracal_program::Sweep;
use caracal_sys::nft::{self, Name, NftSocket, QueryError, TableId};

use crate::edits::{ChainEdit, Edits, ElementEdit};
use crate::encode;
use crate::garbage::Garbage;
use crate::ir::Element;
use crate::readback::{self, Found};

/// The way from the kernel's state to the desired one.
#[derive(Debug)]
pub(crate) enum Way {
    /// Change what differs. What nobody wants is garbage for the next transaction.
    Change(Edits, Garbage),
    /// Something is of a kind that cannot be changed: delete the table and make
    /// it anew, in one transaction.
    Rebuild(Edits),
}

/// Compares what the kernel holds with what is desired. `desired` makes
/// everything from nothing.
pub(crate) fn compare(
    socket: &mut NftSocket,
    table: &TableId,
    found: &Found,
    desired: Edits,
    sweep: Sweep,
) -> Result<Way, QueryError> {
    if !can_change(found, &desired) {
        return Ok(Way::Rebuild(desired));
    }
    let mut edits = Edits::default();
    let mut wanted_sets = Vec::with_capacity(desired.sets.len());
    let mut contents: rustc_hash::FxHashMap<&Name, &ElementEdit> =
        desired.elements.iter().map(|edit| (&edit.set.name, edit)).collect();
    for spec in &desired.sets {
        wanted_sets.push(spec.name.clone());
        let wanted = contents.remove(&spec.name).map(|edit| edit.add.clone()).unwrap_or_default();
        if !found.sets.contains_key(&spec.name) {
            edits.sets.push(spec.clone());
            edits.change(ElementEdit { set: spec.clone(), add: wanted, delete: Vec::new() });
            continue;
        }
        let listed = socket.elements(table, &spec.name)?;
        let Some(held) = readback::elements(spec.kind, listed) else { return Ok(Way::Rebuild(desired)) };
        let (add, delete) = difference(held, wanted);
        let delete = match (sweep, spec.kind) {
            // An entry of an interface that the control half has not told of yet keeps its chain.
            (Sweep::Keep, crate::ir::SetKind::Interfaces) => {
                delete.into_iter().filter(|gone| add.iter().any(|new| same_interface(new, gone))).collect()
            }
            (Sweep::Keep | Sweep::Remove, _) => delete,
        };
        edits.change(ElementEdit { set: spec.clone(), add, delete });
    }
    let mut wanted_chains = Vec::with_capacity(desired.chains.len());
    for edit in desired.chains {
        let (ChainEdit::Create(chain) | ChainEdit::Rewrite(chain)) = edit;
        wanted_chains.push(chain.name.clone());
        match found.chains.get(&chain.name) {
            None => edits.chains.push(ChainEdit::Create(chain)),
            Some(held) if held.rules.iter().eq(chain.rules.iter().map(encode::rule).collect::<Vec<_>>().iter()) => {}
            Some(_) => edits.chains.push(ChainEdit::Rewrite(chain)),
        }
    }
    let garbage = match sweep {
        Sweep::Keep => Garbage::default(),
        Sweep::Remove => Garbage {
            chains: unwanted(found.chains.keys(), wanted_chains),
            sets: unwanted(found.sets.keys(), wanted_sets),
        },
    };
    Ok(Way::Change(edits, garbage))
}

/// Whether chains and sets of the desired names are of the desired kinds.
fn can_change(found: &Found, desired: &Edits) -> bool {
    let chains = desired.chains.iter().all(|edit| {
        let chain = edit.chain();
        found.chains.get(&chain.name).is_none_or(|held| held.chain.base == encode::chain(chain).base)
    });
    let sets = desired.sets.iter().all(|spec| match found.sets.get(&spec.name) {
        None => true,
        Some(None) => false,
        Some(Some(held)) => nft::Set { size: None, ..held.clone() } == encode::set(spec),
    });
    chains && sets
}

/// What must be added to `held` and deleted from it to have `wanted`.
fn difference(held: Vec<Element>, mut wanted: Vec<Element>) -> (Vec<Element>, Vec<Element>) {
    wanted.sort_unstable();
    let missing = |of: &[Element], other: &[Element]| -> Vec<Element> {
        of.iter().filter(|element| other.binary_search(element).is_err()).cloned().collect()
    };
    (missing(&wanted, &held), missing(&held, &wanted))
}

fn same_interface(a: &Element, b: &Element) -> bool {
    matches!((a, b), (Element::Interface(a, _), Element::Interface(b, _)) if a == b)
}

fn unwanted<'a>(found: impl Iterator<Item = &'a Name>, mut wanted: Vec<Name>) -> Vec<Name> {
    wanted.sort_unstable();
    let mut out: Vec<Name> = found.filter(|name| wanted.binary_search(name).is_err()).cloned().collect();
    out.sort_unstable();
    out
}
