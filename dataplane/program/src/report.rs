//! What a driver tells of itself, beside the outcomes of endpoints.

use smol_str::SmolStr;

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
