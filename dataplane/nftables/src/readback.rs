//! What the kernel holds of ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_net::{Family, Port, PortRange, Protocol};
use caracal_sys::nft::{
    self, Field, Glance, Key, ListedChain, ListedTable, Name, NftSocket, QueryError, SetData, TableId,
};
use rustc_hash::FxHashMap;

use crate::held::Print;
use crate::ir::{Element, IfName, SetKind, Verdict};
use crate::names;
use crate::sets::Place;

/// The bytes of an interface's name in a key (`IFNAMSIZ`).
const NAME: usize = 16;

/// Sets whose elements are looked at without a question between, so that others who
/// commit all the time can make only so much be looked at again.
const SETS_AT_ONCE: usize = 64;

/// How often something is looked at again that others changed meanwhile.
const ATTEMPTS: usize = 16;

/// The table as the kernel holds it: of rules and elements there are prints only.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) table: ListedTable,
    pub(crate) chains: FxHashMap<Name, FoundChain>,
    pub(crate) sets: FxHashMap<Name, FoundSet>,
    /// The highest version of each set that has been copied, by its first name.
    versions: FxHashMap<Name, u32>,
}

#[derive(Debug)]
pub(crate) struct FoundChain {
    pub(crate) base: Option<nft::Base>,
    pub(crate) rules: Print,
}

/// A set or map.
#[derive(Debug)]
pub(crate) struct FoundSet {
    /// `None` if it is of no kind of ours.
    pub(crate) set: Option<nft::Set>,
    /// `None` if they have not been looked at, or if one of them cannot be ours.
    pub(crate) elements: Option<Print>,
}

impl Found {
    /// Reads the table without elements; `None` if there is none.
    pub(crate) fn read(socket: &mut NftSocket, table: &TableId) -> Result<Option<Self>, QueryError> {
        let Some(listed) = socket.table(table)? else { return Ok(None) };
        let chains = socket
            .chains(table)?
            .into_iter()
            .map(|ListedChain { chain, .. }| (chain.name, FoundChain { base: chain.base, rules: Print::default() }));
        let mut chains: FxHashMap<Name, FoundChain> = chains.collect();
        until_whole(socket, "rules", |glance| {
            chains.values_mut().for_each(|found| found.rules = Print::default());
            glance.rules(table, |chain, rule| {
                if let Some(found) = chains.get_mut(chain) {
                    found.rules = found.rules.then(Print::of_rule(rule));
                }
            })
        })?;
        let sets = socket.sets(table)?.into_iter();
        let sets: FxHashMap<_, _> =
            sets.map(|listed| (listed.name, FoundSet { set: listed.set, elements: None })).collect();
        let mut versions: FxHashMap<Name, u32> = FxHashMap::default();
        for (first, version) in sets.keys().filter_map(names::ip_set_copy) {
            let highest = versions.entry(first).or_default();
            *highest = version.max(*highest);
        }
        Ok(Some(Self { table: listed, chains, sets, versions }))
    }

    /// Looks at the elements of all sets.
    pub(crate) fn look_at_all_elements(&mut self, socket: &mut NftSocket, table: &TableId) -> Result<(), QueryError> {
        let names: Vec<Name> = self.sets.keys().cloned().collect();
        self.look_at_elements(socket, table, names.iter())
    }

    /// Looks at the elements of these sets, unless that was done before.
    pub(crate) fn look_at_elements<'a>(
        &mut self,
        socket: &mut NftSocket,
        table: &TableId,
        names: impl Iterator<Item = &'a Name>,
    ) -> Result<(), QueryError> {
        let kind = |found: &FoundSet| found.set.as_ref().filter(|_| found.elements.is_none()).and_then(kind_of);
        let unseen = names.filter_map(|name| Some((name, self.sets.get(name).and_then(kind)?)));
        let unseen: Vec<(&Name, SetKind)> = unseen.collect();
        for some in unseen.chunks(SETS_AT_ONCE) {
            until_whole(socket, "elements", |glance| {
                for (name, kind) in some {
                    let mut seen = SeenElements::of(*kind);
                    glance.elements(table, name, |element| seen.add(element))?;
                    if let Some(found) = self.sets.get_mut(*name) {
                        found.elements = seen.print();
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// How many things the table has that are neither chains nor sets of a kind that
    /// can be listed.
    pub(crate) fn others(&self) -> u32 {
        let listed = self.chains.len() + self.sets.len();
        self.table.objects.saturating_sub(u32::try_from(listed).unwrap_or(u32::MAX))
    }

    /// The highest version that the kernel holds of an IP set's kernel set.
    pub(crate) fn place(&self, first: &Name) -> Place {
        let copied = self.versions.get(first).map(|version| (*version, names::ip_set_version(first, *version)));
        let (version, name) = copied.unwrap_or_else(|| (0, first.clone()));
        match self.sets.get(&name) {
            Some(FoundSet { set, .. }) => Place::Held { version, size: set.as_ref().and_then(|set| set.size) },
            None => Place::Free(version),
        }
    }
}

/// Looks again until nobody committed meanwhile.
fn until_whole(
    socket: &mut NftSocket,
    what: &'static str,
    mut look: impl FnMut(&mut Glance<'_>) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    for _ in 0..ATTEMPTS {
        if socket.glance(&mut look)?.is_some() {
            return Ok(());
        }
    }
    Err(QueryError::Restless { what })
}

/// The kind that [`crate::encode::set`] makes a set of; `None` if it makes none like this.
fn kind_of(set: &nft::Set) -> Option<SetKind> {
    use nft::SetKind::{Hash, Interval, Ranges};
    let family = |field: &Field| match field {
        Field::Ipv4 => Some(Family::V4),
        Field::Ipv6 => Some(Family::V6),
        Field::Protocol | Field::Port | Field::Mark | Field::IfName => None,
    };
    Some(match (set.kind, set.data, set.key.as_slice()) {
        (Hash, SetData::Verdict, [Field::IfName]) => SetKind::Interfaces,
        (Hash, SetData::None, [Field::Port]) => SetKind::Ports,
        (Hash, SetData::None, [Field::Protocol]) => SetKind::Protocols,
        (Hash, SetData::None, [address, Field::Protocol, Field::Port]) => SetKind::AddrPorts(family(address)?),
        (Hash, SetData::None, [Field::IfName, address]) => SetKind::WorkloadAddrs(family(address)?),
        (Hash, SetData::None, [address]) => SetKind::Addrs(family(address)?),
        (Interval, SetData::None, [Field::Port]) => SetKind::PortRanges,
        (Interval, SetData::None, [address]) => SetKind::Nets(family(address)?),
        (Ranges, SetData::None, [Field::IfName, address]) => SetKind::WorkloadNets(family(address)?),
        _ => return None,
    })
}

/// The elements of a set that were seen so far.
pub(crate) struct SeenElements {
    kind: SetKind,
    /// `None` once there is one that cannot be ours.
    sum: Option<Print>,
    /// Of ranges, which are known only when both ends are.
    bounds: Vec<nft::Element>,
}

impl SeenElements {
    /// None of a set of a kind.
    pub(crate) fn of(kind: SetKind) -> Self {
        Self { kind, sum: Some(Print::default()), bounds: Vec::new() }
    }

    pub(crate) fn add(&mut self, element: nft::Element) {
        if self.kind.is_interval() {
            self.bounds.push(element);
            return;
        }
        let element = single(self.kind, element);
        self.sum = self.sum.zip(element).map(|(sum, element)| sum.plus(Print::of_elements([&element])));
    }

    /// The print of all of them; `None` if one cannot be ours.
    pub(crate) fn print(self) -> Option<Print> {
        match self.kind.is_interval() {
            true => elements(self.kind, self.bounds).map(|elements| Print::of_elements(&elements)),
            false => self.sum,
        }
    }
}

/// The elements of a set in our terms, in order; `None` if one of them cannot be
/// one of ours.
pub(crate) fn elements(kind: SetKind, listed: Vec<nft::Element>) -> Option<Vec<Element>> {
    let mut elements: Vec<Element> = match kind {
        SetKind::Nets(_) | SetKind::PortRanges => {
            let ranges = ranges(listed)?;
            ranges.into_iter().map(|(first, behind)| range(kind, &first, behind.as_deref())).collect::<Option<_>>()?
        }
        SetKind::Addrs(_)
        | SetKind::AddrPorts(_)
        | SetKind::Ports
        | SetKind::Protocols
        | SetKind::Interfaces
        | SetKind::WorkloadAddrs(_)
        | SetKind::WorkloadNets(_) => listed.into_iter().map(|element| single(kind, element)).collect::<Option<_>>()?,
    };
    elements.sort_unstable();
    Some(elements)
}

type Bytes = Vec<u8>;

/// Ranges as first keys and the first keys behind them.
fn ranges(listed: Vec<nft::Element>) -> Option<Vec<(Bytes, Option<Bytes>)>> {
    let mut bounds: Vec<(Bytes, bool)> = Vec::with_capacity(listed.len());
    for element in listed {
        match element.key {
            Key::At(key) => bounds.push((key.as_bytes().to_vec(), true)),
            Key::End(key) => bounds.push((key.as_bytes().to_vec(), false)),
            Key::Range(..) | Key::CatchAll => return None,
        }
    }
    // Where one range ends and the next begins, the end comes first.
    bounds.sort_unstable();
    let mut out = Vec::with_capacity(bounds.len() / 2);
    let mut open: Option<Bytes> = None;
    for (key, opens) in bounds {
        match (opens, open.take()) {
            (true, None) => open = Some(key),
            (true, Some(_)) => return None,
            (false, Some(first)) => out.push((first, Some(key))),
            // nft closes the space below the first range.
            (false, None) => {}
        }
    }
    out.extend(open.map(|first| (first, None)));
    Some(out)
}

fn range(kind: SetKind, first: &[u8], behind: Option<&[u8]>) -> Option<Element> {
    match kind {
        SetKind::PortRanges => {
            let last = behind.map_or(Some(Port::MAX), |behind| port(behind)?.checked_sub(1))?;
            Some(Element::Ports(PortRange::new(port(first)?, last).ok()?))
        }
        SetKind::Nets(family) => {
            let last = match (behind.map(|behind| addr(family, behind)), family) {
                (None, Family::V4) => Ipv4Addr::BROADCAST.into(),
                (None, Family::V6) => Ipv6Addr::from_bits(u128::MAX).into(),
                (Some(behind), _) => match behind? {
                    IpAddr::V4(behind) => Ipv4Addr::from_bits(behind.to_bits().checked_sub(1)?).into(),
                    IpAddr::V6(behind) => Ipv6Addr::from_bits(behind.to_bits().checked_sub(1)?).into(),
                },
            };
            Some(Element::Net(addr(family, first)?, last))
        }
        SetKind::Addrs(_)
        | SetKind::AddrPorts(_)
        | SetKind::Ports
        | SetKind::Protocols
        | SetKind::Interfaces
        | SetKind::WorkloadAddrs(_)
        | SetKind::WorkloadNets(_) => None,
    }
}

/// An element that stands for one key; `None` if it cannot be one of ours.
fn single(kind: SetKind, element: nft::Element) -> Option<Element> {
    let key = match (element.key, kind) {
        (Key::Range(first, last), SetKind::WorkloadNets(family)) => {
            let (name, first) = source(family, first.as_bytes())?;
            let (_, last) = source(family, last.as_bytes()).filter(|(last, _)| *last == name)?;
            return Some(Element::WorkloadNet(name, first, last));
        }
        (Key::At(key), _) => key,
        (Key::Range(..) | Key::End(_) | Key::CatchAll, _) => return None,
    };
    let key = key.as_bytes();
    match kind {
        SetKind::Addrs(family) => Some(Element::Addr(addr(family, key)?)),
        SetKind::AddrPorts(family) => {
            let (address, rest) = key.split_at_checked(usize::from(family.bits() / 8))?;
            let [number, 0, 0, 0, high, low, 0, 0] = *rest else { return None };
            let protocol = Protocol::from_number(number.into()).ok()?;
            Some(Element::AddrPort(addr(family, address)?, protocol, Port::from_be_bytes([high, low])))
        }
        SetKind::Ports => Some(Element::Ports(PortRange::single(port(key)?))),
        SetKind::Protocols => {
            let [number] = *key else { return None };
            Some(Element::Protocol(Protocol::from_number(number.into()).ok()?))
        }
        SetKind::Interfaces => {
            let name = interface(key)?;
            let Some(nft::Data::Verdict(verdict)) = element.data else { return None };
            let verdict = match verdict {
                nft::Verdict::Accept => Verdict::Accept,
                nft::Verdict::Drop => Verdict::Drop,
                nft::Verdict::Return => Verdict::Return,
                nft::Verdict::Jump(chain) => Verdict::Jump(chain),
                nft::Verdict::Goto(chain) => Verdict::Goto(chain),
                nft::Verdict::Continue | nft::Verdict::Break => return None,
            };
            Some(Element::Interface(name, verdict))
        }
        SetKind::WorkloadAddrs(family) => {
            let (name, addr) = source(family, key)?;
            Some(Element::WorkloadAddr(name, addr))
        }
        SetKind::Nets(_) | SetKind::PortRanges | SetKind::WorkloadNets(_) => None,
    }
}

/// A name, filled up with zeros.
fn interface(bytes: &[u8]) -> Option<IfName> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    IfName::new(std::str::from_utf8(text).ok()?).ok()
}

/// An interface and an address.
fn source(family: Family, key: &[u8]) -> Option<(IfName, IpAddr)> {
    let (name, address) = key.split_at_checked(NAME)?;
    Some((interface(name)?, addr(family, address)?))
}

fn addr(family: Family, bytes: &[u8]) -> Option<IpAddr> {
    Some(match family {
        Family::V4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        Family::V6 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    })
}

fn port(bytes: &[u8]) -> Option<Port> {
    Some(Port::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;
    use crate::ir::SetSpec;

    #[test]
    fn a_set_of_ours_tells_its_kind() {
        let of_no_family = [SetKind::Ports, SetKind::PortRanges, SetKind::Protocols, SetKind::Interfaces];
        let of_a_family =
            [SetKind::Addrs, SetKind::Nets, SetKind::AddrPorts, SetKind::WorkloadAddrs, SetKind::WorkloadNets];
        let of_a_family = of_a_family.into_iter().flat_map(|kind| Family::ALL.map(kind));
        for kind in of_a_family.chain(of_no_family) {
            let set = encode::set(&SetSpec::new(Name::new("set").expect("a name"), kind));
            assert_eq!(kind_of(&set), Some(kind));
        }
        let foreign = nft::Set::new(Name::new("set").expect("a name"), nft::SetKind::Hash, [Field::Mark].as_slice());
        assert_eq!(kind_of(&foreign), None);
    }
}
