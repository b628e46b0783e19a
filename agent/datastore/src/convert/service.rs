//! Services to what they are reached at.

use caracal_model as model;
use caracal_model::{Kind, Object, ServiceRef, ServiceType};
use caracal_net::Port;

use super::{ConvertError, Converted, ErrorAt as _};
use crate::resource::{Service, ServicePort};

/// Converts a service of any type.
pub(super) fn convert(service: &Service) -> Result<Converted, ConvertError> {
    let Service { metadata, spec, status } = service;
    let service_type = ServiceType::ALL.into_iter().find(|known| known.as_str() == spec.kind);
    let ingress = status.load_balancer.ingress.iter().map(|ingress| &ingress.ip);
    let converted = model::Service {
        service_type: service_type.ok_or_else(|| format!("{:?} is not a service's type", spec.kind)).at("spec.type")?,
        cluster_ips: spec.cluster_ips.clone(),
        load_balancer_ip: spec.load_balancer_ip.clone(),
        external_ips: spec.external_ips.clone(),
        ingress_ips: ingress.filter(|ip| !ip.is_empty()).cloned().collect(),
        ports: super::rule::each(&spec.ports, "spec.ports", port)?,
    };
    let key = ServiceRef { namespace: metadata.namespace.clone(), name: metadata.name.clone() };
    Ok(Converted::object(Kind::Service, Object::Service(key, converted)))
}

fn port(port: &ServicePort) -> Result<model::ServicePort, String> {
    let number = |number: i64| Port::try_from(number).map_err(|_| format!("port {number} is not within 0-65535"));
    Ok(model::ServicePort {
        protocol: port.protocol.parse().map_err(|e: caracal_net::ProtocolError| e.to_string())?,
        port: number(port.port)?,
        node_port: Some(number(port.node_port)?).filter(|port| *port != 0),
    })
}
