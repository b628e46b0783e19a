//! What identifies an object.

use std::fmt;

use smol_str::SmolStr;

use crate::{EndpointSliceKey, ServiceRef};

/// Identifies a workload endpoint. `host` is the node it lives on; the wire's
/// `WorkloadEndpointID` leaves it out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadEndpointKey {
    /// The node's name.
    pub host: SmolStr,
    /// `k8s` for pods.
    pub orchestrator: SmolStr,
    /// `NAMESPACE/POD` for pods.
    pub workload: SmolStr,
    /// `eth0` for pods.
    pub endpoint: SmolStr,
}

impl fmt::Display for WorkloadEndpointKey {
    /// `ORCHESTRATOR/WORKLOAD/ENDPOINT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.orchestrator, self.workload, self.endpoint)
    }
}

/// Identifies a host endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostEndpointKey {
    /// The node's name.
    pub host: SmolStr,
    /// The resource's name.
    pub name: SmolStr,
}

/// The kind of a policy, as Felix's `PolicyID.kind` spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// Calico's namespaced policy.
    NetworkPolicy,
    /// Calico's policy of the whole cluster.
    GlobalNetworkPolicy,
    /// A NetworkPolicy that is calculated but not enforced.
    StagedNetworkPolicy,
    /// A GlobalNetworkPolicy that is calculated but not enforced.
    StagedGlobalNetworkPolicy,
    /// A networking.k8s.io/v1 policy that is calculated but not enforced.
    StagedKubernetesNetworkPolicy,
    /// networking.k8s.io/v1 NetworkPolicy.
    KubernetesNetworkPolicy,
    /// policy.networking.k8s.io ClusterNetworkPolicy.
    KubernetesClusterNetworkPolicy,
}

impl PolicyKind {
    /// Every kind of policy.
    pub const ALL: [Self; 7] = [
        Self::NetworkPolicy,
        Self::GlobalNetworkPolicy,
        Self::StagedNetworkPolicy,
        Self::StagedGlobalNetworkPolicy,
        Self::StagedKubernetesNetworkPolicy,
        Self::KubernetesNetworkPolicy,
        Self::KubernetesClusterNetworkPolicy,
    ];

    /// The wire's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "NetworkPolicy",
            Self::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            Self::StagedNetworkPolicy => "StagedNetworkPolicy",
            Self::StagedGlobalNetworkPolicy => "StagedGlobalNetworkPolicy",
            Self::StagedKubernetesNetworkPolicy => "StagedKubernetesNetworkPolicy",
            Self::KubernetesNetworkPolicy => "KubernetesNetworkPolicy",
            Self::KubernetesClusterNetworkPolicy => "KubernetesClusterNetworkPolicy",
        }
    }

    /// Whether the policy is calculated but never enforced.
    #[must_use]
    pub const fn is_staged(self) -> bool {
        match self {
            Self::StagedNetworkPolicy | Self::StagedGlobalNetworkPolicy | Self::StagedKubernetesNetworkPolicy => true,
            Self::NetworkPolicy
            | Self::GlobalNetworkPolicy
            | Self::KubernetesNetworkPolicy
            | Self::KubernetesClusterNetworkPolicy => false,
        }
    }
}

/// Identifies a policy; its tier is an attribute, not a part of the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyKey {
    /// The kind of policy.
    pub kind: PolicyKind,
    /// Empty for policies of the whole cluster.
    pub namespace: SmolStr,
    /// The resource's name.
    pub name: SmolStr,
}

impl PolicyKey {
    /// The text that breaks ties between policies of equal order:
    /// `name/namespace/kind`, compared byte by byte.
    #[must_use]
    pub fn tie_break(&self) -> String {
        format!("{}/{}/{}", self.name, self.namespace, self.kind.as_str())
    }
}

impl fmt::Display for PolicyKey {
    /// `KIND/NAMESPACE/NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// Identifies a network set: `NAMESPACE/NAME`, or `NAME` for a global one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkSetKey(pub SmolStr);

/// What identifies an object of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A workload endpoint.
    WorkloadEndpoint(WorkloadEndpointKey),
    /// A host endpoint.
    HostEndpoint(HostEndpointKey),
    /// A policy of any kind.
    Policy(PolicyKey),
    /// A profile by name.
    Profile(SmolStr),
    /// A tier by name.
    Tier(SmolStr),
    /// A network set.
    NetworkSet(NetworkSetKey),
    /// A node by name.
    Node(SmolStr),
    /// An endpoint slice.
    EndpointSlice(EndpointSliceKey),
    /// A service.
    Service(ServiceRef),
    /// A pool of addresses by name.
    IpPool(SmolStr),
}
