//! The kinds of resources that are read.

/// Whether a kind's objects live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each object is in one namespace.
    Namespaced,
    /// The objects are the cluster's.
    Cluster,
}

const CORE: &str = "v1";
const DISCOVERY: &str = "discovery.k8s.io/v1";
const NETWORKING: &str = "networking.k8s.io/v1";
const POLICY_V1ALPHA1: &str = "policy.networking.k8s.io/v1alpha1";
const POLICY_V1ALPHA2: &str = "policy.networking.k8s.io/v1alpha2";
/// The group and version of Calico's resources.
pub(super) const CALICO: &str = "projectcalico.org/v3";

/// Makes the type of a table: `variant: apiVersion, kind, scope;`.
macro_rules! kinds {
    ($($variant:ident: $api_version:ident, $kind:literal, $scope:ident;)*) => {
        /// A kind of resource that is read. `crd.projectcalico.org/v1` is not told apart
        /// from `projectcalico.org/v3`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ResourceKind {
            $(
                #[doc = concat!("`", $kind, "` of its [API](ResourceKind::api_version).")]
                $variant,
            )*
        }

        impl ResourceKind {
            /// Every kind that is read.
            pub const ALL: [Self; [$($kind),*].len()] = [$(Self::$variant),*];

            /// The text of a manifest's `kind`.
            #[must_use]
            pub const fn kind(self) -> &'static str {
                match self {
                    $(Self::$variant => $kind,)*
                }
            }

            /// The text of a manifest's `apiVersion`.
            #[must_use]
            pub const fn api_version(self) -> &'static str {
                match self {
                    $(Self::$variant => $api_version,)*
                }
            }

            /// Whether the kind's objects live in namespaces.
            #[must_use]
            pub const fn scope(self) -> Scope {
                match self {
                    $(Self::$variant => Scope::$scope,)*
                }
            }
        }
    };
}

kinds! {
    Pod: CORE, "Pod", Namespaced;
    Namespace: CORE, "Namespace", Cluster;
    ServiceAccount: CORE, "ServiceAccount", Namespaced;
    Node: CORE, "Node", Cluster;
    KubernetesNetworkPolicy: NETWORKING, "NetworkPolicy", Namespaced;
    NetworkPolicy: CALICO, "NetworkPolicy", Namespaced;
    GlobalNetworkPolicy: CALICO, "GlobalNetworkPolicy", Cluster;
    StagedNetworkPolicy: CALICO, "StagedNetworkPolicy", Namespaced;
    StagedGlobalNetworkPolicy: CALICO, "StagedGlobalNetworkPolicy", Cluster;
    StagedKubernetesNetworkPolicy: CALICO, "StagedKubernetesNetworkPolicy", Namespaced;
    ClusterNetworkPolicy: POLICY_V1ALPHA2, "ClusterNetworkPolicy", Cluster;
    AdminNetworkPolicy: POLICY_V1ALPHA1, "AdminNetworkPolicy", Cluster;
    BaselineAdminNetworkPolicy: POLICY_V1ALPHA1, "BaselineAdminNetworkPolicy", Cluster;
    Tier: CALICO, "Tier", Cluster;
    NetworkSet: CALICO, "NetworkSet", Namespaced;
    GlobalNetworkSet: CALICO, "GlobalNetworkSet", Cluster;
    HostEndpoint: CALICO, "HostEndpoint", Cluster;
    Profile: CALICO, "Profile", Cluster;
    WorkloadEndpoint: CALICO, "WorkloadEndpoint", Namespaced;
    FelixConfiguration: CALICO, "FelixConfiguration", Cluster;
    EndpointSlice: DISCOVERY, "EndpointSlice", Namespaced;
    Service: CORE, "Service", Namespaced;
    IpPool: CALICO, "IPPool", Cluster;
    ClusterInformation: CALICO, "ClusterInformation", Cluster;
    BgpConfiguration: CALICO, "BGPConfiguration", Cluster;
}

impl ResourceKind {
    /// The kind that a manifest's `apiVersion` and `kind` name, if it is read.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.kind() == kind && known.api_version() == api_version)
    }
}
