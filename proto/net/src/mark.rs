//! Small kernel numbers that must not be confused with each other.

use std::fmt;
use std::str::FromStr;

/// A packet mark (`skb->mark`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark(pub u32);

/// A text is not a mark mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a 32-bit mask (decimal or 0x…)")]
pub struct MarkMaskError(String);

/// The bits of the packet mark that this program may use.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MarkMask(pub u32);

impl MarkMask {
    /// The default of Felix's `IptablesMarkMask` and `NftablesMarkMask`.
    pub const FELIX_DEFAULT: Self = Self(0xffff_0000);

    /// The lowest bit of the mask, if it has one.
    #[must_use]
    pub const fn lowest_bit(self) -> Option<Mark> {
        match self.0 {
            0 => None,
            mask => Some(Mark(1 << mask.trailing_zeros())),
        }
    }
}

impl FromStr for MarkMask {
    type Err = MarkMaskError;

    /// Parses a decimal number or a hexadecimal one after `0x`.
    fn from_str(text: &str) -> Result<Self, MarkMaskError> {
        let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => text.parse(),
        };
        parsed.map(Self).map_err(|_| MarkMaskError(text.to_owned()))
    }
}

impl fmt::Debug for MarkMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// The index of a network interface in its network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfIndex(pub u32);

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The priority of a base chain in its hook; lower runs earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(pub i32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_masks() {
        assert_eq!("0xffff0000".parse(), Ok(MarkMask::FELIX_DEFAULT));
        assert_eq!("16".parse(), Ok(MarkMask(16)));
        assert!("0x1ffffffff".parse::<MarkMask>().is_err());
        assert_eq!(MarkMask::FELIX_DEFAULT.lowest_bit(), Some(Mark(0x1_0000)));
        assert_eq!(MarkMask(0).lowest_bit(), None);
    }
}
