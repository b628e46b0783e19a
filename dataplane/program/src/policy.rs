//! Policies and profiles in typed form.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::program::Direction;
use crate::{PolicyId, ProfileName, Rule};

/// A policy, ready to be evaluated or lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyProgram {
    /// Which policy it is.
    pub id: PolicyId,
    /// The name of its tier.
    pub tier: SmolStr,
    /// Calculated but never enforced.
    pub staged: bool,
    /// Enforced before connection tracking (`doNotTrack`).
    pub untracked: bool,
    /// Enforced before DNAT.
    pub pre_dnat: bool,
    /// Rules for traffic towards an endpoint.
    pub inbound: Arc<[Rule]>,
    /// Rules for traffic from an endpoint.
    pub outbound: Arc<[Rule]>,
}

impl PolicyProgram {
    /// The rules of one direction.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> &Arc<[Rule]> {
        match direction {
            Direction::Ingress => &self.inbound,
            Direction::Egress => &self.outbound,
        }
    }
}

/// A profile, ready to be evaluated or lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileProgram {
    /// The profile's name.
    pub name: ProfileName,
    /// Rules for traffic towards an endpoint.
    pub inbound: Arc<[Rule]>,
    /// Rules for traffic from an endpoint.
    pub outbound: Arc<[Rule]>,
}

impl ProfileProgram {
    /// The rules of one direction.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> &Arc<[Rule]> {
        match direction {
            Direction::Ingress => &self.inbound,
            Direction::Egress => &self.outbound,
        }
    }
}
