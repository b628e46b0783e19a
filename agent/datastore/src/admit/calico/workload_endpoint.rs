//! WorkloadEndpoint: an endpoint that is no pod.

use caracal_net::Cidr;
use serde_json::Value;

use super::host_endpoint::protocol_has_ports;
use super::{API_VERSION, KIND, METADATA, REFERENCE, STATUS};
use crate::admit::fields::{self, Fields};
use crate::admit::format::Format;
use crate::admit::schema::{INTEGER, List, Object, Type, formatted, integer, optional, port_number, required};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&SPEC)), STATUS]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

static SPEC: Object = Object::of(&[
    optional("orchestrator", REFERENCE),
    optional("workload", REFERENCE),
    optional("node", REFERENCE),
    optional("containerID", formatted(Format::ContainerId)),
    optional("pod", REFERENCE),
    optional("endpoint", REFERENCE),
    optional("serviceAccountName", REFERENCE),
    optional("ipNetworks", Type::List(&List::of(formatted(Format::SingleAddress)))),
    optional("ipNATs", Type::List(&List::of(Type::Object(&NAT)))),
    optional("ipv4Gateway", formatted(Format::Ipv4)),
    optional("ipv6Gateway", formatted(Format::Ipv6)),
    optional("profiles", Type::List(&List::of(REFERENCE))),
    required("interfaceName", formatted(Format::Interface)),
    optional("mac", formatted(Format::Mac)),
    optional("ports", Type::List(&List::of(Type::Object(&PORT)))),
    optional("allowSpoofedSourcePrefixes", Type::List(&List::of(formatted(Format::PrefixOrAddress)))),
    optional("qosControls", Type::Object(&QOS_CONTROLS)),
])
.rules(&[nats_are_of_the_endpoint]);

static NAT: Object = Object::of(&[
    required("internalIP", formatted(Format::Address)),
    required("externalIP", formatted(Format::Address)),
])
.rules(&[nat_is_of_one_family]);

static PORT: Object = Object::of(&[
    optional("name", formatted(Format::PortName)),
    required("protocol", Type::Protocol),
    required("port", port_number()),
    optional("hostPort", integer(0, 65535)),
    optional("hostIP", formatted(Format::SingleAddress)),
])
.rules(&[protocol_has_ports, port_has_a_use]);

static QOS_CONTROLS: Object = Object::of(&[
    optional("ingressBandwidth", INTEGER),
    optional("ingressBurst", INTEGER),
    optional("ingressPeakrate", INTEGER),
    optional("ingressMinburst", INTEGER),
    optional("egressBandwidth", INTEGER),
    optional("egressBurst", INTEGER),
    optional("egressPeakrate", INTEGER),
    optional("egressMinburst", INTEGER),
    optional("ingressPacketRate", INTEGER),
    optional("ingressPacketBurst", INTEGER),
    optional("egressPacketRate", INTEGER),
    optional("egressPacketBurst", INTEGER),
    optional("ingressMaxConnections", INTEGER),
    optional("egressMaxConnections", INTEGER),
    optional("dscp", Type::IntOrText),
]);

/// The fields that an endpoint's name is made of, by orchestrator: the node, the
/// orchestrator, what identifies the workload there, and the endpoint.
const fn name_fields(orchestrator: &str) -> [&'static str; 4] {
    let workload = match orchestrator.as_bytes() {
        b"k8s" => "pod",
        b"cni" => "containerID",
        b"libnetwork" => "orchestrator",
        _ => "workload",
    };
    ["node", "orchestrator", workload, "endpoint"]
}

/// Tests the name, which follows from the spec, or fills it in.
pub(in crate::admit) fn name(object: &mut Fields) -> Result<(), Violation> {
    let Some(spec) = fields::mapping(object, "spec") else {
        return Ok(());
    };
    let mut parts = Vec::new();
    for field in name_fields(fields::text(spec, "orchestrator")) {
        let part = fields::text(spec, field);
        if part.is_empty() {
            return Err(Violation::client("is missing").at(field).at("spec"));
        }
        if part.starts_with('-') || part.ends_with('-') {
            return Err(Violation::client("begins or ends with '-'").at(field).at("spec"));
        }
        parts.push(part.replace('-', "--"));
    }
    let name = parts.join("-");
    let metadata = object.entry("metadata").or_insert_with(|| Fields::new().into());
    let Value::Object(metadata) = metadata else {
        return Ok(());
    };
    match fields::text(metadata, "name") {
        "" => {
            metadata.insert("name".to_owned(), name.into());
            Ok(())
        }
        written if written == name => Ok(()),
        _ => Err(Violation::client(format!("must be {name}")).at("name").at("metadata")),
    }
}

fn nats_are_of_the_endpoint(spec: &Fields) -> Result<(), Violation> {
    let networks: Vec<Cidr> = fields::texts(spec, "ipNetworks").filter_map(|net| net.parse().ok()).collect();
    for (i, nat) in fields::mappings(spec, "ipNATs") {
        let internal = fields::text(nat, "internalIP");
        let is_own = |address| networks.iter().any(|network| network.contains(address));
        if !internal.parse().is_ok_and(is_own) {
            return Err(Violation::client(format!("{internal} is not one of the endpoint's ipNetworks"))
                .at("internalIP")
                .at_item(i)
                .at("ipNATs"));
        }
    }
    Ok(())
}

fn nat_is_of_one_family(nat: &Fields) -> Result<(), Violation> {
    let is_v6 = |field: &str| fields::text(nat, field).contains(':');
    if is_v6("internalIP") != is_v6("externalIP") {
        return Err(Violation::client("is not of the internalIP's family").at("externalIP"));
    }
    Ok(())
}

fn port_has_a_use(port: &Fields) -> Result<(), Violation> {
    if fields::text(port, "name").is_empty() && fields::integer(port, "hostPort").unwrap_or(0) == 0 {
        return Err(Violation::client("is missing, and so is hostPort: one of the two is needed").at("name"));
    }
    Ok(())
}
