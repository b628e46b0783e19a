//! Keys of policies as bytes, for the arena that they stand in.
//!
//! Memory: two bytes, the namespace and the name. Invariant: equal keys have
//! equal bytes.

use std::cmp::Ordering;

use caracal_model::{PolicyKey, PolicyKind};
use smallvec::SmallVec;

/// A key, borrowed from the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyParts<'a> {
    kind: PolicyKind,
    namespace: &'a [u8],
    name: &'a [u8],
}

impl<'a> KeyParts<'a> {
    pub(crate) fn encode(key: &PolicyKey) -> SmallVec<[u8; 64]> {
        let PolicyKey { kind, namespace, name } = key;
        let mut bytes = SmallVec::new();
        // Kinds are numbered as they stand in `PolicyKind::ALL`.
        bytes.push(*kind as u8);
        let length = u32::try_from(namespace.len()).expect("a namespace is shorter than 4 GiB");
        // Lengths of names that Kubernetes admits fit in a byte.
        match u8::try_from(length) {
            Ok(short) if short != u8::MAX => bytes.push(short),
            Ok(_) | Err(_) => {
                bytes.push(u8::MAX);
                bytes.extend_from_slice(&length.to_le_bytes());
            }
        }
        bytes.extend_from_slice(namespace.as_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Self {
        let (kind, rest) = bytes.split_first().expect("a key has a kind");
        let (length, rest) = rest.split_first().expect("a key has a length");
        let (length, rest) = match *length {
            u8::MAX => {
                let (long, rest) = rest.split_first_chunk().expect("a long length takes four bytes");
                (u32::from_le_bytes(*long) as usize, rest)
            }
            short => (usize::from(short), rest),
        };
        let (namespace, name) = rest.split_at(length);
        Self { kind: PolicyKind::ALL[usize::from(*kind)], namespace, name }
    }

    pub(crate) fn key(self) -> PolicyKey {
        let text = |bytes| std::str::from_utf8(bytes).expect("keys are text").into();
        PolicyKey { kind: self.kind, namespace: text(self.namespace), name: text(self.name) }
    }

    /// The order of [`PolicyKey::tie_break`], without making the texts.
    pub(crate) fn compare(self, other: Self) -> Ordering {
        // Names of which neither begins with the other decide by themselves.
        let common = self.name.len().min(other.name.len());
        let names = self.name[..common].cmp(&other.name[..common]);
        names.then_with(|| self.tie_break().cmp(other.tie_break()))
    }

    /// The bytes of [`PolicyKey::tie_break`].
    fn tie_break(self) -> impl Iterator<Item = u8> + use<'a> {
        let parts = [self.name, b"/", self.namespace, b"/", self.kind.as_str().as_bytes()];
        parts.into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_texts() {
        let mut keys = Vec::new();
        for (namespace, name) in [("", "p"), ("a", "p"), ("", "p-1"), ("", "p0"), ("", "q"), ("z", "p"), ("é", "")] {
            keys.extend(PolicyKind::ALL.map(|kind| PolicyKey { kind, namespace: namespace.into(), name: name.into() }));
        }
        for (a, b) in keys.iter().flat_map(|a| keys.iter().map(move |b| (a, b))) {
            let (a_bytes, b_bytes) = (KeyParts::encode(a), KeyParts::encode(b));
            let compared = KeyParts::decode(&a_bytes).compare(KeyParts::decode(&b_bytes));
            assert_eq!(compared, a.tie_break().cmp(&b.tie_break()), "{a} {b}");
        }
    }

    #[test]
    fn keys_come_back() {
        for kind in PolicyKind::ALL {
            for (namespace, name) in [("", "p"), ("shop", "allow"), ("sh", "opallow"), (&*"n".repeat(300), "")] {
                let key = PolicyKey { kind, namespace: namespace.into(), name: name.into() };
                let bytes = KeyParts::encode(&key);
                let parts = KeyParts::decode(&bytes);
                assert_eq!(parts.key(), key);
                assert!(parts.tie_break().eq(key.tie_break().bytes()), "{key}");
            }
        }
    }
}
