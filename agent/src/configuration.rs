//! Felix's parameters, as this process has them.

pub mod answer;
mod resources;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use caracal_calc_graph as graph;
use caracal_config::{
    ConfigSources, Effective, FileError, NftablesMode, Param, Resolved, Settings, Source, SourceSpoofing, Warning,
};
use caracal_datastore::{BgpConfiguration, ConfigEvent, convert};
use caracal_model::Labels;
use caracal_proto::felix;
use resources::Resources;
use smol_str::SmolStr;
use tracing::{info, warn};

/// Where Felix looks for its configuration file.
const DEFAULT_FILE: &str = "/etc/calico/felix.cfg";

/// What it means that ClusterInformation says of the datastore that it is not ready.
pub const NOT_READY: &str =
    "false: what the datastore says is not put into force until it is true; what is in force stays";

/// Variables that begin like a parameter's and are none.
const OWN_VARIABLES: [&str; 1] = ["CARACAL_LOG"];

/// Why there is no configuration to start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not of the right form.
    #[error("cannot use the configuration file {path}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FileError,
    },
    /// Nobody says which node this is.
    #[error("this host has no name; say which node it is with --node")]
    NoNode,
}

/// The configuration file, which is looked at now and then.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Whether somebody said that there is one.
    is_asked_for: bool,
    /// What it said when it was last read, if it was there; or why it cannot be used.
    seen: Result<Option<String>, String>,
}

/// The parameters from all their sources, and which of their warnings were given.
pub struct Configuration {
    /// Never changes: the datastore may not set it.
    node: SmolStr,
    sources: ConfigSources,
    file: Option<File>,
    resources: Resources,
    /// The labels of this node, if the datastore knows it.
    node_labels: Option<Labels>,
    resolved: Resolved,
    /// Grows whenever a value may have changed.
    generation: u64,
    /// The problems that were logged.
    warned: BTreeSet<String>,
}

impl Configuration {
    /// Reads the environment and the file; `node` is from the command line.
    ///
    /// # Errors
    /// If the file cannot be used, or the node has no name.
    pub fn load(file: Option<&Path>, node: Option<&str>) -> Result<Self, ConfigurationError> {
        let mut sources = ConfigSources::new();
        sources.set_environment(environment().filter(|(name, _)| !OWN_VARIABLES.contains(&name.as_str())));
        let text = read_file(file)?;
        let path = file.unwrap_or(Path::new(DEFAULT_FILE)).to_owned();
        if let Some(text) = &text {
            let failed = |source| ConfigurationError::Syntax { path: path.clone(), source };
            sources.set_file(text).map_err(failed)?;
        }
        if let Some(host) = host_name() {
            sources.set(Source::Default, [("FelixHostname", host)]);
        }
        if let Some(node) = node {
            sources.set(Source::Override, [("FelixHostname", node)]);
        }
        let file = File { path, is_asked_for: file.is_some(), seen: Ok(text) };
        Ok(Self { file: Some(file), ..Self::of(sources)? })
    }

    pub(crate) fn of(sources: ConfigSources) -> Result<Self, ConfigurationError> {
        let resolved = sources.resolve();
        let node: SmolStr = resolved.settings().hostname.into();
        if node.is_empty() {
            return Err(ConfigurationError::NoNode);
        }
        let mut configuration = Self {
            node,
            resolved,
            sources,
            file: None,
            resources: Resources::default(),
            node_labels: None,
            generation: 0,
            warned: BTreeSet::new(),
        };
        configuration.warn();
        Ok(configuration)
    }

    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &SmolStr {
        &self.node
    }

    /// The parameters that the program uses.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.resolved.settings()
    }

    /// What the calculation graph needs of them.
    #[must_use]
    pub fn graph_settings(&self) -> graph::Settings {
        let settings = self.settings();
        graph::Settings {
            suppress_overlaps: match settings.nftables_mode {
                NftablesMode::Auto | NftablesMode::Enabled => graph::Overlaps::Suppressed,
                NftablesMode::Disabled => graph::Overlaps::Kept,
            },
            source_spoofing: match settings.source_spoofing {
                SourceSpoofing::Disabled => graph::SourceSpoofing::Disabled,
                SourceSpoofing::Any => graph::SourceSpoofing::Any,
            },
        }
    }

    /// Whether the datastore may be acted on. As in Felix, nothing that it says is
    /// put into force while ClusterInformation says that it is not ready.
    #[must_use]
    pub fn datastore_is_ready(&self) -> bool {
        self.resources.datastore_is_ready()
    }

    /// What the cluster tells its routers, of which the prefixes of services concern nodes.
    #[must_use]
    pub fn bgp(&self) -> &BgpConfiguration {
        self.resources.bgp()
    }

    /// What the conversion of resources needs of them.
    #[must_use]
    pub fn convert_settings(&self) -> convert::Settings {
        let mut settings = convert::Settings::default();
        if let Some(prefix) = self.settings().interface_prefixes.first() {
            settings.interface_prefix = prefix.into();
        }
        settings
    }

    /// A number that grows whenever a value may have changed.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What does not count, or not as it might seem; and what is in force instead.
    #[must_use]
    pub fn problems(&self) -> &[Warning] {
        self.resolved.warnings()
    }

    /// Every parameter with its value, where that comes from, and what is made of it.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static Param, &Effective)> {
        self.resolved.iter()
    }

    /// The texts that count of what is not as it is by default.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<String, String> {
        self.resolved.to_config_map()
    }

    /// The message that tells the data half.
    #[must_use]
    pub fn message(&self) -> felix::ConfigUpdate {
        let layers = self.resolved.layers().iter().filter(|layer| !layer.texts.is_empty());
        let layers = layers.map(|layer| {
            let raw = felix::RawConfig { source: layer.source.to_string(), config: layer.texts.clone() };
            (layer.source.number(), raw)
        });
        felix::ConfigUpdate { config: self.texts(), source_to_raw_config: layers.collect(), message: String::new() }
    }

    /// Reads the configuration file again, and follows it. What it last said counts
    /// while it cannot be used.
    pub fn look_at_file(&mut self) {
        let Some(file) = &mut self.file else { return };
        let read = read_file(file.is_asked_for.then_some(&*file.path));
        let seen = read.map_err(|error| crate::chain(&error));
        if seen == file.seen {
            return;
        }
        let set = match &seen {
            Ok(text) => self.sources.set_file(text.as_deref().unwrap_or_default()).map_err(|error| error.to_string()),
            Err(reason) => Err(reason.clone()),
        };
        if let Err(reason) = set {
            self.sources.keep_file(file.path.display().to_string(), reason);
        }
        file.seen = seen;
        self.resolve();
    }

    /// Takes an event about a resource.
    pub fn on_event(&mut self, event: ConfigEvent) {
        let complete = !matches!(event, ConfigEvent::Begin);
        self.resources.on_event(event);
        if complete {
            self.resolve();
        }
    }

    /// Sets the labels of this node, by which resources select it; `None` if
    /// the datastore does not know the node.
    pub fn set_node_labels(&mut self, labels: Option<&Labels>) {
        if self.node_labels.as_ref() != labels {
            self.node_labels = labels.cloned();
            self.resolve();
        }
    }

    fn resolve(&mut self) {
        for (source, resource) in self.resources.chosen(&self.node, self.node_labels.as_ref()) {
            let mut spec = resource.map(|resource| resource.spec.clone()).unwrap_or_default();
            if source == Source::Global {
                let of_cluster = self.resources.of_cluster();
                spec.extend(of_cluster.map(|(name, text)| (name.to_owned(), text.into())));
            }
            let annotations = resource.into_iter().flat_map(|resource| &resource.annotations);
            let annotations = annotations.map(|(name, text)| (name.as_str(), text.as_str()));
            self.sources.set_resource(source, &spec, annotations);
        }
        self.resolved = self.sources.resolve_after(Some(&self.resolved));
        self.generation += 1;
        self.warn();
    }

    /// Logs each problem once, and again after it was gone; and that it is gone.
    fn warn(&mut self) {
        let warnings: BTreeSet<String> = self.resolved.warnings().iter().map(ToString::to_string).collect();
        for warning in warnings.difference(&self.warned) {
            warn!("{warning}");
        }
        for mended in self.warned.difference(&warnings) {
            info!("no more: {mended}");
        }
        self.warned = warnings;
    }
}

/// The variables that are text: none of ours is anything else.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, text)| name.into_string().ok().zip(text.into_string().ok()))
}

/// The text of the file that was asked for, or of the default one if there is one.
fn read_file(asked: Option<&Path>) -> Result<Option<String>, ConfigurationError> {
    let path = asked.unwrap_or(Path::new(DEFAULT_FILE));
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if asked.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigurationError::Read { path: path.to_owned(), source }),
    }
}

/// The host's name in lower case, as Kubernetes names nodes.
fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_lowercase()).filter(|name| !name.is_empty() && name != "(none)")
}
