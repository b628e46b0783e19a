//! Services and their endpoints.

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

/// The type of a service (`spec.type` of v1 Service).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServiceType {
    /// Reached within the cluster, or headless.
    #[default]
    ClusterIp,
    /// Reached on a port of every node too.
    NodePort,
    /// Reached at a load balancer's addresses too.
    LoadBalancer,
    /// Another name in the DNS, without addresses.
    ExternalName,
}

impl ServiceType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::ClusterIp, Self::NodePort, Self::LoadBalancer, Self::ExternalName];

    /// Kubernetes' and the wire's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
            Self::ExternalName => "ExternalName",
        }
    }
}

/// A port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The port at the service's addresses.
    pub port: Port,
    /// The port at every node's addresses.
    pub node_port: Option<Port>,
}

/// What a service is reached at. Addresses are as the source spells them, for
/// that is what receivers compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// How it is reached.
    pub service_type: ServiceType,
    /// Its own addresses, one for each family; `None` alone if it is headless.
    pub cluster_ips: Vec<SmolStr>,
    /// The address that its author wants of the load balancer; empty for any.
    pub load_balancer_ip: SmolStr,
    /// Addresses that something else leads to the nodes.
    pub external_ips: Vec<SmolStr>,
    /// The load balancer's addresses.
    pub ingress_ips: Vec<SmolStr>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

impl Service {
    /// The addresses that no other service may have.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.cluster_ips.iter().filter_map(|text| text.parse().ok())
    }
}
