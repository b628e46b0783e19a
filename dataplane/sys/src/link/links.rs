//! The interfaces that are known, and what a look at them tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_net::IfIndex;

use super::LinkEvent;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: IfIndex,
    pub(super) state: State,
}

/// What an interface does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Down,
    /// It is up, and does not carry packets.
    Up,
    /// It is up and carries packets.
    Running,
}

impl State {
    const fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Running)
    }
}

/// The interfaces that `sink` was told of. No two have the same name.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_index: BTreeMap<IfIndex, Link>,
    /// The addresses of each that has any, also of one whose own news is still to come.
    addresses: BTreeMap<IfIndex, BTreeSet<IpAddr>>,
}

impl Links {
    /// An interface is there.
    pub(super) fn there(&mut self, link: Link) -> Vec<LinkEvent> {
        // Another one of that name has lost it, though its own news is still to come.
        self.by_index.retain(|index, known| *index == link.index || known.name != link.name);
        let before = self.by_index.insert(link.index, link.clone());
        let is_named = before.as_ref().is_some_and(|before| before.name == link.name);
        if let Some(before) = &before
            && is_named
            && before.state.is_up() == link.state.is_up()
        {
            let Link { name, index, state } = link;
            let runs_now = before.state != state && state == State::Running;
            return if runs_now { vec![LinkEvent::Running { name, index }] } else { Vec::new() };
        }
        let renamed = before.filter(|before| before.name != link.name);
        let gone = renamed.map(|before| LinkEvent::Gone { name: before.name });
        let Link { name, index, state } = link.clone();
        let now = if state.is_up() { LinkEvent::Up { name, index } } else { LinkEvent::Down { name, index } };
        let has_any = self.addresses.contains_key(&link.index);
        let addresses = if has_any && !is_named { self.tell_addresses(link.index) } else { None };
        gone.into_iter().chain([now]).chain(addresses).collect()
    }

    /// An interface has one more address.
    pub(super) fn gained(&mut self, index: IfIndex, addr: IpAddr) -> Vec<LinkEvent> {
        let is_new = self.addresses.entry(index).or_default().insert(addr);
        is_new.then(|| self.tell_addresses(index)).flatten().into_iter().collect()
    }

    /// An interface has one address less.
    pub(super) fn lost(&mut self, index: IfIndex, addr: IpAddr) -> Vec<LinkEvent> {
        let Some(held) = self.addresses.get_mut(&index) else { return Vec::new() };
        let was_held = held.remove(&addr);
        if held.is_empty() {
            self.addresses.remove(&index);
        }
        was_held.then(|| self.tell_addresses(index)).flatten().into_iter().collect()
    }

    fn tell_addresses(&self, index: IfIndex) -> Option<LinkEvent> {
        let link = self.by_index.get(&index)?;
        let addresses = self.addresses.get(&index).cloned().unwrap_or_default();
        Some(LinkEvent::Addresses { name: link.name.clone(), addresses })
    }

    /// An interface is gone.
    pub(super) fn gone(&mut self, index: IfIndex) -> Vec<LinkEvent> {
        self.addresses.remove(&index);
        let gone = self.by_index.remove(&index);
        gone.map(|link| LinkEvent::Gone { name: link.name }).into_iter().collect()
    }

    /// These interfaces are there, and no others, and have these addresses.
    pub(super) fn replace(&mut self, listed: Vec<Link>, addresses: Vec<(IfIndex, IpAddr)>) -> Vec<LinkEvent> {
        let there: BTreeSet<IfIndex> = listed.iter().map(|link| link.index).collect();
        let gone: Vec<IfIndex> = self.by_index.keys().filter(|index| !there.contains(index)).copied().collect();
        let mut events: Vec<LinkEvent> = gone.into_iter().flat_map(|index| self.gone(index)).collect();
        events.extend(listed.into_iter().flat_map(|link| self.there(link)));
        let mut held: BTreeMap<IfIndex, BTreeSet<IpAddr>> = BTreeMap::new();
        for (index, addr) in addresses {
            held.entry(index).or_default().insert(addr);
        }
        let before = std::mem::replace(&mut self.addresses, held);
        let changed = there.into_iter().filter(|index| before.get(index) != self.addresses.get(index));
        events.extend(changed.filter_map(|index| self.tell_addresses(index)));
        events
    }
}

#[cfg(test)]
mod tests;
