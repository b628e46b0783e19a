//! The driver's counts and quarantined endpoints, as a report.

use std::collections::BTreeMap;
use std::time::Duration;

use caracal_program::{HostId, Measurement, MeasurementKind, Outcome, Problem, Report, SetId, WorkloadId};

use super::Counts;
use super::drift::{DriftLog, Repair};
use crate::held::Held;
use crate::neighbours::Neighbour;

/// What the driver tells of itself.
pub(super) fn report(
    counts: &Counts,
    drift: &DriftLog,
    outcomes: &BTreeMap<WorkloadId, Outcome>,
    hosts: &BTreeMap<HostId, Outcome>,
    network: Option<&str>,
    refused_sets: &BTreeMap<&SetId, &str>,
    neighbours: &[Neighbour],
) -> Report {
    let Counts { uncopied_members, repairs, audits, transactions, kernel, refusals, overruns } = *counts;
    let mut measurements = vec![
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
        counter(
            "caracal_nftables_audits_total",
            "Times that the content of the whole table was looked through and was right.",
            audits,
        ),
        seconds(
            "caracal_nftables_blind_seconds_total",
            "Time in which a change by somebody else may have been in force.",
            MeasurementKind::Counter,
            drift.blind(),
        ),
        seconds(
            "caracal_nftables_longest_blind_seconds",
            "The longest time in which a change by somebody else may have been in force.",
            MeasurementKind::Gauge,
            drift.longest(),
        ),
        seconds(
            "caracal_nftables_closed_seconds_total",
            "Time in which new connections of workloads were refused because a lost table was made anew.",
            MeasurementKind::Counter,
            drift.closed(),
        ),
        counter("caracal_nftables_transactions_total", "Transactions that the kernel carried out.", transactions),
        seconds(
            "caracal_nftables_kernel_seconds_total",
            "Time that the kernel took for the transactions that it carried out.",
            MeasurementKind::Counter,
            kernel,
        ),
        counter("caracal_nftables_refusals_total", "Transactions that the kernel refused.", refusals),
        Measurement::gauge(
            "caracal_nftables_refused_sets",
            "IP sets that the kernel refused or that are larger than MaxIpsetSize; rules that name them deny.",
            refused_sets.len() as u64,
        ),
        counter(
            "caracal_nftables_lost_events_total",
            "Times that events of nf_tables came faster than they were read.",
            overruns,
        ),
    ];
    measurements.extend(drift.last().map(|Repair { what, by }| Measurement {
        name: "caracal_nftables_last_repair",
        help: "What was repaired last and who had changed it; always 1.",
        kind: MeasurementKind::Gauge,
        labels: vec![("what", what.into()), ("by", by.into())],
        value: 1.0,
    }));
    let problems = outcomes.iter().filter_map(|(id, outcome)| match outcome {
        Outcome::Quarantined { reason } => {
            Some(Problem { subject: format!("workload endpoint {id}"), reason: format!("closed: {reason}") })
        }
        Outcome::Programmed | Outcome::Shadowed | Outcome::Removed => None,
    });
    let hosts = hosts.iter().filter_map(|(id, outcome)| match outcome {
        Outcome::Quarantined { reason } => {
            Some(Problem { subject: format!("host endpoint {id}"), reason: reason.clone() })
        }
        Outcome::Programmed | Outcome::Shadowed | Outcome::Removed => None,
    });
    let network = network.map(|why| Problem {
        subject: "pools of addresses, tunnels and prefixes of services".to_owned(),
        reason: format!("nothing is translated or refused for them: {why}"),
    });
    let sets = refused_sets
        .iter()
        .map(|(id, reason)| Problem { subject: format!("IP set {id}"), reason: (*reason).to_owned() });
    let shadows = neighbours.iter().map(|neighbour| Problem {
        subject: format!("{neighbour} of somebody else"),
        reason: neighbour.matter.to_string(),
    });
    Report { measurements, problems: problems.chain(hosts).chain(network).chain(sets).chain(shadows).collect() }
}

/// What the kernel holds for us.
pub(super) fn sizes(held: &Held) -> [Measurement; 2] {
    [
        Measurement::gauge(
            "caracal_nftables_chains",
            "Chains of our table that the kernel holds, for both IP versions.",
            held.chains.len() as u64,
        ),
        Measurement::gauge(
            "caracal_nftables_sets",
            "Sets and maps of our table that the kernel holds, for both IP versions.",
            held.sets.len() as u64,
        ),
    ]
}

fn seconds(name: &'static str, help: &'static str, kind: MeasurementKind, value: Duration) -> Measurement {
    Measurement { name, help, kind, labels: Vec::new(), value: value.as_secs_f64() }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a double")]
fn counter(name: &'static str, help: &'static str, value: u64) -> Measurement {
    Measurement { name, help, kind: MeasurementKind::Counter, labels: Vec::new(), value: value as f64 }
}
