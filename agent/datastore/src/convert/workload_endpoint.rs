//! WorkloadEndpoints to workload endpoints.

use caracal_model as model;
use caracal_model::{Kind, Object, WorkloadEndpointKey};
use caracal_net::Family;
use smol_str::{SmolStr, format_smolstr};

use super::host_endpoint::named_ports;
use super::rule::{address, cidr, each};
use super::{ConvertError, Converted, qos, workload_labels};
use crate::resource::{IpNat, WorkloadEndpoint};

/// Converts a workload endpoint. Its name, `NODE-ORCHESTRATOR-WORKLOAD-ENDPOINT`
/// with each part's dashes doubled, is its key.
pub(super) fn convert(endpoint: &WorkloadEndpoint) -> Result<Converted, ConvertError> {
    let WorkloadEndpoint { metadata, spec } = endpoint;
    let parts = split_name(&metadata.name);
    let [host, orchestrator, workload, name] = parts.as_slice() else {
        let reason = format!("{:?} is not NODE-ORCHESTRATOR-WORKLOAD-ENDPOINT", metadata.name);
        return Err(ConvertError::new("metadata.name", reason));
    };
    let nets = each(&spec.ip_networks, "spec.ipNetworks", |text| cidr(text))?;
    let (ipv4_nets, ipv6_nets) = nets.into_iter().partition(|net| net.family() == Family::V4);
    let spoofed = &spec.allow_spoofed_source_prefixes;
    let converted = model::WorkloadEndpoint {
        state: SmolStr::new_static("active"),
        interface: spec.interface_name.clone(),
        mac: spec.mac.to_ascii_lowercase().into(),
        profiles: spec.profiles.clone(),
        ipv4_nets,
        ipv6_nets,
        nats: each(&spec.ip_nats, "spec.ipNATs", nat)?,
        labels: workload_labels(metadata, &spec.orchestrator, &spec.service_account_name),
        ports: named_ports(&spec.ports)?,
        allowed_source_prefixes: each(spoofed, "spec.allowSpoofedSourcePrefixes", |text| cidr(text))?,
        annotations: Default::default(),
        qos: qos::of_resource(&spec.qos_controls),
    };
    let key = WorkloadEndpointKey {
        host: host.clone(),
        orchestrator: orchestrator.clone(),
        workload: format_smolstr!("{}/{workload}", metadata.namespace),
        endpoint: name.clone(),
    };
    Ok(Converted::object(Kind::WorkloadEndpoint, Object::WorkloadEndpoint(key, converted)))
}

fn nat(nat: &IpNat) -> Result<model::Nat, String> {
    Ok(model::Nat { external: address(&nat.external_ip)?, internal: address(&nat.internal_ip)? })
}

/// Splits at single dashes; two dashes stand for one.
fn split_name(name: &str) -> Vec<SmolStr> {
    // No name holds a NUL, so it can stand for a doubled dash meanwhile.
    let parts = name.replace("--", "\0");
    parts.split('-').map(|part| part.replace('\0', "-").into()).collect()
}
