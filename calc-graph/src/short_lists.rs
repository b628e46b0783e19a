//! Short lists of ids, stored once; a list of one id or none is not stored at all.
//!
//! Most items have one profile, and most label sets one value that a selector
//! asks for, or none: the id of a list of one is the id in it, marked. Memory:
//! about 40 bytes and the list, for lists of several.
//! Invariant: a list of several is told to be new once until it is gone, a list
//! of one each time, the empty one never: who counts what lists name counts
//! every mark.

use std::ops::Deref;

use crate::ids::Place;
use crate::interner::Interner;

/// Marks the id of a list of one.
const ONE: u32 = 1 << 31;
/// The id of the empty list.
const EMPTY: u32 = ONE - 1;

#[derive(Debug)]
pub(crate) struct ShortLists<T> {
    several: Interner<Box<[T]>>,
}

impl<T> Default for ShortLists<T> {
    fn default() -> Self {
        Self { several: Interner::default() }
    }
}

/// A list, borrowed if it is stored.
#[derive(Debug)]
pub(crate) enum List<'a, T> {
    One([T; 1]),
    Several(&'a [T]),
}

impl<T> Deref for List<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(list) => list,
            Self::Several(list) => list,
        }
    }
}

impl<T: Place + Copy + Eq + std::hash::Hash> ShortLists<T> {
    /// Takes a reference to a list; tells whether it is new.
    pub(crate) fn acquire(&mut self, list: &[T]) -> (u32, bool) {
        if list.is_empty() {
            return (EMPTY, false);
        }
        if let [one] = list {
            let at = u32::try_from(one.ix()).expect("an id has 32 bits");
            assert!(at < ONE, "there are fewer than 2^31 ids");
            return (at | ONE, true);
        }
        let (at, new) = self.several.acquire(list, || list.into());
        assert!(at < EMPTY, "there are fewer than 2^31 lists");
        (at, new)
    }

    /// Takes another reference to a list; gives out the id in a list of one,
    /// which has one mark more.
    pub(crate) fn retain(&mut self, list: u32) -> Option<T> {
        if list & ONE != 0 {
            return Some(T::at(list & !ONE));
        }
        if list != EMPTY {
            self.several.retain(list);
        }
        None
    }

    /// Gives a reference back; gives the list out if it loses its mark.
    pub(crate) fn release(&mut self, list: u32) -> Option<Box<[T]>> {
        if list & ONE != 0 {
            return Some(Box::new([T::at(list & !ONE)]));
        }
        if list == EMPTY { None } else { self.several.release(list) }
    }

    pub(crate) fn get(&self, list: u32) -> List<'_, T> {
        if list & ONE != 0 {
            return List::One([T::at(list & !ONE)]);
        }
        List::Several(if list == EMPTY { &[] } else { &self.several[list] })
    }
}

#[cfg(test)]
impl<T: std::hash::Hash> ShortLists<T> {
    /// How many lists are stored.
    pub(crate) fn stored(&self) -> usize {
        self.several.iter().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProfileIx;

    #[test]
    fn lists_come_back_and_only_those_of_several_are_stored() {
        let mut lists = ShortLists::<ProfileIx>::default();
        for (list, stored) in [(vec![], 0), (vec![7], 0), (vec![3, 1], 1), (vec![1, 3, 5], 1)] {
            let list: Vec<ProfileIx> = list.into_iter().map(ProfileIx).collect();
            let (at, new) = lists.acquire(&list);
            assert_eq!(new, !list.is_empty());
            assert_eq!((&*lists.get(at), lists.stored()), (&list[..], stored));
            assert_eq!(lists.acquire(&list), (at, list.len() == 1));
            assert_eq!(lists.release(at).is_some(), list.len() == 1);
            assert_eq!(lists.release(at).as_deref(), new.then_some(&list[..]));
            assert_eq!(lists.stored(), 0);
        }
    }
}
