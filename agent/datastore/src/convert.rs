//! Resources to the objects of the calculation graph, in Felix's form.
//!
//! Every source goes through here, so that the graph sees one form only. A
//! resource must have been admitted: conversion relies on what admission
//! guarantees, and refuses what it cannot express rather than widen a policy.

mod bgp_configuration;
mod cluster_policy;
mod endpoint_slice;
mod host_endpoint;
mod ip_pool;
mod kubernetes_policy;
mod label_selector;
mod network_set;
mod node;
mod pod;
mod policy;
mod port_group;
mod profile;
mod qos;
mod rule;
mod selector;
mod service;
mod tier;
mod workload_endpoint;

#[cfg(test)]
mod tests;

use caracal_model as model;
use caracal_model::{Kind, Labels, Object};
use serde::de::DeserializeOwned;
use serde_json::Value;
use smol_str::SmolStr;

pub use self::pod::interface_name;
use crate::manifest::ResourceKind;
use crate::resource;
use crate::source::{BgpConfiguration, ClusterInformation, FelixConfiguration};

/// What conversion depends on besides the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the names of pods' interfaces begin with: the first entry of the
    /// parameter `InterfacePrefix`.
    pub interface_prefix: SmolStr,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interface_prefix: SmolStr::new_static("cali") }
    }
}

/// An admitted resource cannot be expressed in Felix's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ConvertError {
    /// The field, from the resource's root, for example `spec.ingress[0].source.nets[1]`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl ConvertError {
    fn new(field: &str, reason: String) -> Self {
        Self { field: field.to_owned(), reason }
    }

    fn within(self, parent: &str) -> Self {
        Self { field: format!("{parent}.{}", self.field), reason: self.reason }
    }
}

/// Says where in the resource a value was that did not convert.
trait ErrorAt<T> {
    fn at(self, field: &str) -> Result<T, ConvertError>;
}

impl<T> ErrorAt<T> for Result<T, String> {
    fn at(self, field: &str) -> Result<T, ConvertError> {
        self.map_err(|reason| ConvertError::new(field, reason))
    }
}

/// What a resource is to the control half.
#[derive(Clone, Debug, PartialEq)]
pub enum Converted {
    /// An object of the graph.
    Object(Kind, Box<Object>),
    /// Configuration.
    Config(FelixConfiguration),
    /// What the cluster says of itself.
    Cluster(ClusterInformation),
    /// What the cluster tells routers.
    Bgp(BgpConfiguration),
    /// Nothing: a pod without addresses, for example.
    Nothing,
    /// Nothing, because an annotation or a status that admission does not check
    /// is wrong. As in Felix, the resource is as if it did not exist.
    Broken(String),
}

impl Converted {
    fn object(kind: Kind, object: Object) -> Self {
        Self::Object(kind, Box::new(object))
    }
}

/// Converts an admitted resource.
///
/// # Errors
/// If it has no form that the graph understands. An earlier version should then
/// stay in force.
pub fn convert(kind: ResourceKind, value: Value, settings: &Settings) -> Result<Converted, ConvertError> {
    match kind {
        ResourceKind::Pod => Ok(pod::convert(&read(value)?, settings)),
        ResourceKind::Namespace => Ok(profile::of_namespace(&read(value)?)),
        ResourceKind::ServiceAccount => Ok(profile::of_service_account(&read(value)?)),
        ResourceKind::Node => Ok(node::convert(&read(value)?)),
        ResourceKind::KubernetesNetworkPolicy => kubernetes_policy::convert(&read(value)?),
        ResourceKind::NetworkPolicy => policy::namespaced(&read(value)?),
        ResourceKind::GlobalNetworkPolicy => policy::global(&read(value)?),
        ResourceKind::StagedNetworkPolicy => policy::staged_namespaced(&read(value)?),
        ResourceKind::StagedGlobalNetworkPolicy => policy::staged_global(&read(value)?),
        ResourceKind::StagedKubernetesNetworkPolicy => kubernetes_policy::staged(&read(value)?),
        ResourceKind::ClusterNetworkPolicy => cluster_policy::convert(&read(value)?),
        ResourceKind::AdminNetworkPolicy => cluster_policy::admin(&read(value)?),
        ResourceKind::BaselineAdminNetworkPolicy => cluster_policy::baseline_admin(&read(value)?),
        ResourceKind::Tier => Ok(tier::convert(&read(value)?)),
        ResourceKind::NetworkSet => network_set::namespaced(&read(value)?),
        ResourceKind::GlobalNetworkSet => network_set::global(&read(value)?),
        ResourceKind::HostEndpoint => host_endpoint::convert(&read(value)?),
        ResourceKind::Profile => profile::of_resource(&read(value)?),
        ResourceKind::WorkloadEndpoint => workload_endpoint::convert(&read(value)?),
        ResourceKind::EndpointSlice => endpoint_slice::convert(&read(value)?),
        ResourceKind::Service => service::convert(&read(value)?),
        ResourceKind::IpPool => ip_pool::convert(&read(value)?),
        ResourceKind::ClusterInformation => Ok(cluster_information(read(value)?)),
        ResourceKind::BgpConfiguration => bgp_configuration::convert(read(value)?),
        ResourceKind::FelixConfiguration => {
            let resource::FelixConfiguration { metadata, spec } = read(value)?;
            Ok(Converted::Config(FelixConfiguration::new(metadata, spec)))
        }
    }
}

/// What the cluster says of itself; only the resource `default` does.
fn cluster_information(resource: resource::ClusterInformation) -> Converted {
    let resource::ClusterInformation { metadata, spec } = resource;
    if metadata.name != "default" {
        return Converted::Nothing;
    }
    Converted::Cluster(ClusterInformation {
        calico_version: spec.calico_version,
        cluster_guid: spec.cluster_guid,
        cluster_type: spec.cluster_type,
        datastore_ready: spec.datastore_ready,
    })
}

/// What exists without any resource, unless a resource of that kind and name
/// says otherwise.
pub fn built_in() -> impl Iterator<Item = (ResourceKind, SmolStr, Converted)> {
    let tiers = tier::built_in().map(|(name, tier)| (ResourceKind::Tier, name, tier));
    let (name, profile) = profile::default_allow();
    tiers.chain([(ResourceKind::Profile, name, profile)])
}

/// Reads the fields that conversion needs.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, ConvertError> {
    serde_json::from_value(value).map_err(|e| ConvertError::new("resource", e.to_string()))
}

/// A workload's own labels. Nobody may give a workload labels that it inherits
/// from its namespace or service account, and nobody may choose where it is.
fn workload_labels(meta: &resource::ObjectMeta, orchestrator: &str, service_account: &str) -> Labels {
    let inherited = [model::NAMESPACE_LABEL_PREFIX, model::SERVICE_ACCOUNT_LABEL_PREFIX];
    let own = meta.labels.iter().filter(|(key, _)| !inherited.iter().any(|prefix| key.starts_with(prefix)));
    let mut labels: Vec<(&str, &str)> = own.map(|(key, value)| (key.as_str(), value.as_str())).collect();
    labels.push((model::LABEL_NAMESPACE, &meta.namespace));
    labels.push((model::LABEL_ORCHESTRATOR, orchestrator));
    if !service_account.is_empty() {
        labels.push((model::LABEL_SERVICE_ACCOUNT, service_account));
    }
    labels.into_iter().collect()
}
