//! The kinds of resources that are read.

/// Whether a kind's objects live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each object is in one namespace.
    Namespaced,
    /// The objects are the cluster's.
    Cluster,
}

/// A kind of resource that is read. `crd.projectcalico.org/v1` is not told apart
/// from `projectcalico.org/v3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// v1 Pod.
    Pod,
    /// v1 Namespace.
    Namespace,
    /// v1 ServiceAccount.
    ServiceAccount,
    /// v1 Node.
    Node,
    /// networking.k8s.io/v1 NetworkPolicy.
    KubernetesNetworkPolicy,
    /// projectcalico.org/v3 NetworkPolicy.
    NetworkPolicy,
    /// projectcalico.org/v3 GlobalNetworkPolicy.
    GlobalNetworkPolicy,
    /// projectcalico.org/v3 StagedNetworkPolicy.
    StagedNetworkPolicy,
    /// projectcalico.org/v3 StagedGlobalNetworkPolicy.
    StagedGlobalNetworkPolicy,
    /// projectcalico.org/v3 StagedKubernetesNetworkPolicy.
    StagedKubernetesNetworkPolicy,
    /// policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy.
    ClusterNetworkPolicy,
    /// policy.networking.k8s.io/v1alpha1 AdminNetworkPolicy.
    AdminNetworkPolicy,
    /// policy.networking.k8s.io/v1alpha1 BaselineAdminNetworkPolicy.
    BaselineAdminNetworkPolicy,
    /// projectcalico.org/v3 Tier.
    Tier,
    /// projectcalico.org/v3 NetworkSet.
    NetworkSet,
    /// projectcalico.org/v3 GlobalNetworkSet.
    GlobalNetworkSet,
    /// projectcalico.org/v3 HostEndpoint.
    HostEndpoint,
    /// projectcalico.org/v3 Profile.
    Profile,
    /// projectcalico.org/v3 WorkloadEndpoint.
    WorkloadEndpoint,
    /// projectcalico.org/v3 FelixConfiguration.
    FelixConfiguration,
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice,
    /// v1 Service.
    Service,
    /// projectcalico.org/v3 IPPool.
    IpPool,
    /// projectcalico.org/v3 ClusterInformation.
    ClusterInformation,
}

const CORE: &str = "v1";
const DISCOVERY: &str = "discovery.k8s.io/v1";
const NETWORKING: &str = "networking.k8s.io/v1";
const POLICY_V1ALPHA1: &str = "policy.networking.k8s.io/v1alpha1";
const POLICY_V1ALPHA2: &str = "policy.networking.k8s.io/v1alpha2";
/// The group and version of Calico's resources.
pub(super) const CALICO: &str = "projectcalico.org/v3";

impl ResourceKind {
    /// Every kind that is read.
    pub const ALL: [Self; 24] = [
        Self::Pod,
        Self::Namespace,
        Self::ServiceAccount,
        Self::Node,
        Self::KubernetesNetworkPolicy,
        Self::NetworkPolicy,
        Self::GlobalNetworkPolicy,
        Self::StagedNetworkPolicy,
        Self::StagedGlobalNetworkPolicy,
        Self::StagedKubernetesNetworkPolicy,
        Self::ClusterNetworkPolicy,
        Self::AdminNetworkPolicy,
        Self::BaselineAdminNetworkPolicy,
        Self::Tier,
        Self::NetworkSet,
        Self::GlobalNetworkSet,
        Self::HostEndpoint,
        Self::Profile,
        Self::WorkloadEndpoint,
        Self::FelixConfiguration,
        Self::EndpointSlice,
        Self::Service,
        Self::IpPool,
        Self::ClusterInformation,
    ];

    /// The kind that a manifest's `apiVersion` and `kind` name, if it is read.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.kind() == kind && known.api_version() == api_version)
    }

    /// The text of a manifest's `kind`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::Node => "Node",
            Self::KubernetesNetworkPolicy | Self::NetworkPolicy => "NetworkPolicy",
            Self::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            Self::StagedNetworkPolicy => "StagedNetworkPolicy",
            Self::StagedGlobalNetworkPolicy => "StagedGlobalNetworkPolicy",
            Self::StagedKubernetesNetworkPolicy => "StagedKubernetesNetworkPolicy",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
            Self::Tier => "Tier",
            Self::NetworkSet => "NetworkSet",
            Self::GlobalNetworkSet => "GlobalNetworkSet",
            Self::HostEndpoint => "HostEndpoint",
            Self::Profile => "Profile",
            Self::WorkloadEndpoint => "WorkloadEndpoint",
            Self::FelixConfiguration => "FelixConfiguration",
            Self::EndpointSlice => "EndpointSlice",
            Self::Service => "Service",
            Self::IpPool => "IPPool",
            Self::ClusterInformation => "ClusterInformation",
        }
    }

    /// The text of a manifest's `apiVersion`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Pod | Self::Namespace | Self::ServiceAccount | Self::Node | Self::Service => CORE,
            Self::KubernetesNetworkPolicy => NETWORKING,
            Self::EndpointSlice => DISCOVERY,
            Self::ClusterNetworkPolicy => POLICY_V1ALPHA2,
            Self::AdminNetworkPolicy | Self::BaselineAdminNetworkPolicy => POLICY_V1ALPHA1,
            Self::NetworkPolicy
            | Self::GlobalNetworkPolicy
            | Self::StagedNetworkPolicy
            | Self::StagedGlobalNetworkPolicy
            | Self::StagedKubernetesNetworkPolicy
            | Self::Tier
            | Self::NetworkSet
            | Self::GlobalNetworkSet
            | Self::HostEndpoint
            | Self::Profile
            | Self::WorkloadEndpoint
            | Self::FelixConfiguration
            | Self::IpPool
            | Self::ClusterInformation => CALICO,
        }
    }

    /// Whether the kind's objects live in namespaces.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Pod
            | Self::ServiceAccount
            | Self::KubernetesNetworkPolicy
            | Self::NetworkPolicy
            | Self::StagedNetworkPolicy
            | Self::StagedKubernetesNetworkPolicy
            | Self::NetworkSet
            | Self::WorkloadEndpoint
            | Self::EndpointSlice
            | Self::Service => Scope::Namespaced,
            Self::Namespace
            | Self::Node
            | Self::GlobalNetworkPolicy
            | Self::StagedGlobalNetworkPolicy
            | Self::ClusterNetworkPolicy
            | Self::AdminNetworkPolicy
            | Self::BaselineAdminNetworkPolicy
            | Self::Tier
            | Self::GlobalNetworkSet
            | Self::HostEndpoint
            | Self::Profile
            | Self::FelixConfiguration
            | Self::IpPool
            | Self::ClusterInformation => Scope::Cluster,
        }
    }
}
