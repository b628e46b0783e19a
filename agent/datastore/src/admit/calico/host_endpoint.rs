//! HostEndpoint.

use super::{API_VERSION, KIND, METADATA, REFERENCE, STATUS};
use crate::admit::fields::{self, Fields};
use crate::admit::format::Format;
use crate::admit::schema::{List, Object, Type, formatted, optional, port_number, required, short};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&SPEC)), STATUS]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

static SPEC: Object = Object::of(&[
    required("node", short(Format::Reference, 253)),
    optional("interfaceName", short(Format::Interface, 15)),
    optional("expectedIPs", Type::List(&List::set_of(formatted(Format::Address)))),
    optional("profiles", Type::List(&List::set_of(REFERENCE))),
    optional("ports", Type::List(&List::of(Type::Object(&PORT)))),
])
.rules(&[is_findable]);

static PORT: Object = Object::of(&[
    required("name", formatted(Format::PortName)),
    required("protocol", Type::Protocol),
    required("port", port_number()),
])
.rules(&[protocol_has_ports]);

fn is_findable(spec: &Fields) -> Result<(), Violation> {
    if fields::text(spec, "interfaceName").is_empty() && fields::list(spec, "expectedIPs").is_empty() {
        return Err(Violation::crd("is missing, and so is expectedIPs: one of the two is needed").at("interfaceName"));
    }
    Ok(())
}

/// Tests the protocol of an endpoint's port.
pub(super) fn protocol_has_ports(port: &Fields) -> Result<(), Violation> {
    let has_ports = match port.get("protocol") {
        Some(serde_json::Value::String(name)) => ["TCP", "UDP", "SCTP"].contains(&name.as_str()),
        Some(number) => [6, 17, 132].map(Some).contains(&number.as_i64()),
        None => false,
    };
    if has_ports { Ok(()) } else { Err(Violation::client("must be TCP, UDP or SCTP").at("protocol")) }
}
