//! User data: bytes the kernel keeps with an object for programs to read. Each
//! entry is a type, a length and content. Elder `nft` crashes on types it does
//! not know, so only the comment and the byte order are written.

use super::name::Comment;
use super::uapi::{UDATA_COMMENT, UDATA_SET_DATABYTEORDER, UDATA_SET_KEYBYTEORDER};
use crate::wire::Writer;

/// A comment, NUL-terminated.
pub(super) fn put_comment(out: &mut Writer, kind: u16, comment: &Comment) {
    let len = u8::try_from(comment.len() + 1).expect("a comment has at most 127 bytes");
    out.pieces(kind, &[&[UDATA_COMMENT, len], comment.as_bytes(), &[0]]);
}

/// The comment among the entries, if there is one.
pub(super) fn comment(mut entries: &[u8]) -> Option<Comment> {
    while let [kind, len, rest @ ..] = entries {
        let (content, rest) = rest.split_at_checked(usize::from(*len))?;
        if *kind == UDATA_COMMENT {
            let text = std::str::from_utf8(content).ok()?;
            return Comment::new(text.trim_end_matches('\0')).ok();
        }
        entries = rest;
    }
    None
}

/// `enum byteorder` of nft: which way round a set's keys and data are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Host = 1,
    BigEndian = 2,
}

/// The byte orders of a set.
pub(super) fn put_byte_orders(out: &mut Writer, kind: u16, key: ByteOrder, data: Option<ByteOrder>) {
    let entry = |kind: u8, order: ByteOrder| {
        let [a, b, c, d] = (order as u32).to_ne_bytes();
        [kind, 4, a, b, c, d]
    };
    let key = entry(UDATA_SET_KEYBYTEORDER, key);
    match data {
        None => out.attr(kind, &key),
        Some(data) => out.pieces(kind, &[&key, &entry(UDATA_SET_DATABYTEORDER, data)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comment_is_found_among_other_entries() {
        assert_eq!(comment(&[7, 1, 9, 0, 3, b'h', b'i', 0]).as_deref(), Some("hi"));
        for none in [&[][..], &[7, 1, 9], &[0, 9, b'h'], &[0, 2, 0xff, 0], &[0]] {
            assert_eq!(comment(none), None, "{none:?}");
        }
    }
}
