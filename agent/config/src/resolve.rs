//! Which value counts.

use std::collections::BTreeMap;

use crate::kind::Value;
use crate::parameter::{Disposition, Param, Scope, parameter};
use crate::source::{ConfigSources, Source};
use crate::table::PARAMETERS;
use crate::warning::Warning;

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
    unknown: BTreeMap<String, String>,
    layers: Vec<RawLayer>,
    warnings: Vec<Warning>,
}

impl ConfigSources {
    /// Decides which values count: of each parameter the highest source's that
    /// has a good one. Empty texts say nothing.
    #[must_use]
    pub fn resolve(&self) -> Resolved {
        self.resolve_after(None)
    }

    /// Like [`resolve`](Self::resolve), while values are in force already: a
    /// source whose value counted and cannot be read any more keeps it.
    #[must_use]
    pub fn resolve_after(&self, previous: Option<&Resolved>) -> Resolved {
        let mut warnings: Vec<Warning> = self.layers.values().flat_map(|l| l.warnings.clone()).collect();
        let values = PARAMETERS.iter().map(|p| self.effective(p, previous, &mut warnings)).collect();
        let mut unknown = BTreeMap::new();
        for (&source, name, text) in self.texts() {
            if parameter(name).is_some() {
                continue;
            }
            unknown.insert(name.to_owned(), text.to_owned());
            if !UNDOCUMENTED.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                warnings.push(Warning::Unknown { name: name.to_owned(), source, nearest: nearest(name) });
            }
        }
        let layers = self.layers.iter().map(|(&source, layer)| RawLayer { source, texts: layer.texts.clone() });
        Resolved { values, unknown, layers: layers.collect(), warnings }
    }

    fn texts(&self) -> impl Iterator<Item = (&Source, &str, &str)> {
        self.layers.iter().flat_map(|(source, layer)| {
            let said = layer.texts.iter().filter(|(_, text)| !text.is_empty());
            said.map(move |(name, text)| (source, name.as_str(), text.as_str()))
        })
    }

    fn effective(
        &self,
        parameter: &'static Param,
        previous: Option<&Resolved>,
        warnings: &mut Vec<Warning>,
    ) -> Effective {
        let name = parameter.name;
        let previous = previous.and_then(|resolved| resolved.get(name));
        let mut effective =
            Effective { value: parameter.default_value(), text: parameter.default.to_owned(), source: Source::Default };
        for (&source, layer) in &self.layers {
            let kept = previous.filter(|held| held.source == source && source != Source::Default);
            if layer.has_unreadable_field(parameter) && !layer.texts.contains_key(name) {
                effective = kept.cloned().unwrap_or(effective);
            }
            let Some(text) = layer.texts.get(name).filter(|text| !text.is_empty()) else { continue };
            if parameter.scope == Scope::Local && source.is_datastore() {
                warnings.push(Warning::LocalOnly { name, source });
                continue;
            }
            match parameter.parse(text) {
                Ok(value) => effective = Effective { value, text: text.clone(), source },
                Err(reason) => {
                    effective = kept.cloned().unwrap_or(effective);
                    warnings.push(Warning::Invalid { name, source, text: text.clone(), reason });
                }
            }
        }
        if let Disposition::Refused(reason) = parameter.disposition
            && effective.value != parameter.default_value()
        {
            warnings.push(Warning::Refused { name, source: effective.source, text: effective.text.clone(), reason });
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
    let (edits, nearest) = PARAMETERS.iter().map(|p| (edits(p), p.name)).min()?;
    (edits <= MOST_EDITS && edits * 2 < name.len()).then_some(nearest)
}
