//! EndpointSlices to the endpoints of services.

use caracal_model as model;
use caracal_model::{EndpointSliceKey, Kind, Object, ServiceRef};
use caracal_net::Protocol;

use super::{ConvertError, Converted};
use crate::resource::EndpointSlice;

/// The label that names a slice's service (discovery.k8s.io/v1).
const LABEL_SERVICE: &str = "kubernetes.io/service-name";

/// Converts a slice. As in Felix, whether an endpoint is ready or terminating
/// makes no difference; host names and ports without a number contribute nothing.
pub(super) fn convert(slice: &EndpointSlice) -> Result<Converted, ConvertError> {
    let EndpointSlice { metadata, endpoints, ports } = slice;
    let Some(service) = metadata.labels.get(LABEL_SERVICE).filter(|name| !name.is_empty()) else {
        return Ok(Converted::Nothing);
    };
    let mut numbers = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let protocol: Protocol = port.protocol.parse().map_err(|e: caracal_net::ProtocolError| {
            ConvertError::new(&format!("ports[{i}].protocol"), e.to_string())
        })?;
        numbers.extend(port.port.map(|port| (protocol, port)));
    }
    let addresses = endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let converted = model::EndpointSlice {
        service: ServiceRef { namespace: metadata.namespace.clone(), name: service.clone() },
        addresses: addresses.filter_map(|address| address.parse().ok()).collect(),
        ports: numbers,
    };
    let key = EndpointSliceKey { namespace: metadata.namespace.clone(), name: metadata.name.clone() };
    Ok(Converted::object(Kind::EndpointSlice, Object::EndpointSlice(key, converted)))
}
