//! IP prefixes without host bits.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::IpNetwork;

/// An IP address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The length of an address in bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A text is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Neither an address nor an address with a prefix length.
    #[error("{0:?} is not an IP address or prefix")]
    Syntax(String),
    /// An address without a length, where a length is required.
    #[error("{0:?} has no prefix length")]
    NoLength(String),
    /// A length above the family's number of bits.
    #[error("prefix length {1} of {0} is above {max}", max = Family::of(*.0).bits())]
    Length(IpAddr, u8),
}

/// An IP prefix: all bits after the prefix length are zero.
///
/// Ordered by family, then address, then length, so that a prefix sorts just
/// before the prefixes that it covers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    addr: IpAddr,
    len: u8,
}

impl Cidr {
    /// Builds a prefix and clears its host bits.
    ///
    /// # Errors
    /// [`CidrError::Length`] if `len` is above the family's number of bits.
    pub fn new(addr: IpAddr, len: u8) -> Result<Self, CidrError> {
        if len > Family::of(addr).bits() {
            return Err(CidrError::Length(addr, len));
        }
        Ok(Self::masked(addr, len))
    }

    /// The prefix that holds one address only.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        Self { addr, len: Family::of(addr).bits() }
    }

    /// The prefix that holds every address of a family.
    #[must_use]
    pub const fn all(family: Family) -> Self {
        match family {
            Family::V4 => Self { addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED), len: 0 },
            Family::V6 => Self { addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED), len: 0 },
        }
    }

    /// Parses `address/length`; an address alone is refused. Host bits are cleared.
    ///
    /// # Errors
    /// As [`Cidr::from_str`], and [`CidrError::NoLength`] for an address alone.
    pub fn parse_prefix(text: &str) -> Result<Self, CidrError> {
        if !text.contains('/') && text.parse::<IpAddr>().is_ok() {
            return Err(CidrError::NoLength(text.to_owned()));
        }
        text.parse()
    }

    /// The lowest address.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The highest address.
    #[must_use]
    pub fn last_addr(&self) -> IpAddr {
        match self.addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() | !mask32(self.len))),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() | !mask128(self.len))),
        }
    }

    /// The prefix length in bits.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a prefix is never empty")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// The address family.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.addr)
    }

    /// Whether the prefix holds one address only.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.len == self.family().bits()
    }

    /// Whether the prefix holds every address of its family.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.len == 0
    }

    /// Whether an address lies in the prefix; false across families.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(net), IpAddr::V4(a)) => a.to_bits() & mask32(self.len) == net.to_bits(),
            (IpAddr::V6(net), IpAddr::V6(a)) => a.to_bits() & mask128(self.len) == net.to_bits(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether every address of `other` lies in the prefix.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.len <= other.len && self.contains(other.addr)
    }

    /// The two halves of the prefix, the lower first; `None` for a single address.
    #[must_use]
    pub fn halves(&self) -> Option<[Self; 2]> {
        if self.is_host() {
            return None;
        }
        let len = self.len + 1;
        let upper = match self.addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() | 1 << (32 - len))),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() | 1 << (128 - len))),
        };
        Some([Self { addr: self.addr, len }, Self { addr: upper, len }])
    }

    fn masked(addr: IpAddr, len: u8) -> Self {
        let addr = match addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask32(len))),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask128(len))),
        };
        Self { addr, len }
    }
}

fn mask32(len: u8) -> u32 {
    u32::MAX.checked_shl(u32::from(32 - len)).unwrap_or(0)
}

fn mask128(len: u8) -> u128 {
    u128::MAX.checked_shl(u32::from(128 - len)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// Parses `address/length` or an address alone; host bits are cleared.
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let net = IpNetwork::from_str(text).map_err(|_| CidrError::Syntax(text.to_owned()))?;
        // `IpNetwork` takes a netmask after the slash as well; Felix does not.
        if text.split_once('/').is_some_and(|(_, len)| len.is_empty() || !len.bytes().all(|b| b.is_ascii_digit())) {
            return Err(CidrError::Syntax(text.to_owned()));
        }
        Self::new(net.ip(), net.prefix())
    }
}

impl From<IpAddr> for Cidr {
    fn from(addr: IpAddr) -> Self {
        Self::host(addr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Cidr {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.addr, self.len).cmp(&(other.addr, other.len))
    }
}

impl PartialOrd for Cidr {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a prefix")
    }

    #[test]
    fn text_forms() {
        for (text, want) in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:DB8::1/64", "2001:db8::/64"),
            ("fd00::1", "fd00::1/128"),
        ] {
            assert_eq!(cidr(text).to_string(), want, "{text}");
        }
        for text in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/255.0.0.0", "::/129", "a/8", " 10.0.0.1"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert_eq!(Cidr::parse_prefix("10.0.0.1"), Err(CidrError::NoLength("10.0.0.1".into())));
    }

    #[test]
    fn a_prefix_sorts_before_what_it_covers() {
        let mut nets: Vec<_> = ["::/0", "10.1.0.0/16", "10.0.0.0/8", "9.0.0.0/8", "10.0.0.0/9"].map(cidr).into();
        nets.sort();
        assert_eq!(nets, ["9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/9", "10.1.0.0/16", "::/0"].map(cidr));
        assert!(cidr("10.0.0.0/8").covers(&cidr("10.1.0.0/16")));
        assert!(!cidr("10.1.0.0/16").covers(&cidr("10.0.0.0/8")));
        assert!(!Cidr::all(Family::V4).contains("::1".parse().expect("an address")));
    }

    #[test]
    fn halves_split_in_the_middle() {
        assert_eq!(Cidr::all(Family::V4).halves(), Some(["0.0.0.0/1", "128.0.0.0/1"].map(cidr)));
        assert_eq!(Cidr::all(Family::V6).halves(), Some(["::/1", "8000::/1"].map(cidr)));
        assert_eq!(cidr("10.0.0.1").halves(), None);
        assert_eq!(cidr("10.0.0.0/24").last_addr().to_string(), "10.0.0.255");
    }
}
