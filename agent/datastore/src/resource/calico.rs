//! projectcalico.org/v3: policies, tiers, sets, endpoints, profiles, configuration.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::{IntOrString, ObjectMeta, Rule};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum PolicyType {
    Ingress,
    Egress,
}

/// What a staged policy would do to the policy of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum StagedAction {
    /// Create or replace it.
    #[default]
    Set,
    /// Delete it.
    Delete,
    /// Nothing yet: a policy that is being recommended.
    Learn,
    /// Nothing: a recommendation that was turned down.
    Ignore,
}

/// NetworkPolicy, GlobalNetworkPolicy and what stages them; the fields that only
/// some of them have are unset in the others.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Policy {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: PolicySpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PolicySpec {
    pub(crate) tier: SmolStr,
    pub(crate) order: Option<f64>,
    pub(crate) ingress: Vec<Rule>,
    pub(crate) egress: Vec<Rule>,
    pub(crate) selector: SmolStr,
    pub(crate) namespace_selector: SmolStr,
    pub(crate) service_account_selector: SmolStr,
    pub(crate) types: Vec<PolicyType>,
    pub(crate) performance_hints: Vec<SmolStr>,
    pub(crate) do_not_track: bool,
    #[serde(rename = "preDNAT")]
    pub(crate) pre_dnat: bool,
    pub(crate) apply_on_forward: bool,
    pub(crate) staged_action: StagedAction,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Tier {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: TierSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TierSpec {
    pub(crate) order: Option<f64>,
    pub(crate) default_action: SmolStr,
}

/// NetworkSet and GlobalNetworkSet.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NetworkSet {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: NetworkSetSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NetworkSetSpec {
    pub(crate) nets: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct HostEndpoint {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: HostEndpointSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HostEndpointSpec {
    pub(crate) node: SmolStr,
    pub(crate) interface_name: SmolStr,
    #[serde(rename = "expectedIPs")]
    pub(crate) expected_ips: Vec<String>,
    pub(crate) profiles: Vec<SmolStr>,
    pub(crate) ports: Vec<EndpointPort>,
}

/// A named port of an endpoint.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EndpointPort {
    #[serde(default)]
    pub(crate) name: SmolStr,
    pub(crate) protocol: IntOrString,
    pub(crate) port: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WorkloadEndpoint {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: WorkloadEndpointSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WorkloadEndpointSpec {
    pub(crate) orchestrator: SmolStr,
    pub(crate) interface_name: SmolStr,
    pub(crate) mac: SmolStr,
    pub(crate) ip_networks: Vec<String>,
    #[serde(rename = "ipNATs")]
    pub(crate) ip_nats: Vec<IpNat>,
    pub(crate) profiles: Vec<SmolStr>,
    pub(crate) ports: Vec<EndpointPort>,
    pub(crate) service_account_name: SmolStr,
    pub(crate) allow_spoofed_source_prefixes: Vec<String>,
    pub(crate) qos_controls: QosControls,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct QosControls {
    pub(crate) ingress_bandwidth: i64,
    pub(crate) ingress_burst: i64,
    pub(crate) ingress_peakrate: i64,
    pub(crate) ingress_minburst: i64,
    pub(crate) ingress_packet_rate: i64,
    pub(crate) ingress_packet_burst: i64,
    pub(crate) ingress_max_connections: i64,
    pub(crate) egress_bandwidth: i64,
    pub(crate) egress_burst: i64,
    pub(crate) egress_peakrate: i64,
    pub(crate) egress_minburst: i64,
    pub(crate) egress_packet_rate: i64,
    pub(crate) egress_packet_burst: i64,
    pub(crate) egress_max_connections: i64,
    pub(crate) dscp: Option<IntOrString>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IpNat {
    #[serde(rename = "internalIP")]
    pub(crate) internal_ip: String,
    #[serde(rename = "externalIP")]
    pub(crate) external_ip: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Profile {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: ProfileSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ProfileSpec {
    pub(crate) ingress: Vec<Rule>,
    pub(crate) egress: Vec<Rule>,
    pub(crate) labels_to_apply: BTreeMap<SmolStr, SmolStr>,
}

/// FelixConfiguration; its fields are looked up in the parameter table.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FelixConfiguration {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct IpPool {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: IpPoolSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct IpPoolSpec {
    pub(crate) cidr: String,
    pub(crate) nat_outgoing: bool,
    pub(crate) ipip_mode: String,
    pub(crate) vxlan_mode: String,
    pub(crate) allowed_uses: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BgpConfiguration {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: BgpConfigurationSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BgpConfigurationSpec {
    #[serde(rename = "serviceClusterIPs")]
    pub(crate) service_cluster_ips: Vec<PrefixBlock>,
    #[serde(rename = "serviceExternalIPs")]
    pub(crate) service_external_ips: Vec<PrefixBlock>,
    #[serde(rename = "serviceLoadBalancerIPs")]
    pub(crate) service_load_balancer_ips: Vec<PrefixBlock>,
    #[serde(rename = "localWorkloadPeeringIPV4")]
    pub(crate) local_workload_peering_ipv4: String,
    #[serde(rename = "localWorkloadPeeringIPV6")]
    pub(crate) local_workload_peering_ipv6: String,
}

/// A prefix of BGPConfiguration; without one it means nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PrefixBlock {
    pub(crate) cidr: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterInformation {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: ClusterInformationSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClusterInformationSpec {
    pub(crate) calico_version: String,
    #[serde(rename = "clusterGUID")]
    pub(crate) cluster_guid: String,
    pub(crate) cluster_type: String,
    pub(crate) datastore_ready: Option<bool>,
}
