//! The calculation graph: datastore events in, ordered [`Delta`]s out.

mod delta;
mod graph;
mod hosts;
pub mod order;
mod problem;
mod settings;

pub use delta::{
    ActivePolicy, ActiveProfile, Delta, HostPolicyLists, IpSetKind, Member, PolicyList, ScannedRule, TierPolicies,
};
pub use graph::{CalcGraph, Flush, NotFlushed};
pub use problem::Problem;
pub use settings::{Locality, Overlaps, Settings, SourceSpoofing};
