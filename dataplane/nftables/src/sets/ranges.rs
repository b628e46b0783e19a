//! The prefixes of an IP set as ranges that do not overlap.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_net::Family;
use caracal_program::IpSet;

use crate::ir::{Element, SetKind};

/// Disjoint ranges of addresses of one family in order, both ends included: the
/// prefixes that no other prefix covers. Ranges that touch are not joined, so
/// that one prefix more or less is never another element's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Ranges {
    /// The ranges of a set that a kernel set of one kind holds; none for a kind
    /// without ranges.
    pub(super) fn of(kind: SetKind, set: &IpSet) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        match kind {
            SetKind::Nets(Family::V4) => {
                v4.reserve_exact(set.v4_nets().len());
                for net in set.v4_nets() {
                    if let (IpAddr::V4(first), IpAddr::V4(last)) = (net.addr(), net.last_addr()) {
                        push(&mut v4, first.to_bits(), last.to_bits());
                    }
                }
            }
            SetKind::Nets(Family::V6) => {
                v6.reserve_exact(set.v6_nets().len());
                for net in set.v6_nets() {
                    if let (IpAddr::V6(first), IpAddr::V6(last)) = (net.addr(), net.last_addr()) {
                        push(&mut v6, first.to_bits(), last.to_bits());
                    }
                }
            }
            SetKind::Addrs(_)
            | SetKind::AddrPorts(_)
            | SetKind::Ports
            | SetKind::PortRanges
            | SetKind::Protocols
            | SetKind::Interfaces
            | SetKind::WorkloadAddrs(_)
            | SetKind::WorkloadNets(_) => {}
        }
        Self { v4, v6 }
    }

    /// The ranges as elements.
    pub(super) fn into_elements(self) -> impl Iterator<Item = Element> {
        let v4 = self
            .v4
            .into_iter()
            .map(|(first, last)| Element::Net(Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(last).into()));
        let v6 = self
            .v6
            .into_iter()
            .map(|(first, last)| Element::Net(Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(last).into()));
        v4.chain(v6)
    }

    /// Becomes `next`; what must be added and deleted for it.
    pub(super) fn become_these(&mut self, next: Self) -> (Vec<Element>, Vec<Element>) {
        let (add4, delete4) = difference(&self.v4, &next.v4);
        let (add6, delete6) = difference(&self.v6, &next.v6);
        *self = next;
        let elements = |v4, v6| Self { v4, v6 }.into_elements().collect();
        (elements(add4, add6), elements(delete4, delete6))
    }
}

/// Adds the range of a prefix. Prefixes come in order, one before those that it
/// covers, and two overlap only if one covers the other.
fn push<T: Ord>(ranges: &mut Vec<(T, T)>, first: T, last: T) {
    if ranges.last().is_none_or(|(_, end)| *end < first) {
        ranges.push((first, last));
    }
}

/// What only `new` has, and what only `old` has; both are in order.
fn difference<T: Ord + Copy>(old: &[T], new: &[T]) -> (Vec<T>, Vec<T>) {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (None, None) => return (added, removed),
            (Some(o), Some(n)) if o == n => {
                old.next();
                new.next();
            }
            (Some(o), Some(n)) if o < n => removed.extend(old.next()),
            (Some(_), None) => removed.extend(old.next()),
            (_, Some(_)) => added.extend(new.next()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use caracal_net::Cidr;
    use caracal_program::{Member, SetKind as IpSetKind};
    use proptest::prelude::*;

    use super::*;

    const KIND: SetKind = SetKind::Nets(Family::V4);

    fn set(nets: &BTreeSet<(u8, u8)>) -> IpSet {
        let net = |(byte, len): &(u8, u8)| Cidr::new(Ipv4Addr::new(*byte, 0, 0, 0).into(), *len).expect("a length");
        IpSet::with_members(IpSetKind::Net, nets.iter().map(net).map(Member::Net))
    }

    fn spans(ranges: &Ranges, addr: u32) -> usize {
        ranges.v4.iter().filter(|(first, last)| (*first..=*last).contains(&addr)).count()
    }

    proptest! {
        #[test]
        fn every_address_is_in_one_range_or_in_none(
            before in prop::collection::btree_set((any::<u8>(), 0..9u8), 0..12),
            after in prop::collection::btree_set((any::<u8>(), 0..9u8), 0..12),
        ) {
            let mut held = Ranges::of(KIND, &set(&before));
            let mut elements: BTreeSet<Element> = held.clone().into_elements().collect();
            let wanted = set(&after);
            let (add, delete) = held.become_these(Ranges::of(KIND, &wanted));
            for gone in delete {
                prop_assert!(elements.remove(&gone));
            }
            for new in add {
                prop_assert!(elements.insert(new));
            }
            prop_assert_eq!(elements, held.clone().into_elements().collect::<BTreeSet<_>>());
            for byte in 0..=u8::MAX {
                let addr = Ipv4Addr::new(byte, 255, 0, 1);
                prop_assert_eq!(spans(&held, addr.to_bits()), usize::from(wanted.holds(addr.into())));
            }
        }
    }
}
