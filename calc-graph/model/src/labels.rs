//! Labels as one allocation.

use std::fmt;

use caracal_selector::LabelSource;

/// Labels of an object, sorted by key, in one allocation.
///
/// A cluster has one of these per endpoint, and an update of an endpoint frees
/// the old one: a map of strings would cost dozens of allocations each time.
/// Equal labels have equal bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// `(key length, value length, key, value)*`: lengths are text too, so that
    /// the parts are text without being looked at again.
    blob: Box<str>,
}

/// Characters of a length: digits of [`DIGIT`] bits, the lowest first.
const LENGTH: usize = 4;
const DIGIT: usize = 7;

impl Labels {
    /// No labels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blob.is_empty()
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// The labels in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &self.blob[..];
        self.iter_bytes().map(move |(key, value)| {
            let (key, body) = rest[2 * LENGTH..].split_at(key.len());
            let (value, after) = body.split_at(value.len());
            rest = after;
            (key, value)
        })
    }

    /// As [`iter`](Self::iter), for who only keeps and compares them.
    #[inline]
    pub fn iter_bytes(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.blob.as_bytes();
        std::iter::from_fn(move || {
            let (head, body) = rest.split_first_chunk::<{ 2 * LENGTH }>()?;
            let [key_len, value_len] = read_lens(*head);
            let (key, body) = body.split_at(key_len);
            let (value, after) = body.split_at(value_len);
            rest = after;
            Some((key, value))
        })
    }
}

impl LabelSource for Labels {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)
    }
}

#[inline]
fn read_lens(head: [u8; 2 * LENGTH]) -> [usize; 2] {
    let (lens, _) = head.as_chunks::<LENGTH>();
    let len = |at: usize| (0..LENGTH).fold(0, |len, place| len | usize::from(lens[at][place]) << (place * DIGIT));
    [len(0), len(1)]
}

fn written_len(len: usize) -> [u8; LENGTH] {
    assert!(len >> (LENGTH * DIGIT) == 0, "a label is shorter than 256 MiB");
    std::array::from_fn(|place| (len >> (place * DIGIT)) as u8 & ((1 << DIGIT) - 1))
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    /// Collects labels; of equal keys the last one wins.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let mut sorted: Vec<(K, V)> = labels.into_iter().collect();
        // Stable, so that of equal keys the last one stays last. Most are in order already.
        if !sorted.is_sorted_by(|a, b| a.0.as_ref() <= b.0.as_ref()) {
            sorted.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        }
        let size = sorted.iter().map(|(k, v)| 2 * LENGTH + k.as_ref().len() + v.as_ref().len()).sum();
        let mut blob = Vec::with_capacity(size);
        for (i, (key, value)) in sorted.iter().enumerate() {
            let (key, value) = (key.as_ref(), value.as_ref());
            if sorted.get(i + 1).is_some_and(|(next, _)| next.as_ref() == key) {
                continue;
            }
            blob.extend_from_slice(&written_len(key.len()));
            blob.extend_from_slice(&written_len(value.len()));
            blob.extend_from_slice(key.as_bytes());
            blob.extend_from_slice(value.as_bytes());
        }
        let blob = String::from_utf8(blob).expect("lengths, keys and values are text");
        Self { blob: blob.into() }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_last_wins() {
        let labels = Labels::from_iter([("b", "1"), ("a", ""), ("b", "2")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", ""), ("b", "2")]);
        assert_eq!(labels.get("b"), Some("2"));
        assert_eq!(labels.get("c"), None);
        assert_eq!(labels, Labels::from_iter([("a", ""), ("b", "2")]));
        assert!(Labels::new().is_empty());
    }

    #[test]
    fn parts_of_any_length_come_back() {
        for len in [0, 1, 127, 128, 129, 20_000, 3_000_000] {
            let (key, value) = ("k".repeat(len), "ü".repeat(len));
            let labels = Labels::from_iter([(&key, &value)]);
            assert_eq!(labels.iter().collect::<Vec<_>>(), [(key.as_str(), value.as_str())]);
        }
    }
}
