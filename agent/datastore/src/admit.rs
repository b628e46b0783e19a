//! Admission: what an API server and Calico's client do to an object before it
//! is stored.
//!
//! A directory of manifests has no other gate, so an object passes here or is
//! refused whole. The steps are a cluster's: decode (every field known and of its
//! type), the rules on metadata, defaults, then the schema's limits and the rules
//! between fields.

mod calico;
mod fields;
mod format;
#[doc(hidden)]
pub mod fuzz;
mod kubernetes;
mod metadata;
mod network_policy_api;
mod resemblance;
mod schema;
mod syntax;
mod violation;

use serde_json::{Map, Value};

use self::schema::Object;
use self::violation::Violation;
use crate::manifest::{Document, FieldPath, Layer, ObjectRef, Refusal, ResourceKind};

/// What becomes of a document that is not refused.
#[derive(Clone, Debug)]
pub enum Admitted {
    /// An object that is stored.
    Object {
        /// Its kind.
        kind: ResourceKind,
        /// Its kind, namespace and name as text.
        object: ObjectRef,
        /// It, as stored: defaults and namespace filled in, nulls and what only
        /// `kubectl` cares for left out, numbers written as text where a number
        /// may stand made numbers.
        value: Value,
    },
    /// An object of a kind that is not read.
    Skipped {
        /// Its kind, such as `apps/v1 Deployment`.
        kind: String,
    },
}

/// Who guards a kind: it decides which layer a refusal is of.
#[derive(Clone, Copy)]
enum Gate {
    /// The API server's own validation.
    Kubernetes,
    /// A custom resource's schema, and Calico's client.
    Calico,
    /// A custom resource's schema alone.
    Schema,
}

impl Gate {
    /// The layer of limits: what must be there, how much, how long, which of a few.
    const fn of_limits(self) -> Layer {
        match self {
            Self::Kubernetes => Layer::K8s,
            Self::Calico | Self::Schema => Layer::Crd,
        }
    }

    /// The layer of forms: what an address, a name, a selector looks like.
    const fn of_forms(self) -> Layer {
        match self {
            Self::Kubernetes => Layer::K8s,
            Self::Calico => Layer::Client,
            Self::Schema => Layer::Crd,
        }
    }
}

/// How objects of one kind are admitted.
struct Admission {
    gate: Gate,
    /// The fields and what may be in them.
    schema: &'static Object,
    /// What a name must look like.
    name: metadata::NameRule,
    /// Fills in what the schema's own defaults do not.
    fill_in: fn(&mut Map<String, Value>),
}

/// Admits the object of a document.
///
/// # Errors
/// If a cluster would refuse it; nothing of it is to be used then.
pub fn admit(mut document: Document) -> Result<Admitted, Refusal> {
    let kind = match kind_of(&document.value) {
        Ok(Kind::Read(kind)) => kind,
        Ok(Kind::Unread(kind)) => return Ok(Admitted::Skipped { kind }),
        Ok(Kind::Mistaken(meant, violation)) => {
            // It is named as what it was meant to be, so that a version of that in force stays.
            rename(&mut document.value, meant);
            return Err(refuse(&document, violation));
        }
        Err(violation) => return Err(refuse(&document, violation)),
    };
    let outcome = admit_value(kind, &mut document.value);
    match (outcome, ObjectRef::of(&document.value)) {
        (Ok(()), Some(object)) => Ok(Admitted::Object { kind, object, value: document.value }),
        (Ok(()), None) => Err(refuse(&document, metadata::no_name())),
        (Err(violation), _) => Err(refuse(&document, violation)),
    }
}

fn refuse(document: &Document, violation: Violation) -> Refusal {
    let (layer, field, reason) = violation.into_parts();
    document.refuse(layer, &field, reason)
}

/// The fields of an admitted object that no later version may change, and their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fixed(Vec<(&'static str, Value)>);

impl Fixed {
    /// Those of an object that [`admit`] gave.
    pub(crate) fn of(kind: ResourceKind, value: &Value) -> Self {
        match (kind, value.get("spec")) {
            (ResourceKind::IpPool, Some(Value::Object(spec))) => Self(calico::ip_pool::fixed(spec).into()),
            _ => Self::default(),
        }
    }

    /// The first field that a later version has otherwise, with what it was.
    pub(crate) fn changed_in(&self, later: &Self) -> Option<(FieldPath, &Value)> {
        let fields = self.0.iter().zip(&later.0);
        let (before, _) = fields.into_iter().find(|(before, now)| before != now)?;
        let (field, value) = before;
        Some((FieldPath::from("spec").field(*field), value))
    }
}

/// What kind of object a document says that it holds.
enum Kind {
    Read(ResourceKind),
    /// What is written names no kind that is read, and hardly means anything but this one.
    Mistaken(ResourceKind, Violation),
    /// `apiVersion` and `kind` of a kind that is not read.
    Unread(String),
}

fn kind_of(value: &Value) -> Result<Kind, Violation> {
    let Value::Object(fields) = value else {
        return Err(Violation::new(Layer::Yaml, "not an object: a mapping with apiVersion and kind is expected"));
    };
    let text = |field: &'static str| match fields.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(Value::String(_) | Value::Null) | None => Err(Violation::new(Layer::Decode, "is missing").at(field)),
        Some(_) => Err(Violation::new(Layer::Decode, "is not text").at(field)),
    };
    let (api_version, kind) = (text("apiVersion")?, text("kind")?);
    if let Some(kind) = ResourceKind::of(api_version, kind) {
        return Ok(Kind::Read(kind));
    }
    Ok(match resemblance::mistaken_kind(api_version, kind) {
        Some((meant, violation)) => Kind::Mistaken(meant, violation),
        None => Kind::Unread(format!("{api_version} {kind}")),
    })
}

/// Writes a kind over what an object says that it is.
fn rename(value: &mut Value, kind: ResourceKind) {
    if let Value::Object(fields) = value {
        fields.insert("apiVersion".to_owned(), kind.api_version().into());
        fields.insert("kind".to_owned(), kind.kind().into());
    }
}

/// How objects of a kind are admitted.
fn admission(kind: ResourceKind) -> &'static Admission {
    match kind {
        ResourceKind::Pod => &kubernetes::pod::ADMISSION,
        ResourceKind::Namespace => &kubernetes::namespace::ADMISSION,
        ResourceKind::ServiceAccount => &kubernetes::SERVICE_ACCOUNT,
        ResourceKind::Node => &kubernetes::node::ADMISSION,
        ResourceKind::KubernetesNetworkPolicy => &kubernetes::network_policy::ADMISSION,
        ResourceKind::NetworkPolicy => &calico::policy::NAMESPACED,
        ResourceKind::GlobalNetworkPolicy => &calico::policy::GLOBAL,
        ResourceKind::StagedNetworkPolicy => &calico::staged_policy::NAMESPACED,
        ResourceKind::StagedGlobalNetworkPolicy => &calico::staged_policy::GLOBAL,
        ResourceKind::StagedKubernetesNetworkPolicy => &calico::staged_policy::KUBERNETES,
        ResourceKind::ClusterNetworkPolicy => &network_policy_api::cluster_network_policy::ADMISSION,
        ResourceKind::AdminNetworkPolicy => &network_policy_api::admin_network_policy::ADMIN,
        ResourceKind::BaselineAdminNetworkPolicy => &network_policy_api::admin_network_policy::BASELINE,
        ResourceKind::Tier => &calico::tier::ADMISSION,
        ResourceKind::NetworkSet | ResourceKind::GlobalNetworkSet => &calico::network_set::ADMISSION,
        ResourceKind::HostEndpoint => &calico::host_endpoint::ADMISSION,
        ResourceKind::Profile => &calico::profile::ADMISSION,
        ResourceKind::WorkloadEndpoint => &calico::workload_endpoint::ADMISSION,
        ResourceKind::EndpointSlice => &kubernetes::endpoint_slice::ADMISSION,
        ResourceKind::FelixConfiguration => &calico::felix_configuration::ADMISSION,
        ResourceKind::Service => &kubernetes::service::ADMISSION,
        ResourceKind::IpPool => &calico::ip_pool::ADMISSION,
        ResourceKind::ClusterInformation => &calico::cluster_information::ADMISSION,
        ResourceKind::BgpConfiguration => &calico::bgp_configuration::ADMISSION,
    }
}

fn admit_value(kind: ResourceKind, value: &mut Value) -> Result<(), Violation> {
    let admission = admission(kind);
    admission.schema.decode(value)?;
    let Value::Object(object) = value else {
        return Ok(());
    };
    // The one kind whose names are not for the user to choose.
    if kind == ResourceKind::WorkloadEndpoint {
        calico::workload_endpoint::name(object)?;
    }
    metadata::settle(kind, admission.name, object)?;
    (admission.fill_in)(object);
    admission.schema.check(value, admission.gate)
}

#[cfg(test)]
mod tests;
