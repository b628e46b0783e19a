//! Tiers, and those that always exist.

use caracal_model as model;
use caracal_model::{Kind, Object, TierAction};

use smol_str::SmolStr;

use super::Converted;
use crate::resource::Tier;

/// Name, order and default action of the tiers that exist without any manifest
/// (Calico's API documentation; its schema allows no other values).
const BUILT_IN: [(&str, f64, TierAction); 3] = [
    (model::DEFAULT_TIER, model::DEFAULT_TIER_ORDER, TierAction::Deny),
    ("kube-admin", 1000.0, TierAction::Pass),
    ("kube-baseline", 10_000_000.0, TierAction::Pass),
];

/// Converts a tier. Only `Pass` passes; anything else denies, as in Felix.
pub(super) fn convert(tier: &Tier) -> Converted {
    let Tier { metadata, spec } = tier;
    let converted = model::Tier {
        order: spec.order,
        default_action: if spec.default_action == "Pass" { TierAction::Pass } else { TierAction::Deny },
    };
    Converted::object(Kind::Tier, Object::Tier(metadata.name.clone(), converted))
}

/// The tiers that exist without any manifest.
pub(super) fn built_in() -> impl Iterator<Item = (SmolStr, Converted)> {
    BUILT_IN.iter().map(|(name, order, default_action)| {
        let name = SmolStr::new_static(name);
        let tier = model::Tier { order: Some(*order), default_action: *default_action };
        (name.clone(), Converted::object(Kind::Tier, Object::Tier(name, tier)))
    })
}
