//! A table whose entries keep their place, and places are used again.
//!
//! Entries stand in pages, so that a table that grows neither moves nor keeps
//! room for as many entries again.

use std::ops::{Index, IndexMut};

/// Entries of a page.
const PAGE: usize = 1 << BITS;
const BITS: u32 = 10;

#[derive(Debug)]
pub(crate) struct Slots<T> {
    /// All but the last are full.
    pages: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(at) = self.free.pop() {
            *self.entry(at) = Some(value);
            return at;
        }
        /// Places of the first page to begin with.
        const FEW: usize = 8;
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            // The first page grows: most tables of small clusters need no second.
            let size = if self.pages.is_empty() { FEW } else { PAGE };
            self.pages.push(Vec::with_capacity(size));
        }
        let at = u32::try_from(self.places()).expect("a table has fewer than 2^32 entries");
        let page = self.pages.last_mut().expect("there is a page");
        if page.len() == page.capacity() {
            // To four times, and the last time to the whole page.
            page.reserve_exact((3 * page.len()).min(PAGE - page.len()));
        }
        page.push(Some(value));
        at
    }

    /// Empties a place, which the next insertion may take.
    pub(crate) fn remove(&mut self, at: u32) -> T {
        let value = self.entry(at).take().expect("a place is emptied once");
        self.free.push(at);
        value
    }

    #[inline]
    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        let (page, entry) = split(at);
        self.pages.get(page)?.get(entry)?.as_ref()
    }

    /// The occupied places, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = (0u32..).zip(self.pages.iter().flatten());
        places.filter_map(|(at, entry)| entry.as_ref().map(|value| (at, value)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pages.iter_mut().flatten().flatten()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> + use<'_, T> {
        self.iter().map(|(at, _)| at)
    }

    pub(crate) fn len(&self) -> usize {
        self.places() - self.free.len()
    }

    /// How many places there are, occupied or not.
    fn places(&self) -> usize {
        self.pages.len().saturating_sub(1) * PAGE + self.pages.last().map_or(0, Vec::len)
    }

    fn entry(&mut self, at: u32) -> &mut Option<T> {
        let (page, entry) = split(at);
        &mut self.pages[page][entry]
    }
}

const fn split(at: u32) -> (usize, usize) {
    ((at >> BITS) as usize, at as usize & (PAGE - 1))
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: u32) -> &T {
        let (page, entry) = split(at);
        self.pages[page][entry].as_ref().expect("an id names an occupied place")
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    #[inline]
    fn index_mut(&mut self, at: u32) -> &mut T {
        self.entry(at).as_mut().expect("an id names an occupied place")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_over_pages_and_used_again() {
        let mut slots = Slots::default();
        let count = PAGE as u32 * 2 + 5;
        for n in 0..count {
            assert_eq!(slots.insert(n * 3), n);
        }
        assert_eq!(slots.len(), count as usize);
        assert!(slots.iter().all(|(at, value)| *value == at * 3));
        let middle = PAGE as u32 + 1;
        assert_eq!(slots.remove(middle), middle * 3);
        assert_eq!((slots.get(middle), slots.get(count)), (None, None));
        assert_eq!(slots.insert(7), middle);
        assert_eq!((slots[middle], slots.ids().count()), (7, count as usize));
    }
}
