//! Which value counts.

use std::collections::BTreeMap;

use crate::kind::Value;
use crate::parameter::{Disposition, Param, Scope, parameter};
use crate::source::{ConfigSources, Source};
use crate::table::PARAMETERS;
use crate::warning::{InForce, Reason, Warning};

#[cfg(test)]
mod tests;

/// Names that Felix uses and does not document as parameters. They are passed
/// on and not warned about.
const UNDOCUMENTED: [&str; 5] = ["CalicoVersion", "ClusterGUID", "ClusterType", "EarlyLogSeverityScreen", "Variant"];

/// The value of a parameter that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The value.
    pub value: Value,
    /// The text it was read from; empty if there is no default.
    pub text: String,
    /// Where it comes from.
    pub source: Source,
}

/// What one source says, for Felix's `ConfigUpdate.source_to_raw_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLayer {
    /// The source.
    pub source: Source,
    /// Texts by parameter name.
    pub texts: BTreeMap<String, String>,
}

/// The values that count, and what is wrong with the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// In the order of [`PARAMETERS`].
    values: Vec<Effective>,
    /// What each source last said that could be read, of those that say
    /// something. Values that a higher source hides are among them.
    good: BTreeMap<(Source, &'static str), Good>,
    unknown: BTreeMap<String, String>,
    layers: Vec<RawLayer>,
    warnings: Vec<Warning>,
}

/// A value with the text that it was read from.
#[derive(Clone, Debug, PartialEq)]
struct Good {
    value: Value,
    text: String,
}

impl ConfigSources {
    /// Decides which values count: of each parameter the highest source's that
    /// has a good one. Empty texts say nothing.
    #[must_use]
    pub fn resolve(&self) -> Resolved {
        self.resolve_after(None)
    }

    /// Like [`resolve`](Self::resolve), while values are in force already: a
    /// source whose value cannot be read any more keeps its last good one,
    /// hidden by a higher source or not.
    #[must_use]
    pub fn resolve_after(&self, previous: Option<&Resolved>) -> Resolved {
        let mut resolved = Resolved {
            values: Vec::with_capacity(PARAMETERS.len()),
            good: BTreeMap::new(),
            unknown: BTreeMap::new(),
            layers: Vec::new(),
            warnings: self.layers.values().flat_map(|layer| layer.warnings.clone()).collect(),
        };
        for parameter in &PARAMETERS {
            let effective = self.effective(parameter, previous, &mut resolved);
            resolved.values.push(effective);
        }
        for (&source, name, text) in self.texts() {
            if parameter(name).is_some() {
                continue;
            }
            resolved.unknown.insert(name.to_owned(), text.to_owned());
            if !UNDOCUMENTED.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                resolved.warnings.push(Warning {
                    name: name.to_owned(),
                    source,
                    value: text.to_owned(),
                    reason: Reason::Unknown { nearest: nearest(name) },
                    in_force: None,
                });
            }
        }
        let layers = self.layers.iter().map(|(&source, layer)| RawLayer { source, texts: layer.texts.clone() });
        resolved.layers = layers.collect();
        resolved
    }

    fn texts(&self) -> impl Iterator<Item = (&Source, &str, &str)> {
        self.layers.iter().flat_map(|(source, layer)| {
            let said = layer.texts.iter().filter(|(_, text)| !text.is_empty());
            said.map(move |(name, text)| (source, name.as_str(), text.as_str()))
        })
    }

    /// The value of a parameter that counts. What is good, and what is wrong, goes to `resolved`.
    fn effective(&self, parameter: &'static Param, previous: Option<&Resolved>, resolved: &mut Resolved) -> Effective {
        let name = parameter.name;
        let mut effective =
            Effective { value: parameter.default_value(), text: parameter.default.to_owned(), source: Source::Default };
        let mut kept = None;
        let mut bad: Vec<(Source, String, Reason)> = Vec::new();
        for (&source, layer) in &self.layers {
            let text = layer.texts.get(name).filter(|text| !text.is_empty());
            let unreadable = layer.unreadable.get(name);
            if let Some((value, reason)) = unreadable {
                bad.push((source, value.clone(), reason.clone()));
            }
            let read = match text {
                Some(text) if parameter.scope == Scope::Local && source.is_datastore() => {
                    bad.push((source, text.clone(), Reason::LocalOnly));
                    continue;
                }
                Some(text) => match parameter.parse(text) {
                    Ok(value) => Some(Good { value, text: text.clone() }),
                    Err(reason) => {
                        bad.push((source, text.clone(), Reason::Text(reason)));
                        None
                    }
                },
                None if unreadable.is_some() => None,
                None => continue,
            };
            let is_kept = read.is_none();
            let held = || previous.and_then(|previous| previous.good.get(&(source, name)).cloned());
            if let Some(good) = read.or_else(held) {
                let Good { value, text } = good.clone();
                effective = Effective { value, text, source };
                kept = is_kept.then_some(source);
                resolved.good.insert((source, name), good);
            }
        }
        for (source, value, reason) in bad {
            let in_force = if kept == Some(source) {
                InForce::LastGood(effective.text.clone())
            } else {
                InForce::Said { text: effective.text.clone(), source: effective.source }
            };
            resolved.warnings.push(Warning { name: name.to_owned(), source, value, reason, in_force: Some(in_force) });
        }
        if let Disposition::Refused(reason) = parameter.disposition
            && effective.value != parameter.default_value()
        {
            resolved.warnings.push(Warning {
                name: name.to_owned(),
                source: effective.source,
                value: effective.text.clone(),
                reason: Reason::Refused(reason),
                in_force: None,
            });
        }
        effective
    }
}

impl Resolved {
    /// What a data half makes of the `config` of a `ConfigUpdate`.
    #[must_use]
    pub fn from_config_map(texts: &BTreeMap<String, String>) -> Self {
        let mut sources = ConfigSources::new();
        sources.set(Source::Override, texts);
        sources.resolve()
    }

    /// Every parameter with the value that counts, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Param, &Effective)> {
        PARAMETERS.iter().zip(&self.values)
    }

    /// The value of a parameter; the name in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Effective> {
        self.iter().find(|(p, _)| p.name.eq_ignore_ascii_case(name)).map(|(_, e)| e)
    }

    /// What does not count, and why.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What each source says, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[RawLayer] {
        &self.layers
    }

    /// The texts that count of everything that some source sets, unknown names
    /// included: the `config` of Felix's `ConfigUpdate`.
    #[must_use]
    pub fn to_config_map(&self) -> BTreeMap<String, String> {
        let set = self.iter().filter(|(p, e)| e.source != Source::Default || e.text != p.default);
        let mut map = self.unknown.clone();
        map.extend(set.map(|(p, e)| (p.name.to_owned(), e.text.clone())));
        map
    }
}

/// The parameter whose name takes the fewest edits to reach, if they are few.
fn nearest(name: &str) -> Option<&'static str> {
    const MOST_EDITS: usize = 3;
    let name = name.to_ascii_lowercase();
    let edits = |p: &Param| strsim::damerau_levenshtein(&name, &p.name.to_ascii_lowercase());
    // What an edit costs grows with the name, which may be as long as a file.
    let is_close = |p: &&Param| p.name.len().abs_diff(name.len()) <= MOST_EDITS;
    let (edits, nearest) = PARAMETERS.iter().filter(is_close).map(|p| (edits(p), p.name)).min()?;
    (edits <= MOST_EDITS && edits * 2 < name.len()).then_some(nearest)
}
