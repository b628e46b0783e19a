//! Profile.

use super::rule::RULES;
use super::{API_VERSION, KIND, METADATA, STATUS};
use crate::admit::fields::{self, Fields};
use crate::admit::schema::{Object, Type, optional};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, metadata, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, optional("spec", Type::Object(&SPEC)), STATUS]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

static SPEC: Object =
    Object::of(&[optional("ingress", RULES), optional("egress", RULES), optional("labelsToApply", Type::Texts)])
        .rules(&[labels]);

fn labels(spec: &Fields) -> Result<(), Violation> {
    let Some(labels) = fields::mapping(spec, "labelsToApply") else {
        return Ok(());
    };
    metadata::label_texts(labels).map_err(|reason| Violation::client(reason).at("labelsToApply"))
}
