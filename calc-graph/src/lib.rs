//! The calculation graph: datastore events in, ordered [`Delta`]s out.

mod delta;

pub use delta::{
    ActivePolicy, ActiveProfile, Delta, HostPolicyLists, IpSetKind, Member, PolicyList, ScannedRule, TierPolicies,
};
