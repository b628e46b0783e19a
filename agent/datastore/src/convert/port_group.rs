//! The ports of a Kubernetes rule, grouped into those that one of Calico's rules
//! can match.

use std::collections::BTreeMap;

use crate::resource::IntOrString;

/// Ports that share one of Calico's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortGroup {
    /// `None` means every protocol.
    pub(super) protocol: Option<IntOrString>,
    /// Empty means every port.
    pub(super) ports: Vec<IntOrString>,
}

/// What one entry of a list of ports stands for.
pub(super) enum Ports {
    /// Every port of the protocol.
    All,
    /// The ports of this name.
    Named(String),
    /// First and last.
    Range(u16, u16),
}

/// The ports of each protocol, in order of the protocols' names; entries without
/// a protocol come first. No entries at all mean every protocol. An entry for
/// every port means its whole protocol, whatever else is listed for it.
pub(super) fn group(entries: impl IntoIterator<Item = (Option<String>, Ports)>) -> Vec<PortGroup> {
    // `None` in place of the ports stands for the whole protocol.
    let mut by_protocol: BTreeMap<Option<String>, Option<Vec<Ports>>> = BTreeMap::new();
    for (protocol, ports) in entries {
        let listed = by_protocol.entry(protocol).or_insert_with(|| Some(Vec::new()));
        match (ports, listed) {
            (Ports::All, listed) => *listed = None,
            (Ports::Named(_) | Ports::Range(..), None) => {}
            (ports @ (Ports::Named(_) | Ports::Range(..)), Some(listed)) => listed.push(ports),
        }
    }
    if by_protocol.is_empty() {
        by_protocol.insert(None, None);
    }
    let groups = by_protocol.into_iter().map(|(protocol, ports)| PortGroup {
        protocol: protocol.map(IntOrString::Text),
        ports: ports.map(merge).unwrap_or_default(),
    });
    groups.collect()
}

/// The named ports in their order, then the numbers, sorted and merged into ranges.
fn merge(entries: Vec<Ports>) -> Vec<IntOrString> {
    let mut merged = Vec::new();
    let mut numbers = Vec::new();
    for entry in entries {
        match entry {
            Ports::All => {}
            Ports::Named(name) => merged.push(IntOrString::Text(name)),
            Ports::Range(first, last) => numbers.push((first, last)),
        }
    }
    numbers.sort_unstable();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for (first, last) in numbers {
        match ranges.last_mut() {
            Some((_, end)) if u32::from(first) <= u32::from(*end) + 1 => *end = last.max(*end),
            Some(_) | None => ranges.push((first, last)),
        }
    }
    merged.extend(ranges.into_iter().map(|(first, last)| {
        if first == last { IntOrString::Int(first.into()) } else { IntOrString::Text(format!("{first}:{last}")) }
    }));
    merged
}
