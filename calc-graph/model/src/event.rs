//! What a datastore tells the graph.

use std::fmt;

use smol_str::SmolStr;

use crate::{
    EndpointSlice, EndpointSliceKey, HostEndpoint, HostEndpointKey, IpPool, Key, NetworkSet, NetworkSetKey, Node,
    Policy, PolicyKey, Profile, Service, ServiceRef, Tier, WorkloadEndpoint, WorkloadEndpointKey,
};

/// When a source saw a change: nanoseconds of `CLOCK_MONOTONIC`, opaque to the
/// graph. Coalescing keeps the oldest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(pub u64);

/// Makes the type of a table: `variant: kind,`, in the order of a list of everything.
/// Of two objects of one key, that of the earlier kind is in force: a Pod hides a
/// WorkloadEndpoint.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident: $kind:literal,)*) => {
        /// The resources of one list-and-watch of a source. A relist of one kind sweeps
        /// the objects of that kind only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// Every kind; the graph is in sync once each of them has ended a list.
            pub const ALL: [Self; [$($kind),*].len()] = [$(Self::$variant),*];
        }

        impl fmt::Display for Kind {
            /// The kind as an object's `kind` field spells it.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $kind,)*
                })
            }
        }
    };
}

kinds! {
    /// projectcalico.org/v3 Tier.
    Tier: "Tier",
    /// v1 Namespace: profiles `kns.*`.
    Namespace: "Namespace",
    /// v1 ServiceAccount: profiles `ksa.*`.
    ServiceAccount: "ServiceAccount",
    /// projectcalico.org/v3 Profile.
    Profile: "Profile",
    /// v1 Node.
    Node: "Node",
    /// projectcalico.org/v3 IPPool.
    IpPool: "IPPool",
    /// projectcalico.org/v3 GlobalNetworkSet.
    GlobalNetworkSet: "GlobalNetworkSet",
    /// projectcalico.org/v3 NetworkSet.
    NetworkSet: "NetworkSet",
    /// projectcalico.org/v3 GlobalNetworkPolicy.
    GlobalNetworkPolicy: "GlobalNetworkPolicy",
    /// projectcalico.org/v3 NetworkPolicy.
    NetworkPolicy: "NetworkPolicy",
    /// networking.k8s.io/v1 NetworkPolicy.
    KubernetesNetworkPolicy: "NetworkPolicy",
    /// projectcalico.org/v3 StagedGlobalNetworkPolicy.
    StagedGlobalNetworkPolicy: "StagedGlobalNetworkPolicy",
    /// projectcalico.org/v3 StagedNetworkPolicy.
    StagedNetworkPolicy: "StagedNetworkPolicy",
    /// projectcalico.org/v3 StagedKubernetesNetworkPolicy.
    StagedKubernetesNetworkPolicy: "StagedKubernetesNetworkPolicy",
    /// policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy.
    ClusterNetworkPolicy: "ClusterNetworkPolicy",
    /// policy.networking.k8s.io/v1alpha1 AdminNetworkPolicy.
    AdminNetworkPolicy: "AdminNetworkPolicy",
    /// policy.networking.k8s.io/v1alpha1 BaselineAdminNetworkPolicy.
    BaselineAdminNetworkPolicy: "BaselineAdminNetworkPolicy",
    /// projectcalico.org/v3 HostEndpoint.
    HostEndpoint: "HostEndpoint",
    /// v1 Service.
    Service: "Service",
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice: "EndpointSlice",
    /// v1 Pod.
    Pod: "Pod",
    /// projectcalico.org/v3 WorkloadEndpoint.
    WorkloadEndpoint: "WorkloadEndpoint",
}

/// An object under its key.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most objects are workload endpoints, the largest variant")]
pub enum Object {
    /// A workload endpoint.
    WorkloadEndpoint(WorkloadEndpointKey, WorkloadEndpoint),
    /// A host endpoint.
    HostEndpoint(HostEndpointKey, HostEndpoint),
    /// A policy.
    Policy(PolicyKey, Policy),
    /// A profile.
    Profile(SmolStr, Profile),
    /// A tier.
    Tier(SmolStr, Tier),
    /// A network set.
    NetworkSet(NetworkSetKey, NetworkSet),
    /// A node.
    Node(SmolStr, Node),
    /// An endpoint slice.
    EndpointSlice(EndpointSliceKey, EndpointSlice),
    /// A service.
    Service(ServiceRef, Service),
    /// A pool of addresses.
    IpPool(SmolStr, IpPool),
}

impl Object {
    /// The object's key.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::WorkloadEndpoint(key, _) => Key::WorkloadEndpoint(key.clone()),
            Self::HostEndpoint(key, _) => Key::HostEndpoint(key.clone()),
            Self::Policy(key, _) => Key::Policy(key.clone()),
            Self::Profile(name, _) => Key::Profile(name.clone()),
            Self::Tier(name, _) => Key::Tier(name.clone()),
            Self::NetworkSet(key, _) => Key::NetworkSet(key.clone()),
            Self::Node(name, _) => Key::Node(name.clone()),
            Self::EndpointSlice(key, _) => Key::EndpointSlice(key.clone()),
            Self::Service(key, _) => Key::Service(key.clone()),
            Self::IpPool(name, _) => Key::IpPool(name.clone()),
        }
    }
}

/// One event of a source.
///
/// Only eventual convergence is promised: events may be coalesced, repeated,
/// reverted, or delete what does not exist. Between `Begin` and `End` of a kind
/// a source repeats every object of it; what it did not repeat is gone.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every event is an Apply; a box would be an allocation each")]
pub enum Event {
    /// A list of a kind starts.
    Begin(Kind),
    /// An object exists and looks so.
    Apply(Kind, Object, Stamp),
    /// An object does not exist.
    Delete(Kind, Key, Stamp),
    /// A list of a kind is complete.
    End(Kind),
}
