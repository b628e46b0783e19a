//! Bringing a value into a table's types.

use serde_json::{Map, Value};

use super::{Field, Need, Object, Type, Unknown};
use crate::admit::resemblance::unknown_field;
use crate::admit::violation::Violation;
use crate::manifest::Layer;

/// Whole numbers up to here are exact in 64-bit floating point.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

impl Object {
    /// Tests that each field is known and of its type, drops nulls, which mean
    /// that a field is missing, and fills in defaults. Numbers that are written
    /// otherwise than as numbers become numbers.
    pub(in crate::admit) fn decode(&self, value: &mut Value) -> Result<(), Violation> {
        match value {
            Value::Object(fields) => self.decode_fields(fields),
            other => Err(expected("a mapping", other)),
        }
    }

    fn decode_fields(&self, fields: &mut Map<String, Value>) -> Result<(), Violation> {
        fields.retain(|_, value| !value.is_null());
        for (name, value) in fields.iter_mut() {
            match self.fields.iter().find(|field| field.name == name) {
                Some(field) => field.kind.decode(value).map_err(|violation| violation.at(field.name))?,
                None => match self.unknown {
                    Unknown::Kept => {}
                    Unknown::Refused => {
                        return Err(unknown_field(name, self.fields.iter().map(|field| field.name)));
                    }
                },
            }
        }
        self.fields.iter().for_each(|field| field.fill_in(fields));
        Ok(())
    }
}

impl Field {
    fn fill_in(&self, fields: &mut Map<String, Value>) {
        let Need::Default(default) = self.need else {
            return;
        };
        let is_missing = fields.get(self.name).is_none_or(|value| value.as_str().is_some_and(str::is_empty));
        if is_missing {
            fields.insert(self.name.to_owned(), default.into());
        }
    }
}

impl Type {
    fn decode(&self, value: &mut Value) -> Result<(), Violation> {
        match (self, &mut *value) {
            (Self::Any, _)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_))
            | (Self::Text(_) | Self::IntOrText, Value::String(_)) => Ok(()),
            (Self::Boolean, other) => Err(expected("true or false", other)),
            (Self::Number, other) => Err(expected("a number", other)),
            (Self::Text(_), other) => Err(expected("text", other)),
            (Self::Integer { min, max, .. }, _) => decode_integer(value, *min, *max),
            (Self::IntOrText, _) => decode_integer(value, i64::from(i32::MIN), i64::from(i32::MAX)),
            (Self::Port, Value::String(text)) => {
                if let Some(number) = decode_port(text)? {
                    *value = number.into();
                }
                Ok(())
            }
            (Self::Port, _) => decode_integer(value, 0, 65535),
            (Self::Protocol, Value::String(text)) => {
                if let Some(number) = decimal(text).and_then(|number| u8::try_from(number).ok()) {
                    *value = number.into();
                }
                Ok(())
            }
            (Self::Protocol, _) => decode_integer(value, 0, 255),
            (Self::List(list), Value::Array(elements)) => elements
                .iter_mut()
                .enumerate()
                .try_for_each(|(i, element)| list.items.decode(element).map_err(|violation| violation.at_item(i))),
            (Self::List(_), other) => Err(expected("a list", other)),
            (Self::Texts, Value::Object(texts)) => decode_texts(texts),
            (Self::Texts, other) => Err(expected("a mapping", other)),
            (Self::Object(object), _) => object.decode(value),
        }
    }
}

/// A mapping of texts; null is an empty text there.
fn decode_texts(texts: &mut Map<String, Value>) -> Result<(), Violation> {
    for (name, value) in texts {
        match value {
            Value::String(_) => {}
            Value::Null => *value = "".into(),
            other => return Err(expected("text", other).at(name.clone())),
        }
    }
    Ok(())
}

fn decode_integer(value: &mut Value, min: i64, max: i64) -> Result<(), Violation> {
    let Value::Number(number) = &*value else {
        return Err(expected("a whole number", value));
    };
    let whole = number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= MAX_EXACT)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within the exact range")]
        let whole = float as i64;
        Some(whole)
    });
    match whole {
        Some(whole) if (min..=max).contains(&whole) => {
            if !number.is_i64() {
                *value = whole.into();
            }
            Ok(())
        }
        Some(whole) => Err(Violation::new(Layer::Decode, format!("{whole} is not within {min}-{max}"))),
        None => Err(Violation::new(Layer::Decode, format!("{number} is not a whole number of 64 bits"))),
    }
}

/// A port's text: the number if it stands for a single one, nothing for a range
/// or a name.
fn decode_port(text: &str) -> Result<Option<u16>, Violation> {
    let refuse = |reason: String| Err(Violation::new(Layer::Decode, reason));
    let number = |digits: &str| decimal(digits).and_then(|number| u16::try_from(number).ok());
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits(text) {
        return match number(text) {
            Some(port) => Ok(Some(port)),
            None => refuse(format!("port {text} is above 65535")),
        };
    }
    if let Some((first, last)) = text.split_once(':')
        && all_digits(first)
        && all_digits(last)
    {
        return match (number(first), number(last)) {
            (Some(first), Some(last)) if first == last => Ok(Some(first)),
            (Some(first), Some(last)) if first < last => Ok(None),
            (Some(_), Some(_)) => refuse(format!("port range {text} is inverted")),
            _ => refuse(format!("port range {text} reaches above 65535")),
        };
    }
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=128).contains(&text.len()) && text.bytes().all(is_name_byte) {
        return Ok(None);
    }
    refuse(format!("{text:?} is not a port, a range of ports (first:last) or a port's name"))
}

fn decimal(text: &str) -> Option<u64> {
    (text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The value is not of the type that is expected.
fn expected(what: &str, found: &Value) -> Violation {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(boolean) if what == "text" => format!("the boolean {boolean}: quote it"),
        Value::Bool(boolean) => format!("the boolean {boolean}"),
        Value::Number(number) if what == "text" => format!("the number {number}: quote it"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    };
    Violation::new(Layer::Decode, format!("{what} is expected, not {found}"))
}
