//! Rule programs: the typed form of a policy decision.
//!
//! [`PolicyStore`] folds the messages of the control half into typed state and
//! says what each message changed; [`Program`] is what decides for one
//! endpoint and direction; [`evaluate`] is the reference for every dataplane;
//! [`Driver`] is what a dataplane implements.

mod change;
mod counts;
mod driver;
mod endpoint;
mod error;
mod evaluate;
mod failsafe;
mod id;
mod ip_set;
mod lifeline;
mod matching;
#[cfg(test)]
mod messages;
mod packet;
mod parse;
mod policy;
mod pool;
mod program;
mod report;
mod revocation;
mod rule;
mod sorted;
mod store;
mod why;

pub use change::{Change, coalesce};
pub use counts::{Decider, RuleCount, RuleCounts};
pub use driver::{Driver, DriverError, EndpointOutcome, Finding, HostOutcome, Outcome, Receipt, Sweep, Wake};
pub use endpoint::{
    ALL_INTERFACES, AdminState, EndpointTier, HostEndpoint, HostPrograms, Mac, TierList, WorkloadEndpoint,
};
pub use error::{Fault, ProgramError, RulePlace};
pub use evaluate::{
    Cause, Decision, EndpointToHost, FirstPacket, Guard, Guarded, Guards, HostCause, HostDecision, HostStep, HostView,
    Interfaces, Ipv6, NodeDecision, NodeStep, NodeView, Passage, Step, Tracking, Verdict, Way, evaluate,
    evaluate_endpoint, evaluate_to_host, trace, trace_endpoint,
};
pub use failsafe::{FailsafePoint, Failsafes};
pub use id::{HostId, PolicyId, PoolId, ProfileName, WorkloadId};
pub use ip_set::{IpSet, SetKind};
pub use lifeline::{Lifeline, cut_off};
pub use matching::Field;
pub use packet::{MixedFamilies, Packet, Transport};
pub use parse::parse_rule;
pub use policy::{PolicyProgram, ProfileProgram};
pub use pool::{IpPool, TunnelMode};
pub use program::{Direction, EndOfTier, Program, ProgramKey, ProgramKind, ProgramTier};
pub use report::{Distribution, DistributionNames, Measurement, MeasurementKind, Problem, Report};
pub use revocation::{Bench, Brief, Effect, Effects, Suspects, Terms, Touched};
pub use rule::{Action, IcmpMatch, Member, Rule, SetId, SideMatch};
pub use store::{PolicyStore, Stamp};
pub use why::{NearMiss, near_misses};
