//! Sets and maps.

use smallvec::SmallVec;

use super::name::Name;
use super::uapi::{
    NFT_DATA_VERDICT, NFT_SET_CONCAT, NFTA_LIST_ELEM, NFTA_SET_DATA_LEN, NFTA_SET_DATA_TYPE, NFTA_SET_DESC,
    NFTA_SET_DESC_CONCAT, NFTA_SET_DESC_SIZE, NFTA_SET_FIELD_LEN, NFTA_SET_FLAGS, NFTA_SET_HANDLE, NFTA_SET_ID,
    NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_SET_USERDATA,
};
use super::userdata::{self, ByteOrder};
use crate::wire::{Attrs, Malformed, Writer};

const CONSTANT: u32 = libc::NFT_SET_CONSTANT.cast_unsigned();
const INTERVAL: u32 = libc::NFT_SET_INTERVAL.cast_unsigned();
const MAP: u32 = libc::NFT_SET_MAP.cast_unsigned();

/// One field of a key, or a map's data. The kernel only needs the lengths; the
/// types are nft's own (`enum datatypes`), for `nft list` to print by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A transport protocol: one byte.
    Protocol,
    /// A port.
    Port,
    /// A mark: four bytes in the machine's order.
    Mark,
    /// An interface's name.
    IfName,
}

impl Field {
    const ALL: [Self; 6] = [Self::Ipv4, Self::Ipv6, Self::Protocol, Self::Port, Self::Mark, Self::IfName];

    const fn number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Mark => 19,
            Self::IfName => 41,
        }
    }

    /// The width in bytes.
    #[must_use]
    pub const fn width(self) -> u32 {
        match self {
            Self::Protocol => 1,
            Self::Port => 2,
            Self::Ipv4 | Self::Mark => 4,
            Self::Ipv6 | Self::IfName => 16,
        }
    }

    const fn byte_order(self) -> ByteOrder {
        match self {
            Self::Ipv4 | Self::Ipv6 | Self::Protocol | Self::Port => ByteOrder::BigEndian,
            Self::Mark | Self::IfName => ByteOrder::Host,
        }
    }
}

/// The fields of a key, in order: at most four of them.
pub type Fields = SmallVec<[Field; 4]>;

/// Bits of a concatenated type number per field (`TYPE_BITS` of nft).
const TYPE_BITS: u32 = 6;

fn type_number(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |number, field| number << TYPE_BITS | field.number())
}

fn from_type_number(mut number: u32) -> Option<Fields> {
    let mut fields = Fields::new();
    while number != 0 {
        let lowest = number & ((1 << TYPE_BITS) - 1);
        fields.insert(0, Field::ALL.into_iter().find(|field| field.number() == lowest)?);
        number >>= TYPE_BITS;
    }
    Some(fields)
}

/// The length of a key in bytes: several fields start at words.
fn key_len(fields: &[Field]) -> u32 {
    match fields {
        [field] => field.width(),
        fields => fields.iter().map(|field| field.width().next_multiple_of(4)).sum(),
    }
}

/// What a lookup yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetData {
    /// Nothing: a set.
    None,
    /// A value: a data map.
    Value(Field),
    /// A verdict: a verdict map.
    Verdict,
}

/// How elements are matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetKind {
    /// By equality.
    Hash,
    /// By order of the whole key as bytes: elements are starts and ends of disjoint
    /// ranges. Over several fields the kernel takes it, but `nft` 1.0.6 dies of a
    /// signal when it lists one with elements.
    Interval,
    /// Each field by a range of its own. Deleting is dear: see [`super::Key::Range`].
    Ranges,
}

/// A set or map to be made. Adding one that is there and alike changes nothing;
/// one that is there and differs is refused with EEXIST.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Set {
    /// The name.
    pub name: Name,
    /// The key's fields.
    pub key: Fields,
    /// What a lookup yields.
    pub data: SetData,
    /// How elements are matched.
    pub kind: SetKind,
    /// Whether elements may be changed once a rule uses it.
    pub change: Change,
    /// The most elements it can hold. A hash set with a size is looked up faster.
    pub size: Option<u32>,
}

/// Whether a set's elements may be changed once a rule uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Change {
    /// At any time.
    #[default]
    Free,
    /// Never.
    Constant,
}

impl Set {
    /// A set of one kind over the given fields.
    #[must_use]
    pub fn new(name: Name, kind: SetKind, key: impl Into<Fields>) -> Self {
        Self { name, key: key.into(), data: SetData::None, kind, change: Change::Free, size: None }
    }

    /// The set as a map.
    #[must_use]
    pub const fn with_data(mut self, data: SetData) -> Self {
        self.data = data;
        self
    }

    /// The set with a limit to its elements.
    #[must_use]
    pub const fn with_size(mut self, size: u32) -> Self {
        self.size = Some(size);
        self
    }

    fn flags(&self) -> u32 {
        let kind = match self.kind {
            SetKind::Hash => 0,
            SetKind::Interval => INTERVAL,
            SetKind::Ranges => INTERVAL | NFT_SET_CONCAT,
        };
        let map = match self.data {
            SetData::None => 0,
            SetData::Value(_) | SetData::Verdict => MAP,
        };
        let change = match self.change {
            Change::Free => 0,
            Change::Constant => CONSTANT,
        };
        kind | map | change
    }

    /// `id` tells apart the sets of one batch.
    pub(super) fn encode(&self, out: &mut Writer, id: u32) {
        out.text(NFTA_SET_NAME, &self.name);
        out.be32(NFTA_SET_FLAGS, self.flags());
        out.be32(NFTA_SET_KEY_TYPE, type_number(&self.key));
        out.be32(NFTA_SET_KEY_LEN, key_len(&self.key));
        match self.data {
            SetData::None => {}
            SetData::Value(field) => {
                out.be32(NFTA_SET_DATA_TYPE, field.number());
                out.be32(NFTA_SET_DATA_LEN, field.width());
            }
            SetData::Verdict => {
                out.be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT);
                out.be32(NFTA_SET_DATA_LEN, 0);
            }
        }
        out.be32(NFTA_SET_ID, id);
        if self.size.is_some() || self.kind == SetKind::Ranges {
            out.nest(NFTA_SET_DESC, |out| self.encode_description(out));
        }
        let [first, ..] = self.key[..] else { return };
        let data = match self.data {
            SetData::Value(field) => Some(field.byte_order()),
            SetData::None | SetData::Verdict => None,
        };
        userdata::put_byte_orders(out, NFTA_SET_USERDATA, first.byte_order(), data);
    }

    fn encode_description(&self, out: &mut Writer) {
        if let Some(size) = self.size {
            out.be32(NFTA_SET_DESC_SIZE, size);
        }
        if self.kind == SetKind::Ranges {
            out.nest(NFTA_SET_DESC_CONCAT, |out| {
                for field in &self.key {
                    out.nest(NFTA_LIST_ELEM, |out| out.be32(NFTA_SET_FIELD_LEN, field.width()));
                }
            });
        }
    }
}

/// A set or map that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSet {
    /// The name.
    pub name: Name,
    /// The kernel's number of it.
    pub handle: u64,
    /// The set; `None` if [`Set`] cannot hold it, such as one with timeouts.
    pub set: Option<Set>,
}

impl ListedSet {
    pub(super) fn decode(attrs: Attrs<'_>) -> Result<Self, Malformed> {
        let (mut name, mut handle) = (None, 0);
        let (mut flags, mut key, mut key_bytes, mut data, mut size) = (0, 0, 0, 0, None);
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                NFTA_SET_NAME => name = Name::new(attr.text()?).ok(),
                NFTA_SET_HANDLE => handle = attr.be64()?,
                NFTA_SET_FLAGS => flags = attr.be32()?,
                NFTA_SET_KEY_TYPE => key = attr.be32()?,
                NFTA_SET_KEY_LEN => key_bytes = attr.be32()?,
                NFTA_SET_DATA_TYPE => data = attr.be32()?,
                NFTA_SET_DESC => {
                    for attr in attr.nested() {
                        let attr = attr?;
                        if attr.kind == NFTA_SET_DESC_SIZE {
                            size = Some(attr.be32()?);
                        }
                    }
                }
                _ => {}
            }
        }
        let name = name.ok_or(Malformed("a set without a name"))?;
        let data = match flags & MAP {
            0 => Some(SetData::None),
            _ if data == NFT_DATA_VERDICT => Some(SetData::Verdict),
            _ => Field::ALL.into_iter().find(|field| field.number() == data).map(SetData::Value),
        };
        let kind = match flags & (INTERVAL | NFT_SET_CONCAT) {
            0 | NFT_SET_CONCAT => SetKind::Hash,
            INTERVAL => SetKind::Interval,
            _ => SetKind::Ranges,
        };
        let change = if flags & CONSTANT == 0 { Change::Free } else { Change::Constant };
        let plain = flags & !(CONSTANT | INTERVAL | MAP | NFT_SET_CONCAT) == 0;
        let set = from_type_number(key).zip(data).and_then(|(key, data)| {
            let set = Set { name: name.clone(), key, data, kind, change, size };
            (plain && key_len(&set.key) == key_bytes).then_some(set)
        });
        Ok(Self { name, handle, set })
    }
}
