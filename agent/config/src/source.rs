//! Where values come from.

use std::collections::BTreeMap;
use std::fmt;

use config::{FileFormat, Source as _};
use serde_json::{Map, Value as Json};

use crate::parameter::{parameter, parameter_of_field};
use crate::warning::{InForce, Reason, Warning};

/// Where a value comes from. A later one wins over an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The parameter's default, or what the program finds for itself (the
    /// host's name).
    Default,
    /// The FelixConfiguration `default`, and ClusterInformation.
    Global,
    /// A FelixConfiguration with a `nodeSelector`.
    Selector,
    /// The FelixConfiguration `node.NAME`.
    Node,
    /// The configuration file.
    File,
    /// The environment.
    Environment,
    /// The command line; in the data half, the control half.
    Override,
}

impl Source {
    /// The source's key in Felix's `ConfigUpdate.source_to_raw_config`.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Default => 0,
            Self::Global => 1,
            Self::Selector => 2,
            Self::Node => 3,
            Self::File => 4,
            Self::Environment => 5,
            Self::Override => 6,
        }
    }

    /// Whether this is a resource in the datastore.
    #[must_use]
    pub const fn is_datastore(self) -> bool {
        match self {
            Self::Global | Self::Selector | Self::Node => true,
            Self::Default | Self::File | Self::Environment | Self::Override => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Global => "datastore (global)",
            Self::Selector => "datastore (per selector)",
            Self::Node => "datastore (per host)",
            Self::File => "config file",
            Self::Environment => "environment variable",
            Self::Override => "internal override",
        })
    }
}

/// Whether Kubernetes sets a variable in the pods of a service's namespace: it has
/// `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT…` and, as Docker's links had, `NAME_PORT…`.
fn is_of_service(variable: &str, service: &str) -> bool {
    let rest = variable.strip_prefix(service);
    rest.is_some_and(|rest| rest.starts_with("_SERVICE_") || rest == "_PORT" || rest.starts_with("_PORT_"))
}

/// A configuration file is not an INI file. What the last one said still
/// counts.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A line without a value.
    #[error("line {0}: expected name = text, [section] or a comment")]
    Line(usize),
    /// Anything else.
    #[error("not an INI file: {0}")]
    Syntax(#[from] config::ConfigError),
}

/// What one source says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layer {
    /// Texts by parameter name, or by a name that no parameter has.
    pub(crate) texts: BTreeMap<String, String>,
    /// Values of fields that have no text form, by parameter name.
    pub(crate) unreadable: BTreeMap<&'static str, (String, Reason)>,
    pub(crate) warnings: Vec<Warning>,
}

impl Layer {
    fn collect<N: AsRef<str>, T: Into<String>>(source: Source, texts: impl IntoIterator<Item = (N, T)>) -> Self {
        let mut layer = Self::default();
        for (name, text) in texts {
            layer.insert(source, name.as_ref(), text.into());
        }
        layer
    }

    fn insert(&mut self, source: Source, name: &str, text: String) {
        let name = parameter(name).map_or(name, |p| p.name).to_owned();
        if let Some(held) = self.texts.get(&name).filter(|held| **held != text) {
            let in_force = Some(InForce::Said { text: text.clone(), source });
            let value = held.clone();
            self.warnings.push(Warning { name: name.clone(), source, value, reason: Reason::Repeated, in_force });
        }
        self.texts.insert(name, text);
    }
}

/// What all sources say. Setting a source replaces what it said before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigSources {
    pub(crate) layers: BTreeMap<Source, Layer>,
}

impl ConfigSources {
    /// No source says anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a source from names, in any case, and texts. If a name occurs
    /// twice, the later text counts.
    pub fn set<N: AsRef<str>, T: Into<String>>(&mut self, source: Source, texts: impl IntoIterator<Item = (N, T)>) {
        self.layers.insert(source, Layer::collect(source, texts));
    }

    /// Sets the environment from variables. Those that begin with `FELIX_` or
    /// `CARACAL_` count; the latter win. As for the program that starts Felix in a
    /// pod, `NODENAME` says what `FELIX_FELIXHOSTNAME` does, and wins over it. What
    /// Kubernetes says so of services, such as `felix-metrics-svc`, is about no parameter.
    pub fn set_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        // Sorted, so that the outcome does not depend on the environment's order.
        let mut variables: BTreeMap<String, String> =
            variables.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        let services = variables.keys().filter_map(|name| name.strip_suffix("_SERVICE_HOST").map(str::to_owned));
        let services: Vec<String> = services.collect();
        variables.retain(|name, _| !services.iter().any(|service| is_of_service(name, service)));
        let of_prefix = |prefix: &'static str| {
            let named = variables.iter().filter_map(move |(variable, text)| {
                let (head, name) = variable.split_at_checked(prefix.len())?;
                head.eq_ignore_ascii_case(prefix).then_some((name, text))
            });
            Layer::collect(Source::Environment, named)
        };
        let mut layer = of_prefix("FELIX_");
        let caracal = of_prefix("CARACAL_");
        layer.warnings.extend(caracal.warnings);
        let node = variables.get("NODENAME").map(|text| ("FelixHostname".to_owned(), text.clone()));
        for (name, text) in node.into_iter().chain(caracal.texts) {
            if let Some(felix) = layer.texts.get(&name).filter(|felix| **felix != text) {
                layer.warnings.push(Warning {
                    name: name.clone(),
                    source: Source::Environment,
                    value: felix.clone(),
                    reason: Reason::EnvironmentsDiffer,
                    in_force: Some(InForce::Said { text: text.clone(), source: Source::Environment }),
                });
            }
            layer.texts.insert(name, text);
        }
        self.layers.insert(Source::Environment, layer);
    }

    /// Sets the configuration file from its text: `Name = text` lines. Section
    /// headings mean nothing, a backslash stands for itself.
    ///
    /// # Errors
    /// If the text is not an INI file.
    pub fn set_file(&mut self, text: &str) -> Result<(), FileError> {
        let file = config::File::from_str(&plain_lines(text)?, FileFormat::Ini);
        let values = file.collect()?.into_iter();
        let texts: Result<Vec<_>, config::ConfigError> =
            values.map(|(name, value)| Ok((name, value.into_string()?))).collect();
        let mut texts = texts?;
        texts.sort();
        self.set(Source::File, texts);
        Ok(())
    }

    /// The configuration file cannot be used now: what it last said still counts, and
    /// that is a problem until the file is [set](Self::set_file) again.
    pub fn keep_file(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        let layer = self.layers.entry(Source::File).or_default();
        layer.warnings.retain(|warning| !matches!(warning.reason, Reason::Unusable(_)));
        layer.warnings.push(Warning {
            name: path.into(),
            source: Source::File,
            value: String::new(),
            reason: Reason::Unusable(reason.into()),
            in_force: None,
        });
    }

    /// Sets a source from a FelixConfiguration: the fields of its `spec`, and
    /// annotations `config.projectcalico.org/NAME`, which win.
    pub fn set_resource<'a>(
        &mut self,
        source: Source,
        spec: &Map<String, Json>,
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        let mut layer = Layer::default();
        // Says which nodes the resource is for, sets nothing.
        for (field, value) in spec.iter().filter(|(field, _)| *field != "nodeSelector") {
            let Some(parameter) = parameter_of_field(field) else {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                layer.insert(source, field, text);
                continue;
            };
            match parameter.text_of_field(value) {
                Ok(None) => {}
                Ok(Some(text)) => layer.insert(source, parameter.name, text),
                Err(reason) => {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    layer.unreadable.insert(parameter.name, (text, Reason::Field { field: field.clone(), reason }));
                }
            }
        }
        let annotations = annotations
            .into_iter()
            .filter_map(|(key, text)| Some((key.strip_prefix("config.projectcalico.org/")?, text)));
        layer.texts.extend(Layer::collect(source, annotations).texts);
        self.layers.insert(source, layer);
    }
}

/// The lines of a configuration file in the form that the INI reader takes for
/// what they mean. It would keep sections apart, join a line without a value
/// to the next one, and take a backslash, which regular expressions need, for
/// an escape. Blank lines in place of headings keep its line numbers right.
fn plain_lines(text: &str) -> Result<String, FileError> {
    let mut plain = String::with_capacity(text.len());
    for (i, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        let is_heading = trimmed.starts_with('[') && trimmed.ends_with(']');
        let is_remark = trimmed.is_empty() || trimmed.starts_with([';', '#']);
        if !is_heading && !is_remark {
            if !trimmed.contains(['=', ':']) {
                return Err(FileError::Line(i + 1));
            }
            plain.push_str(&trimmed.replace('\\', r"\\"));
        }
        plain.push('\n');
    }
    Ok(plain)
}
