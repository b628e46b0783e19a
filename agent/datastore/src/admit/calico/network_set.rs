//! NetworkSet and GlobalNetworkSet.

use super::{API_VERSION, KIND, METADATA, STATUS};
use crate::admit::fields::{self, Fields};
use crate::admit::format::Format;
use crate::admit::schema::{List, Object, Type, formatted, optional, required};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&SPEC)), STATUS])
        .rules(&[no_namespace_label]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

static SPEC: Object = Object::of(&[optional("nets", Type::List(&List::set_of(formatted(Format::PrefixOrAddress))))]);

/// The label that says which namespace a set is in is not the user's to write.
const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

fn no_namespace_label(set: &Fields) -> Result<(), Violation> {
    let labels = fields::mapping(set, "metadata").and_then(|metadata| fields::mapping(metadata, "labels"));
    if labels.is_some_and(|labels| labels.contains_key(NAMESPACE_LABEL)) {
        return Err(Violation::client(format!("cannot have {NAMESPACE_LABEL}, which is set by itself"))
            .at("labels")
            .at("metadata"));
    }
    Ok(())
}
