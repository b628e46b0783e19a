//! What every command that reads a datastore starts with.

use caracal_calc_graph::Locality;
use caracal_datastore::{ConfigEvent, FileSource, Report, Sink, Source as _};
use caracal_model::Event;

use crate::cli::{Datastore, Global, SourceArgs};
use crate::configuration::Configuration;
use crate::control::{Calculator, log_report};

/// A datastore that is not opened yet, and the configuration.
pub(super) struct Prepared {
    datastore: Datastore,
    /// The configuration without what the datastore says.
    pub(super) configuration: Configuration,
}

impl Prepared {
    /// Reads the configuration.
    ///
    /// # Errors
    /// If it cannot be used.
    pub(super) fn new(global: &Global, args: &SourceArgs) -> anyhow::Result<Self> {
        let configuration = Configuration::load(global.config_file.as_deref(), args.node.as_deref())?;
        Ok(Self { datastore: args.datastore.clone(), configuration })
    }

    /// The endpoints of this node.
    pub(super) fn locality(&self) -> Locality {
        Locality::Node(self.configuration.node().clone())
    }

    /// Opens the datastore.
    ///
    /// # Errors
    /// If it cannot be read at all.
    pub(super) fn open(&self) -> anyhow::Result<FileSource> {
        match &self.datastore {
            Datastore::File(dir) => Ok(FileSource::open(dir, self.configuration.convert_settings())?),
        }
    }

    /// Reads the datastore once, and calculates. Refused objects are logged.
    ///
    /// # Errors
    /// If the datastore cannot be read at all.
    pub(super) fn calculate(self, locality: Locality) -> anyhow::Result<Calculator> {
        let mut source = self.open()?;
        let mut direct = Direct(Calculator::new(locality, self.configuration));
        source.list(&mut direct)?;
        Ok(direct.0)
    }
}

/// A source's news on their way to a calculator, on the caller's thread.
struct Direct(Calculator);

impl Sink for Direct {
    fn event(&mut self, event: Event) {
        self.0.on_event(event);
    }

    fn config(&mut self, event: ConfigEvent) {
        self.0.on_config(event);
    }

    fn report(&mut self, report: Report) {
        log_report(&report);
    }

    fn settled(&mut self) {}

    fn synced(&mut self, _token: &str) {}
}
