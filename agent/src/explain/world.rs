//! A datastore that was read once, and what would be if it said something else.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use caracal_calc_graph::Locality;
use caracal_datastore::admit::{Admitted, admit};
use caracal_datastore::convert::{Converted, Settings, convert};
use caracal_datastore::manifest::read_documents;
use caracal_datastore::{ConfigEvent, FileSource, Report, Sink, Source as _};
use caracal_model::{Event, Stamp};
use serde_json::Value;
use smol_str::SmolStr;

use super::node::NodeSettings;
use super::written::{Manifests, Name};
use super::{Cluster, Question, yaml};
use crate::configuration::Configuration;
use crate::control::{Calculator, log_report};

/// A datastore that was read once. The graph stays, so that a change of a few
/// objects costs no more than in a running agent.
pub struct World {
    calculator: Calculator,
    cluster: Cluster,
    /// What the datastore says of configuration, which differs by node.
    configs: Vec<ConfigEvent>,
    config_file: Option<PathBuf>,
    /// What everything was converted with: what the configuration says once everything is read.
    settings: Settings,
}

/// An object that is to be as said, or not to be.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) name: Name,
    /// The manifest; `None` if the object is to go.
    pub(super) value: Option<Value>,
}

impl World {
    /// Reads the manifests below a directory and calculates the policy of every node.
    ///
    /// # Errors
    /// If the directory or the configuration cannot be used.
    pub fn read(directory: &Path, config_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut settings = Configuration::load(config_file, None)?.convert_settings();
        loop {
            let mut source = FileSource::open(directory, settings.clone())?;
            let configuration = Configuration::load(config_file, None)?;
            let mut world = Self {
                cluster: Cluster::new(NodeSettings::from(&configuration.settings())),
                calculator: Calculator::new(Locality::Everywhere, configuration),
                configs: Vec::new(),
                config_file: config_file.map(Path::to_owned),
                settings,
            };
            source.list(&mut world)?;
            settings = world.calculator.configuration().convert_settings();
            // What the datastore says of conversion is known only once it was read.
            if settings != world.settings {
                continue;
            }
            world.cluster.manifests = Manifests::read(directory, source.files());
            world.calculate()?;
            return Ok(world);
        }
    }

    /// The cluster as the datastore says it is.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Makes ready for a question: what is asked of packets beside policy is a
    /// matter of each node's configuration.
    pub(super) fn prepare(&mut self, question: &Question) -> anyhow::Result<()> {
        let Ok((from, to, _)) = self.cluster.resolve(question) else { return Ok(()) };
        let nodes = [from, to].map(|end| end.host.or_else(|| self.cluster.node(end.workload?)));
        let unknown = nodes.into_iter().flatten().filter(|node| !self.cluster.knows_settings_of(node));
        let unknown: Vec<SmolStr> = unknown.map(SmolStr::from).collect();
        for node in unknown {
            let mut configuration = Configuration::load(self.config_file.as_deref(), Some(&node))?;
            for event in &self.configs {
                configuration.on_event(event.clone());
            }
            configuration.set_node_labels(self.cluster.facts.node_labels(&node));
            self.cluster.set_node_settings(node, NodeSettings::from(&configuration.settings()));
        }
        Ok(())
    }

    /// Answers what would be if some objects were otherwise, and forgets it again.
    /// `None` if one of them would not be admitted.
    pub(super) fn with<T>(
        &mut self,
        changes: &[Change],
        look: impl FnOnce(&mut Self) -> T,
    ) -> anyhow::Result<Option<T>> {
        let mut there = Vec::new();
        let mut back = Vec::new();
        let mut before = Vec::new();
        for change in changes {
            let Some(event) = self.event_of(change) else { return Ok(None) };
            let now = Change { value: self.cluster.manifests.value(&change.name), name: change.name.clone() };
            back.extend(match (now.value.is_some(), &event) {
                (true, _) => self.event_of(&now),
                (false, Event::Apply(kind, object, stamp)) => Some(Event::Delete(*kind, object.key(), *stamp)),
                (false, _) => None,
            });
            there.push(event);
            before.push(now);
        }
        self.tell(there)?;
        self.suppose(changes);
        let seen = look(self);
        self.suppose(&before);
        back.reverse();
        self.tell(back)?;
        Ok(Some(seen))
    }

    fn suppose(&mut self, changes: &[Change]) {
        for Change { name, value } in changes {
            self.cluster.manifests.suppose(name.clone(), value.clone());
        }
    }

    fn tell(&mut self, events: Vec<Event>) -> anyhow::Result<()> {
        for event in events {
            self.cluster.facts.note(&event);
            self.calculator.on_event(event);
        }
        self.calculate()
    }

    fn calculate(&mut self) -> anyhow::Result<()> {
        let Self { calculator, cluster, .. } = self;
        let mut result = Ok(());
        calculator.flush(&mut |message| {
            if result.is_ok() {
                result = cluster.apply(&message);
            }
        });
        result.context("what this program calculated is not what it understands")
    }

    /// What a change is to the graph, if it would be admitted.
    fn event_of(&self, change: &Change) -> Option<Event> {
        let Change { name, value } = change;
        let current = self.cluster.manifests.value(name);
        // As a file would say it: what is proposed is admitted as what is applied.
        let text = yaml::document(value.as_ref().or(current.as_ref())?);
        let document = read_documents(Path::new("edit"), text).into_iter().next()?.ok()?;
        let Ok(Admitted::Object { kind, value: admitted, .. }) = admit(document) else { return None };
        let Ok(Converted::Object(kind, object)) = convert(kind, admitted, &self.settings) else { return None };
        Some(match value {
            Some(_) => Event::Apply(kind, *object, Stamp::default()),
            None => Event::Delete(kind, object.key(), Stamp::default()),
        })
    }
}

impl Sink for World {
    fn event(&mut self, event: Event) {
        self.cluster.facts.note(&event);
        self.calculator.on_event(event);
    }

    fn config(&mut self, event: ConfigEvent) {
        self.configs.push(event.clone());
        self.calculator.on_config(event);
    }

    fn report(&mut self, report: Report) {
        log_report(&report);
    }

    fn settled(&mut self) {}

    fn synced(&mut self, _token: &str) {}
}
