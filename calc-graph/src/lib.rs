//! The calculation graph: datastore events in, ordered [`Delta`]s out.
//!
//! [`CalcGraph`] is pure: no clock, no files, no threads. It holds the objects
//! that sources deliver and tells, flush by flush, what a node's dataplane needs
//! of them. What it tells is a function of what it holds, never of the way there.
//!
//! Read `graph.rs` first: it is the wiring, and names the nodes in the order in
//! which a flush asks them. Each node is one file, whose head says what it takes,
//! gives, costs and keeps true.

mod active_rules;
mod census;
mod class_space;
mod cluster;
mod delta;
mod excerpt;
mod graph;
mod hosts;
mod id_set;
mod id_sets;
mod id_table;
mod ids;
mod intake;
mod interner;
mod ip_sets;
mod items;
mod key_arena;
mod label_store;
mod local_endpoints;
pub mod order;
mod overlap;
mod owners;
mod packed_rules;
mod pairs;
mod parents;
mod policies;
mod policy_key;
mod policy_lists;
mod policy_rank;
mod pools;
mod problem;
mod profiles;
mod rule_scanner;
mod selector_table;
mod sequencer;
mod service_table;
mod services;
mod settings;
mod short_lists;
mod slots;
mod sparse;
mod tiers;
mod varint;

pub use census::Census;
pub use delta::{
    ActivePolicy, ActiveProfile, Delta, Encapsulation, HostPolicyLists, IpSetKind, Member, PolicyList, ScannedRule,
    TierPolicies,
};
pub use excerpt::{Concern, Excerpt, Heading};
pub use graph::CalcGraph;
pub use problem::Problem;
pub use sequencer::{Flush, NotFlushed};
pub use settings::{Locality, Overlaps, Settings, SourceSpoofing};
