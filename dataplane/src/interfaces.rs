//! Which interfaces are there.

use std::collections::BTreeMap;

use caracal_net::IfIndex;
use smol_str::SmolStr;

/// What an interface can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It carries packets.
    Up(IfIndex),
    /// It is there, but down.
    Down(IfIndex),
    /// It is not there.
    Gone,
}

/// The interfaces of the host by name, as far as events have told.
#[derive(Debug, Default)]
pub struct Interfaces {
    there: BTreeMap<SmolStr, LinkState>,
}

impl Interfaces {
    /// Takes what an event says.
    pub fn observe(&mut self, name: &SmolStr, state: LinkState) -> Observed {
        let before = match state {
            LinkState::Gone => self.there.remove(name),
            LinkState::Up(_) | LinkState::Down(_) => self.there.insert(name.clone(), state),
        };
        if before.unwrap_or(LinkState::Gone) == state { Observed::Known } else { Observed::News }
    }

    /// What an interface can do.
    #[must_use]
    pub fn state(&self, name: &str) -> LinkState {
        self.there.get(name).copied().unwrap_or(LinkState::Gone)
    }

    /// The interfaces that carry packets, by name.
    pub fn up(&self) -> impl Iterator<Item = &SmolStr> {
        self.there.iter().filter(|(_, state)| matches!(state, LinkState::Up(_))).map(|(name, _)| name)
    }

    /// The name of an interface that is there.
    #[must_use]
    pub fn name(&self, index: IfIndex) -> Option<&SmolStr> {
        self.there
            .iter()
            .find(|(_, state)| matches!(state, LinkState::Up(i) | LinkState::Down(i) if *i == index))
            .map(|(name, _)| name)
    }
}

/// Whether an event told something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Something changed.
    News,
    /// It was known.
    Known,
}
