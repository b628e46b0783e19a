//! networking.k8s.io/v1: NetworkPolicy, and what stages it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{IntOrString, ObjectMeta, PolicyType, StagedAction};

/// networking.k8s.io/v1 NetworkPolicy and projectcalico.org/v3 StagedKubernetesNetworkPolicy.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NetworkPolicy {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: NetworkPolicySpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NetworkPolicySpec {
    pub(crate) pod_selector: LabelSelector,
    pub(crate) ingress: Vec<IngressRule>,
    pub(crate) egress: Vec<EgressRule>,
    pub(crate) policy_types: Vec<PolicyType>,
    /// Only of staged policies.
    pub(crate) staged_action: StagedAction,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IngressRule {
    pub(crate) from: Vec<Peer>,
    pub(crate) ports: Vec<PolicyPort>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EgressRule {
    pub(crate) to: Vec<Peer>,
    pub(crate) ports: Vec<PolicyPort>,
}

/// `metav1.LabelSelector`; no terms select everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LabelSelector {
    pub(crate) match_labels: BTreeMap<String, String>,
    pub(crate) match_expressions: Vec<SelectorRequirement>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SelectorRequirement {
    pub(crate) key: String,
    pub(crate) operator: SelectorOperator,
    #[serde(default)]
    pub(crate) values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum SelectorOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Peer {
    pub(crate) pod_selector: Option<LabelSelector>,
    pub(crate) namespace_selector: Option<LabelSelector>,
    pub(crate) ip_block: Option<IpBlock>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct IpBlock {
    pub(crate) cidr: String,
    #[serde(default)]
    pub(crate) except: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PolicyPort {
    /// None means TCP.
    pub(crate) protocol: Option<String>,
    /// None means every port of the protocol.
    pub(crate) port: Option<IntOrString>,
    pub(crate) end_port: Option<i64>,
}
