//! The endpoints of services.

use std::net::IpAddr;

use caracal_net::{Port, Protocol};
use smol_str::SmolStr;

use crate::ServiceRef;

/// Identifies an endpoint slice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointSliceKey {
    /// The slice's namespace, which is its service's.
    pub namespace: SmolStr,
    /// The resource's name.
    pub name: SmolStr,
}

/// Some of a service's endpoints, ready or not: each address with each port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The service.
    pub service: ServiceRef,
    /// The endpoints' addresses.
    pub addresses: Vec<IpAddr>,
    /// The endpoints' ports.
    pub ports: Vec<(Protocol, Port)>,
}
