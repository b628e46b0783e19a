//! The interfaces that are known, and what a look at them tells.

use std::collections::{BTreeMap, BTreeSet};

use caracal_net::IfIndex;

use super::LinkEvent;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: IfIndex,
    pub(super) up: bool,
}

/// The interfaces that `sink` was told of. No two have the same name.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_index: BTreeMap<IfIndex, Link>,
}

impl Links {
    /// An interface is there.
    pub(super) fn there(&mut self, link: Link) -> Vec<LinkEvent> {
        // Another one of that name has lost it, though its own news is still to come.
        self.by_index.retain(|index, known| *index == link.index || known.name != link.name);
        let before = self.by_index.insert(link.index, link.clone());
        if before.as_ref() == Some(&link) {
            return Vec::new();
        }
        let renamed = before.filter(|before| before.name != link.name);
        let gone = renamed.map(|before| LinkEvent::Gone { name: before.name });
        let Link { name, index, up } = link;
        let now = if up { LinkEvent::Up { name, index } } else { LinkEvent::Down { name, index } };
        gone.into_iter().chain([now]).collect()
    }

    /// An interface is gone.
    pub(super) fn gone(&mut self, index: IfIndex) -> Vec<LinkEvent> {
        let gone = self.by_index.remove(&index);
        gone.map(|link| LinkEvent::Gone { name: link.name }).into_iter().collect()
    }

    /// These interfaces are there, and no others.
    pub(super) fn replace(&mut self, listed: Vec<Link>) -> Vec<LinkEvent> {
        let there: BTreeSet<IfIndex> = listed.iter().map(|link| link.index).collect();
        let gone: Vec<IfIndex> = self.by_index.keys().filter(|index| !there.contains(index)).copied().collect();
        let mut events: Vec<LinkEvent> = gone.into_iter().flat_map(|index| self.gone(index)).collect();
        events.extend(listed.into_iter().flat_map(|link| self.there(link)));
        events
    }
}

#[cfg(test)]
mod tests;
