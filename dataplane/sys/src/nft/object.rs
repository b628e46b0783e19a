//! Named counters: they keep counting when the rules that use them are replaced.

use super::name::Name;
use super::uapi::{
    NFT_OBJECT_COUNTER, NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS, NFTA_OBJ_DATA, NFTA_OBJ_NAME, NFTA_OBJ_TYPE,
};
use crate::wire::{Attrs, Malformed, Writer};

/// A named counter and its values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counter {
    /// The name.
    pub name: Name,
    /// Packets so far.
    pub packets: u64,
    /// Bytes so far.
    pub bytes: u64,
}

impl Counter {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.text(NFTA_OBJ_NAME, &self.name);
        out.be32(NFTA_OBJ_TYPE, NFT_OBJECT_COUNTER);
        out.nest(NFTA_OBJ_DATA, |out| {
            out.be64(NFTA_COUNTER_BYTES, self.bytes);
            out.be64(NFTA_COUNTER_PACKETS, self.packets);
        });
    }

    /// `None` for an object of another kind.
    pub(super) fn decode(attrs: Attrs<'_>) -> Result<Option<Self>, Malformed> {
        let (mut name, mut kind, mut packets, mut bytes) = (None, 0, 0, 0);
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                NFTA_OBJ_NAME => name = Name::new(attr.text()?).ok(),
                NFTA_OBJ_TYPE => kind = attr.be32()?,
                NFTA_OBJ_DATA => {
                    for attr in attr.nested() {
                        let attr = attr?;
                        match attr.kind {
                            NFTA_COUNTER_BYTES => bytes = attr.be64()?,
                            NFTA_COUNTER_PACKETS => packets = attr.be64()?,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        let name = name.ok_or(Malformed("an object without a name"))?;
        Ok((kind == NFT_OBJECT_COUNTER).then_some(Self { name, packets, bytes }))
    }
}
