//! IP sets with packed members.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_net::{Cidr, Port, Protocol};

use crate::Member;
use crate::sorted::Sorted;

/// What the members of an IP set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetKind {
    /// Prefixes; an address is a prefix of full length.
    Net,
    /// Addresses with a protocol and a port.
    IpPort,
}

/// An IP set: members of both families, sorted, packed by family and form.
///
/// A single IPv4 address takes four bytes, an IPv4 address with protocol and
/// port eight; vectors that grow by doubling at most double that while a set
/// is being filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpSet {
    kind: SetKind,
    v4_hosts: Sorted<u32>,
    v6_hosts: Sorted<u128>,
    v4_nets: Sorted<(u32, u8)>,
    v6_nets: Sorted<(u128, u8)>,
    v4_ports: Sorted<(u32, Protocol, Port)>,
    v6_ports: Sorted<(u128, Protocol, Port)>,
}

/// Members taken apart by family and form.
#[derive(Default)]
struct Parts {
    v4_hosts: Vec<u32>,
    v6_hosts: Vec<u128>,
    v4_nets: Vec<(u32, u8)>,
    v6_nets: Vec<(u128, u8)>,
    v4_ports: Vec<(u32, Protocol, Port)>,
    v6_ports: Vec<(u128, Protocol, Port)>,
}

impl Parts {
    fn of(members: impl IntoIterator<Item = Member>) -> Self {
        let mut parts = Self::default();
        for member in members {
            match member {
                Member::Net(net) => match (net.addr(), net.is_host()) {
                    (IpAddr::V4(a), true) => parts.v4_hosts.push(a.to_bits()),
                    (IpAddr::V6(a), true) => parts.v6_hosts.push(a.to_bits()),
                    (IpAddr::V4(a), false) => parts.v4_nets.push((a.to_bits(), net.len())),
                    (IpAddr::V6(a), false) => parts.v6_nets.push((a.to_bits(), net.len())),
                },
                Member::IpPort(IpAddr::V4(a), protocol, port) => parts.v4_ports.push((a.to_bits(), protocol, port)),
                Member::IpPort(IpAddr::V6(a), protocol, port) => parts.v6_ports.push((a.to_bits(), protocol, port)),
            }
        }
        parts
    }
}

impl IpSet {
    /// A set without members.
    #[must_use]
    pub fn new(kind: SetKind) -> Self {
        Self {
            kind,
            v4_hosts: Sorted::default(),
            v6_hosts: Sorted::default(),
            v4_nets: Sorted::default(),
            v6_nets: Sorted::default(),
            v4_ports: Sorted::default(),
            v6_ports: Sorted::default(),
        }
    }

    /// A set of the given members; repeated ones count once.
    #[must_use]
    pub fn with_members(kind: SetKind, members: impl IntoIterator<Item = Member>) -> Self {
        let mut set = Self::new(kind);
        set.add(members);
        set.v4_hosts.shrink();
        set.v6_hosts.shrink();
        set.v4_nets.shrink();
        set.v6_nets.shrink();
        set.v4_ports.shrink();
        set.v6_ports.shrink();
        set
    }

    /// What the members are.
    #[must_use]
    pub const fn kind(&self) -> SetKind {
        self.kind
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4_hosts.as_slice().len()
            + self.v6_hosts.as_slice().len()
            + self.v4_nets.as_slice().len()
            + self.v6_nets.as_slice().len()
            + self.v4_ports.as_slice().len()
            + self.v6_ports.as_slice().len()
    }

    /// Whether the set has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The single IPv4 addresses in network order as numbers, ascending.
    #[must_use]
    pub fn v4_hosts(&self) -> &[u32] {
        self.v4_hosts.as_slice()
    }

    /// The single IPv6 addresses in network order as numbers, ascending.
    #[must_use]
    pub fn v6_hosts(&self) -> &[u128] {
        self.v6_hosts.as_slice()
    }

    /// The IPv4 prefixes shorter than 32 bits, ascending; they may overlap.
    pub fn v4_nets(&self) -> impl ExactSizeIterator<Item = Cidr> + '_ {
        self.v4_nets.as_slice().iter().map(v4_net)
    }

    /// The IPv6 prefixes shorter than 128 bits, ascending; they may overlap.
    pub fn v6_nets(&self) -> impl ExactSizeIterator<Item = Cidr> + '_ {
        self.v6_nets.as_slice().iter().map(v6_net)
    }

    /// The IPv4 addresses with protocol and port, ascending.
    #[must_use]
    pub fn v4_ports(&self) -> &[(u32, Protocol, Port)] {
        self.v4_ports.as_slice()
    }

    /// The IPv6 addresses with protocol and port, ascending.
    #[must_use]
    pub fn v6_ports(&self) -> &[(u128, Protocol, Port)] {
        self.v6_ports.as_slice()
    }

    /// All members, in a fixed order.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        let hosts = self.v4_hosts.as_slice().iter().map(|bits| v4_host(*bits));
        hosts
            .chain(self.v6_hosts.as_slice().iter().map(|bits| v6_host(*bits)))
            .chain(self.v4_nets().map(Member::Net))
            .chain(self.v6_nets().map(Member::Net))
            .chain(self.v4_ports.as_slice().iter().map(v4_port))
            .chain(self.v6_ports.as_slice().iter().map(v6_port))
    }

    /// Whether a prefix of the set holds the address. A set of ports holds none.
    #[must_use]
    pub fn holds(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(a) => {
                let bits = a.to_bits();
                let nets = &self.v4_nets;
                let masked = |len: u8| (bits & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0), len);
                self.v4_hosts.holds(&bits)
                    || (!nets.as_slice().is_empty() && (0..32).any(|len| nets.holds(&masked(len))))
            }
            IpAddr::V6(a) => {
                let bits = a.to_bits();
                let nets = &self.v6_nets;
                let masked = |len: u8| (bits & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0), len);
                self.v6_hosts.holds(&bits)
                    || (!nets.as_slice().is_empty() && (0..128).any(|len| nets.holds(&masked(len))))
            }
        }
    }

    /// Whether the set holds the address with this protocol and port. A set of
    /// prefixes holds none.
    #[must_use]
    pub fn holds_port(&self, addr: IpAddr, protocol: Protocol, port: Port) -> bool {
        match addr {
            IpAddr::V4(a) => self.v4_ports.holds(&(a.to_bits(), protocol, port)),
            IpAddr::V6(a) => self.v6_ports.holds(&(a.to_bits(), protocol, port)),
        }
    }

    /// Adds members; gives back those that were not there before.
    pub(crate) fn add(&mut self, members: impl IntoIterator<Item = Member>) -> Vec<Member> {
        let parts = Parts::of(members);
        Self::join(Parts {
            v4_hosts: self.v4_hosts.add(parts.v4_hosts),
            v6_hosts: self.v6_hosts.add(parts.v6_hosts),
            v4_nets: self.v4_nets.add(parts.v4_nets),
            v6_nets: self.v6_nets.add(parts.v6_nets),
            v4_ports: self.v4_ports.add(parts.v4_ports),
            v6_ports: self.v6_ports.add(parts.v6_ports),
        })
    }

    /// Removes members; gives back those that were there.
    pub(crate) fn remove(&mut self, members: impl IntoIterator<Item = Member>) -> Vec<Member> {
        let parts = Parts::of(members);
        Self::join(Parts {
            v4_hosts: self.v4_hosts.remove(parts.v4_hosts),
            v6_hosts: self.v6_hosts.remove(parts.v6_hosts),
            v4_nets: self.v4_nets.remove(parts.v4_nets),
            v6_nets: self.v6_nets.remove(parts.v6_nets),
            v4_ports: self.v4_ports.remove(parts.v4_ports),
            v6_ports: self.v6_ports.remove(parts.v6_ports),
        })
    }

    /// The members that `other` does not have, in the order of [`IpSet::members`].
    pub(crate) fn without(&self, other: &Self) -> Vec<Member> {
        Self::join(Parts {
            v4_hosts: self.v4_hosts.without(&other.v4_hosts).collect(),
            v6_hosts: self.v6_hosts.without(&other.v6_hosts).collect(),
            v4_nets: self.v4_nets.without(&other.v4_nets).collect(),
            v6_nets: self.v6_nets.without(&other.v6_nets).collect(),
            v4_ports: self.v4_ports.without(&other.v4_ports).collect(),
            v6_ports: self.v6_ports.without(&other.v6_ports).collect(),
        })
    }

    fn join(parts: Parts) -> Vec<Member> {
        let hosts = parts.v4_hosts.iter().map(|bits| v4_host(*bits));
        hosts
            .chain(parts.v6_hosts.iter().map(|bits| v6_host(*bits)))
            .chain(parts.v4_nets.iter().map(v4_net).map(Member::Net))
            .chain(parts.v6_nets.iter().map(v6_net).map(Member::Net))
            .chain(parts.v4_ports.iter().map(v4_port))
            .chain(parts.v6_ports.iter().map(v6_port))
            .collect()
    }
}

fn v4_host(bits: u32) -> Member {
    Member::Net(Cidr::host(Ipv4Addr::from_bits(bits).into()))
}

fn v6_host(bits: u128) -> Member {
    Member::Net(Cidr::host(Ipv6Addr::from_bits(bits).into()))
}

fn v4_net(&(bits, len): &(u32, u8)) -> Cidr {
    Cidr::new(Ipv4Addr::from_bits(bits).into(), len).expect("the length came from a prefix")
}

fn v6_net(&(bits, len): &(u128, u8)) -> Cidr {
    Cidr::new(Ipv6Addr::from_bits(bits).into(), len).expect("the length came from a prefix")
}

fn v4_port(&(bits, protocol, port): &(u32, Protocol, Port)) -> Member {
    Member::IpPort(Ipv4Addr::from_bits(bits).into(), protocol, port)
}

fn v6_port(&(bits, protocol, port): &(u128, Protocol, Port)) -> Member {
    Member::IpPort(Ipv6Addr::from_bits(bits).into(), protocol, port)
}

#[cfg(test)]
mod tests;
