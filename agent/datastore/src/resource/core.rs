//! v1: Pod, Namespace, ServiceAccount, Node.

use serde::Deserialize;
use smol_str::SmolStr;

use super::ObjectMeta;

/// v1 Namespace.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Namespace {
    pub(crate) metadata: ObjectMeta,
}

/// v1 ServiceAccount.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ServiceAccount {
    pub(crate) metadata: ObjectMeta,
}

/// v1 Node.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) status: NodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeStatus {
    pub(crate) addresses: Vec<NodeAddress>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname`, …
    #[serde(rename = "type")]
    pub(crate) kind: SmolStr,
    pub(crate) address: String,
}

/// v1 Pod.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: PodSpec,
    #[serde(default)]
    pub(crate) status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub(crate) node_name: SmolStr,
    pub(crate) host_network: bool,
    pub(crate) service_account_name: SmolStr,
    /// The old name of `serviceAccountName`; the API server copies it there.
    pub(crate) service_account: SmolStr,
    pub(crate) containers: Vec<Container>,
    pub(crate) init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub(crate) ports: Vec<ContainerPort>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerPort {
    pub(crate) name: SmolStr,
    pub(crate) container_port: i64,
    /// Empty means TCP.
    pub(crate) protocol: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    pub(crate) phase: SmolStr,
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: String,
    #[serde(rename = "podIPs")]
    pub(crate) pod_ips: Vec<PodIp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodIp {
    pub(crate) ip: String,
}
