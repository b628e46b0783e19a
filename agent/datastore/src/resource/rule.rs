//! projectcalico.org/v3: the rules of policies and profiles.

use std::collections::BTreeMap;

use serde::Deserialize;
use smol_str::SmolStr;

use super::IntOrString;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Action {
    Allow,
    Deny,
    Log,
    Pass,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    pub(crate) action: Action,
    /// 4 or 6.
    pub(crate) ip_version: Option<i64>,
    pub(crate) protocol: Option<IntOrString>,
    pub(crate) not_protocol: Option<IntOrString>,
    pub(crate) icmp: Option<IcmpFields>,
    #[serde(rename = "notICMP")]
    pub(crate) not_icmp: Option<IcmpFields>,
    #[serde(default)]
    pub(crate) source: Entity,
    #[serde(default)]
    pub(crate) destination: Entity,
    pub(crate) http: Option<Http>,
    #[serde(default)]
    pub(crate) metadata: RuleMetadata,
}

impl Rule {
    /// A rule that matches every packet.
    pub(crate) fn any(action: Action) -> Self {
        Self {
            action,
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: Entity::default(),
            destination: Entity::default(),
            http: None,
            metadata: RuleMetadata::default(),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RuleMetadata {
    pub(crate) annotations: BTreeMap<SmolStr, SmolStr>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IcmpFields {
    #[serde(rename = "type")]
    pub(crate) icmp_type: Option<i64>,
    pub(crate) code: Option<i64>,
}

/// One side of a rule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Entity {
    pub(crate) nets: Vec<String>,
    pub(crate) not_nets: Vec<String>,
    pub(crate) selector: SmolStr,
    pub(crate) not_selector: SmolStr,
    pub(crate) namespace_selector: SmolStr,
    pub(crate) service_accounts: Option<ServiceAccountMatch>,
    pub(crate) services: Option<ServiceMatch>,
    pub(crate) ports: Vec<IntOrString>,
    pub(crate) not_ports: Vec<IntOrString>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceAccountMatch {
    pub(crate) names: Vec<SmolStr>,
    pub(crate) selector: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceMatch {
    pub(crate) name: SmolStr,
    pub(crate) namespace: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Http {
    pub(crate) methods: Vec<SmolStr>,
    pub(crate) paths: Vec<HttpPathFields>,
}

/// One of the two is set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HttpPathFields {
    pub(crate) exact: Option<SmolStr>,
    pub(crate) prefix: Option<SmolStr>,
}
