//! A set of dense ids that is small when it holds few.
//!
//! Most postings of an index hold one id or none, a few hold most ids there
//! are: up to [`INLINE`] ids stand in the set itself, more in a bitmap. The
//! set takes 16 bytes.

use roaring::RoaringBitmap;

const INLINE: usize = 3;

#[derive(Debug)]
pub(crate) enum IdSet {
    /// The first ids of the array, sorted; the rest of it is meaningless.
    Few(u8, [u32; INLINE]),
    Many(Box<RoaringBitmap>),
}

impl Default for IdSet {
    fn default() -> Self {
        Self::Few(0, [0; INLINE])
    }
}

impl IdSet {
    /// Whether the id was new.
    pub(crate) fn insert(&mut self, id: u32) -> bool {
        match self {
            Self::Many(bitmap) => bitmap.insert(id),
            Self::Few(len, ids) => {
                let held = &ids[..usize::from(*len)];
                let Err(at) = held.binary_search(&id) else { return false };
                if held.len() == INLINE {
                    let mut bitmap: RoaringBitmap = held.iter().copied().collect();
                    bitmap.insert(id);
                    *self = Self::Many(Box::new(bitmap));
                } else {
                    ids.copy_within(at..usize::from(*len), at + 1);
                    ids[at] = id;
                    *len += 1;
                }
                true
            }
        }
    }

    /// Whether the id was there.
    pub(crate) fn remove(&mut self, id: u32) -> bool {
        match self {
            Self::Many(bitmap) => {
                let was = bitmap.remove(id);
                // Half of what made the bitmap, so that one id coming and going does not convert each time.
                if bitmap.len() <= 1 {
                    let mut few = [0; INLINE];
                    let mut len = 0;
                    for id in bitmap.iter() {
                        few[usize::from(len)] = id;
                        len += 1;
                    }
                    *self = Self::Few(len, few);
                }
                was
            }
            Self::Few(len, ids) => {
                let held = usize::from(*len);
                let Ok(at) = ids[..held].binary_search(&id) else { return false };
                ids.copy_within(at + 1..held, at);
                *len -= 1;
                true
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Few(len, _) => u64::from(*len),
            Self::Many(bitmap) => bitmap.len(),
        }
    }

    /// The ids in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        let (few, many) = match self {
            Self::Few(len, ids) => (&ids[..usize::from(*len)], None),
            Self::Many(bitmap) => (&[][..], Some(bitmap.iter())),
        };
        few.iter().copied().chain(many.into_iter().flatten())
    }
}

impl FromIterator<u32> for IdSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut set = Self::default();
        for id in ids {
            set.insert(id);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_an_ordered_set(steps in prop::collection::vec((any::<bool>(), 0u32..8), 0..60)) {
            let (mut set, mut model) = (IdSet::default(), BTreeSet::new());
            for (insert, id) in steps {
                if insert {
                    prop_assert_eq!(set.insert(id), model.insert(id));
                } else {
                    prop_assert_eq!(set.remove(id), model.remove(&id));
                }
                prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!((set.len(), set.is_empty()), (model.len() as u64, model.is_empty()));
            }
        }
    }

    #[test]
    fn takes_sixteen_bytes() {
        assert_eq!(size_of::<IdSet>(), 16);
    }
}
