//! From what the kernel holds to what it should hold.

use caracal_program::Sweep;
use caracal_sys::nft::{self, Name, NftSocket, QueryError, TableId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::edits::{ChainEdit, Edits, ElementEdit};
use crate::encode;
use crate::garbage::Garbage;
use crate::held::Held;
use crate::ir::{Chain, Element, IfName};
use crate::readback::{self, Found, FoundSet};

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
/// everything from nothing, and `prints` are of it.
pub(crate) fn compare(
    socket: &mut NftSocket,
    table: &TableId,
    found: &mut Found,
    desired: Edits,
    prints: &Held,
    sweep: Sweep,
) -> Result<Way, QueryError> {
    if !can_change(found, &desired) {
        return Ok(Way::Rebuild(desired));
    }
    found.look_at_elements(socket, table, desired.sets.iter().map(|spec| &spec.name))?;
    let Some(differing) = read_differing(socket, table, found, &desired, prints)? else {
        return Ok(Way::Rebuild(desired));
    };
    let mut edits = Edits::default();
    let mut unwanted_sets: FxHashSet<&Name> = found.sets.keys().collect();
    let mut contents: FxHashMap<Name, Vec<Element>> =
        desired.elements.into_iter().map(|edit| (edit.set.name, edit.add)).collect();
    for spec in desired.sets {
        let wanted = contents.remove(&spec.name).unwrap_or_default();
        if !unwanted_sets.remove(&spec.name) {
            edits.sets.push(spec.clone());
            edits.change(ElementEdit { set: spec, add: wanted, delete: Vec::new() });
            continue;
        }
        let Some(held) = differing.get(&spec.name) else { continue };
        let told: FxHashSet<IfName> = wanted.iter().filter_map(Element::interface).copied().collect();
        let (add, mut delete) = difference(held, wanted);
        if sweep == Sweep::Keep && spec.kind.is_of_interfaces() {
            // An interface that the control half has not told of yet keeps what it has.
            delete.retain(|gone| gone.interface().is_some_and(|interface| told.contains(interface)));
        }
        edits.change(ElementEdit { set: spec, add, delete });
    }
    let mut unwanted_chains: FxHashSet<&Name> = found.chains.keys().collect();
    for edit in desired.chains {
        let (ChainEdit::Create(chain) | ChainEdit::Rewrite(chain)) = edit;
        unwanted_chains.remove(&chain.name);
        if found.chains.get(&chain.name).is_some_and(|held| held.base != encode::chain(&chain).base) {
            let bare = Chain { name: chain.name.clone(), base: chain.base, rules: Vec::new() };
            edits.policies.push(bare);
        }
        match found.chains.get(&chain.name) {
            None => edits.chains.push(ChainEdit::Create(chain)),
            Some(held) if prints.chains.get(&chain.name).and_then(|wanted| wanted.rules) == Some(held.rules) => {}
            Some(_) => edits.chains.push(ChainEdit::Rewrite(chain)),
        }
    }
    let garbage = match sweep {
        Sweep::Keep => Garbage::default(),
        Sweep::Remove => Garbage { chains: in_order(unwanted_chains), sets: in_order(unwanted_sets) },
    };
    Ok(Way::Change(edits, garbage))
}

/// Reads the elements of the desired sets that are there and have others than they
/// should; `None` if one of them has an element that cannot be one of ours.
fn read_differing(
    socket: &mut NftSocket,
    table: &TableId,
    found: &Found,
    desired: &Edits,
    prints: &Held,
) -> Result<Option<FxHashMap<Name, Vec<Element>>>, QueryError> {
    let mut differing = FxHashMap::default();
    for spec in &desired.sets {
        let Some(FoundSet { elements, .. }) = found.sets.get(&spec.name) else { continue };
        let wanted = prints.sets.get(&spec.name).and_then(|held| held.contents).map(|(_, print)| print);
        if elements.is_some() && *elements == wanted {
            continue;
        }
        let listed = socket.elements(table, &spec.name)?;
        let Some(elements) = readback::elements(spec.kind, listed) else { return Ok(None) };
        differing.insert(spec.name.clone(), elements);
    }
    Ok(Some(differing))
}

/// Whether chains and sets of the desired names are of the desired kinds.
fn can_change(found: &Found, desired: &Edits) -> bool {
    let chains = desired.chains.iter().all(|edit| {
        let chain = edit.chain();
        found.chains.get(&chain.name).is_none_or(|held| {
            let (held, wanted) = (held.base, encode::chain(chain).base);
            // The policy can be changed, the rest cannot.
            held.map(|held| nft::Base { policy: nft::Policy::Accept, ..held }) == wanted
        })
    });
    let sets = desired.sets.iter().all(|spec| match found.sets.get(&spec.name) {
        None => true,
        Some(FoundSet { set: None, .. }) => false,
        Some(FoundSet { set: Some(held), .. }) => encode::is_of_kind(held, spec.kind),
    });
    chains && sets
}

/// What must be added to `held`, which is in order, and deleted from it to have `wanted`.
fn difference(held: &[Element], mut wanted: Vec<Element>) -> (Vec<Element>, Vec<Element>) {
    wanted.sort_unstable();
    let delete = held.iter().filter(|element| wanted.binary_search(element).is_err()).cloned().collect();
    wanted.retain(|element| held.binary_search(element).is_err());
    (wanted, delete)
}

fn in_order(names: FxHashSet<&Name>) -> Vec<Name> {
    let mut names: Vec<Name> = names.into_iter().cloned().collect();
    names.sort_unstable();
    names
}
