//! A table over ids of which few may be used.
//!
//! Memory: pages of 64 entries where there is an entry, 8 bytes where there is none.

const PAGE: usize = 64;

#[derive(Debug)]
pub(crate) struct Sparse<T> {
    pages: Vec<Option<Box<[T; PAGE]>>>,
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T: Default> Sparse<T> {
    /// The entry, or nothing if its page was never written.
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / PAGE)?.as_ref().map(|page| &page[at % PAGE])
    }

    /// The entry, to be written.
    pub(crate) fn entry(&mut self, at: usize) -> &mut T {
        let page = at / PAGE;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages[page].get_or_insert_with(|| Box::new(std::array::from_fn(|_| T::default())));
        &mut page[at % PAGE]
    }

    /// Every entry of the pages that were written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let pages = self.pages.iter().enumerate().filter_map(|(at, page)| Some((at, page.as_ref()?)));
        pages.flat_map(|(at, page)| page.iter().enumerate().map(move |(entry, value)| (at * PAGE + entry, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_where_they_were_put() {
        let mut table = Sparse::<u32>::default();
        for at in [5, 1_000, 64] {
            *table.entry(at) = at as u32;
        }
        assert_eq!([5, 64, 65, 1_000].map(|at| table.get(at).copied()), [Some(5), Some(64), Some(0), Some(1_000)]);
        assert_eq!([200, 5_000].map(|at| table.get(at)), [None, None]);
        let written: Vec<usize> = table.iter().filter(|(_, value)| **value > 0).map(|(at, _)| at).collect();
        assert_eq!((written, table.iter().count()), (vec![5, 64, 1_000], 3 * PAGE));
    }
}
