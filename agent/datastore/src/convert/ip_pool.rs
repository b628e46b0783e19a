//! IPPools to pools of addresses.

use caracal_model as model;
use caracal_model::{Kind, Object, PoolUse, TunnelMode};

use super::rule::cidr;
use super::{ConvertError, Converted, ErrorAt as _};
use crate::resource::IpPool;

/// What a pool that says nothing of it is for (Calico's client fills it in).
const DEFAULT_USES: [PoolUse; 2] = [PoolUse::Workload, PoolUse::Tunnel];

/// Converts a pool, disabled or not: that concerns who hands out addresses.
pub(super) fn convert(pool: &IpPool) -> Result<Converted, ConvertError> {
    let IpPool { metadata, spec } = pool;
    let converted = model::IpPool {
        cidr: cidr(&spec.cidr).at("spec.cidr")?,
        masquerade: spec.nat_outgoing,
        ipip: tunnel(&spec.ipip_mode).at("spec.ipipMode")?,
        vxlan: tunnel(&spec.vxlan_mode).at("spec.vxlanMode")?,
        allowed_uses: match spec.allowed_uses.as_slice() {
            [] => DEFAULT_USES.to_vec(),
            written => super::rule::each(written, "spec.allowedUses", |text| allowed_use(text))?,
        },
    };
    Ok(Converted::object(Kind::IpPool, Object::IpPool(metadata.name.clone(), converted)))
}

fn tunnel(text: &str) -> Result<TunnelMode, String> {
    match text {
        "" | "Never" => Ok(TunnelMode::Never),
        "Always" => Ok(TunnelMode::Always),
        "CrossSubnet" => Ok(TunnelMode::CrossSubnet),
        _ => Err(format!("{text:?} is not a tunnel's mode")),
    }
}

fn allowed_use(text: &str) -> Result<PoolUse, String> {
    PoolUse::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| format!("{text:?} is not a pool's use"))
}
