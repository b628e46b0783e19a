//! BGPConfiguration. Routers follow it; of it the prefixes of services concern a node.

use super::{API_VERSION, KIND, METADATA, STATUS};
use crate::admit::fields::{self, Fields};
use crate::admit::format::Format;
use crate::admit::schema::{
    List, Object, TEXT, TEXT_LIST, Type, any_case, defaulted, formatted, limited, one_of, optional, required,
};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&SPEC)), STATUS]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

const BLOCKS: Type = Type::List(&List::set_of(Type::Object(&BLOCK)));

static SPEC: Object = Object::of(&[
    optional("asNumber", Type::IntOrText),
    optional("bindMode", one_of(&["None", "NodeIP"])),
    optional("communities", Type::List(&List::set_of(Type::Object(&COMMUNITY)))),
    optional("ignoredInterfaces", Type::List(&List::set_of(TEXT))),
    optional("listenPort", limited(1, 65_535)),
    optional("localWorkloadPeeringIPV4", formatted(Format::Ipv4)),
    optional("localWorkloadPeeringIPV6", formatted(Format::Ipv6)),
    defaulted("logSeverityScreen", any_case(&["Trace", "Debug", "Info", "Warning", "Error", "Fatal"]), "Info"),
    optional("nodeMeshMaxRestartTime", TEXT),
    optional("nodeMeshPassword", Type::Object(&PASSWORD)),
    optional("nodeToNodeMeshEnabled", Type::Boolean),
    optional("prefixAdvertisements", Type::List(&List::set_of(Type::Object(&ADVERTISEMENT)))),
    optional("serviceClusterIPs", BLOCKS),
    optional("serviceExternalIPs", BLOCKS),
    defaulted("serviceLoadBalancerAggregation", one_of(&["Enabled", "Disabled"]), "Enabled"),
    optional("serviceLoadBalancerIPs", BLOCKS),
])
.rules(&[|spec| mesh(spec, "nodeMeshPassword"), |spec| mesh(spec, "nodeMeshMaxRestartTime")]);

static BLOCK: Object = Object::of(&[optional("cidr", formatted(Format::Prefix))]);

static COMMUNITY: Object = Object::of(&[
    optional("name", TEXT),
    optional("value", formatted(Format::Pattern(r"^(\d+):(\d+)$|^(\d+):(\d+):(\d+)$"))),
]);

static ADVERTISEMENT: Object =
    Object::of(&[optional("cidr", formatted(Format::Prefix)), optional("communities", TEXT_LIST)]);

static PASSWORD: Object = Object::of(&[optional("secretKeyRef", Type::Object(&SECRET))]);

static SECRET: Object =
    Object::of(&[optional("name", TEXT), required("key", TEXT), optional("optional", Type::Boolean)]);

/// What the mesh of all nodes has goes with the mesh only.
fn mesh(spec: &Fields, field: &'static str) -> Result<(), Violation> {
    let is_off = spec.contains_key("nodeToNodeMeshEnabled") && !fields::is_set(spec, "nodeToNodeMeshEnabled");
    if is_off && spec.contains_key(field) {
        return Err(Violation::crd("cannot go with nodeToNodeMeshEnabled: false").at(field));
    }
    Ok(())
}
