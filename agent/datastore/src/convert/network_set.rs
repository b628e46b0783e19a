//! NetworkSets and GlobalNetworkSets to network sets.

use caracal_model as model;
use caracal_model::{Kind, NetworkSetKey, Object};
use smol_str::{SmolStr, format_smolstr};

use super::rule::{cidr, each};
use super::{ConvertError, Converted};
use crate::resource::NetworkSet;

/// Converts a set of one namespace, whose labels it inherits.
pub(super) fn namespaced(set: &NetworkSet) -> Result<Converted, ConvertError> {
    let meta = &set.metadata;
    let namespace = (SmolStr::new_static(model::LABEL_NAMESPACE), meta.namespace.clone());
    let converted = model::NetworkSet {
        labels: meta.labels.clone().into_iter().chain([namespace]).collect(),
        profiles: vec![format_smolstr!("{}{}", model::NAMESPACE_PROFILE_PREFIX, meta.namespace)],
        nets: nets(set)?,
    };
    let key = NetworkSetKey(format_smolstr!("{}/{}", meta.namespace, meta.name));
    Ok(Converted::object(Kind::NetworkSet, Object::NetworkSet(key, converted)))
}

/// Converts a set of the whole cluster.
pub(super) fn global(set: &NetworkSet) -> Result<Converted, ConvertError> {
    let meta = &set.metadata;
    let converted = model::NetworkSet { labels: meta.labels.iter().collect(), profiles: Vec::new(), nets: nets(set)? };
    let key = NetworkSetKey(meta.name.clone());
    Ok(Converted::object(Kind::GlobalNetworkSet, Object::NetworkSet(key, converted)))
}

fn nets(set: &NetworkSet) -> Result<Vec<caracal_net::Cidr>, ConvertError> {
    each(&set.spec.nets, "spec.nets", |text| cidr(text))
}
