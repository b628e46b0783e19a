//! HostEndpoints to host endpoints.

use caracal_model as model;
use caracal_model::{HostEndpointKey, Kind, Object};
use caracal_net::Port;

use super::rule::{address, each, port_protocol};
use super::{ConvertError, Converted, qos};
use crate::resource::{EndpointPort, HostEndpoint};

/// Converts a host endpoint.
pub(super) fn convert(endpoint: &HostEndpoint) -> Result<Converted, ConvertError> {
    let HostEndpoint { metadata, spec } = endpoint;
    let converted = model::HostEndpoint {
        interface: spec.interface_name.clone(),
        expected_ips: each(&spec.expected_ips, "spec.expectedIPs", |text| address(text))?,
        profiles: spec.profiles.clone(),
        labels: metadata.labels.iter().collect(),
        ports: named_ports(&spec.ports)?,
        dscp: qos::of_host_endpoint(metadata),
    };
    let key = HostEndpointKey { host: spec.node.clone(), name: metadata.name.clone() };
    Ok(Converted::object(Kind::HostEndpoint, Object::HostEndpoint(key, converted)))
}

/// The ports of a host or workload endpoint; one without a name cannot be matched.
pub(super) fn named_ports(ports: &[EndpointPort]) -> Result<Vec<model::EndpointPort>, ConvertError> {
    let mut named = each(ports, "spec.ports", |port| {
        Ok(model::EndpointPort {
            name: port.name.clone(),
            protocol: port_protocol(&port.protocol)?,
            port: Port::try_from(port.port).map_err(|_| format!("port {} is not within 0-65535", port.port))?,
        })
    })?;
    named.retain(|port| !port.name.is_empty());
    Ok(named)
}
