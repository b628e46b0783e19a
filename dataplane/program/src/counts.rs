//! What rules have counted.

use smol_str::SmolStr;

use crate::{Action, Direction, Measurement, PolicyId, ProfileName};

/// What decided about packets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decider {
    /// A rule of a policy, by its place from 0.
    Policy(PolicyId, usize),
    /// A rule of a profile, by its place from 0.
    Profile(ProfileName, usize),
    /// The end of a tier: no policy of it has decided.
    EndOfTier(SmolStr),
    /// The end of a program: no policy or profile has decided.
    NoMatch,
}

/// What one decider has counted in one direction, on all of its endpoints together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCount {
    /// What counted.
    pub decider: Decider,
    /// Which way the packets went.
    pub direction: Direction,
    /// What became of them.
    pub action: Action,
    /// Packets that were judged: of a connection that is tracked, those up to its first answer.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// All that was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleCounts {
    /// Rules that the kernel has now and that have counted something, in order.
    pub rules: Vec<RuleCount>,
    /// Sums over rules for the metrics page. They do not fall when a rule goes.
    pub totals: Vec<Measurement>,
}
