//! Lists of prefixes and ports that rules name, as shared sets.
//!
//! A list of one is a plain comparison. A longer list is a named set, shared by
//! all rules with the same list: the kernel's cost of making a set grows with
//! the number of sets, so that anonymous sets, one a rule, would make it quadratic.

use caracal_net::{Cidr, Family, Port, PortRange};

use crate::ir::{Element, Set, SetKind, SetSpec};
use crate::names;

/// What a list of values comes down to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum List<T> {
    /// No value.
    Nothing,
    /// Every value.
    Everything,
    /// One value or one range of them.
    One(T),
    /// The elements of a set.
    Many(Set),
}

/// The prefixes of one family in a list.
pub(crate) fn nets(family: Family, list: &[Cidr]) -> List<Cidr> {
    let nets = disjoint(list.iter().filter(|net| net.family() == family).copied());
    match nets.as_slice() {
        [] => List::Nothing,
        [net] if net.is_all() => List::Everything,
        [net] => List::One(*net),
        nets => {
            let hosts = nets.iter().all(Cidr::is_host);
            let kind = if hosts { SetKind::Addrs(family) } else { SetKind::Nets(family) };
            let element = |net: &Cidr| if hosts { Element::Addr(net.addr()) } else { Element::net(net) };
            let name = names::net_list(kind, nets);
            List::Many(Set { spec: SetSpec::new(name, kind), elements: nets.iter().map(element).collect() })
        }
    }
}

/// A list of ports.
pub(crate) fn ports(list: &[PortRange]) -> List<PortRange> {
    let ranges = merged(list);
    match ranges.as_slice() {
        [] => List::Nothing,
        [range] if *range == PortRange::ALL => List::Everything,
        [range] => List::One(*range),
        ranges => List::Many(port_set(ranges)),
    }
}

/// The set of ranges of ports that neither touch nor overlap, in order.
pub(crate) fn port_set(ranges: &[PortRange]) -> Set {
    let single = ranges.iter().all(|range| range.first() == range.last());
    let kind = if single { SetKind::Ports } else { SetKind::PortRanges };
    let name = names::port_list(kind, ranges);
    Set { spec: SetSpec::new(name, kind), elements: ranges.iter().copied().map(Element::Ports).collect() }
}

/// The prefixes that no other prefix covers, in order. The kernel refuses
/// intervals that overlap.
pub(crate) fn disjoint(nets: impl IntoIterator<Item = Cidr>) -> Vec<Cidr> {
    let mut sorted: Vec<Cidr> = nets.into_iter().collect();
    sorted.sort_unstable();
    // A prefix sorts just before what it covers, so the last one kept is the only one that can cover the next.
    sorted.dedup_by(|next, kept| kept.covers(next));
    sorted
}

/// The ranges in order, those that touch or overlap as one.
fn merged(list: &[PortRange]) -> Vec<PortRange> {
    let mut sorted = list.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<(Port, Port)> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match out.last_mut() {
            Some((_, last)) if u32::from(range.first()) <= u32::from(*last) + 1 => *last = range.last().max(*last),
            _ => out.push((range.first(), range.last())),
        }
    }
    out.into_iter().map(|(first, last)| PortRange::new(first, last).expect("a range only grows at its end")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets_of(family: Family, texts: &[&str]) -> List<Cidr> {
        let list: Vec<Cidr> = texts.iter().map(|t| t.parse().expect("a prefix")).collect();
        nets(family, &list)
    }

    fn ports_of(texts: &[&str]) -> List<PortRange> {
        let list: Vec<PortRange> = texts.iter().map(|t| t.parse().expect("ports")).collect();
        ports(&list)
    }

    fn elements<T>(list: &List<T>) -> Option<(SetKind, Vec<String>)> {
        match list {
            List::Many(set) => Some((set.spec.kind, set.elements.iter().map(ToString::to_string).collect())),
            List::Nothing | List::Everything | List::One(_) => None,
        }
    }

    #[test]
    fn prefixes_of_one_family_without_those_that_others_cover() {
        let mixed = ["10.1.0.0/16", "10.0.0.0/8", "fd00::1", "fd00::2", "11.0.0.1", "10.0.0.0/8"];
        let v4 = elements(&nets_of(Family::V4, &mixed));
        assert_eq!(v4, Some((SetKind::Nets(Family::V4), vec!["10.0.0.0-10.255.255.255".into(), "11.0.0.1".into()])));
        let v6 = elements(&nets_of(Family::V6, &mixed));
        assert_eq!(v6, Some((SetKind::Addrs(Family::V6), vec!["fd00::1".into(), "fd00::2".into()])));
        assert_eq!(nets_of(Family::V6, &["10.0.0.0/8"]), List::Nothing);
        assert_eq!(nets_of(Family::V4, &["10.0.0.0/8", "0.0.0.0/0"]), List::Everything);
        assert_eq!(
            nets_of(Family::V4, &["10.0.0.0/9", "10.0.0.0/8"]),
            List::One("10.0.0.0/8".parse().expect("a prefix"))
        );
    }

    #[test]
    fn ports_that_touch_are_one_range() {
        assert_eq!(ports_of(&[]), List::Nothing);
        assert_eq!(ports_of(&["80", "81", "80:90"]), List::One("80:90".parse().expect("ports")));
        assert_eq!(ports_of(&["0:100", "101:65535"]), List::Everything);
        assert_eq!(elements(&ports_of(&["443", "80"])), Some((SetKind::Ports, vec!["80".into(), "443".into()])));
        let ranges = elements(&ports_of(&["65535", "80:90", "85:95"]));
        assert_eq!(ranges, Some((SetKind::PortRanges, vec!["80-95".into(), "65535".into()])));
    }

    #[test]
    fn equal_lists_share_a_set() {
        let one = ports_of(&["443", "80", "81"]);
        assert_eq!(one, ports_of(&["80:81", "443", "443"]));
        assert_eq!(
            nets_of(Family::V4, &["1.0.0.0/8", "2.0.0.0/8"]),
            nets_of(Family::V4, &["2.0.0.0/8", "1.0.0.0/8", "1.1.0.0/16"])
        );
    }
}
