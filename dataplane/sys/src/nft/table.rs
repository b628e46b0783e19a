//! Tables.

use std::fmt;

use super::name::{Comment, Name};
use super::uapi::{
    NFT_TABLE_F_OWNER, NFT_TABLE_F_PERSIST, NFTA_ANY_TABLE, NFTA_TABLE_FLAGS, NFTA_TABLE_HANDLE, NFTA_TABLE_OWNER,
    NFTA_TABLE_USE, NFTA_TABLE_USERDATA,
};
use super::userdata;
use crate::wire::{Attrs, Malformed, Writer};

/// What packets a table sees (`NFPROTO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableFamily {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// What an interface takes in or gives out, before routing and after it.
    Netdev,
}

impl TableFamily {
    /// Every family.
    pub const ALL: [Self; 4] = [Self::Inet, Self::Ip, Self::Ip6, Self::Netdev];

    pub(super) const fn number(self) -> u8 {
        (match self {
            Self::Inet => libc::NFPROTO_INET,
            Self::Ip => libc::NFPROTO_IPV4,
            Self::Ip6 => libc::NFPROTO_IPV6,
            Self::Netdev => libc::NFPROTO_NETDEV,
        }) as u8
    }
}

/// A table's family and name: what everything in it is addressed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// The family.
    pub family: TableFamily,
    /// The name.
    pub name: Name,
}

impl fmt::Display for TableFamily {
    /// As nft writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Netdev => "netdev",
        })
    }
}

impl fmt::Display for TableId {
    /// As nft writes it: `inet filter`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

impl TableId {
    /// A table that sees IPv4 and IPv6.
    #[must_use]
    pub const fn inet(name: Name) -> Self {
        Self { family: TableFamily::Inet, name }
    }
}

/// Who may change a table, and whether it outlives who made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// Everybody with `CAP_NET_ADMIN`; stays until it is deleted.
    #[default]
    Shared,
    /// Only the socket that made it: others get EPERM, and `nft flush ruleset`
    /// goes around it. It stays when the socket closes and can be taken over then
    /// by adding it again. Linux 6.9 and newer.
    OwnedPersistent,
}

/// A table to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    /// Who may change it.
    pub ownership: Ownership,
    /// Printed by `nft list`.
    pub comment: Option<Comment>,
}

impl Table {
    pub(super) fn encode(&self, out: &mut Writer) {
        let flags = match self.ownership {
            Ownership::Shared => 0,
            Ownership::OwnedPersistent => NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST,
        };
        out.be32(NFTA_TABLE_FLAGS, flags);
        if let Some(comment) = &self.comment {
            userdata::put_comment(out, NFTA_TABLE_USERDATA, comment);
        }
    }
}

/// A table that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTable {
    /// Its name.
    pub name: Name,
    /// The kernel's number of this table: a table of the same name that was made
    /// anew has another one.
    pub handle: u64,
    /// How many chains, sets and objects it has.
    pub objects: u32,
    /// The port id of the netlink socket that owns it. An owned table whose
    /// owner's socket was closed has none.
    pub owner: Option<u32>,
    /// `NFT_TABLE_F_*`.
    pub flags: u32,
    /// Its comment.
    pub comment: Option<Comment>,
}

impl ListedTable {
    pub(super) fn decode(attrs: Attrs<'_>) -> Result<Self, Malformed> {
        let (mut name, mut handle, mut objects, mut owner, mut flags, mut comment) = (None, 0, 0, None, 0, None);
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                NFTA_ANY_TABLE => name = Name::new(attr.text()?).ok(),
                NFTA_TABLE_HANDLE => handle = attr.be64()?,
                NFTA_TABLE_USE => objects = attr.be32()?,
                NFTA_TABLE_OWNER => owner = Some(attr.be32()?),
                NFTA_TABLE_FLAGS => flags = attr.be32()?,
                NFTA_TABLE_USERDATA => comment = userdata::comment(attr.payload),
                _ => {}
            }
        }
        let name = name.ok_or(Malformed("a table without a name"))?;
        Ok(Self { name, handle, objects, owner, flags, comment })
    }
}
