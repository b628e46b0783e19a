//! Keys and objects of the calculation graph in Felix's form, their labels,
//! and the events by which a datastore tells of them.
//!
//! Every source converts its resources into these types, so that the graph
//! sees one form only. The reading left to right is: [`Event`] carries an
//! [`Object`] under a [`Key`]; a [`Policy`] holds [`Rule`]s.

mod endpoint;
mod event;
mod key;
mod labels;
mod policy;
mod pool;
mod rule;
mod service;

pub use endpoint::{
    EndpointPort, HostEndpoint, Nat, NetworkSet, Node, Profile, Qos, QosLimits, Tier, WorkloadEndpoint,
};
pub use event::{Event, Kind, Object, Stamp};
pub use key::{HostEndpointKey, Key, NetworkSetKey, PolicyKey, PolicyKind, WorkloadEndpointKey};
pub use labels::Labels;
pub use policy::{Direction, Policy, TierAction};
pub use pool::{IpPool, PoolUse, TunnelMode};
pub use rule::{Action, Entity, HttpMatch, HttpPath, Icmp, Rule, RulePort, RuleProtocol, ServiceAccounts, ServiceRef};
pub use service::{EndpointSlice, EndpointSliceKey, Service, ServicePort, ServiceType};

/// The tier of a policy that names none.
pub const DEFAULT_TIER: &str = "default";

/// The order of a Tier resource without one (Calico's admission default).
pub const DEFAULT_TIER_ORDER: f64 = 1_000_000.0;

/// The label that holds the namespace of a namespaced endpoint or network set.
pub const LABEL_NAMESPACE: &str = "projectcalico.org/namespace";

/// The label that holds the orchestrator of a workload endpoint.
pub const LABEL_ORCHESTRATOR: &str = "projectcalico.org/orchestrator";

/// The label that holds the service account of a workload endpoint.
pub const LABEL_SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";

/// What a namespace's profile puts before each of the namespace's labels.
pub const NAMESPACE_LABEL_PREFIX: &str = "pcns.";

/// What a service account's profile puts before each of its labels.
pub const SERVICE_ACCOUNT_LABEL_PREFIX: &str = "pcsa.";

/// What the name of a namespace's profile starts with.
pub const NAMESPACE_PROFILE_PREFIX: &str = "kns.";

/// What the name of a service account's profile starts with: `ksa.<namespace>.<name>`.
pub const SERVICE_ACCOUNT_PROFILE_PREFIX: &str = "ksa.";
