//! The forms that a text may have to be of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_net::{Cidr, CidrError};
use caracal_selector::Selector;
use regex_lite::Regex;

use super::syntax;

/// A form of text. An empty text is of any form: it stands for a missing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// No form.
    Any,
    /// A regular expression that the text matches somewhere.
    Pattern(&'static str),
    /// One of these texts, in upper or lower case.
    AnyCase(&'static [&'static str]),
    /// A selector.
    Selector,
    /// A DNS label.
    DnsLabel,
    /// A DNS subdomain.
    DnsSubdomain,
    /// The name of another resource, which Calico's client tests no length of.
    Reference,
    /// A label's key.
    QualifiedName,
    /// The name of a port.
    PortName,
    /// `*`, or the name of a Linux interface.
    Interface,
    /// A container's id.
    ContainerId,
    /// A MAC address.
    Mac,
    /// An IP address.
    Address,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A prefix.
    Prefix,
    /// A prefix without host bits, or an address alone. (Calico's client refuses
    /// the latter in rules, API servers do not, and it can mean one thing only.)
    Net,
    /// A prefix, or an address alone.
    PrefixOrAddress,
    /// An address, alone or with a prefix length that leaves nothing else.
    SingleAddress,
}

/// Tests a text that is not empty. The error says what is wrong with it.
pub(super) fn check(format: Format, text: &str) -> Result<(), String> {
    let quoted = |fault: &str| Err(format!("{text:?} {fault}"));
    let named = |result: Result<(), syntax::Fault>| result.map_err(|fault| format!("{text:?} {fault}"));
    let is = |holds: bool, what: &str| if holds { Ok(()) } else { quoted(what) };
    match format {
        Format::Any => Ok(()),
        Format::Pattern(pattern) => {
            let regex = Regex::new(pattern).expect("the tables' patterns are regular expressions");
            is(regex.is_match(text), &format!("does not match {pattern}"))
        }
        Format::AnyCase(allowed) => is(
            allowed.iter().any(|one| one.eq_ignore_ascii_case(text)),
            &format!("is not one of {}", allowed.join(", ")),
        ),
        Format::Selector => match Selector::parse(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("not a selector: {error}")),
        },
        Format::DnsLabel => named(syntax::dns_label(text)),
        Format::DnsSubdomain => named(syntax::dns_subdomain(text)),
        Format::Reference => is(
            text.split('.').all(syntax::is_label),
            "is not a name: lower case letters, digits, '-' and '.', with a letter or digit at each end",
        ),
        Format::QualifiedName => named(syntax::qualified_name(text)),
        Format::PortName => named(syntax::port_name(text)),
        Format::Interface => is(
            text == "*" || (text.len() <= 15 && text.bytes().all(is_interface_byte)),
            "is not an interface's name: 1 to 15 letters, digits, '-', '_' and '.', or * for all of them",
        ),
        Format::ContainerId => is(
            has_alphanumeric_ends(text) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "is not a container's id: letters, digits and '-', with a letter or digit at each end",
        ),
        Format::Mac => is(is_mac(text), "is not a MAC address"),
        Format::Address => is(text.parse::<IpAddr>().is_ok(), "is not an IP address"),
        Format::Ipv4 => is(text.parse::<Ipv4Addr>().is_ok(), "is not an IPv4 address"),
        Format::Ipv6 => is(text.parse::<Ipv6Addr>().is_ok(), "is not an IPv6 address"),
        Format::Prefix => Cidr::parse_prefix(text).map(drop).map_err(|error| error.to_string()),
        Format::Net => net(text),
        Format::PrefixOrAddress => text.parse::<Cidr>().map(drop).map_err(|error| error.to_string()),
        Format::SingleAddress => match text.parse::<Cidr>() {
            Ok(cidr) => is(cidr.is_host(), "holds more than one address"),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn net(text: &str) -> Result<(), String> {
    let cidr: Cidr = text.parse().map_err(|error: CidrError| error.to_string())?;
    let address = text.split('/').next().and_then(|address| address.parse::<IpAddr>().ok());
    if address == Some(cidr.addr()) {
        Ok(())
    } else {
        Err(format!("{text:?} has bits set beyond its prefix length, {cidr} has not"))
    }
}

fn is_interface_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

fn has_alphanumeric_ends(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// Six, eight or twenty octets as `aa:bb:…` or `aa-bb-…`, or two to a group as
/// `aabb.ccdd.…`: what Go's `net.ParseMAC` takes.
fn is_mac(text: &str) -> bool {
    let is_form = |separator: char, digits: usize| {
        let groups: Vec<_> = text.split(separator).collect();
        [12, 16, 40].contains(&(groups.len() * digits))
            && groups.iter().all(|group| group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    is_form(':', 2) || is_form('-', 2) || is_form('.', 4)
}
