//! A table whose entries keep their place, and places are used again.

use std::ops::{Index, IndexMut};

#[derive(Debug)]
pub(crate) struct Slots<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self.entries[at as usize] = Some(value);
            return at;
        }
        let at = u32::try_from(self.entries.len()).expect("a table has fewer than 2^32 entries");
        self.entries.push(Some(value));
        at
    }

    /// Empties a place, which the next insertion may take.
    pub(crate) fn remove(&mut self, at: u32) -> T {
        let value = self.entries[at as usize].take().expect("a place is emptied once");
        self.free.push(at);
        value
    }

    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.entries.get(at as usize)?.as_ref()
    }

    /// The occupied places, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = (0u32..).zip(&self.entries);
        places.filter_map(|(at, entry)| entry.as_ref().map(|value| (at, value)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().flatten()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> + use<'_, T> {
        self.iter().map(|(at, _)| at)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        self.entries[at as usize].as_ref().expect("an id names an occupied place")
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        self.entries[at as usize].as_mut().expect("an id names an occupied place")
    }
}
