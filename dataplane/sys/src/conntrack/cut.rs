//! The connections that bear the label, as far as they are known.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::Flow;

/// How many are remembered: some 4 MB with IPv6 addresses, and to ask policy about
/// all of them takes about as long as to list a table of a thousand. More are
/// found by a review only.
pub(super) const LIMIT: usize = 16_384;

/// Connections that bear the label. A review of all connections makes it whole;
/// what ended since is still in it.
#[derive(Debug, Default)]
pub(super) struct CutConnections {
    /// By the original tuple as the kernel writes it.
    known: BTreeMap<Box<[u8]>, Known>,
    /// Whether no others bear the label.
    whole: bool,
    /// Whether everything that the review in progress met found room.
    room: bool,
    /// The number of the review in progress, or of the last one.
    review: u32,
}

#[derive(Debug)]
struct Known {
    flow: Flow,
    /// The original tuple of the connection that called for it, if one did.
    master: Option<Box<[u8]>>,
    /// The kernel's id of the entry, as it writes it.
    id: Option<[u8; 4]>,
    /// The last review that met it.
    review: u32,
}

/// What a review tells of a connection, beside its tuple.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met<'a> {
    pub(super) flow: Flow,
    pub(super) master: Option<&'a [u8]>,
    pub(super) id: Option<[u8; 4]>,
}

impl CutConnections {
    /// A review of all connections begins.
    pub(super) const fn begin(&mut self) {
        self.review = self.review.wrapping_add(1);
        self.room = true;
    }

    /// The review met a connection that bears the label now.
    pub(super) fn met(&mut self, tuple: &[u8], Met { flow, master, id }: Met<'_>) {
        let known = Known { flow, master: master.map(Box::from), id, review: self.review };
        if let Some(held) = self.known.get_mut(tuple) {
            *held = known;
        } else if self.known.len() < LIMIT {
            self.known.insert(tuple.into(), known);
        } else {
            (self.room, self.whole) = (false, false);
        }
    }

    /// A connection is there no longer, or without the label.
    pub(super) fn lost(&mut self, tuple: &[u8]) {
        self.known.remove(tuple);
    }

    /// Whether it is known that a connection bears the label.
    pub(super) fn has(&self, tuple: &[u8]) -> bool {
        self.known.contains_key(tuple)
    }

    /// The connections that some of them called for.
    pub(super) fn related_to(&self, masters: &BTreeSet<Box<[u8]>>) -> Vec<(Box<[u8]>, Flow)> {
        let goes_along = |known: &Known| known.master.as_ref().is_some_and(|master| masters.contains(master));
        let related = self.known.iter().filter(|(_, known)| goes_along(known));
        related.map(|(tuple, known)| (tuple.clone(), known.flow)).collect()
    }

    /// The review reached every connection: those that it did not meet have ended.
    pub(super) fn end(&mut self) {
        self.known.retain(|_, known| known.review == self.review);
        self.whole = self.room;
    }

    /// How many there are, if all are known.
    pub(super) fn count(&self) -> Option<usize> {
        self.whole.then_some(self.known.len())
    }

    /// Those that come after a tuple, in some lasting order, with the kernel's ids.
    pub(super) fn after(&self, tuple: Option<&[u8]>) -> impl Iterator<Item = (&[u8], &Flow, Option<&[u8]>)> {
        let from = tuple.map_or(Bound::Unbounded, Bound::Excluded);
        self.known.range::<[u8], _>((from, Bound::Unbounded)).map(|(tuple, known)| {
            let id = known.id.as_ref().map(|id| &id[..]);
            (&**tuple, &known.flow, id)
        })
    }
}

#[cfg(test)]
mod tests {
    use caracal_net::Protocol;

    use super::*;
    use crate::conntrack::FlowKey;

    fn flow() -> Flow {
        let addr = std::net::Ipv4Addr::LOCALHOST.into();
        let (protocol, key) = (Protocol::UDP, FlowKey::Opaque);
        Flow {
            source: addr,
            destination: addr,
            called: None,
            protocol,
            key,
            revoked: true,
            related: false,
            mutual: false,
        }
    }

    fn review(cut: &mut CutConnections, tuples: impl IntoIterator<Item = u32>) {
        cut.begin();
        for tuple in tuples {
            cut.met(&tuple.to_be_bytes(), Met { flow: flow(), master: None, id: None });
        }
        cut.end();
    }

    #[test]
    fn a_review_makes_it_whole_and_drops_what_has_ended() {
        let mut cut = CutConnections::default();
        assert_eq!(cut.count(), None, "an earlier run may have cut some");
        review(&mut cut, 0..3);
        assert_eq!(cut.count(), Some(3));
        review(&mut cut, 1..3);
        assert_eq!(cut.count(), Some(2));
        cut.lost(&1_u32.to_be_bytes());
        assert_eq!(cut.after(None).map(|(tuple, ..)| tuple).collect::<Vec<_>>(), [2_u32.to_be_bytes()]);
        assert_eq!(cut.after(Some(&2_u32.to_be_bytes())).count(), 0);
    }

    #[test]
    fn beyond_the_limit_it_is_not_whole_until_a_review_finds_fewer() {
        let mut cut = CutConnections::default();
        let more = u32::try_from(LIMIT).expect("a small number") + 1;
        review(&mut cut, 0..more);
        assert_eq!((cut.count(), cut.after(None).count()), (None, LIMIT));
        review(&mut cut, 0..1);
        assert_eq!(cut.count(), Some(1));
    }
}
