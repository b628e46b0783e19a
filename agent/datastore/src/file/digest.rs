//! Digests by which versions are told apart.

use sha1::{Digest as _, Sha1};

/// 128 bits of a hash: enough to tell versions of one object apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest([u8; 16]);

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let hash = Sha1::digest(bytes);
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash[..16]);
        Self(digest)
    }
}
