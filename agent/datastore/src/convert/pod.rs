//! Pods to workload endpoints.

use caracal_model as model;
use caracal_model::{Kind, Labels, Object, WorkloadEndpointKey};
use caracal_net::{Cidr, Family, Port, Protocol};
use sha1::{Digest, Sha1};
use smol_str::{SmolStr, format_smolstr};

use super::rule::{address, cidr};
use super::{Converted, Settings, qos, workload_labels};
use crate::resource::{ContainerPort, Pod};

const POD_IPS: &str = "cni.projectcalico.org/podIPs";
const POD_IP: &str = "cni.projectcalico.org/podIP";
const AWS_POD_IPS: &str = "vpc.amazonaws.com/pod-ips";
const FLOATING_IPS: &str = "cni.projectcalico.org/floatingIPs";
const ALLOWED_SOURCE_PREFIXES: &str = "cni.projectcalico.org/allowedSourcePrefixes";

/// The annotations that go to the dataplane.
const PASSED_ON: [&str; 1] = ["k8s.v1.cni.cncf.io/network-status"];

/// Hexadecimal digits of the hash in an interface's name.
const HASH_DIGITS: usize = 11;

/// The name of the host's side of a pod's interface: the prefix and the first
/// digits of SHA-1 over `NAMESPACE.POD`, as Calico's CNI plugin names it.
#[must_use]
pub fn interface_name(prefix: &str, namespace: &str, pod: &str) -> SmolStr {
    let hash = Sha1::digest(format!("{namespace}.{pod}"));
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format_smolstr!("{prefix}{}", &digits[..HASH_DIGITS])
}

/// Converts a pod. One on the host's network, without a node or without
/// addresses is no endpoint; one with a bad annotation is as if it did not exist.
pub(super) fn convert(pod: &Pod, settings: &Settings) -> Converted {
    if pod.spec.host_network || pod.spec.node_name.is_empty() || is_finished(pod) {
        return Converted::Nothing;
    }
    match endpoint(pod, settings) {
        Ok(Some(endpoint)) => Converted::object(Kind::Pod, Object::WorkloadEndpoint(key(pod), endpoint)),
        Ok(None) => Converted::Nothing,
        Err(reason) => Converted::Broken(reason),
    }
}

fn key(pod: &Pod) -> WorkloadEndpointKey {
    WorkloadEndpointKey {
        host: pod.spec.node_name.clone(),
        orchestrator: SmolStr::new_static("k8s"),
        workload: format_smolstr!("{}/{}", pod.metadata.namespace, pod.metadata.name),
        endpoint: SmolStr::new_static("eth0"),
    }
}

/// Whether the pod's addresses are free again: it ended, or it is being deleted
/// and the CNI plugin has released them by emptying its annotation.
fn is_finished(pod: &Pod) -> bool {
    if ["Succeeded", "Failed", "Completed"].contains(&pod.status.phase.as_str()) {
        return true;
    }
    let released = |name: &str| pod.metadata.annotations.get(name).is_some_and(String::is_empty);
    pod.metadata.deletion_timestamp.is_some() && (released(POD_IP) || released(AWS_POD_IPS))
}

fn endpoint(pod: &Pod, settings: &Settings) -> Result<Option<model::WorkloadEndpoint>, String> {
    let meta = &pod.metadata;
    let nets = addresses(pod)?;
    if nets.is_empty() {
        return Ok(None);
    }
    let nats = floating_ips(pod, &nets)?;
    let (ipv4_nets, ipv6_nets) = nets.into_iter().partition(|net| net.family() == Family::V4);
    let account = service_account(pod);
    let mut profiles = vec![format_smolstr!("{}{}", model::NAMESPACE_PROFILE_PREFIX, meta.namespace)];
    if !account.is_empty() {
        let prefix = model::SERVICE_ACCOUNT_PROFILE_PREFIX;
        profiles.push(format_smolstr!("{prefix}{}.{account}", meta.namespace));
    }
    let passed_on =
        PASSED_ON.iter().filter_map(|name| Some((SmolStr::new_static(name), meta.annotations.get(*name)?.into())));
    Ok(Some(model::WorkloadEndpoint {
        state: SmolStr::new_static("active"),
        interface: interface_name(&settings.interface_prefix, &meta.namespace, &meta.name),
        mac: SmolStr::default(),
        profiles,
        ipv4_nets,
        ipv6_nets,
        nats,
        labels: labels(pod, account),
        ports: ports(pod),
        allowed_source_prefixes: allowed_source_prefixes(pod)?,
        annotations: passed_on.collect(),
        qos: qos::of_pod(meta),
    }))
}

fn service_account(pod: &Pod) -> &SmolStr {
    if pod.spec.service_account_name.is_empty() { &pod.spec.service_account } else { &pod.spec.service_account_name }
}

fn labels(pod: &Pod, account: &SmolStr) -> Labels {
    workload_labels(&pod.metadata, "k8s", account)
}

/// The pod's addresses, from the first place that has any.
fn addresses(pod: &Pod) -> Result<Vec<Cidr>, String> {
    let annotation = |name: &str| pod.metadata.annotations.get(name).filter(|text| !text.is_empty());
    let texts: Vec<&str> = if !pod.status.pod_ips.is_empty() {
        pod.status.pod_ips.iter().map(|entry| entry.ip.as_str()).collect()
    } else if !pod.status.pod_ip.is_empty() {
        vec![&pod.status.pod_ip]
    } else if let Some(list) = annotation(POD_IPS) {
        list.split(',').collect()
    } else if let Some(one) = annotation(POD_IP) {
        vec![one]
    } else if let Some(list) = annotation(AWS_POD_IPS) {
        list.split(',').collect()
    } else {
        Vec::new()
    };
    texts.into_iter().map(cidr).collect()
}

/// The list of texts in an annotation; empty if it is absent or empty.
fn json_list(pod: &Pod, annotation: &str) -> Result<Vec<String>, String> {
    match pod.metadata.annotations.get(annotation) {
        Some(text) if !text.is_empty() => serde_json::from_str(text)
            .map_err(|_| format!("annotation {annotation} is not a JSON list of texts: {text}")),
        Some(_) | None => Ok(Vec::new()),
    }
}

/// Each floating IP translates to the pod's address of its family; without one it has no effect.
fn floating_ips(pod: &Pod, nets: &[Cidr]) -> Result<Vec<model::Nat>, String> {
    let external = json_list(pod, FLOATING_IPS)?;
    let translate = |external| {
        let internal = nets.iter().rev().find(|net| net.family() == Family::of(external))?;
        Some(model::Nat { external, internal: internal.addr() })
    };
    let addresses = external.iter().filter_map(|text| address(text).ok());
    Ok(addresses.filter_map(translate).collect())
}

fn allowed_source_prefixes(pod: &Pod) -> Result<Vec<Cidr>, String> {
    let prefixes = json_list(pod, ALLOWED_SOURCE_PREFIXES)?;
    let parse =
        |text: &String| Cidr::parse_prefix(text).map_err(|e| format!("annotation {ALLOWED_SOURCE_PREFIXES}: {e}"));
    prefixes.iter().map(parse).collect()
}

/// The named ports of all containers.
fn ports(pod: &Pod) -> Vec<model::EndpointPort> {
    let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    containers.flat_map(|container| &container.ports).filter_map(named_port).collect()
}

fn named_port(port: &ContainerPort) -> Option<model::EndpointPort> {
    let protocol = match port.protocol.as_str() {
        "" | "TCP" => Protocol::TCP,
        "UDP" => Protocol::UDP,
        "SCTP" => Protocol::SCTP,
        _ => return None,
    };
    let number = Port::try_from(port.container_port).ok().filter(|number| *number != 0)?;
    (!port.name.is_empty()).then(|| model::EndpointPort { name: port.name.clone(), protocol, port: number })
}
