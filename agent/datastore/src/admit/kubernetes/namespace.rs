//! v1 Namespace.

use serde_json::{Map, Value};

use super::{API_VERSION, KIND};
use crate::admit::schema::{Object, required};
use crate::admit::{Admission, Gate, fields, metadata, syntax};

/// The label by which a namespace can be selected by its name; the API server
/// sees to its being right.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Kubernetes,
    schema: &Object::open(&[API_VERSION, KIND, required("metadata", metadata::OPEN)]),
    name: syntax::dns_label,
    fill_in,
};

fn fill_in(object: &mut Map<String, Value>) {
    let Some(metadata) = fields::mapping_mut(object, "metadata") else {
        return;
    };
    let name = fields::text(metadata, "name").into();
    let labels = metadata.entry("labels").or_insert_with(|| Map::new().into());
    if let Value::Object(labels) = labels {
        labels.insert(NAME_LABEL.to_owned(), name);
    }
}
