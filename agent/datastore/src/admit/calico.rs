//! Calico's kinds: the fields and limits of the custom resources' schemas, the
//! rules that these state in CEL, and what only Calico's client tests
//! (`libcalico-go/lib/validator/v3`), which a directory has no other gate for.

pub(super) mod bgp_configuration;
pub(super) mod cluster_information;
pub(super) mod felix_configuration;
pub(super) mod host_endpoint;
pub(super) mod ip_pool;
pub(super) mod network_set;
pub(super) mod policy;
pub(super) mod profile;
mod rule;
pub(super) mod staged_policy;
pub(super) mod tier;
pub(super) mod workload_endpoint;

use super::fields::{self, Fields};
use super::format::Format;
use super::metadata;
use super::schema::{Field, TEXT, Type, formatted, optional, required, short};
use super::violation::Violation;

const API_VERSION: Field = required("apiVersion", TEXT);
const KIND: Field = required("kind", TEXT);
const METADATA: Field = required("metadata", metadata::STRICT);
/// What a cluster says of the object; nobody reads it.
const STATUS: Field = optional("status", Type::Any);

/// A selector, of the length that the schemas allow.
const SELECTOR: Type = short(Format::Selector, 1024);
/// The name of another resource.
const REFERENCE: Type = formatted(Format::Reference);

/// `global()` is something that only the namespace selector of a rule may say.
fn no_global(fields: &Fields, name: &'static str) -> Result<(), Violation> {
    if fields::text(fields, name).contains("global(") {
        return Err(Violation::crd("global() has a meaning in a rule's namespaceSelector only").at(name));
    }
    Ok(())
}
