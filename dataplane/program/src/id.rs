//! What identifies policies, profiles, endpoints and pools on the sync API.

use std::fmt;

use smol_str::SmolStr;

/// Identifies a policy. Its tier is an attribute, not a part of the id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId {
    /// The kind as Felix's `PolicyID.kind` spells it, for example `NetworkPolicy`.
    pub kind: SmolStr,
    /// Empty for policies of the whole cluster.
    pub namespace: SmolStr,
    /// The resource's name.
    pub name: SmolStr,
}

impl PolicyId {
    /// Whether the policy is calculated but never enforced: its kind is one of
    /// Felix's staged kinds. A kind that is not known here is enforced.
    #[must_use]
    pub fn is_staged(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "StagedNetworkPolicy" | "StagedGlobalNetworkPolicy" | "StagedKubernetesNetworkPolicy"
        )
    }
}

impl fmt::Display for PolicyId {
    /// `KIND NAMESPACE/NAME`, or `KIND NAME` without a namespace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The name of a profile, for example `kns.default`.
pub type ProfileName = SmolStr;

/// Identifies a workload endpoint of this node. Of two endpoints that name one
/// interface the lower id is active.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadId {
    /// `k8s` for pods.
    pub orchestrator: SmolStr,
    /// `NAMESPACE/POD` for pods.
    pub workload: SmolStr,
    /// `eth0` for pods.
    pub endpoint: SmolStr,
}

impl fmt::Display for WorkloadId {
    /// `ORCHESTRATOR/WORKLOAD/ENDPOINT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.orchestrator, self.workload, self.endpoint)
    }
}

/// Identifies a host endpoint of this node by the resource's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub SmolStr);

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies a pool of addresses: its prefix with `-` for the slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub SmolStr);

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
