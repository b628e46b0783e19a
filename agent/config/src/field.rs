//! Fields of a FelixConfiguration resource, to the texts of parameters.

use serde_json::{Map, Value as Json};

use crate::duration::{decimal, parse_duration};
use crate::kind::{Kind, items};
use crate::parameter::Param;

#[cfg(test)]
mod tests;

/// A field's value has no form that its parameter knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct FieldError(&'static str);

impl Param {
    /// The text that a field's value stands for; `None` if the field says
    /// nothing (null, an empty string, an empty list).
    ///
    /// Durations become decimal numbers, lists get commas, and an empty list of
    /// ports becomes `none`: it means no ports, not the default ones.
    ///
    /// # Errors
    /// If the value has no text form that the parameter knows. The text is not
    /// checked further than that: it is when it counts.
    pub fn text_of_field(&self, value: &Json) -> Result<Option<String>, FieldError> {
        let text = match value {
            Json::Null => return Ok(None),
            Json::Bool(switch) => switch.to_string(),
            Json::Number(number) => number.to_string(),
            Json::String(text) => self.text_of_string(text)?,
            Json::Array(list) if list.is_empty() && self.kind == Kind::ProtocolPorts => "none".to_owned(),
            Json::Array(list) => {
                let texts: Result<Vec<_>, _> = list.iter().map(|item| self.text_of_item(item)).collect();
                texts?.join(",")
            }
            Json::Object(object) => self.text_of_object(object)?,
        };
        Ok((!text.is_empty()).then_some(text))
    }

    fn text_of_string(&self, text: &str) -> Result<String, FieldError> {
        let per_second = match self.kind {
            Kind::Seconds => 1,
            Kind::Milliseconds => 1000,
            _ => return Ok(text.to_owned()),
        };
        if text.is_empty() {
            return Ok(String::new());
        }
        let duration = parse_duration(text).ok_or(FieldError("a duration such as 1m30s"))?;
        Ok(decimal(duration, per_second))
    }

    fn text_of_item(&self, item: &Json) -> Result<String, FieldError> {
        match item {
            Json::String(text) => Ok(text.clone()),
            Json::Number(number) => Ok(number.to_string()),
            Json::Object(object) => self.text_of_object(object),
            Json::Null | Json::Bool(_) | Json::Array(_) => Err(FieldError("a list of texts, numbers or objects")),
        }
    }

    fn text_of_object(&self, object: &Map<String, Json>) -> Result<String, FieldError> {
        match self.kind {
            Kind::ProtocolPorts => port_text(object),
            Kind::TableRanges { .. } => table_range_text(object),
            Kind::KeyDurations => match (text_at(object, "name"), text_at(object, "timeout")) {
                (Some(name), Some(timeout)) => Ok(format!("{name}={timeout}")),
                _ => Err(FieldError("objects with name and timeout")),
            },
            Kind::KeyValues => self.pairs_text(object),
            _ => Err(FieldError("no object")),
        }
    }

    /// The default, if there is one, knows how the keys are spelled in a text:
    /// `TCPSynSent` for the field `tcpSynSent`.
    fn pairs_text(&self, object: &Map<String, Json>) -> Result<String, FieldError> {
        let known: Vec<&str> = items(self.default).filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
        let mut pairs = Vec::with_capacity(object.len());
        for (key, value) in object {
            let value = value.as_str().ok_or(FieldError("an object of texts"))?;
            let spelled = known.iter().find(|k| k.eq_ignore_ascii_case(key));
            pairs.push(format!("{}={value}", spelled.copied().unwrap_or(key)));
        }
        Ok(pairs.join(","))
    }
}

fn text_at<'o>(object: &'o Map<String, Json>, key: &str) -> Option<&'o str> {
    object.get(key).and_then(Json::as_str)
}

fn port_text(object: &Map<String, Json>) -> Result<String, FieldError> {
    let port = object.get("port").and_then(Json::as_u64);
    let port = port.ok_or(FieldError("objects with a port"))?;
    let protocol = text_at(object, "protocol").unwrap_or("tcp").to_ascii_lowercase();
    // The resource's schema leaves the protocol open; the parameter knows two.
    if !["tcp", "udp"].contains(&protocol.as_str()) {
        return Err(FieldError("protocol TCP or UDP"));
    }
    Ok(match text_at(object, "net") {
        None | Some("") => format!("{protocol}:{port}"),
        Some(net) if net.contains(':') => format!("{protocol}:[{net}]:{port}"),
        Some(net) => format!("{protocol}:{net}:{port}"),
    })
}

fn table_range_text(object: &Map<String, Json>) -> Result<String, FieldError> {
    let end = |key| object.get(key).and_then(Json::as_u64);
    match (end("min"), end("max")) {
        (Some(min), Some(max)) => Ok(format!("{min}-{max}")),
        _ => Err(FieldError("objects with min and max")),
    }
}
