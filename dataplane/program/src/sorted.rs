//! A set as one sorted allocation.

/// Below this many items at once, items are inserted and removed one by one:
/// moving the tail of a vector is cheaper than a pass over all of it.
const FEW: usize = 8;

/// Distinct items in ascending order, without any overhead per item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sorted<T>(Vec<T>);

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Ord + Copy> Sorted<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        &self.0
    }

    pub(crate) fn holds(&self, item: &T) -> bool {
        self.0.binary_search(item).is_ok()
    }

    /// Adds items; gives back, in order, those that were not there before.
    pub(crate) fn add(&mut self, mut items: Vec<T>) -> Vec<T> {
        items.sort_unstable();
        items.dedup();
        items.retain(|item| !self.holds(item));
        if items.len() <= FEW {
            for item in &items {
                let at = self.0.partition_point(|held| held < item);
                self.0.insert(at, *item);
            }
        } else {
            self.0.extend_from_slice(&items);
            // The stable sort merges the two ascending runs in one pass.
            self.0.sort();
        }
        items
    }

    /// Removes items; gives back, in order, those that were there.
    pub(crate) fn remove(&mut self, mut items: Vec<T>) -> Vec<T> {
        items.sort_unstable();
        items.dedup();
        items.retain(|item| self.holds(item));
        if items.len() <= FEW {
            for item in &items {
                let at = self.0.partition_point(|held| held < item);
                self.0.remove(at);
            }
        } else {
            self.0.retain(|held| items.binary_search(held).is_err());
        }
        items
    }

    #[cfg(test)]
    pub(crate) fn capacity_in_bytes(&self) -> usize {
        self.0.capacity() * size_of::<T>()
    }

    /// Gives the room that a bulk fill left over back to the allocator.
    pub(crate) fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Items of `self` that `other` does not hold, in order.
    pub(crate) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = T> + 'a {
        let mut rest = other.0.as_slice();
        self.0.iter().copied().filter(move |item| {
            let passed = rest.iter().take_while(|held| *held < item).count();
            rest = &rest[passed..];
            rest.first() != Some(item)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_an_ordered_set(steps in prop::collection::vec((any::<bool>(), prop::collection::vec(0u8..40, 0..30)), 0..12)) {
            let mut sorted = Sorted::default();
            let mut model = BTreeSet::new();
            for (add, items) in steps {
                let before = model.clone();
                let old = sorted.clone();
                if add {
                    model.extend(items.iter().copied());
                    let added = sorted.add(items);
                    prop_assert_eq!(added, model.difference(&before).copied().collect::<Vec<_>>());
                } else {
                    model.retain(|item| !items.contains(item));
                    let removed = sorted.remove(items);
                    prop_assert_eq!(removed, before.difference(&model).copied().collect::<Vec<_>>());
                }
                prop_assert_eq!(sorted.as_slice(), model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(
                    sorted.without(&old).collect::<Vec<_>>(),
                    model.difference(&before).copied().collect::<Vec<_>>()
                );
            }
        }
    }
}
