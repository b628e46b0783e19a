//! Names of network interfaces.

use std::fmt;
use std::str::FromStr;

/// `IFNAMSIZ` of `linux/if.h`: the bytes of a name with its closing NUL.
pub(crate) const IFNAMSIZ: usize = 16;

/// A text is not the name of an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an interface name: 1 to 15 bytes without '/', ':', white space or NUL, and not \".\" or \"..\"")]
pub struct IfNameError(String);

/// The name of a network interface, padded with NUL bytes as the kernel keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName([u8; IFNAMSIZ]);

impl IfName {
    /// Checks a name as `dev_valid_name` of the kernel does.
    ///
    /// # Errors
    /// When the kernel would refuse the name.
    pub fn new(name: &str) -> Result<Self, IfNameError> {
        let bytes = name.as_bytes();
        // The kernel's isspace() also knows the vertical tab, is_ascii_whitespace() does not.
        let forbidden = |b: &u8| matches!(b, b'/' | b':' | 0 | 0x0b) || b.is_ascii_whitespace();
        if bytes.is_empty() || bytes.len() >= IFNAMSIZ || name == "." || name == ".." || bytes.iter().any(forbidden) {
            return Err(IfNameError(name.to_owned()));
        }
        let mut padded = [0; IFNAMSIZ];
        padded[..bytes.len()].copy_from_slice(bytes);
        Ok(Self(padded))
    }

    /// The name without its padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(IFNAMSIZ);
        std::str::from_utf8(&self.0[..end]).expect("built from a string and never cut inside it")
    }

    /// The name and its padding, as set keys and registers hold it.
    #[must_use]
    pub const fn padded(&self) -> &[u8; IFNAMSIZ] {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = IfNameError;

    fn from_str(text: &str) -> Result<Self, IfNameError> {
        Self::new(text)
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_the_kernel_does() {
        for good in ["lo", "cali0123456789a", "eth0.100", "a..b"] {
            assert_eq!(IfName::new(good).expect(good).as_str(), good);
        }
        for bad in ["", "0123456789abcdef", ".", "..", "a/b", "a b", "a:1", "a\0", "a\u{b}"] {
            IfName::new(bad).expect_err(bad);
        }
    }

    #[test]
    fn padding_fills_sixteen_bytes() {
        let name = IfName::new("lo").expect("a good name");
        assert_eq!(name.padded(), b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    }
}
