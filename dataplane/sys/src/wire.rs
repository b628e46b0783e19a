//! Netlink messages as bytes: a writer onto one growing buffer, and a reader.
//!
//! Layouts: `struct nlmsghdr` and `struct nlattr` of `linux/netlink.h`, `struct
//! nfgenmsg` of `linux/netfilter/nfnetlink.h`. Headers are in the machine's byte
//! order; integers inside nfnetlink attributes are big endian.

/// `sizeof(struct nlmsghdr)`.
pub(crate) const HEADER: usize = 16;
/// `sizeof(struct nfgenmsg)`.
pub(crate) const NFGEN: usize = 4;
/// `sizeof(struct nlattr)`.
const ATTR: usize = 4;
/// The largest payload of one attribute: `nla_len` is 16 bits and counts its header.
pub(crate) const ATTR_MAX: usize = u16::MAX as usize - ATTR;
const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`: without the nested and byte-order flags.
const TYPE_MASK: u16 = 0x3fff;

/// An attribute would be longer than 65,531 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// Received bytes are not well-formed netlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's answer is malformed: {0}")]
pub struct Malformed(pub(crate) &'static str);

const fn align(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// What the header of a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) seq: u32,
}

/// An open attribute: closed by [`Writer::close`].
#[must_use]
pub(crate) struct Nest(usize);

/// An open message: closed by [`Writer::end`].
#[must_use]
pub(crate) struct Open(usize);

impl Open {
    /// Where the message starts in the buffer.
    pub(crate) const fn at(&self) -> usize {
        self.0
    }
}

/// Messages, one after another, in one buffer.
///
/// An attribute that grows too long is remembered and refused when its message
/// ends, so that encoders in between need no error path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    overflow: bool,
}

impl Writer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn clear(&mut self) {
        self.truncate(0);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
        self.overflow = false;
    }

    /// Starts a message with a netfilter header.
    pub(crate) fn begin(&mut self, head: Head, family: u8, resource: u16) -> Open {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&head.kind.to_ne_bytes());
        self.bytes.extend_from_slice(&head.flags.to_ne_bytes());
        self.bytes.extend_from_slice(&head.seq.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        Open(at)
    }

    /// Ends a message. One that overflowed is taken back as if it had never been.
    pub(crate) fn end(&mut self, open: Open) -> Result<(), Overflow> {
        let Open(at) = open;
        let len = u32::try_from(self.bytes.len() - at);
        match len {
            Ok(len) if !self.overflow => {
                self.bytes[at..at + 4].copy_from_slice(&len.to_ne_bytes());
                Ok(())
            }
            _ => {
                self.truncate(at);
                Err(Overflow)
            }
        }
    }

    /// Bytes that are already laid out as attributes or a message.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An attribute made of several pieces.
    pub(crate) fn pieces(&mut self, kind: u16, pieces: &[&[u8]]) {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.length(len + ATTR);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
        }
        self.pad(len);
    }

    pub(crate) fn attr(&mut self, kind: u16, payload: &[u8]) {
        self.pieces(kind, &[payload]);
    }

    /// A NUL-terminated string.
    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        self.pieces(kind, &[text.as_bytes(), &[0]]);
    }

    pub(crate) fn be16(&mut self, kind: u16, value: u16) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub(crate) fn be64(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub(crate) fn open(&mut self, kind: u16) -> Nest {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        Nest(at)
    }

    pub(crate) fn close(&mut self, nest: Nest) {
        let Nest(at) = nest;
        match u16::try_from(self.bytes.len() - at) {
            Ok(len) => self.bytes[at..at + 2].copy_from_slice(&len.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
    }

    /// A nested attribute filled by `fill`.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let nest = self.open(kind);
        fill(self);
        self.close(nest);
    }

    fn length(&mut self, len: usize) {
        let len = u16::try_from(len).unwrap_or_else(|_| {
            self.overflow = true;
            0
        });
        self.bytes.extend_from_slice(&len.to_ne_bytes());
    }

    fn pad(&mut self, len: usize) {
        let padding = align(len) - len;
        self.bytes.extend_from_slice(&[0; 3][..padding]);
    }
}

/// One received message: its header and what follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) head: Head,
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes of a netfilter message, and its family.
    pub(crate) fn netfilter(&self) -> Result<(u8, Attrs<'a>), Malformed> {
        let (header, attrs) = self.body.split_at_checked(NFGEN).ok_or(Malformed("no netfilter header"))?;
        Ok((header[0], Attrs(attrs)))
    }
}

/// The messages of one datagram.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        Some(self.split(bytes).ok_or(Malformed("a message is cut short")))
    }
}

impl<'a> Messages<'a> {
    fn split(&mut self, bytes: &'a [u8]) -> Option<Message<'a>> {
        let header = bytes.get(..HEADER)?;
        let len = usize::try_from(ne32(header)?).ok()?;
        let body = bytes.get(HEADER..len)?;
        self.0 = bytes.get(align(len)..).unwrap_or_default();
        let head = Head { kind: ne16(&header[4..])?, flags: ne16(&header[6..])?, seq: ne32(&header[8..])? };
        Some(Message { head, body })
    }
}

/// One received attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attr<'a> {
    pub(crate) kind: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Attr<'a> {
    pub(crate) const fn nested(&self) -> Attrs<'a> {
        Attrs(self.payload)
    }

    pub(crate) fn u8(&self) -> Result<u8, Malformed> {
        self.payload.first().copied().ok_or(Malformed("an empty 8-bit attribute"))
    }

    pub(crate) fn be16(&self) -> Result<u16, Malformed> {
        let bytes = self.payload.first_chunk().ok_or(Malformed("a short 16-bit attribute"))?;
        Ok(u16::from_be_bytes(*bytes))
    }

    pub(crate) fn be32(&self) -> Result<u32, Malformed> {
        let bytes = self.payload.first_chunk().ok_or(Malformed("a short 32-bit attribute"))?;
        Ok(u32::from_be_bytes(*bytes))
    }

    pub(crate) fn be64(&self) -> Result<u64, Malformed> {
        let bytes = self.payload.first_chunk().ok_or(Malformed("a short 64-bit attribute"))?;
        Ok(u64::from_be_bytes(*bytes))
    }

    /// Text up to its NUL.
    pub(crate) fn text(&self) -> Result<&'a str, Malformed> {
        let end = self.payload.iter().position(|&b| b == 0).unwrap_or(self.payload.len());
        std::str::from_utf8(&self.payload[..end]).map_err(|_| Malformed("text that is not UTF-8"))
    }
}

/// Attributes, one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attrs<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<Attr<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        Some(self.split(bytes).ok_or(Malformed("an attribute is cut short")))
    }
}

impl<'a> Attrs<'a> {
    fn split(&mut self, bytes: &'a [u8]) -> Option<Attr<'a>> {
        let len = usize::from(ne16(bytes)?);
        let kind = ne16(bytes.get(2..)?)? & TYPE_MASK;
        let payload = bytes.get(ATTR..len)?;
        self.0 = bytes.get(align(len)..).unwrap_or_default();
        Some(Attr { kind, payload })
    }
}

pub(crate) fn ne16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

pub(crate) fn ne32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { kind: 7, flags: 3, seq: 9 };

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        let open = writer.begin(HEAD, 1, 10);
        writer.text(1, "ab");
        writer.nest(2, |w| w.be32(3, 0x0102_0304));
        writer.end(open).expect("short attributes");
        let message = Messages(writer.bytes()).next().expect("one message").expect("well formed");
        assert_eq!(message.head, HEAD);
        let (family, attrs) = message.netfilter().expect("a netfilter header");
        assert_eq!(family, 1);
        let attrs: Vec<Attr<'_>> = attrs.collect::<Result<_, _>>().expect("well formed");
        assert_eq!(attrs[0].text(), Ok("ab"));
        let inner = attrs[1].nested().next().expect("one attribute").expect("well formed");
        assert_eq!((inner.kind, inner.be32()), (3, Ok(0x0102_0304)));
    }

    #[test]
    fn an_attribute_of_the_largest_length_fits_and_one_byte_more_takes_the_message_back() {
        let mut writer = Writer::default();
        let open = writer.begin(HEAD, 1, 10);
        writer.attr(1, &vec![0; ATTR_MAX]);
        assert_eq!(writer.end(open), Ok(()));
        let len = writer.len();
        for nested in [false, true] {
            let open = writer.begin(HEAD, 1, 10);
            if nested {
                writer.nest(1, |w| w.raw(&vec![0; ATTR_MAX + 1]));
            } else {
                writer.attr(1, &vec![0; ATTR_MAX + 1]);
            }
            assert_eq!(writer.end(open), Err(Overflow));
            assert_eq!(writer.len(), len);
        }
        let open = writer.begin(HEAD, 1, 10);
        assert_eq!(writer.end(open), Ok(()), "the overflow is not remembered for the next message");
    }

    #[test]
    fn bytes_that_end_too_early_are_an_error_and_end_the_iteration() {
        for bytes in [&[1, 0][..], &[3, 0, 1, 0], &[12, 0, 1, 0, 5, 5]] {
            let mut attrs = Attrs(bytes);
            assert!(attrs.next().expect("an item").is_err(), "{bytes:?}");
            assert!(attrs.next().is_none());
        }
        let mut messages = Messages(&[255; 20]);
        assert!(messages.next().expect("an item").is_err());
        assert!(messages.next().is_none());
    }

    proptest::proptest! {
        #[test]
        fn reading_any_bytes_ends_without_panic(bytes: Vec<u8>) {
            for message in Messages(&bytes).flatten() {
                let Ok((_, attrs)) = message.netfilter() else { continue };
                for attr in attrs.flatten() {
                    let read = (attr.u8().ok(), attr.be16().ok(), attr.be32().ok(), attr.be64().ok(), attr.text().ok());
                    proptest::prop_assert!(read.0.is_some() || attr.payload.is_empty());
                }
            }
        }
    }
}
