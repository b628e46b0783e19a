//! Byte strings in one allocation, by offset.
//!
//! Memory: the bytes and mostly one for the length; what was freed stays until
//! it is half of everything, when the owner is asked to move what it keeps.

use crate::varint;

#[derive(Debug, Default)]
pub(crate) struct KeyArena {
    bytes: Vec<u8>,
    freed: usize,
}

impl KeyArena {
    pub(crate) fn push(&mut self, key: &[u8]) -> u32 {
        let at = u32::try_from(self.bytes.len()).expect("keys take less than 4 GiB");
        varint::push(&mut self.bytes, key.len());
        self.bytes.extend_from_slice(key);
        at
    }

    pub(crate) fn get(&self, at: u32) -> &[u8] {
        let mut rest = &self.bytes[at as usize..];
        let length = varint::take(&mut rest);
        &rest[..length]
    }

    pub(crate) fn free(&mut self, at: u32) {
        let before = self.bytes[at as usize..].len();
        let mut rest = &self.bytes[at as usize..];
        let length = varint::take(&mut rest);
        self.freed += before - rest.len() + length;
    }

    /// Moves what is kept together if at least half is freed. `kept` are the
    /// offsets in use; they are changed in place.
    pub(crate) fn compact<'a>(&mut self, kept: impl Iterator<Item = &'a mut u32>) {
        const WORTHWHILE: usize = 1 << 16;
        if self.freed < WORTHWHILE || self.freed * 2 < self.bytes.len() {
            return;
        }
        let mut moved = Self::default();
        moved.bytes.reserve(self.bytes.len() - self.freed);
        for at in kept {
            *at = moved.push(self.get(*at));
        }
        *self = moved;
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
        let before = arena.bytes.len();
        for at in &offsets[1_000..] {
            arena.free(*at);
        }
        offsets.truncate(1_000);
        arena.compact(offsets.iter_mut());
        assert!(arena.bytes.len() < before / 5);
        for (at, key) in offsets.iter().zip(&keys) {
            assert_eq!(arena.get(*at), key);
        }
    }
}
