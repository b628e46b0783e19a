//! v1: Pod, Namespace, ServiceAccount, Node, Service.

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

/// v1 Service.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Service {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: ServiceSpec,
    #[serde(default)]
    pub(crate) status: ServiceStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceSpec {
    #[serde(rename = "type")]
    pub(crate) kind: SmolStr,
    #[serde(rename = "clusterIPs")]
    pub(crate) cluster_ips: Vec<SmolStr>,
    #[serde(rename = "externalIPs")]
    pub(crate) external_ips: Vec<SmolStr>,
    #[serde(rename = "loadBalancerIP")]
    pub(crate) load_balancer_ip: SmolStr,
    pub(crate) ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServicePort {
    pub(crate) protocol: SmolStr,
    pub(crate) port: i64,
    /// 0 means none.
    #[serde(default)]
    pub(crate) node_port: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceStatus {
    pub(crate) load_balancer: LoadBalancerStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoadBalancerStatus {
    pub(crate) ingress: Vec<LoadBalancerIngress>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoadBalancerIngress {
    /// Empty if it is known by a name.
    pub(crate) ip: SmolStr,
}
