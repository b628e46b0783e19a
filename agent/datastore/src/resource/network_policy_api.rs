//! policy.networking.k8s.io: ClusterNetworkPolicy of v1alpha2, AdminNetworkPolicy
//! and BaselineAdminNetworkPolicy of v1alpha1.

use serde::Deserialize;
use smol_str::SmolStr;

use super::{LabelSelector, ObjectMeta};

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterNetworkPolicy {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: ClusterNetworkPolicySpec,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterNetworkPolicySpec {
    pub(crate) tier: ClusterTier,
    pub(crate) priority: u16,
    pub(crate) subject: Subject,
    #[serde(default)]
    pub(crate) ingress: Vec<ClusterRule<ClusterProtocol>>,
    #[serde(default)]
    pub(crate) egress: Vec<ClusterRule<ClusterProtocol>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum ClusterTier {
    Admin,
    Baseline,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AdminNetworkPolicy {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: AdminNetworkPolicySpec,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AdminNetworkPolicySpec {
    pub(crate) priority: u16,
    pub(crate) subject: Subject,
    #[serde(default)]
    pub(crate) ingress: Vec<ClusterRule<AdminPort>>,
    #[serde(default)]
    pub(crate) egress: Vec<ClusterRule<AdminPort>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BaselineAdminNetworkPolicy {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: BaselineAdminNetworkPolicySpec,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BaselineAdminNetworkPolicySpec {
    pub(crate) subject: Subject,
    #[serde(default)]
    pub(crate) ingress: Vec<ClusterRule<AdminPort>>,
    #[serde(default)]
    pub(crate) egress: Vec<ClusterRule<AdminPort>>,
}

/// The pods that a policy is about.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Subject {
    /// All pods of these namespaces.
    Namespaces(LabelSelector),
    Pods(NamespacedPods),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamespacedPods {
    /// None means every namespace.
    #[serde(default)]
    pub(crate) namespace_selector: LabelSelector,
    pub(crate) pod_selector: LabelSelector,
}

/// A rule of either version and direction. `P` is how a version writes ports.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterRule<P> {
    #[serde(default)]
    pub(crate) name: SmolStr,
    pub(crate) action: ClusterAction,
    #[serde(alias = "from", alias = "to")]
    pub(crate) peers: Vec<ClusterPeer>,
    /// None means every protocol and port.
    #[serde(default = "Vec::new", alias = "protocols")]
    pub(crate) ports: Vec<P>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum ClusterAction {
    /// `Allow` in v1alpha1.
    #[serde(alias = "Allow")]
    Accept,
    Deny,
    Pass,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ClusterPeer {
    /// All pods of these namespaces.
    Namespaces(LabelSelector),
    Pods(NamespacedPods),
    Networks(Vec<String>),
}

/// v1alpha2's protocol and port.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ClusterProtocol {
    Tcp(PortedProtocol),
    Udp(PortedProtocol),
    Sctp(PortedProtocol),
    /// A port of this name, of whatever protocol.
    DestinationNamedPort(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortedProtocol {
    pub(crate) destination_port: DestinationPort,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DestinationPort {
    Number(u16),
    Range { start: u16, end: u16 },
}

/// v1alpha1's protocol and port.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum AdminPort {
    PortNumber {
        protocol: String,
        port: u16,
    },
    PortRange {
        protocol: String,
        start: u16,
        end: u16,
    },
    /// A port of this name, of whatever protocol.
    NamedPort(String),
}
