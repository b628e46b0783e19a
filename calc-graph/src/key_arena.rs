//! Byte strings in pages, by offset.
//!
//! Memory: the bytes and mostly one for the length; what was freed stays until
//! it is half of everything, when the owner is asked to move what it keeps.

use crate::varint;

/// Where the next page starts; a longer string has a page of its own length.
const PAGE: usize = 1 << BITS;
const BITS: u32 = 16;

#[derive(Debug, Default)]
pub(crate) struct KeyArena {
    pages: Vec<Vec<u8>>,
    freed: usize,
}

impl KeyArena {
    pub(crate) fn push(&mut self, key: &[u8]) -> u32 {
        // A length takes up to five bytes.
        let needed = key.len() + 5;
        if self.pages.last().is_none_or(|page| page.len() + needed > PAGE) {
            // The first page grows: most arenas of small clusters need no second.
            let size = if self.pages.is_empty() { needed } else { PAGE.max(needed) };
            self.pages.push(Vec::with_capacity(size));
        }
        let at = (self.pages.len() - 1) << BITS | self.pages.last().map_or(0, Vec::len);
        let page = self.pages.last_mut().expect("there is a page");
        if page.capacity() - page.len() < needed {
            // To four times, and the last time to the whole page.
            page.reserve_exact((3 * page.len()).max(needed).min(PAGE - page.len()));
        }
        varint::push(page, key.len());
        page.extend_from_slice(key);
        u32::try_from(at).expect("keys take less than 4 GiB")
    }

    #[inline]
    pub(crate) fn get(&self, at: u32) -> &[u8] {
        let mut rest = self.from(at);
        let length = varint::take(&mut rest);
        &rest[..length]
    }

    pub(crate) fn free(&mut self, at: u32) {
        let before = self.from(at).len();
        let mut rest = self.from(at);
        let length = varint::take(&mut rest);
        self.freed += before - rest.len() + length;
    }

    /// Moves what is kept together if at least half is freed. `kept` are the
    /// offsets in use; they are changed in place.
    pub(crate) fn compact<'a>(&mut self, kept: impl Iterator<Item = &'a mut u32>) {
        const WORTHWHILE: usize = 1 << 16;
        if self.freed < WORTHWHILE || self.freed * 2 < self.size() {
            return;
        }
        let mut moved = Self::default();
        for at in kept {
            *at = moved.push(self.get(*at));
        }
        *self = moved;
    }

    fn size(&self) -> usize {
        self.pages.iter().map(Vec::len).sum()
    }

    fn from(&self, at: u32) -> &[u8] {
        &self.pages[(at >> BITS) as usize][at as usize & (PAGE - 1)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_kept() {
        let mut arena = KeyArena::default();
        let keys: Vec<Vec<u8>> = (0u32..10_000).map(|n| n.to_string().repeat(3).into_bytes()).collect();
        let mut offsets: Vec<u32> = keys.iter().map(|key| arena.push(key)).collect();
        let before = arena.size();
        for at in &offsets[1_000..] {
            arena.free(*at);
        }
        offsets.truncate(1_000);
        arena.compact(offsets.iter_mut());
        assert!(arena.size() < before / 5);
        for (at, key) in offsets.iter().zip(&keys) {
            assert_eq!(arena.get(*at), key);
        }
    }

    #[test]
    fn takes_what_is_longer_than_a_page() {
        let mut arena = KeyArena::default();
        let keys = [vec![1; 10], vec![2; PAGE * 2 + 1], vec![3; PAGE - 5], vec![4; PAGE - 4]];
        let offsets = keys.each_ref().map(|key| arena.push(key));
        assert_eq!(offsets.map(|at| arena.get(at).to_vec()), keys);
    }
}
