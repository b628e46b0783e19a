//! Which members of a set are hidden by a broader one.
//!
//! Input: the prefixes of a set that are more than one address. Output: whether
//! a member is covered. Memory: 18 bytes per outermost prefix, while a flush
//! works on the set. Invariant: the prefixes are sorted and none covers another.

use caracal_net::Cidr;

use crate::{Member, Overlaps};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cover(Vec<Cidr>);

impl Cover {
    /// The cover that prefixes make. `wide` is sorted.
    pub(crate) fn of(wide: &[Cidr], overlaps: Overlaps) -> Self {
        let mut outermost: Vec<Cidr> = Vec::new();
        match overlaps {
            Overlaps::Kept => {}
            Overlaps::Suppressed => {
                for net in wide {
                    // A prefix sorts before those it covers.
                    if !outermost.last().is_some_and(|last| last.covers(net)) {
                        outermost.push(*net);
                    }
                }
            }
        }
        Self(outermost)
    }

    /// Takes out the members that a broader prefix covers.
    pub(crate) fn uncover(&self, members: &mut Vec<Member>) {
        if !self.0.is_empty() {
            members.retain(|member| !self.hides(member));
        }
    }

    /// Whether a broader prefix covers the member.
    pub(crate) fn hides(&self, member: &Member) -> bool {
        let Member::Net(net) = member else { return false };
        let after = self.0.partition_point(|outer| outer <= net);
        // Prefixes that do not overlap: if one covers the member, it is the last before it.
        self.0[..after].last().is_some_and(|outer| outer != net && outer.covers(net))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets() -> impl Strategy<Value = Vec<Cidr>> {
        let net = (0u32..16, 28u8..=32).prop_map(|(host, len)| {
            Cidr::new(std::net::Ipv4Addr::from_bits(0x0a00_0000 | host).into(), len).expect("a length up to 32")
        });
        prop::collection::vec(net, 0..8)
    }

    proptest! {
        #[test]
        fn hides_what_another_prefix_covers(mut members in nets(), probe in nets()) {
            members.sort();
            members.dedup();
            let wide: Vec<Cidr> = members.iter().filter(|net| !net.is_host()).copied().collect();
            let (suppressed, kept) = (Cover::of(&wide, Overlaps::Suppressed), Cover::of(&wide, Overlaps::Kept));
            for net in members.iter().chain(&probe) {
                let covered = members.iter().any(|other| other != net && other.covers(net));
                prop_assert_eq!(suppressed.hides(&Member::Net(*net)), covered);
                prop_assert!(!kept.hides(&Member::Net(*net)));
            }
        }
    }
}
