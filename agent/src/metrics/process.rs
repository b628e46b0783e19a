//! What the process uses that runs a half: its time, its memory, its descriptors.
//!
//! The control half's process reads its own when it is scraped. A data half in a
//! process of its own says them with its report, under names of their own.

use std::sync::{Mutex, PoisonError};

use caracal_proto::sync::{FromData, Measurement, Report, from_data, measurement};
use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{MetricFamily, MetricType};

/// What stands before Prometheus' name for the same number of the process that serves the page.
const PREFIX: &str = "caracal_dataplane_";

/// What all of Prometheus' names of such numbers begin with.
const OF_PROCESS: &str = "process_";

/// This process's numbers.
pub(super) fn families() -> Vec<MetricFamily> {
    ProcessCollector::for_self().collect()
}

/// Whether a number is one of a data half's process.
pub(super) fn is_vital(told: &Measurement) -> bool {
    told.name.strip_prefix(PREFIX).is_some_and(|name| name.starts_with(OF_PROCESS))
}

/// Adds this process's numbers to what its data half says of itself.
#[derive(Debug, Default)]
pub struct Vitals {
    /// What was said last: a sign of life becomes a report.
    last: Mutex<Report>,
}

impl Vitals {
    /// The frame with this process's numbers of now, if it is one that tells how things are.
    #[must_use]
    pub fn add_to(&self, frame: FromData) -> FromData {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match frame.frame {
            Some(from_data::Frame::Report(report)) => *last = report,
            Some(from_data::Frame::Alive(_)) => {}
            _ => return frame,
        }
        let mut report = last.clone();
        report.measurements.extend(families().iter().filter_map(measurement));
        let help = "Lines of the data half's log that were dropped because nobody read it in time.";
        let dropped = caracal_program::Measurement::counter(
            "caracal_dataplane_logs_dropped_total",
            help,
            crate::logging::dropped(),
        );
        report.measurements.push((&dropped).into());
        FromData { frame: Some(from_data::Frame::Report(report)) }
    }
}

fn measurement(family: &MetricFamily) -> Option<Measurement> {
    let metric = family.get_metric().first()?;
    let (kind, value) = match family.get_field_type() {
        MetricType::COUNTER => (measurement::Kind::Counter, metric.get_counter().get_value()),
        MetricType::GAUGE => (measurement::Kind::Gauge, metric.get_gauge().get_value()),
        MetricType::SUMMARY | MetricType::UNTYPED | MetricType::HISTOGRAM => return None,
    };
    Some(Measurement {
        name: format!("{PREFIX}{}", family.name()),
        help: format!("Of the data half's process: {}", family.help()),
        kind: kind.into(),
        labels: [].into(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use caracal_proto::sync::{Ack, Alive};

    use super::*;

    fn names(frame: FromData) -> Vec<String> {
        match frame.frame {
            Some(from_data::Frame::Report(report)) => report.measurements.into_iter().map(|told| told.name).collect(),
            other => panic!("not a report: {other:?}"),
        }
    }

    #[test]
    fn a_report_and_a_sign_of_life_tell_of_the_process() {
        let vitals = Vitals::default();
        let own = Measurement { name: "x_total".to_owned(), ..Measurement::default() };
        assert!(!is_vital(&own));
        let report = Report { measurements: vec![own], problems: Vec::new() };
        let told = names(vitals.add_to(FromData { frame: Some(from_data::Frame::Report(report)) }));
        for name in ["x_total", "caracal_dataplane_process_cpu_seconds_total", "caracal_dataplane_process_open_fds"] {
            assert!(told.iter().any(|told| told == name), "{name} is not in {told:?}");
        }
        let again = names(vitals.add_to(FromData { frame: Some(from_data::Frame::Alive(Alive {})) }));
        assert_eq!(again, told);
        let ack = FromData { frame: Some(from_data::Frame::Ack(Ack::default())) };
        assert_eq!(vitals.add_to(ack.clone()), ack, "what tells of something else is left alone");
    }
}
