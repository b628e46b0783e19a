//! policy.networking.k8s.io: policy of the cluster's administrators, as the
//! custom resources' schemas of the network policy API admit it
//! (sigs.k8s.io/network-policy-api, standard channel).

pub(super) mod admin_network_policy;
pub(super) mod cluster_network_policy;

use super::fields::{self, Fields};
use super::format::Format;
use super::kubernetes::label_selector::LABEL_SELECTOR;
use super::metadata;
use super::schema::{Field, List, TEXT, Type, formatted, limited, optional, required, short};
use super::violation::Violation;

const API_VERSION: Field = required("apiVersion", TEXT);
const KIND: Field = required("kind", TEXT);
const METADATA: Field = required("metadata", metadata::STRICT);
/// What a cluster says of the object; nobody reads it.
const STATUS: Field = optional("status", Type::Any);

const NAME: Field = optional("name", short(Format::Any, 100));
const SELECTOR: Type = Type::Object(&LABEL_SELECTOR);
const NAMESPACES: Field = optional("namespaces", SELECTOR);
const NETWORKS: Field = optional("networks", Type::List(&NETWORK_LIST));
const PRIORITY: Field = required("priority", limited(0, 1000));

/// Host bits may be set here.
static NETWORK_LIST: List = List::set_of(short(Format::Prefix, 43)).min(1).max(25);

const PORT_NUMBER: Type = limited(1, 65535);
/// No schema says what a port's name looks like, but no container has a port of
/// another name.
const PORT_NAME: Type = formatted(Format::PortName);

/// Of mappings that stand for one of several things.
fn one_form(fields: &Fields) -> Result<(), Violation> {
    let mut forms = fields.iter();
    match (forms.next(), forms.next()) {
        (Some((name, value)), None) if value.as_str().is_some_and(str::is_empty) => {
            Err(Violation::crd("is empty").at(name.clone()))
        }
        (Some(_), None) => Ok(()),
        (None, _) => Err(Violation::crd("is empty, exactly one field is needed")),
        (Some(_), Some((name, _))) => {
            Err(Violation::crd("is one field too many, exactly one is allowed").at(name.clone()))
        }
    }
}

/// A range has two ends, the first below the last.
fn start_before_end(range: &Fields) -> Result<(), Violation> {
    match (fields::integer(range, "start"), fields::integer(range, "end")) {
        (Some(start), Some(end)) if start >= end => {
            Err(Violation::crd(format!("{end} is not above the start, {start}")).at("end"))
        }
        _ => Ok(()),
    }
}
