//! What the kernel holds of ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_net::{Family, Port, PortRange, Protocol};
use caracal_sys::nft::{self, Expr, Key, ListedChain, ListedTable, Name, NftSocket, QueryError, TableId};
use rustc_hash::FxHashMap;

use crate::ir::{Element, IfName, SetKind, Verdict};
use crate::names;

/// The bytes of an interface's name in a key (`IFNAMSIZ`).
const NAME: usize = 16;

/// The table as the kernel holds it, without elements.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) table: ListedTable,
    pub(crate) chains: FxHashMap<Name, FoundChain>,
    /// Sets and maps; `None` for one that is of no kind of ours.
    pub(crate) sets: FxHashMap<Name, Option<nft::Set>>,
    /// The highest version of each set that has been copied, by its first name.
    versions: FxHashMap<Name, u32>,
}

#[derive(Debug)]
pub(crate) struct FoundChain {
    pub(crate) chain: nft::Chain,
    /// The rules, with counters at zero.
    pub(crate) rules: Vec<nft::Rule>,
}

impl Found {
    /// Reads the table; `None` if there is none.
    pub(crate) fn read(socket: &mut NftSocket, table: &TableId) -> Result<Option<Self>, QueryError> {
        let Some(listed) = socket.table(table)? else { return Ok(None) };
        let mut chains: FxHashMap<Name, FoundChain> = FxHashMap::default();
        for ListedChain { chain, .. } in socket.chains(table)? {
            chains.insert(chain.name.clone(), FoundChain { chain, rules: Vec::new() });
        }
        for mut listed in socket.rules(table)? {
            for expr in &mut listed.rule.exprs {
                if let Expr::Counter { .. } = expr {
                    *expr = Expr::COUNTER;
                }
            }
            if let Some(found) = chains.get_mut(&listed.chain) {
                found.rules.push(listed.rule);
            }
        }
        let sets: FxHashMap<_, _> = socket.sets(table)?.into_iter().map(|listed| (listed.name, listed.set)).collect();
        let mut versions: FxHashMap<Name, u32> = FxHashMap::default();
        for (first, version) in sets.keys().filter_map(names::ip_set_copy) {
            let highest = versions.entry(first).or_default();
            *highest = version.max(*highest);
        }
        Ok(Some(Self { table: listed, chains, sets, versions }))
    }

    /// How many things the table has that are neither chains nor sets of a kind that
    /// can be listed.
    pub(crate) fn others(&self) -> u32 {
        let listed = self.chains.len() + self.sets.len();
        self.table.objects.saturating_sub(u32::try_from(listed).unwrap_or(u32::MAX))
    }

    /// The highest version that the kernel holds of an IP set's kernel set.
    pub(crate) fn version(&self, first: &Name) -> u32 {
        self.versions.get(first).copied().unwrap_or(0)
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
pub(crate) fn single(kind: SetKind, element: nft::Element) -> Option<Element> {
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
