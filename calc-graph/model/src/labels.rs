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
    /// `(key length: u32, value length: u32, key, value)*`, little-endian.
    blob: Box<[u8]>,
}

const HEAD: usize = 8;

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
        std::iter::from_fn(move || {
            let (head, body) = rest.split_at_checked(HEAD)?;
            let (key_len, value_len) = head.split_at(4);
            let (key, body) = body.split_at(read_len(key_len));
            let (value, after) = body.split_at(read_len(value_len));
            rest = after;
            Some((text(key), text(value)))
        })
    }
}

impl LabelSource for Labels {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)
    }
}

fn read_len(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes.try_into().expect("a length is four bytes")) as usize
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("labels are built from text")
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    /// Collects labels; of equal keys the last one wins.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let mut sorted: Vec<(K, V)> = labels.into_iter().collect();
        // Stable, so that of equal keys the last one stays last.
        sorted.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let size = sorted.iter().map(|(k, v)| HEAD + k.as_ref().len() + v.as_ref().len()).sum();
        let mut blob = Vec::with_capacity(size);
        for (i, (key, value)) in sorted.iter().enumerate() {
            let (key, value) = (key.as_ref(), value.as_ref());
            if sorted.get(i + 1).is_some_and(|(next, _)| next.as_ref() == key) {
                continue;
            }
            for part in [key, value] {
                let len = u32::try_from(part.len()).expect("a label is shorter than 4 GiB");
                blob.extend_from_slice(&len.to_le_bytes());
            }
            blob.extend_from_slice(key.as_bytes());
            blob.extend_from_slice(value.as_bytes());
        }
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
}
