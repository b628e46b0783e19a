//! What a plain scalar means.
//!
//! Manifests are read as `kubectl` reads them, whose YAML is 1.1 in this: `yes`
//! and `on` are booleans, `0644` is octal, `1_000` is a number.

use serde_json::{Number, Value};

/// The value of a plain scalar; `None` for one that JSON has no value for
/// (infinities, not-a-number).
pub(super) fn resolve(text: &str) -> Option<Value> {
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => return None,
        _ if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => match number(text) {
            Some(number) => Value::Number(number?),
            None => text.into(),
        },
        _ => text.into(),
    };
    Some(value)
}

/// The number that a scalar is: `None` if it is none, `Some(None)` if it is one
/// beyond all bounds.
fn number(text: &str) -> Option<Option<Number>> {
    let plain = text.replace('_', "");
    if let Some(integer) = integer(&plain) {
        return Some(Some(integer));
    }
    is_decimal(&plain).then(|| plain.parse().ok().and_then(Number::from_f64))
}

/// An integer of 64 bits: decimal, `0x`, `0o`, `0b`, or octal after a bare `0`.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative { 0_i64.checked_sub_unsigned(magnitude).map(Number::from) } else { Some(magnitude.into()) }
}

/// Whether a text is a decimal fraction: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = digits(rest);
    let rest = &rest[whole..];
    let rest = match rest.strip_prefix('.') {
        Some(rest) => {
            let fraction = digits(rest);
            if whole + fraction == 0 {
                return false;
            }
            &rest[fraction..]
        }
        None if whole == 0 => return false,
        None => rest,
    };
    match rest.strip_prefix(['e', 'E']) {
        Some(exponent) => {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        None => rest.is_empty(),
    }
}
