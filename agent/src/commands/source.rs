//! What every command that reads a datastore starts with.

use caracal_calc_graph::Locality;
use caracal_datastore::{ConfigEvent, FileSource, Report, Sink, Source as _, convert};
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
        open(&self.datastore, self.configuration.convert_settings())
    }

    /// Reads the datastore once, and calculates. Refused objects are logged.
    ///
    /// # Errors
    /// If the datastore cannot be read at all.
    pub(super) fn calculate(self, locality: Locality) -> anyhow::Result<Calculator> {
        let Self { datastore, configuration } = self;
        let mut settings = configuration.convert_settings();
        let mut direct = Direct(Calculator::new(locality, configuration));
        loop {
            open(&datastore, settings.clone())?.list(&mut direct)?;
            let wanted = direct.0.configuration().convert_settings();
            // What the datastore says of conversion is known only once it was read.
            if wanted == settings {
                return Ok(direct.0);
            }
            settings = wanted;
        }
    }
}

fn open(datastore: &Datastore, settings: convert::Settings) -> anyhow::Result<FileSource> {
    match datastore {
        Datastore::File(dir) => Ok(FileSource::open(dir, settings)?),
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

    fn converts(&mut self, settings: &convert::Settings) {
        self.0.on_converts(settings.clone());
    }

    fn report(&mut self, report: Report) {
        log_report(&report);
    }

    fn settled(&mut self) {}

    fn synced(&mut self, _token: &str) {}
}
