//! Pools of addresses.

use caracal_proto::felix;

use super::{FieldResult, Subject, required};
use crate::{Fault, IpPool, PoolId, ProgramError, TunnelMode};

pub(crate) fn pool_id(message: &'static str, id: &str) -> Result<PoolId, ProgramError> {
    if id.is_empty() {
        let subject = Subject { message, object: &"a pool without an id" };
        return Err(subject.error(None, ("id", Fault::Missing)));
    }
    Ok(PoolId(id.into()))
}

pub(crate) fn pool(update: &felix::IpamPoolUpdate) -> Result<(PoolId, IpPool), ProgramError> {
    const MESSAGE: &str = "IPAMPoolUpdate";
    let id = pool_id(MESSAGE, &update.id)?;
    let subject = Subject { message: MESSAGE, object: &format_args!("pool {id}") };
    // What a pool may be used for concerns who hands out its addresses.
    let felix::IpamPool { cidr, masquerade, ipip_mode, vxlan_mode, allowed_uses: _ } =
        subject.check(required("pool", update.pool.as_ref()))?;
    let cidr = subject.check(cidr.parse().map_err(|fault| ("pool.cidr", Fault::Cidr(fault))))?;
    let ipip = subject.check(tunnel("pool.ipip_mode", ipip_mode))?;
    let vxlan = subject.check(tunnel("pool.vxlan_mode", vxlan_mode))?;
    Ok((id, IpPool { cidr, masquerade: *masquerade, ipip, vxlan }))
}

/// Felix's spelling of a mode (`libcalico-go/lib/backend/encap`).
fn tunnel(field: &'static str, text: &str) -> FieldResult<TunnelMode> {
    match text {
        "" | "never" => Ok(TunnelMode::Never),
        "always" => Ok(TunnelMode::Always),
        "cross-subnet" => Ok(TunnelMode::CrossSubnet),
        _ => Err((field, Fault::TunnelMode(text.to_owned()))),
    }
}
