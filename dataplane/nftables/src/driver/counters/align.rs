//! From the rules of a chain to others, by as few edits as keep what was counted.

use std::collections::VecDeque;

use caracal_sys::nft::Handle;
use rustc_hash::FxHashMap;

use super::{Deed, New, Old};
use crate::plan::{Count, Edit};

/// How a chain gets other rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) edits: Vec<Edit>,
    /// Old rules that go on in new ones.
    pub(super) carried: Vec<Handle>,
}

/// The edits that lead from old rules to new ones; `None` if no rule outlives them.
pub(super) fn edits(old: &[Old], new: &[New]) -> Option<Way> {
    let [was, is] = [old.iter().map(|old| old.deed).collect::<Vec<_>>(), new.iter().map(|new| new.deed).collect()];
    let pairs = pair(&was, &is);
    if pairs.iter().all(Option::is_none) {
        return None;
    }
    let stays = in_order(&pairs);
    let mut kept = vec![false; old.len()];
    for (pair, _) in pairs.iter().zip(&stays).filter(|(_, stays)| **stays) {
        kept[pair.expect("what stays has a pair")] = true;
    }
    let mut edits: Vec<Edit> = old.iter().zip(&kept).filter(|(_, kept)| !**kept).map(gone).collect();
    let mut carried = Vec::new();
    // Where each new rule goes: before the next one that stays.
    let mut before: Vec<Option<Handle>> = vec![None; new.len()];
    let mut next = None;
    for at in (0..new.len()).rev() {
        before[at] = next;
        if stays[at] {
            next = pairs[at].map(|pair| old[pair].handle);
        }
    }
    for (at, new) in new.iter().enumerate() {
        let from = pairs[at].map(|pair| &old[pair]);
        match from {
            Some(old) if stays[at] && old.rule == new.encoded => {}
            Some(old) if stays[at] => {
                carried.push(old.handle);
                edits.push(Edit::Replace { rule: new.rule.clone(), instead_of: old.handle, counted: old.counted });
            }
            from => {
                carried.extend(from.map(|old| old.handle));
                let counted = from.map_or(Count::default(), |old| old.counted);
                edits.push(Edit::Insert { rule: new.rule.clone(), before: before[at], counted });
            }
        }
    }
    Some(Way { edits, carried })
}

fn gone((old, _): (&Old, &bool)) -> Edit {
    Edit::Delete(old.handle)
}

/// For each new rule the old one that does the same: the first of them goes on
/// as the first, and so on.
fn pair(old: &[Deed], new: &[Deed]) -> Vec<Option<usize>> {
    let mut places: FxHashMap<Deed, VecDeque<usize>> = FxHashMap::default();
    for (at, deed) in old.iter().enumerate() {
        places.entry(*deed).or_default().push_back(at);
    }
    new.iter().map(|deed| places.get_mut(deed)?.pop_front()).collect()
}

/// Which pairs can stay where they are: as many as are in one order on both sides
/// (the longest increasing subsequence).
fn in_order(pairs: &[Option<usize>]) -> Vec<bool> {
    // For each length the end of the best sequence so far, and for each pair the one before it.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; pairs.len()];
    for (at, pair) in pairs.iter().enumerate() {
        if pair.is_none() {
            continue;
        }
        let length = ends.partition_point(|end| pairs[*end] < *pair);
        before[at] = length.checked_sub(1).map(|shorter| ends[shorter]);
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut stays = vec![false; pairs.len()];
    let mut at = ends.last().copied();
    while let Some(end) = at {
        stays[end] = true;
        at = before[end];
    }
    stays
}

#[cfg(test)]
mod tests;
