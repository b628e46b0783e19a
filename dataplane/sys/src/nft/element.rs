//! Elements of sets and maps.

use super::name::{Comment, Name};
use super::table::TableId;
use super::uapi::{
    NFT_SET_ELEM_CATCHALL, NFT_SET_ELEM_INTERVAL_END, NFTA_ANY_TABLE, NFTA_DATA_VALUE, NFTA_DATA_VERDICT,
    NFTA_LIST_ELEM, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END,
    NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_USERDATA,
};
use super::userdata;
use super::value::{Value, Verdict};
use crate::wire::{Attrs, Malformed, Writer};

/// What an element stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// One key of a hash set; in an interval set, the first key of a range.
    At(Value),
    /// In an interval set: the first key behind a range.
    End(Value),
    /// In a set of kind [`super::SetKind::Ranges`]: the first and the last of
    /// each field, both included.
    Range(Value, Value),
    /// All keys without an element of their own.
    CatchAll,
}

/// What a map's element yields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// A value.
    Value(Value),
    /// A verdict.
    Verdict(Verdict),
}

/// An element of a set or map. Adding one that is there and alike changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// What it stands for.
    pub key: Key,
    /// For maps. Not needed to delete the element.
    pub data: Option<Data>,
    /// Printed by `nft list`.
    pub comment: Option<Comment>,
}

impl Element {
    /// An element of a set.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self { key, data: None, comment: None }
    }

    /// An element of a hash set, or the start of a range.
    #[must_use]
    pub fn at(key: impl Into<Value>) -> Self {
        Self::new(Key::At(key.into()))
    }

    /// The end of a range: the first key behind it.
    #[must_use]
    pub fn end(key: impl Into<Value>) -> Self {
        Self::new(Key::End(key.into()))
    }

    /// The element with a value.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<Value>) -> Self {
        self.data = Some(Data::Value(value.into()));
        self
    }

    /// The element with a verdict.
    #[must_use]
    pub fn with_verdict(mut self, verdict: Verdict) -> Self {
        self.data = Some(Data::Verdict(verdict));
        self
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        let element = out.open(NFTA_LIST_ELEM);
        match &self.key {
            Key::At(key) => key.encode(out, NFTA_SET_ELEM_KEY),
            Key::End(key) => {
                out.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
                key.encode(out, NFTA_SET_ELEM_KEY);
            }
            Key::Range(first, last) => {
                first.encode(out, NFTA_SET_ELEM_KEY);
                last.encode(out, NFTA_SET_ELEM_KEY_END);
            }
            Key::CatchAll => out.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_CATCHALL),
        }
        match &self.data {
            None => {}
            Some(Data::Value(value)) => value.encode(out, NFTA_SET_ELEM_DATA),
            Some(Data::Verdict(verdict)) => verdict.encode(out, NFTA_SET_ELEM_DATA),
        }
        if let Some(comment) = &self.comment {
            userdata::put_comment(out, NFTA_SET_ELEM_USERDATA, comment);
        }
        out.close(element);
    }

    pub(super) fn decode(attrs: Attrs<'_>) -> Result<Self, Malformed> {
        let (mut key, mut last, mut flags, mut data, mut comment) = (None, None, 0, None, None);
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                NFTA_SET_ELEM_KEY => key = Some(Value::decode(attr.nested())?),
                NFTA_SET_ELEM_KEY_END => last = Some(Value::decode(attr.nested())?),
                NFTA_SET_ELEM_FLAGS => flags = attr.be32()?,
                NFTA_SET_ELEM_DATA => data = decode_data(attr.nested())?,
                NFTA_SET_ELEM_USERDATA => comment = userdata::comment(attr.payload),
                _ => {}
            }
        }
        let key = match (key, last) {
            (None, _) if flags & NFT_SET_ELEM_CATCHALL != 0 => Key::CatchAll,
            (Some(first), Some(last)) => Key::Range(first, last),
            (Some(key), None) if flags & NFT_SET_ELEM_INTERVAL_END != 0 => Key::End(key),
            (Some(key), None) => Key::At(key),
            (None, _) => return Err(Malformed("an element without a key")),
        };
        Ok(Self { key, data, comment })
    }
}

fn decode_data(attrs: Attrs<'_>) -> Result<Option<Data>, Malformed> {
    for attr in attrs {
        let attr = attr?;
        match attr.kind {
            NFTA_DATA_VALUE => return Ok(Some(Data::Value(Value::bytes(attr.payload)))),
            NFTA_DATA_VERDICT => return Ok(Verdict::decode(attr.nested())?.map(Data::Verdict)),
            _ => {}
        }
    }
    Ok(None)
}

/// The part that all messages about one set's elements have in common, laid out
/// once: edits of the set then only write their elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHeader {
    pub(super) family: u8,
    pub(super) attrs: Box<[u8]>,
}

impl SetHeader {
    /// The header of a set in a table.
    #[must_use]
    pub fn new(table: &TableId, set: &Name) -> Self {
        let mut out = Writer::default();
        out.text(NFTA_SET_ELEM_LIST_SET, set);
        out.text(NFTA_ANY_TABLE, &table.name);
        Self { family: table.family.number(), attrs: out.bytes().into() }
    }
}
