//! Testing what decoded against a table's limits and rules.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Field, List, Need, Object, Repeats, Text, Type};
use crate::admit::format::{self, Format};
use crate::admit::violation::Violation;
use crate::admit::{Gate, syntax};

/// The protocols that have names in Calico's policies, as written there.
const PROTOCOL_NAMES: [&str; 6] = ["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"];

impl Object {
    /// Tests a value that has decoded.
    pub(in crate::admit) fn check(&self, value: &Value, gate: Gate) -> Result<(), Violation> {
        let Value::Object(fields) = value else {
            return Ok(());
        };
        for field in self.fields {
            field.check(fields, gate).map_err(|violation| violation.at(field.name))?;
        }
        self.rules.iter().try_for_each(|rule| rule(fields))
    }
}

impl Field {
    fn check(&self, fields: &Map<String, Value>, gate: Gate) -> Result<(), Violation> {
        let value = fields.get(self.name);
        if let Need::Required = self.need
            && value.is_none_or(|value| value.as_str().is_some_and(str::is_empty))
        {
            return Err(Violation::new(gate.of_limits(), "is missing"));
        }
        value.map_or(Ok(()), |value| self.kind.check(value, gate))
    }
}

impl Type {
    fn check(&self, value: &Value, gate: Gate) -> Result<(), Violation> {
        match (self, value) {
            (Self::Integer { limits: Some((min, max)), .. }, _) => match value.as_i64() {
                Some(number) if !(*min..=*max).contains(&number) => {
                    Err(Violation::new(gate.of_limits(), format!("{number} is not within {min}-{max}")))
                }
                _ => Ok(()),
            },
            (Self::Text(text), Value::String(value)) => text.check(value, gate),
            (Self::Port, Value::Number(number)) if number.as_i64() == Some(0) => {
                Err(Violation::client("port 0 is not within 1-65535"))
            }
            (Self::Port, Value::String(text)) => check_port(text),
            (Self::Protocol, Value::Number(number)) if number.as_i64() == Some(0) => {
                Err(Violation::client("protocol 0 is not within 1-255"))
            }
            (Self::Protocol, Value::String(name)) if !PROTOCOL_NAMES.contains(&name.as_str()) => {
                Err(Violation::client(format!("{name:?} is not a protocol: 1-255, {}", PROTOCOL_NAMES.join(", "))))
            }
            (Self::List(list), Value::Array(elements)) => list.check(elements, gate),
            (Self::Object(object), _) => object.check(value, gate),
            _ => Ok(()),
        }
    }
}

impl Text {
    fn check(&self, text: &str, gate: Gate) -> Result<(), Violation> {
        if !self.allowed.is_empty() && !self.allowed.contains(&text) {
            let reason = format!("{text:?} is not one of {}", self.allowed.join(", "));
            return Err(Violation::new(gate.of_limits(), reason));
        }
        if text.len() > self.max_length && text.chars().count() > self.max_length {
            let reason = format!("is longer than {} characters", self.max_length);
            return Err(Violation::new(gate.of_limits(), reason));
        }
        if text.is_empty() {
            return Ok(());
        }
        format::check(self.format, text).map_err(|fault| {
            let layer = match self.format {
                Format::Pattern(_) | Format::AnyCase(_) => gate.of_limits(),
                _ => gate.of_forms(),
            };
            Violation::new(layer, fault)
        })
    }
}

impl List {
    fn check(&self, elements: &[Value], gate: Gate) -> Result<(), Violation> {
        let count = elements.len();
        if count < self.min {
            let reason = format!("has {count} elements, {} at least are needed", self.min);
            return Err(Violation::new(gate.of_limits(), reason));
        }
        if count > self.max {
            let reason = format!("has {count} elements, {} at most are allowed", self.max);
            return Err(Violation::new(gate.of_limits(), reason));
        }
        let mut seen = HashSet::new();
        for (i, element) in elements.iter().enumerate() {
            if let Repeats::Refused = self.repeats
                && !seen.insert(element)
            {
                return Err(Violation::new(gate.of_limits(), format!("{element} occurs twice")).at_item(i));
            }
            self.items.check(element, gate).map_err(|violation| violation.at_item(i))?;
        }
        Ok(())
    }
}

/// A range of ports, whose order decoding has tested, or a port's name.
fn check_port(text: &str) -> Result<(), Violation> {
    match text.split_once(':') {
        Some((first, _)) if first.bytes().all(|digit| digit == b'0') => {
            Err(Violation::client(format!("port range {text} begins below 1")))
        }
        Some(_) => Ok(()),
        None => syntax::port_name(text).map_err(|fault| Violation::client(format!("{text:?} {fault}"))),
    }
}
