//! The driver's counts and quarantined endpoints, as a report.

use std::collections::BTreeMap;

use caracal_program::{Measurement, MeasurementKind, Outcome, Problem, Report, WorkloadId};

use super::Counts;

/// What the driver tells of itself.
pub(super) fn report(counts: &Counts, outcomes: &BTreeMap<WorkloadId, Outcome>) -> Report {
    let Counts { uncopied_members, repairs, refusals } = *counts;
    let measurements = vec![
        counter(
            "caracal_nftables_uncopied_set_members_total",
            "Members of sets too big to copy that were edited in place in one revision with a rule that uses them.",
            uncopied_members,
        ),
        counter(
            "caracal_nftables_repairs_total",
            "Times that a change by somebody else was found and repaired.",
            repairs,
        ),
        counter("caracal_nftables_refusals_total", "Transactions that the kernel refused.", refusals),
    ];
    let problems = outcomes.iter().filter_map(|(id, outcome)| match outcome {
        Outcome::Quarantined { reason } => {
            Some(Problem { subject: format!("workload endpoint {id}"), reason: format!("closed: {reason}") })
        }
        Outcome::Programmed | Outcome::Shadowed | Outcome::Removed => None,
    });
    Report { measurements, problems: problems.collect() }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a double")]
fn counter(name: &'static str, help: &'static str, value: u64) -> Measurement {
    Measurement { name, help, kind: MeasurementKind::Counter, labels: Vec::new(), value: value as f64 }
}
