//! Sets of ids that mostly hold one or none, in four bytes each.
//!
//! Where there is a set per label value and per profile of the cluster, the
//! place of a set costs more than what is in it. Memory: none for sets of one id
//! and empty ones besides their four bytes; about 16 bytes for others.
//! Invariant: a set is emptied before it is dropped, so that its place is free.

use std::num::NonZero;

use crate::id_set::IdSet;
use crate::slots::Slots;

/// A set of ids, of the [`IdSets`] that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdSetIx(NonZero<u32>);

/// Marks a set that is the one id in it; of others the number is a place in the table and two.
const ONE: u32 = 1 << 31;
const FIRST: u32 = 2;

#[derive(Clone, Copy)]
enum Form {
    Empty,
    One(u32),
    Several(u32),
}

impl IdSetIx {
    const EMPTY: Self = Self(NonZero::<u32>::MIN);

    fn of(form: Form) -> Self {
        let number = match form {
            Form::Empty => return Self::EMPTY,
            Form::One(id) => id | ONE,
            Form::Several(place) => place + FIRST,
        };
        Self(NonZero::new(number).expect("a mark or two more than a place is not zero"))
    }

    const fn form(self) -> Form {
        match self.0.get() {
            number if number & ONE != 0 => Form::One(number & !ONE),
            number if number < FIRST => Form::Empty,
            number => Form::Several(number - FIRST),
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::EMPTY
    }
}

impl Default for IdSetIx {
    fn default() -> Self {
        Self::EMPTY
    }
}

#[derive(Debug, Default)]
pub(crate) struct IdSets {
    several: Slots<IdSet>,
}

impl IdSets {
    /// Adds an id that may be there.
    pub(crate) fn insert(&mut self, set: &mut IdSetIx, id: u32) {
        assert!(id < ONE, "there are fewer than 2^31 ids");
        match set.form() {
            Form::Empty => *set = IdSetIx::of(Form::One(id)),
            Form::One(other) if other == id => {}
            Form::One(other) => {
                let place = self.several.insert([other, id].into_iter().collect());
                *set = IdSetIx::of(Form::Several(place));
            }
            Form::Several(place) => {
                self.several[place].insert(id);
            }
        }
    }

    /// Takes an id out that may not be there.
    pub(crate) fn remove(&mut self, set: &mut IdSetIx, id: u32) {
        match set.form() {
            Form::One(other) if other == id => *set = IdSetIx::EMPTY,
            Form::Empty | Form::One(_) => {}
            Form::Several(place) => {
                let ids = &mut self.several[place];
                ids.remove(id);
                if ids.len() == 1 {
                    let ids = self.several.remove(place);
                    *set = IdSetIx::of(ids.iter().next().map_or(Form::Empty, Form::One));
                }
            }
        }
    }

    /// The ids in ascending order.
    pub(crate) fn iter(&self, set: IdSetIx) -> impl Iterator<Item = u32> {
        let (one, several) = match set.form() {
            Form::Empty => (None, None),
            Form::One(id) => (Some(id), None),
            Form::Several(place) => (None, Some(&self.several[place])),
        };
        one.into_iter().chain(several.into_iter().flat_map(IdSet::iter))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_behaves_as_an_ordered_set(steps in prop::collection::vec((any::<bool>(), 0usize..2, 0u32..6), 0..80)) {
            let (mut sets, mut made, mut model) = (IdSets::default(), [IdSetIx::default(); 2], [const { BTreeSet::new() }; 2]);
            for (insert, which, id) in steps {
                if insert {
                    sets.insert(&mut made[which], id);
                    model[which].insert(id);
                } else {
                    sets.remove(&mut made[which], id);
                    model[which].remove(&id);
                }
                for (set, model) in made.iter().zip(&model) {
                    prop_assert_eq!(sets.iter(*set).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                    prop_assert_eq!(set.is_empty(), model.is_empty());
                }
                prop_assert_eq!(sets.several.len(), model.iter().filter(|model| model.len() > 1).count());
            }
        }
    }

    #[test]
    fn a_set_takes_four_bytes() {
        assert_eq!(size_of::<Option<IdSetIx>>(), 4);
    }
}
