//! v1 Node.

use serde_json::{Map, Value};

use super::{API_VERSION, KIND};
use crate::admit::format::Format;
use crate::admit::schema::{List, Object, TEXT, Type, formatted, optional, required};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, fields, metadata, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Kubernetes,
    schema: &Object::open(&[
        API_VERSION,
        KIND,
        required("metadata", metadata::OPEN),
        optional("spec", Type::Object(&SPEC)),
        optional("status", Type::Object(&STATUS)),
    ]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

const CIDR: Type = formatted(Format::Prefix);

static SPEC: Object = Object::open(&[optional("podCIDR", CIDR), optional("podCIDRs", Type::List(&List::of(CIDR)))])
    .rules(&[one_cidr_per_family]);

static STATUS: Object = Object::open(&[optional("addresses", Type::List(&List::of(Type::Object(&ADDRESS))))]);

static ADDRESS: Object = Object::open(&[required("type", TEXT), required("address", TEXT)]);

fn one_cidr_per_family(spec: &Map<String, Value>) -> Result<(), Violation> {
    let is_v6 = |cidr: &str| cidr.contains(':');
    let cidrs: Vec<&str> = fields::texts(spec, "podCIDRs").collect();
    match cidrs.as_slice() {
        [] | [_] => Ok(()),
        [first, second] if is_v6(first) != is_v6(second) => Ok(()),
        _ => Err(Violation::k8s("has more than one prefix of a family").at("podCIDRs")),
    }
}
