//! What a driver tells of itself, beside the outcomes of endpoints.

mod distribution;

use std::time::Duration;

use caracal_proto::sync;
use smol_str::SmolStr;

pub use distribution::{Distribution, DistributionNames};

/// How a measurement may change between two reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MeasurementKind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A number for the metrics page.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The name in Prometheus' form, with the unit at its end: `caracal_nftables_repairs_total`.
    pub name: &'static str,
    /// One sentence that says what is measured.
    pub help: &'static str,
    /// How it may change.
    pub kind: MeasurementKind,
    /// Labels by name; equal names have equal sets of label names.
    pub labels: Vec<(&'static str, SmolStr)>,
    /// The value, in the unit that the name ends with.
    pub value: f64,
}

impl Measurement {
    /// A number that only grows.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: MeasurementKind::Counter, labels: Vec::new(), value: double(value) }
    }

    /// A number that goes up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: MeasurementKind::Gauge, labels: Vec::new(), value: double(value) }
    }

    /// A span of time that goes up and down, in seconds.
    #[must_use]
    pub fn seconds(name: &'static str, help: &'static str, value: Duration) -> Self {
        Self { name, help, kind: MeasurementKind::Gauge, labels: Vec::new(), value: value.as_secs_f64() }
    }

    /// The same with one more label.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl Into<SmolStr>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

impl From<&Measurement> for sync::Measurement {
    fn from(measurement: &Measurement) -> Self {
        let Measurement { name, help, kind, labels, value } = measurement;
        let kind = match kind {
            MeasurementKind::Counter => sync::measurement::Kind::Counter,
            MeasurementKind::Gauge => sync::measurement::Kind::Gauge,
        };
        Self {
            name: (*name).to_owned(),
            help: (*help).to_owned(),
            kind: kind.into(),
            labels: labels.iter().map(|(label, value)| ((*label).to_owned(), value.to_string())).collect(),
            value: *value,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a double")]
const fn double(value: u64) -> f64 {
    value as f64
}

/// Something that does not work, until a report leaves it out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// What it is about, kind first: `policy default.allow-web`, `chain of somebody else ip filter FORWARD`.
    pub subject: String,
    /// What is wrong, and what may be done about it.
    pub reason: String,
}

/// What a driver tells of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The numbers, all of them each time.
    pub measurements: Vec<Measurement>,
    /// What does not work now, all of it each time.
    pub problems: Vec<Problem>,
}
