//! Names of kernel objects and texts of comments.
//!
//! A name depends only on what it names, so that a restarted agent finds its
//! objects again, and says it in words where it can. Names that the kernel
//! (`NFT_NAME_MAXLEN`, 256) or nft's grammar would refuse are given as a hash.

use std::fmt::Write as _;

use caracal_net::{Cidr, Family, PortRange};
use caracal_program::{Direction, FailsafePoint, PolicyId, ProgramKey};
use sha2::{Digest, Sha256};

use crate::ir::{Comment, IfName, LogPrefix, Name, SetKind};
use crate::lower::{HostPoint, Stage};

/// The longest name that is spelled out; the rest of the kernel's 255 bytes is
/// for suffixes.
const LONGEST: usize = 160;

/// The longest comment ([`Comment`]).
const LONGEST_COMMENT: usize = 127;

/// The longest log prefix ([`LogPrefix`]).
const LONGEST_PREFIX: usize = 126;

/// Characters of a digest that stand for the id of an IP set: its name with the kernel's
/// zero takes a word of memory.
const BRIEF: usize = 6;

/// The longest id of an IP set that stands for itself.
const LONGEST_OWN: usize = 7;

/// The length of a SHA-224 in base64 without padding.
const DIGEST: usize = 38;

/// The digits of base64 for URLs (RFC 4648).
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The second part of a hashed name. No name that is spelled out has it.
const HASHED: &str = "hash";

/// The base chain that judges forwarded packets of a direction.
#[must_use]
pub fn base(direction: Direction) -> Name {
    named(match direction {
        Direction::Egress => "forward-egress",
        Direction::Ingress => "forward-ingress",
    })
}

/// The base chain that judges packets from workloads to this host by their
/// egress policy.
#[must_use]
pub fn to_host() -> Name {
    named("input-egress")
}

/// The base chain that decides about packets from workloads to this host that
/// their egress policy let through.
#[must_use]
pub fn endpoint_to_host() -> Name {
    named("input-endpoint-to-host")
}

/// The base chain of what this host sends on connections that policy denies now.
#[must_use]
pub fn revoked_output() -> Name {
    named("output-revoked")
}

/// The chain that ends connections that policy denies now.
#[must_use]
pub fn revoked() -> Name {
    named("revoked")
}

/// The base chain that leads packets of workloads to the check of their source.
#[must_use]
pub fn source() -> Name {
    named("prerouting-source")
}

/// The chain that drops packets of workloads that come from addresses of others.
#[must_use]
pub fn source_check() -> Name {
    named("workload-source")
}

/// The chain that drops what workloads send about connections of others.
#[must_use]
pub fn related_check() -> Name {
    named("workload-related")
}

/// The chain that lets pass what is established and for this host.
#[must_use]
pub fn established_here() -> Name {
    named("input-established")
}

/// The chain that drops what workloads send to this host's loopback addresses.
#[must_use]
pub fn loopback_check() -> Name {
    named("workload-loopback")
}

/// The set of workload interfaces with the sources that their packets may have:
/// addresses one by one, or ranges.
#[must_use]
pub fn sources(kind: SetKind) -> Name {
    named(class_of(kind))
}

/// The base chain that translates addresses of pools.
#[must_use]
pub fn nat_outgoing() -> Name {
    named("nat-outgoing")
}

/// The set of pools whose addresses are translated.
#[must_use]
pub fn nat_from(family: Family) -> Name {
    named(match family {
        Family::V4 => "nat-from4",
        Family::V6 => "nat-from6",
    })
}

/// The set of prefixes to which no address is translated.
#[must_use]
pub fn nat_inside(family: Family) -> Name {
    named(match family {
        Family::V4 => "nat-inside4",
        Family::V6 => "nat-inside6",
    })
}

/// The base chain that ends packets to services that are none.
#[must_use]
pub fn service_loops() -> Name {
    named("forward-service-loops")
}

/// The set of prefixes that services get addresses from.
#[must_use]
pub fn service_prefixes(family: Family) -> Name {
    named(match family {
        Family::V4 => "service-prefixes4",
        Family::V6 => "service-prefixes6",
    })
}

/// The base chain that lets only hosts of the cluster send through tunnels.
#[must_use]
pub fn tunnels() -> Name {
    named("input-tunnels")
}

/// The set of hosts that tunnels lead to.
#[must_use]
pub fn tunnel_hosts(family: Family) -> Name {
    named(match family {
        Family::V4 => "tunnel-hosts4",
        Family::V6 => "tunnel-hosts6",
    })
}

/// The verdict map from workload interfaces to their endpoints' chains.
#[must_use]
pub fn dispatch(direction: Direction) -> Name {
    named(match direction {
        Direction::Egress => "from-workload",
        Direction::Ingress => "to-workload",
    })
}

/// The chain of one rule that leads from an interface to its program.
#[must_use]
pub fn stub(direction: Direction, interface: &IfName) -> Name {
    let class = match direction {
        Direction::Egress => "from",
        Direction::Ingress => "to",
    };
    spelled(class, &[interface.as_str()])
}

/// The chain of a program.
#[must_use]
pub fn program(direction: Direction, key: ProgramKey) -> Name {
    named(format!("program-{direction}/{key}"))
}

/// The chain of a program's tier that has a chain of its own.
#[must_use]
pub fn tier(program: &str, index: usize) -> Name {
    named(format!("{program}/tier-{index}"))
}

/// The chain of a policy's rules in the filter hooks.
#[must_use]
pub fn policy(direction: Direction, id: &PolicyId) -> Name {
    policy_at(Stage::Filter, direction, id)
}

/// The chain of a policy's rules at a stage.
#[must_use]
pub(crate) fn policy_at(stage: Stage, direction: Direction, id: &PolicyId) -> Name {
    spelled(&format!("policy-{direction}{}", suffix(stage)), &[&id.kind, &id.namespace, &id.name])
}

/// The chain of a profile's rules.
#[must_use]
pub(crate) fn profile(stage: Stage, direction: Direction, name: &str) -> Name {
    spelled(&format!("profile-{direction}{}", suffix(stage)), &[name])
}

const fn suffix(stage: Stage) -> &'static str {
    match stage {
        Stage::Filter => "",
        Stage::Leaving => "-leaving",
        Stage::PreDnat => "-pre-dnat",
        Stage::Untracked => "-untracked",
    }
}

/// The base chain that leads to the programs of host endpoints at one point of
/// a packet's way.
#[must_use]
pub(crate) fn host(point: HostPoint) -> Name {
    named(host_word(point))
}

/// The verdict map of a point from interfaces to the chains of their host endpoints.
#[must_use]
pub(crate) fn host_dispatch(point: HostPoint) -> Name {
    named(format!("{}-by-interface", host_word(point)))
}

/// The chain that leads from a point and an interface to the program of its
/// host endpoint; without an interface, of the endpoint of all others.
#[must_use]
pub(crate) fn host_stub(point: HostPoint, interface: Option<&IfName>) -> Name {
    match interface {
        Some(interface) => spelled(host_word(point), &[interface.as_str()]),
        None => named(format!("{}-others", host_word(point))),
    }
}

const fn host_word(point: HostPoint) -> &'static str {
    match point {
        HostPoint::UntrackedIngress => "host-untracked-ingress",
        HostPoint::UntrackedEgress => "host-untracked-egress",
        HostPoint::PreDnat => "host-pre-dnat",
        HostPoint::Input => "host-input",
        HostPoint::ForwardIngress => "host-forward-ingress",
        HostPoint::ForwardEgress => "host-forward-egress",
        HostPoint::Output => "host-output",
        HostPoint::Translated => "host-translated",
    }
}

/// The chain of the ports that no policy of a host endpoint closes.
#[must_use]
pub fn failsafe(direction: Direction, point: FailsafePoint) -> Name {
    named(match point {
        FailsafePoint::Tracked => format!("failsafe-{direction}"),
        FailsafePoint::Untracked => format!("failsafe-{direction}-untracked"),
    })
}

/// A chain that holds the alternatives of one rule of another chain.
#[must_use]
pub fn alternatives(chain: &str, rule: usize, family: Option<Family>, step: usize) -> Name {
    let family = family.map_or("", |family| match family {
        Family::V4 => "-v4",
        Family::V6 => "-v6",
    });
    named(format!("{chain}/{rule}{family}-{step}"))
}

/// The kernel's set for one kind of members of an IP set. Version 0 is the
/// first; each copy of the set gets the next.
///
/// It is short, as the kernel compares it with the names of all sets for each rule
/// that looks one up: a letter, a capital one for IPv6, and the beginning of an id
/// that is a digest. Two sets may have one name: whoever makes the second one gives it
/// another version.
#[must_use]
pub fn ip_set(kind: SetKind, id: &str, version: u32) -> Name {
    let brief = brief(id);
    named(match (kind, version) {
        (SetKind::Addrs(Family::V4), 0) => format!("a{brief}"),
        (SetKind::Addrs(Family::V6), 0) => format!("A{brief}"),
        (SetKind::Nets(Family::V4), 0) => format!("n{brief}"),
        (SetKind::Nets(Family::V6), 0) => format!("N{brief}"),
        (SetKind::AddrPorts(Family::V4), 0) => format!("p{brief}"),
        (SetKind::AddrPorts(Family::V6), 0) => format!("P{brief}"),
        (kind, 0) => format!("{}-{brief}", class_of(kind)),
        (kind, version) => return ip_set_version(&ip_set(kind, id, 0), version),
    })
}

/// A copy of an IP set's kernel set, from its first name.
#[must_use]
pub(crate) fn ip_set_version(first: &Name, version: u32) -> Name {
    named(format!("{first}/v{version}"))
}

/// A few characters for the id of an IP set: the first ones of a SHA-224 in base64, as
/// ids mostly have it behind their prefix; those of a selector's that is short; else of
/// a digest of the id.
fn brief(id: &str) -> String {
    let (prefix, own) = id.split_once(':').unwrap_or((id, ""));
    let legal = own.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    match own.len() {
        1..=LONGEST_OWN if legal && prefix == "s" => own.to_owned(),
        DIGEST if legal => own[..BRIEF].to_owned(),
        _ => {
            let digest: [u8; 32] = Sha256::digest(id).into();
            digest[..BRIEF].iter().map(|byte| char::from(DIGITS[usize::from(byte % 64)])).collect()
        }
    }
}

/// The first name and the version of a copy of an IP set's kernel set; `None`
/// for any other name.
#[must_use]
pub fn ip_set_copy(name: &Name) -> Option<(Name, u32)> {
    let (first, version) = name.rsplit_once("/v")?;
    let version = version.parse().ok().filter(|version| *version > 0)?;
    Some((Name::new(first).ok()?, version))
}

/// The shared set of a rule's prefixes. Equal lists have equal names.
#[must_use]
pub fn net_list(kind: SetKind, nets: &[Cidr]) -> Name {
    let mut text = String::new();
    for net in nets {
        write!(text, "{net},").expect("a string takes any text");
    }
    named(format!("{}-list/{}", class_of(kind), digest(&text)))
}

/// The shared set of a rule's ports, spelled out if the list is short.
#[must_use]
pub fn port_list(kind: SetKind, ports: &[PortRange]) -> Name {
    let mut text = String::new();
    for (i, range) in ports.iter().enumerate() {
        let sep = if i == 0 { "" } else { "_" };
        match range.first() == range.last() {
            true => write!(text, "{sep}{}", range.first()),
            false => write!(text, "{sep}{}-{}", range.first(), range.last()),
        }
        .expect("a string takes any text");
    }
    spelled(class_of(kind), &[&text])
}

/// The set of protocols whose header begins with two ports.
#[must_use]
pub fn protocols_with_ports() -> Name {
    named("protocols-with-ports")
}

/// A text as the comment of a rule: characters that nft cannot quote are
/// replaced, and what is too long is cut and told apart by a hash.
#[must_use]
pub fn comment(text: &str) -> Comment {
    Comment::new(quotable(text, LONGEST_COMMENT)).expect("the text was cut to a comment's length")
}

/// The text of the comment of a rule that denies what no policy of a tier decided.
#[must_use]
pub fn end_of_tier(tier: &str) -> String {
    format!("end of tier {tier}")
}

/// The text of the comment of a rule that denies what nothing decided.
#[must_use]
pub fn no_match(direction: Direction) -> String {
    format!("no policy or profile allows this {direction}")
}

/// The comment of a rule of a list: the list's title, cut if it is too long, and
/// the rule's place.
#[must_use]
pub fn rule_comment(title: &str, index: usize) -> Comment {
    let place = format!(" {index}");
    let title = quotable(title, LONGEST_COMMENT - place.len());
    Comment::new(title + &place).expect("the title was cut so that its place fits")
}

/// The place of a rule that has the comment which [`rule_comment`] gives it.
#[must_use]
pub fn place_of_rule(title: &str, comment: &Comment) -> Option<usize> {
    let index = comment.rsplit(' ').next()?.parse().ok()?;
    (rule_comment(title, index) == *comment).then_some(index)
}

/// A text, not empty, as the prefix of a Log statement.
#[must_use]
pub fn log_prefix(text: &str) -> LogPrefix {
    LogPrefix::new(quotable(text, LONGEST_PREFIX)).expect("the text was cut to a prefix's length")
}

fn named(text: impl AsRef<str>) -> Name {
    Name::new(text.as_ref()).expect("every name is made of parts that were cut")
}

fn quotable(text: &str, longest: usize) -> String {
    let plain: String =
        text.chars().map(|c| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\') { c } else { '?' }).collect();
    if plain.len() <= longest {
        return plain;
    }
    let hash = &digest(text)[..8];
    format!("{}~{hash}", &plain[..longest - 1 - hash.len()])
}

fn class_of(kind: SetKind) -> &'static str {
    match kind {
        SetKind::Addrs(Family::V4) => "addrs4",
        SetKind::Addrs(Family::V6) => "addrs6",
        SetKind::Nets(Family::V4) => "nets4",
        SetKind::Nets(Family::V6) => "nets6",
        SetKind::AddrPorts(Family::V4) => "addrports4",
        SetKind::AddrPorts(Family::V6) => "addrports6",
        SetKind::Ports => "ports",
        SetKind::PortRanges => "portranges",
        SetKind::Protocols => "protocols",
        SetKind::Interfaces => "interfaces",
        SetKind::WorkloadAddrs(Family::V4) => "workload-addrs4",
        SetKind::WorkloadAddrs(Family::V6) => "workload-addrs6",
        SetKind::WorkloadNets(Family::V4) => "workload-nets4",
        SetKind::WorkloadNets(Family::V6) => "workload-nets6",
    }
}

/// `class/part/part…`, or `class/hash/…` if the parts have characters outside
/// nft's identifiers or are too long together.
fn spelled(class: &str, parts: &[&str]) -> Name {
    let legal = |part: &&str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let joined = parts.join("/");
    let plain = parts.iter().all(legal) && parts.first() != Some(&HASHED) && joined.len() <= LONGEST;
    named(match plain {
        true => format!("{class}/{joined}"),
        // The lengths keep ("a/b", "c") and ("a", "b/c") apart.
        false => {
            let lengths: Vec<_> = parts.iter().map(|part| part.len().to_string()).collect();
            format!("{class}/{HASHED}/{}", digest(&format!("{}:{joined}", lengths.join(","))))
        }
    })
}

/// 128 bits of SHA-256, as 32 hexadecimal digits: nobody can choose texts with
/// equal digests.
fn digest(text: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(text).into();
    let mut out = String::with_capacity(32);
    for byte in &digest[..16] {
        write!(out, "{byte:02x}").expect("a string takes any text");
    }
    out
}

#[cfg(test)]
mod tests;
