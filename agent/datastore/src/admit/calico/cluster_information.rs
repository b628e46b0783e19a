//! ClusterInformation.

use super::{API_VERSION, KIND, METADATA, STATUS};
use crate::admit::schema::{Object, TEXT, Type, optional, required};
use crate::admit::{Admission, Gate, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&SPEC)), STATUS]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

static SPEC: Object = Object::of(&[
    optional("calicoVersion", TEXT),
    optional("clusterGUID", TEXT),
    optional("clusterType", TEXT),
    optional("datastoreReady", Type::Boolean),
    optional("variant", TEXT),
]);
