//! discovery.k8s.io/v1: EndpointSlice.

use serde::Deserialize;

use super::ObjectMeta;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EndpointSlice {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) endpoints: Vec<SliceEndpoint>,
    #[serde(default)]
    pub(crate) ports: Vec<SlicePort>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SliceEndpoint {
    pub(crate) addresses: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SlicePort {
    pub(crate) protocol: String,
    /// None stands for every port, which no set can hold.
    pub(crate) port: Option<u16>,
}
