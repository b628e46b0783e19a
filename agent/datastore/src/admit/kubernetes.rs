//! The native kinds, as the Kubernetes API server admits them
//! (`validation` of `pkg/apis/core`, `pkg/apis/networking` and `pkg/apis/discovery`).

pub(super) mod endpoint_slice;
pub(super) mod label_selector;
pub(super) mod namespace;
pub(super) mod network_policy;
pub(super) mod node;
pub(super) mod pod;
pub(super) mod service;

use super::schema::{Field, Object, TEXT, Type, required};
use super::{Admission, Gate, metadata, syntax};

const API_VERSION: Field = required("apiVersion", TEXT);
const KIND: Field = required("kind", TEXT);

/// v1 ServiceAccount: its metadata is all that is read.
pub(super) static SERVICE_ACCOUNT: Admission = Admission {
    gate: Gate::Kubernetes,
    schema: &Object::open(&[API_VERSION, KIND, required("metadata", metadata::OPEN)]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

/// The protocols that Kubernetes has ports of.
pub(super) const PROTOCOL: Type = super::schema::one_of(&["TCP", "UDP", "SCTP"]);
