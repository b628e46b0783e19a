//! Namespaces, service accounts and Profile resources to profiles.

use std::collections::BTreeMap;

use caracal_model as model;
use caracal_model::{Action, Kind, Labels, Object, Rule};
use smol_str::{SmolStr, format_smolstr};

use super::{ConvertError, Converted, rule};
use crate::resource::{Namespace, Profile, ServiceAccount};

/// The label that holds a namespace's or a service account's own name, after the prefix.
const LABEL_NAME: &str = "projectcalico.org/name";

/// The profile that always exists and allows everything.
const DEFAULT_ALLOW: &str = "projectcalico-default-allow";

/// Converts a namespace: its pods inherit its labels, and may do anything that no policy forbids.
pub(super) fn of_namespace(namespace: &Namespace) -> Converted {
    let meta = &namespace.metadata;
    let name = format_smolstr!("{}{}", model::NAMESPACE_PROFILE_PREFIX, meta.name);
    let labels = inherited(model::NAMESPACE_LABEL_PREFIX, &meta.labels, &meta.name);
    Converted::object(Kind::Namespace, Object::Profile(name, allow_all(labels)))
}

/// The longest value of a label (Kubernetes, "Labels and Selectors").
const MAX_LABEL_VALUE: usize = 63;

/// Converts a service account: its pods inherit its labels, and nothing else.
/// If its name is no label value, they inherit nothing: Felix refuses such a
/// profile's labels as a whole, and knows of no such service account.
pub(super) fn of_service_account(account: &ServiceAccount) -> Converted {
    let meta = &account.metadata;
    let prefix = model::SERVICE_ACCOUNT_PROFILE_PREFIX;
    let name = format_smolstr!("{prefix}{}.{}", meta.namespace, meta.name);
    let labels = if meta.name.len() > MAX_LABEL_VALUE {
        Labels::new()
    } else {
        inherited(model::SERVICE_ACCOUNT_LABEL_PREFIX, &meta.labels, &meta.name)
    };
    let profile = model::Profile { labels, inbound_rules: Vec::new(), outbound_rules: Vec::new() };
    Converted::object(Kind::ServiceAccount, Object::Profile(name, profile))
}

/// Converts a Profile resource.
pub(super) fn of_resource(profile: &Profile) -> Result<Converted, ConvertError> {
    let Profile { metadata, spec } = profile;
    let converted = model::Profile {
        labels: spec.labels_to_apply.iter().collect(),
        inbound_rules: rule::rules(&spec.ingress, "", "spec.ingress")?,
        outbound_rules: rule::rules(&spec.egress, "", "spec.egress")?,
    };
    Ok(Converted::object(Kind::Profile, Object::Profile(metadata.name.clone(), converted)))
}

/// The profile that exists without any manifest.
pub(super) fn default_allow() -> (SmolStr, Converted) {
    let name = SmolStr::new_static(DEFAULT_ALLOW);
    let object = Object::Profile(name.clone(), allow_all(Labels::new()));
    (name, Converted::object(Kind::Profile, object))
}

fn allow_all(labels: Labels) -> model::Profile {
    model::Profile {
        labels,
        inbound_rules: vec![Rule::any(Action::Allow)],
        outbound_rules: vec![Rule::any(Action::Allow)],
    }
}

fn inherited(prefix: &str, labels: &BTreeMap<SmolStr, SmolStr>, name: &SmolStr) -> Labels {
    let own = labels.iter().map(|(key, value)| (format_smolstr!("{prefix}{key}"), value));
    own.chain([(format_smolstr!("{prefix}{LABEL_NAME}"), name)]).collect()
}
