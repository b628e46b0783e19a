//! Resources as manifests and API servers spell them: typed, and only the
//! fields that conversion reads. Admission has checked everything else.

mod calico;
mod core;
mod discovery;
mod network_policy_api;
mod networking;
mod rule;

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use smol_str::SmolStr;

pub(crate) use self::calico::{
    BgpConfiguration, ClusterInformation, EndpointPort, FelixConfiguration, HostEndpoint, IpNat, IpPool, NetworkSet,
    Policy, PolicyType, PrefixBlock, Profile, QosControls, StagedAction, Tier, WorkloadEndpoint,
};
pub(crate) use self::core::{ContainerPort, Namespace, Node, Pod, Service, ServiceAccount, ServicePort};
pub(crate) use self::discovery::EndpointSlice;
pub(crate) use self::network_policy_api::{
    AdminNetworkPolicy, AdminPort, BaselineAdminNetworkPolicy, ClusterAction, ClusterNetworkPolicy, ClusterPeer,
    ClusterProtocol, ClusterRule, ClusterTier, DestinationPort, Subject,
};
pub(crate) use self::networking::{
    LabelSelector, NetworkPolicy, Peer, PolicyPort, SelectorOperator, SelectorRequirement,
};
pub(crate) use self::rule::{Action, Entity, Http, IcmpFields, Rule, ServiceAccountMatch};

/// `metadata` of any resource.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ObjectMeta {
    pub(crate) name: SmolStr,
    /// Empty for resources of the whole cluster.
    pub(crate) namespace: SmolStr,
    pub(crate) labels: BTreeMap<SmolStr, SmolStr>,
    pub(crate) annotations: BTreeMap<SmolStr, String>,
    pub(crate) creation_timestamp: Option<String>,
    pub(crate) deletion_timestamp: Option<String>,
}

/// A number or a text, as Kubernetes' `IntOrString` and Calico's `NumOrString`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum IntOrString {
    Int(i64),
    Text(String),
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
