//! What decides for an endpoint in one direction.

use std::fmt;

use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use crate::{EndpointTier, PolicyId, ProfileName};

/// A packet's direction as its endpoint sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Towards the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// What happens to a packet that no policy of a tier decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndOfTier {
    /// It is refused.
    Deny,
    /// The next tier decides.
    Pass,
}

/// When a program decides, and what becomes of a packet that nothing in it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProgramKind {
    /// On packets to and from the endpoint itself: what nothing allows is denied.
    Normal,
    /// On packets of this host that DNAT sent elsewhere: as normal programs do,
    /// but after routing, where the interface is known. A denied packet cannot be
    /// answered there.
    Translated,
    /// On packets that the host forwards. Ends of tiers deny, but without any
    /// tier, or after all have passed, the packet goes on.
    Forward,
    /// Before DNAT. Only rules decide; else the packet goes on to later programs.
    PreDnat,
    /// Before connection tracking. Only rules decide, as before DNAT. What is
    /// allowed is not tracked.
    Untracked,
}

impl ProgramKind {
    /// What happens at the end of a tier with this default action.
    const fn end_of_tier(self, default_action: EndOfTier) -> EndOfTier {
        match self {
            Self::Normal | Self::Translated | Self::Forward => default_action,
            // Policies of later programs have still to decide.
            Self::PreDnat | Self::Untracked => EndOfTier::Pass,
        }
    }
}

impl fmt::Display for ProgramKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Translated => "translated",
            Self::Forward => "forward",
            Self::PreDnat => "pre-DNAT",
            Self::Untracked => "untracked",
        })
    }
}

/// A tier of a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProgramTier {
    /// The tier's name.
    pub name: SmolStr,
    /// The policies, in order, staged ones among them; never empty.
    pub policies: Vec<PolicyId>,
    /// What happens at the end. `Pass` if all policies are staged: a policy
    /// that is not enforced must not cause a denial.
    pub end: EndOfTier,
}

impl ProgramTier {
    /// The policies that count for verdicts, in order.
    pub fn enforced(&self) -> impl Iterator<Item = &PolicyId> {
        self.policies.iter().filter(|id| !id.is_staged())
    }
}

/// Names a program by what it consists of: equal programs have equal keys, also
/// in another run. 128 bits of SHA-256, so that nobody can choose names of
/// policies that give two programs one key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProgramKey(pub [u8; 16]);

impl fmt::Display for ProgramKey {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ProgramKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What decides for an endpoint in one direction: tiers, then profiles, then
/// what its kind says. It names policies; their rules are in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    key: ProgramKey,
    kind: ProgramKind,
    direction: Direction,
    tiers: Vec<ProgramTier>,
    profiles: Vec<ProfileName>,
}

impl Program {
    /// Builds the program of one direction from an endpoint's tiers and
    /// profiles. A tier without a policy in that direction has no say, not even
    /// by its default action.
    #[must_use]
    pub fn new(direction: Direction, tiers: &[EndpointTier], profiles: &[ProfileName]) -> Self {
        Self::of_kind(ProgramKind::Normal, direction, tiers, profiles)
    }

    /// As [`Program::new`], for a kind of program of a host endpoint. Profiles
    /// have a say in normal and translated programs only.
    #[must_use]
    pub fn of_kind(kind: ProgramKind, direction: Direction, tiers: &[EndpointTier], profiles: &[ProfileName]) -> Self {
        let tiers: Vec<_> = tiers
            .iter()
            .filter(|tier| !tier.policies(direction).is_empty())
            .map(|tier| {
                let policies = tier.policies(direction).to_vec();
                let end = if policies.iter().all(PolicyId::is_staged) {
                    EndOfTier::Pass
                } else {
                    kind.end_of_tier(tier.default_action)
                };
                ProgramTier { name: tier.name.clone(), policies, end }
            })
            .collect();
        let profiles = match kind {
            ProgramKind::Normal | ProgramKind::Translated => profiles.to_vec(),
            ProgramKind::Forward | ProgramKind::PreDnat | ProgramKind::Untracked => Vec::new(),
        };
        Self { key: key_of(kind, direction, &tiers, &profiles), kind, direction, tiers, profiles }
    }

    /// The program's name.
    #[must_use]
    pub const fn key(&self) -> ProgramKey {
        self.key
    }

    /// When the program decides.
    #[must_use]
    pub const fn kind(&self) -> ProgramKind {
        self.kind
    }

    /// The direction that the program decides for.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The tiers, in order.
    #[must_use]
    pub fn tiers(&self) -> &[ProgramTier] {
        &self.tiers
    }

    /// The profiles that decide when no tier did, in order.
    #[must_use]
    pub fn profiles(&self) -> &[ProfileName] {
        &self.profiles
    }
}

fn key_of(kind: ProgramKind, direction: Direction, tiers: &[ProgramTier], profiles: &[ProfileName]) -> ProgramKey {
    let mut hash = Sha256::new();
    // Each text goes in with its length and each list with its count, so that
    // different programs cannot give the same bytes.
    let count = |hash: &mut Sha256, n: usize| hash.update((n as u64).to_le_bytes());
    let text = |hash: &mut Sha256, text: &str| {
        count(hash, text.len());
        hash.update(text);
    };
    let kind = match kind {
        ProgramKind::Normal => 0,
        ProgramKind::Forward => 2,
        ProgramKind::PreDnat => 4,
        ProgramKind::Untracked => 6,
        ProgramKind::Translated => 8,
    };
    hash.update([match direction {
        Direction::Ingress => kind,
        Direction::Egress => kind + 1,
    }]);
    count(&mut hash, tiers.len());
    for ProgramTier { name, policies, end } in tiers {
        text(&mut hash, name);
        hash.update([match end {
            EndOfTier::Deny => 0,
            EndOfTier::Pass => 1,
        }]);
        count(&mut hash, policies.len());
        for PolicyId { kind, namespace, name } in policies {
            for part in [kind, namespace, name] {
                text(&mut hash, part);
            }
        }
    }
    count(&mut hash, profiles.len());
    for profile in profiles {
        text(&mut hash, profile);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (half, _) = digest.split_at(16);
    ProgramKey(half.try_into().expect("half of a SHA-256 is 16 bytes"))
}

#[cfg(test)]
mod tests;
