//! Splitting a file into documents, before any of them is parsed.

/// One document of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk<'t> {
    /// The line that it begins in, counted from 1.
    pub(super) line: usize,
    /// Its text, with the `---` line before it, which may hold its first value.
    pub(super) bytes: &'t [u8],
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The documents of a file that hold more than blanks, comments and directives.
pub(super) fn chunks(file: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file);
    let mut line = 1;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (bytes, after) = rest.split_at(document_length(rest));
        let chunk = Chunk { line, bytes };
        rest = after;
        line += line_breaks(bytes);
        Some(chunk)
    })
    .filter(|chunk| lines(chunk.bytes).any(holds_content))
}

/// The number of line breaks in a text.
pub(super) fn line_breaks(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// The length of the document that a text begins with: up to the next `---`
/// line, not counting one that the text begins with.
fn document_length(text: &[u8]) -> usize {
    let mut length = 0;
    for line in lines(text) {
        if length > 0 && is_separator(line) {
            break;
        }
        length += line.len();
    }
    length
}

/// The lines of a text with their line breaks.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// Whether a line begins a document: `---`, alone or followed by a blank.
fn is_separator(line: &[u8]) -> bool {
    line.strip_prefix(b"---").is_some_and(|after| after.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether a line is more than blanks, a comment, a directive or a mark.
fn holds_content(line: &[u8]) -> bool {
    let line = if is_separator(line) { &line[3..] } else { line };
    if line.starts_with(b"%") || line.trim_ascii_end() == b"..." {
        return false;
    }
    line.trim_ascii_start().first().is_some_and(|byte| *byte != b'#')
}
