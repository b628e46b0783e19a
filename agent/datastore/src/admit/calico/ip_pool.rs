//! IPPool.
//!
//! That pools must not overlap is no matter of one object: the calculation graph
//! sees to it.

use std::ops::RangeInclusive;

use caracal_net::{Cidr, Family};
use serde_json::Value;

use super::{API_VERSION, KIND, METADATA, SELECTOR, STATUS, no_global};
use crate::admit::fields::{self, Fields};
use crate::admit::format::Format;
use crate::admit::schema::{List, Object, Type, defaulted, limited, one_of, optional, required, short};
use crate::admit::violation::Violation;
use crate::admit::{Admission, Gate, syntax};

pub(in crate::admit) static ADMISSION: Admission = Admission {
    gate: Gate::Calico,
    schema: &Object::of(&[API_VERSION, KIND, METADATA, required("spec", Type::Object(&SPEC)), STATUS]),
    name: syntax::dns_subdomain,
    fill_in: |_| {},
};

const TUNNEL: Type = one_of(&["", "Never", "Always", "CrossSubnet"]);

static SPEC: Object = Object::of(&[
    required("cidr", short(Format::Prefix, 48)),
    optional("vxlanMode", TUNNEL),
    optional("ipipMode", TUNNEL),
    optional("natOutgoing", Type::Boolean),
    optional("disabled", Type::Boolean),
    optional("disableBGPExport", Type::Boolean),
    optional("blockSize", limited(0, 128)),
    defaulted("nodeSelector", SELECTOR, "all()"),
    optional("namespaceSelector", SELECTOR),
    optional("allowedUses", Type::List(&List::of(one_of(&["Workload", "Tunnel", "LoadBalancer"])).max(10))),
    defaulted("assignmentMode", one_of(&["Automatic", "Manual"]), "Automatic"),
])
.rules(&[
    one_tunnel,
    prefix_is_usable,
    blocks_fit,
    uses_agree,
    |pool| no_global(pool, "nodeSelector"),
    |pool| no_global(pool, "namespaceSelector"),
]);

/// Addresses of the link, which belong to no pool (RFC 3927, RFC 4291 §2.5.6).
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];

fn has_tunnel(pool: &Fields, mode: &str) -> bool {
    !matches!(fields::text(pool, mode), "" | "Never")
}

fn one_tunnel(pool: &Fields) -> Result<(), Violation> {
    if has_tunnel(pool, "ipipMode") && has_tunnel(pool, "vxlanMode") {
        return Err(Violation::crd("cannot go with an ipipMode: a pool has one kind of tunnel").at("vxlanMode"));
    }
    Ok(())
}

fn prefix(pool: &Fields) -> Option<Cidr> {
    Cidr::parse_prefix(fields::text(pool, "cidr")).ok()
}

fn prefix_is_usable(pool: &Fields) -> Result<(), Violation> {
    let Some(cidr) = prefix(pool) else { return Ok(()) };
    let written = fields::text(pool, "cidr");
    let address = written.split_once('/').and_then(|(address, _)| address.parse().ok());
    if address != Some(cidr.addr()) {
        let reason = format!("{written:?} has bits set beyond its prefix length, {cidr} has not");
        return Err(Violation::crd(reason).at("cidr"));
    }
    for text in LINK_LOCAL {
        let local: Cidr = text.parse().expect("the constants are prefixes");
        if local.covers(&cidr) || cidr.covers(&local) {
            return Err(Violation::crd(format!("{written:?} overlaps the link's own {local}")).at("cidr"));
        }
    }
    if cidr.family() == Family::V6 && has_tunnel(pool, "ipipMode") {
        return Err(Violation::crd("is for IPv4 pools only").at("ipipMode"));
    }
    Ok(())
}

/// Addresses are handed to nodes in blocks: limits and defaults of a block's
/// prefix length.
fn blocks_fit(pool: &Fields) -> Result<(), Violation> {
    let Some(cidr) = prefix(pool) else { return Ok(()) };
    let (limits, default) = block_sizes(cidr.family());
    let size = match fields::integer(pool, "blockSize").unwrap_or_default() {
        0 => default,
        size if limits.contains(&size) => size,
        size => {
            let reason = format!("{size} is not within {}-{}", limits.start(), limits.end());
            return Err(Violation::crd(reason).at("blockSize"));
        }
    };
    if !fields::is_set(pool, "disabled") && i64::from(cidr.len()) > size {
        return Err(Violation::crd(format!("{cidr} is smaller than a block, which is a /{size}")).at("cidr"));
    }
    Ok(())
}

/// What never changes while a pool is there, as addresses and blocks were handed
/// out by it.
pub(in crate::admit) fn fixed(pool: &Fields) -> [(&'static str, Value); 2] {
    let default = prefix(pool).map(|cidr| block_sizes(cidr.family()).1);
    let size = fields::integer(pool, "blockSize").filter(|size| *size != 0).or(default);
    [("cidr", fields::text(pool, "cidr").into()), ("blockSize", size.into())]
}

/// The prefix lengths that a block may have, and the one that it has if nothing is said.
fn block_sizes(family: Family) -> (RangeInclusive<i64>, i64) {
    match family {
        Family::V4 => (20..=32, 26),
        Family::V6 => (116..=128, 122),
    }
}

fn uses_agree(pool: &Fields) -> Result<(), Violation> {
    let has = |allowed: &str| fields::texts(pool, "allowedUses").any(|other| other == allowed);
    if has("Tunnel") && !fields::text(pool, "namespaceSelector").is_empty() {
        return Err(Violation::crd("cannot go with the use Tunnel").at("namespaceSelector"));
    }
    if !has("LoadBalancer") {
        return Ok(());
    }
    let alone = |field: &'static str| Err(Violation::crd("cannot go with the use LoadBalancer").at(field));
    if has("Workload") || has("Tunnel") {
        return Err(Violation::crd("LoadBalancer goes with no other use").at("allowedUses"));
    }
    for mode in ["ipipMode", "vxlanMode"] {
        if has_tunnel(pool, mode) {
            return alone(mode);
        }
    }
    if fields::is_set(pool, "disableBGPExport") {
        return alone("disableBGPExport");
    }
    if fields::text(pool, "nodeSelector") != "all()" {
        return alone("nodeSelector");
    }
    Ok(())
}
