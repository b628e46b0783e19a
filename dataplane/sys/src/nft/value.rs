//! What registers, set keys and map data hold, and verdicts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_net::{Mark, Port, Protocol};
use libc::{NF_ACCEPT, NF_DROP, NFT_BREAK, NFT_CONTINUE, NFT_GOTO, NFT_JUMP, NFT_RETURN};
use smallvec::SmallVec;

use super::name::Name;
use super::uapi::{NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE};
use crate::IfName;
use crate::wire::{Attrs, Malformed, Writer};

/// `NFT_DATA_VALUE_MAXLEN`: the bytes of all registers together.
pub const VALUE_MAX: usize = 64;

/// The content of a register, a set key or map data, in the byte order the kernel
/// compares: addresses and ports big endian, marks in the machine's order.
///
/// Holds a key of IPv6 address, protocol and port without an allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(SmallVec<[u8; 24]>);

impl Value {
    /// Bytes as they are. More than [`VALUE_MAX`] are refused by the kernel.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    /// An integer in the machine's byte order, as marks and interface indexes are.
    #[must_use]
    pub fn host(integer: u32) -> Self {
        Self::bytes(&integer.to_ne_bytes())
    }

    /// Several fields as one key: each is filled up with zeros to four bytes.
    #[must_use]
    pub fn concat<const N: usize>(fields: [Self; N]) -> Self {
        let mut key = SmallVec::new();
        for field in fields {
            key.extend_from_slice(&field.0);
            key.resize(key.len().next_multiple_of(4), 0);
        }
        Self(key)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn encode(&self, out: &mut Writer, kind: u16) {
        out.nest(kind, |out| out.attr(NFTA_DATA_VALUE, &self.0));
    }

    pub(crate) fn decode(attrs: Attrs<'_>) -> Result<Self, Malformed> {
        for attr in attrs {
            let attr = attr?;
            if attr.kind == NFTA_DATA_VALUE {
                return Ok(Self::bytes(attr.payload));
            }
        }
        Err(Malformed("data without a value"))
    }
}

impl From<Ipv4Addr> for Value {
    fn from(address: Ipv4Addr) -> Self {
        Self::bytes(&address.octets())
    }
}

impl From<Ipv6Addr> for Value {
    fn from(address: Ipv6Addr) -> Self {
        Self::bytes(&address.octets())
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

/// A port, big endian.
impl From<Port> for Value {
    fn from(port: Port) -> Self {
        Self::bytes(&port.to_be_bytes())
    }
}

impl From<Protocol> for Value {
    fn from(protocol: Protocol) -> Self {
        Self::bytes(&[protocol.number()])
    }
}

impl From<Mark> for Value {
    fn from(mark: Mark) -> Self {
        Self::host(mark.0)
    }
}

/// The whole name, filled up to 16 bytes.
impl From<IfName> for Value {
    fn from(name: IfName) -> Self {
        Self::bytes(name.padded())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// End this base chain; later base chains of the hook still see the packet.
    Accept,
    /// End for good.
    Drop,
    /// Go on with the next expression.
    Continue,
    /// Leave the rule.
    Break,
    /// Go back to the calling chain; in a base chain its policy decides.
    Return,
    /// Go to a chain and come back at its end.
    Jump(Name),
    /// Go to a chain; at its end go on behind the jump that called this chain.
    Goto(Name),
}

impl Verdict {
    const fn code(&self) -> i32 {
        match self {
            Self::Accept => NF_ACCEPT,
            Self::Drop => NF_DROP,
            Self::Continue => NFT_CONTINUE,
            Self::Break => NFT_BREAK,
            Self::Return => NFT_RETURN,
            Self::Jump(_) => NFT_JUMP,
            Self::Goto(_) => NFT_GOTO,
        }
    }

    /// Encodes as a data attribute of the given type.
    pub(crate) fn encode(&self, out: &mut Writer, kind: u16) {
        out.nest(kind, |out| {
            out.nest(NFTA_DATA_VERDICT, |out| {
                out.attr(NFTA_VERDICT_CODE, &self.code().to_be_bytes());
                if let Self::Jump(chain) | Self::Goto(chain) = self {
                    out.text(NFTA_VERDICT_CHAIN, chain);
                }
            });
        });
    }

    /// `None` for verdicts that have no variant, such as queue.
    pub(crate) fn decode(attrs: Attrs<'_>) -> Result<Option<Self>, Malformed> {
        let mut code = None;
        let mut chain = None;
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                NFTA_VERDICT_CODE => code = Some(attr.be32()?.cast_signed()),
                NFTA_VERDICT_CHAIN => {
                    chain = Some(Name::new(attr.text()?).map_err(|_| Malformed("an empty chain name"))?)
                }
                _ => {}
            }
        }
        let chain = || chain.ok_or(Malformed("a jump without its chain"));
        Ok(match code.ok_or(Malformed("a verdict without a code"))? {
            NF_ACCEPT => Some(Self::Accept),
            NF_DROP => Some(Self::Drop),
            NFT_CONTINUE => Some(Self::Continue),
            NFT_BREAK => Some(Self::Break),
            NFT_RETURN => Some(Self::Return),
            NFT_JUMP => Some(Self::Jump(chain()?)),
            NFT_GOTO => Some(Self::Goto(chain()?)),
            _ => None,
        })
    }
}

/// A register, counted in 32-bit words from 0 to 15.
///
/// The kernel has two numberings for the same 64 bytes; a word that starts a
/// 16-byte register is sent with the older number, as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(u8);

impl Reg {
    /// The first word: what `nft` prints as `reg 1`.
    pub const R0: Self = Self(0);

    /// The register that starts at a word; `None` above 15.
    #[must_use]
    pub const fn word(word: u8) -> Option<Self> {
        if word < 16 { Some(Self(word)) } else { None }
    }

    /// The word that the register starts at.
    #[must_use]
    pub const fn index(self) -> u8 {
        self.0
    }

    pub(crate) fn number(self) -> u32 {
        let (first, word) =
            if self.0.is_multiple_of(4) { (libc::NFT_REG_1, self.0 / 4) } else { (libc::NFT_REG32_00, self.0) };
        first.cast_unsigned() + u32::from(word)
    }

    /// `None` for the verdict register.
    pub(crate) fn from_number(number: u32) -> Result<Option<Self>, Malformed> {
        let word = match number.cast_signed() {
            libc::NFT_REG_VERDICT => return Ok(None),
            n @ libc::NFT_REG_1..=libc::NFT_REG_4 => (n - libc::NFT_REG_1) * 4,
            n @ libc::NFT_REG32_00..=libc::NFT_REG32_15 => n - libc::NFT_REG32_00,
            _ => return Err(Malformed("a register that does not exist")),
        };
        Ok(Some(Self(u8::try_from(word).expect("at most 15"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_have_the_number_that_the_kernel_lists() {
        let numbers: Vec<u32> = (0..16).filter_map(Reg::word).map(Reg::number).collect();
        assert_eq!(numbers, [1, 9, 10, 11, 2, 13, 14, 15, 3, 17, 18, 19, 4, 21, 22, 23]);
        for reg in (0..16).filter_map(Reg::word) {
            assert_eq!(Reg::from_number(reg.number()), Ok(Some(reg)));
        }
        assert_eq!(Reg::from_number(0), Ok(None));
        Reg::from_number(24).expect_err("no such register");
    }

    #[test]
    fn fields_of_a_key_start_at_words() {
        let key = Value::concat([Ipv4Addr::new(1, 2, 3, 4).into(), Protocol::TCP.into(), Port::from(80u16).into()]);
        assert_eq!(key.as_bytes(), [1, 2, 3, 4, 6, 0, 0, 0, 0, 80, 0, 0]);
    }
}
