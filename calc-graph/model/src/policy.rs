//! Policies.

use smol_str::SmolStr;

use crate::Rule;

/// The direction of traffic, seen from an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Towards the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

/// What happens to a packet that no policy of a tier decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TierAction {
    /// It is dropped.
    Deny,
    /// It goes on to the next tier.
    Pass,
}

impl TierAction {
    /// The wire's spelling in `TierInfo.default_action`.
    #[must_use]
    pub const fn as_wire(self) -> &'static str {
        match self {
            Self::Deny => "Deny",
            Self::Pass => "Pass",
        }
    }
}

/// A policy of any kind, converted.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The tier's name; never empty.
    pub tier: SmolStr,
    /// Position within the tier; `None` is last.
    pub order: Option<f64>,
    /// The combined selector over endpoints; empty means `all()`.
    pub selector: SmolStr,
    /// Whether it applies to traffic towards the endpoint.
    pub ingress: bool,
    /// Whether it applies to traffic from the endpoint.
    pub egress: bool,
    /// Rules for traffic towards the endpoint.
    pub inbound_rules: Vec<Rule>,
    /// Rules for traffic from the endpoint.
    pub outbound_rules: Vec<Rule>,
    /// Enforced before connection tracking (host endpoints only).
    pub untracked: bool,
    /// Enforced before DNAT (host endpoints only).
    pub pre_dnat: bool,
    /// Enforced on forwarded traffic as well (host endpoints only).
    pub apply_on_forward: bool,
    /// The policy's `performanceHints`.
    pub perf_hints: Vec<SmolStr>,
}
