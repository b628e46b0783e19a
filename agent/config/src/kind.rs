//! How the text of a parameter is read.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use caracal_net::{Cidr, MarkMask, PortRange, ProtocolPort};

use crate::duration::parse_duration;

#[cfg(test)]
mod tests;

/// The form of a parameter's text.
///
/// What the program reads as a list or a structure is checked here and kept as
/// [`Value::Text`]; its reader takes it apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// true, 1, yes, y, t; false, 0, no, n, f; in any case.
    Bool,
    /// A whole number, decimal or after `0x`.
    Integer {
        /// The lowest allowed.
        min: i64,
        /// The highest allowed.
        max: i64,
    },
    /// A number of seconds, maybe with a fraction.
    Seconds,
    /// A number of milliseconds, maybe with a fraction.
    Milliseconds,
    /// One of these words, in any case; the value has the case given here.
    OneOf(&'static [&'static str]),
    /// A 32-bit mask, decimal or after `0x`, with two bits or more.
    MarkMask,
    /// Any text; file names too, which are not looked up.
    Text,
    /// Text that a regular expression matches.
    Pattern(&'static str),
    /// A regular expression.
    Regex,
    /// Interface names and regular expressions between slashes, with commas.
    InterfacePatterns,
    /// `key=value` pairs with commas.
    KeyValues,
    /// `key=duration` pairs with commas; durations as `1m30s`.
    KeyDurations,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// CIDRs with commas.
    Cidrs,
    /// Ports with commas, each `[tcp:|udp:][cidr:]port`; an IPv6 CIDR in square
    /// brackets.
    ProtocolPorts,
    /// A port or `first:last`.
    PortRange,
    /// Ports and ranges of ports with commas.
    PortRanges,
    /// Ranges of route table numbers, `first-last`, with commas or blanks.
    TableRanges {
        /// How many ranges at most.
        count: usize,
        /// The highest table number.
        max: u32,
    },
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// None.
    Unset,
    /// A switch.
    Bool(bool),
    /// A number.
    Integer(i64),
    /// A span of time.
    Duration(Duration),
    /// Bits of the packet mark.
    MarkMask(MarkMask),
    /// Everything else, checked.
    Text(String),
}

/// Why a text is not of a parameter's kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Not what the kind asks for.
    #[error("expected {0}")]
    Expected(String),
    /// `none` for a parameter that must have a value.
    #[error("none is not allowed here")]
    Required,
}

fn expected(what: impl Into<String>) -> BadText {
    BadText::Expected(what.into())
}

impl Kind {
    /// Reads a text.
    ///
    /// # Errors
    /// If the text is not of this kind.
    pub fn parse(&self, text: &str) -> Result<Value, BadText> {
        Ok(match self {
            Kind::Bool => Value::Bool(parse_bool(text)?),
            Kind::Integer { min, max } => Value::Integer(parse_integer(text, *min, *max)?),
            Kind::Seconds => Value::Duration(parse_decimal(text, "seconds", 1.0)?),
            Kind::Milliseconds => Value::Duration(parse_decimal(text, "milliseconds", 1000.0)?),
            Kind::OneOf(options) => Value::Text(parse_option(text, options)?),
            Kind::MarkMask => Value::MarkMask(parse_mark_mask(text)?),
            Kind::Text
            | Kind::Pattern(_)
            | Kind::Regex
            | Kind::InterfacePatterns
            | Kind::KeyValues
            | Kind::KeyDurations
            | Kind::Ipv4
            | Kind::Ipv6
            | Kind::Cidrs
            | Kind::ProtocolPorts
            | Kind::PortRange
            | Kind::PortRanges
            | Kind::TableRanges { .. } => {
                self.check(text)?;
                Value::Text(text.to_owned())
            }
        })
    }

    /// Checks a text that is kept as it is.
    fn check(&self, text: &str) -> Result<(), BadText> {
        match self {
            Kind::Pattern(pattern) => check_pattern(text, pattern),
            Kind::Regex => check_regex(text),
            Kind::InterfacePatterns => items(text).try_for_each(check_interface_pattern),
            Kind::KeyValues => items(text).try_for_each(|item| key_and_value(item).map(drop)),
            Kind::KeyDurations => items(text).try_for_each(|item| match parse_duration(key_and_value(item)?.1) {
                Some(_) => Ok(()),
                None => Err(expected(format!("a duration such as 1m30s in {item:?}"))),
            }),
            Kind::Ipv4 => check_as::<Ipv4Addr>(text, "an IPv4 address"),
            Kind::Ipv6 => check_as::<Ipv6Addr>(text, "an IPv6 address"),
            Kind::Cidrs => items(text).try_for_each(|item| check_as::<Cidr>(item, "a CIDR")),
            Kind::ProtocolPorts => items(text).try_for_each(check_protocol_port),
            Kind::PortRange => check_as::<PortRange>(text, "a port or first:last"),
            Kind::PortRanges => items(text).try_for_each(|item| check_as::<PortRange>(item, "a port or first:last")),
            Kind::TableRanges { count, max } => check_table_ranges(text, *count, *max),
            Kind::Bool
            | Kind::Integer { .. }
            | Kind::Seconds
            | Kind::Milliseconds
            | Kind::OneOf(_)
            | Kind::MarkMask
            | Kind::Text => Ok(()),
        }
    }
}

/// The items of a list with commas, without the blanks around them.
pub(crate) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn parse_bool(text: &str) -> Result<bool, BadText> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "t" => Ok(true),
        "false" | "0" | "no" | "n" | "f" => Ok(false),
        _ => Err(expected("true or false")),
    }
}

fn parse_integer(text: &str, min: i64, max: i64) -> Result<i64, BadText> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let parsed = match hex {
        Some(digits) if !digits.starts_with(['+', '-']) => i64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    };
    match (parsed, min, max) {
        (Some(number), ..) if (min..=max).contains(&number) => Ok(number),
        (_, i64::MIN, i64::MAX) => Err(expected("a whole number")),
        (_, _, i64::MAX) => Err(expected(format!("a whole number from {min}"))),
        _ => Err(expected(format!("a whole number from {min} to {max}"))),
    }
}

fn parse_decimal(text: &str, unit: &str, per_second: f64) -> Result<Duration, BadText> {
    let number: Option<f64> = text.parse().ok();
    number
        .and_then(|number| Duration::try_from_secs_f64(number / per_second).ok())
        .ok_or_else(|| expected(format!("a number of {unit}")))
}

fn parse_option(text: &str, options: &[&str]) -> Result<String, BadText> {
    match options.iter().find(|option| option.eq_ignore_ascii_case(text)) {
        Some(option) => Ok((*option).to_owned()),
        None => Err(expected(format!("one of {}", options.join(", ")))),
    }
}

fn parse_mark_mask(text: &str) -> Result<MarkMask, BadText> {
    let wanted = "a 32-bit mask, decimal or 0x…, with two bits or more";
    match text.parse::<MarkMask>() {
        Ok(mask) if mask.0.count_ones() >= 2 => Ok(mask),
        Ok(mask) => Err(expected(format!("{wanted}, found {}", if mask.0 == 0 { "none" } else { "one" }))),
        Err(_) => Err(expected(wanted)),
    }
}

fn check_as<T: std::str::FromStr>(text: &str, what: &str) -> Result<(), BadText> {
    match text.parse::<T>() {
        Ok(_) => Ok(()),
        Err(_) => Err(expected(format!("{what}, found {text:?}"))),
    }
}

fn check_pattern(text: &str, pattern: &str) -> Result<(), BadText> {
    let regex = regex_lite::Regex::new(pattern).expect("the table's patterns are regular expressions");
    if regex.is_match(text) { Ok(()) } else { Err(expected(format!("text that {pattern} matches"))) }
}

fn check_regex(text: &str) -> Result<(), BadText> {
    match regex_lite::Regex::new(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(expected(format!("a regular expression: {error}"))),
    }
}

/// The longest interface name is IFNAMSIZ - 1 (linux/if.h).
fn check_interface_pattern(item: &str) -> Result<(), BadText> {
    match item.strip_prefix('/').map(|rest| rest.strip_suffix('/')) {
        Some(Some(regex)) => check_regex(regex),
        Some(None) => Err(expected(format!("a slash at the end of {item:?}"))),
        None => check_pattern(item, r"^[^/\s]{1,15}$"),
    }
}

fn key_and_value(item: &str) -> Result<(&str, &str), BadText> {
    match item.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key, value)),
        _ => Err(expected(format!("key=value, found {item:?}"))),
    }
}

fn check_protocol_port(item: &str) -> Result<(), BadText> {
    let checked = item.parse::<ProtocolPort>().map(drop);
    checked.map_err(|_| expected(format!("[tcp:|udp:][cidr:]port, found {item:?}")))
}

/// The most tables that all ranges together may hold.
const MAX_TABLES: u64 = 65535;

fn check_table_ranges(text: &str, count: usize, max: u32) -> Result<(), BadText> {
    let ranges: Vec<&str> = text.split([',', ' ', '\t']).filter(|r| !r.is_empty()).collect();
    if ranges.is_empty() || ranges.len() > count {
        return Err(expected(if count == 1 { "one range" } else { "a range" }));
    }
    let mut tables = 0;
    for range in ranges {
        let ends = range
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse::<u32>().ok()?, last.parse::<u32>().ok()?)));
        match ends {
            Some((first, last)) if first <= last && last <= max => tables += u64::from(last - first) + 1,
            _ => return Err(expected(format!("first-last up to {max}, found {range:?}"))),
        }
    }
    if tables > MAX_TABLES {
        return Err(expected(format!("{MAX_TABLES} tables at most, found {tables}")));
    }
    Ok(())
}
