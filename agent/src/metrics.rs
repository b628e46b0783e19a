//! The metrics page: Felix's names where the meaning is the same, so that
//! existing dashboards work, and `caracal_*` for what Felix does not have.
//! `docs/metrics.md` lists all of them.
//!
//! The graph's thread counts ([`Numbers`]), the data half reports its numbers
//! over the sync API, and a scrape asks for both.

mod numbers;
mod page;
mod process;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use caracal_datastore::Problem;
use caracal_program::Measurement;
use caracal_proto::sync;
use prometheus::proto::MetricFamily;

pub use numbers::{Numbers, go_type};
pub use page::CONTENT_TYPE;
pub use process::Vitals;

use crate::control::{Inbox, Insight};
use crate::status::Presence;

/// What the graph's thread tells a scrape.
#[derive(Clone, Debug, Default)]
struct Sample {
    measurements: Vec<sync::Measurement>,
    families: Vec<MetricFamily>,
    process_metrics: bool,
}

/// Where scrapes are answered.
#[derive(Clone, Debug)]
pub struct Scrapes {
    graph: Inbox,
    /// What was told last, for when the graph's thread does not answer.
    last: Arc<Mutex<Sample>>,
}

impl Scrapes {
    /// Answers with what the graph's thread behind `graph` knows.
    #[must_use]
    pub fn new(graph: Inbox) -> Self {
        Self { graph, last: Arc::default() }
    }

    /// The page. If the graph's thread does not answer, it is the last one, and says so.
    pub async fn page(&self) -> String {
        self.graph.count().await;
        let asked = self.graph.ask(sample).await;
        let answered = u64::from(asked.is_ok());
        let mut sample = match asked {
            Ok(sample) => {
                self.last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&sample);
                sample
            }
            Err(_) => self.last.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        let help = "Whether the graph's thread answered this scrape; if not, the other numbers are old.";
        sample.measurements.push((&Measurement::gauge("caracal_graph_answers", help, answered)).into());
        if sample.process_metrics {
            sample.families.extend(process::families());
        }
        page::write(sample.measurements, sample.families)
    }
}

fn sample(insight: &Insight<'_>) -> Sample {
    let Insight { calculator, status, .. } = insight;
    let mut measurements: Vec<sync::Measurement> = control(insight).iter().map(Into::into).collect();
    let process_metrics = calculator.configuration().settings().process_metrics;
    let told = status.data_half().report.measurements.iter();
    measurements.extend(told.filter(|told| process_metrics || !process::is_vital(told)).cloned());
    measurements.extend(status.counts().iter().flat_map(|counts| &counts.totals).cloned());
    Sample { measurements, families: status.numbers().families(), process_metrics }
}

/// The control half's numbers.
fn control(insight: &Insight<'_>) -> Vec<Measurement> {
    let Insight { calculator, session: _, status } = insight;
    let number = |count: usize| u64::try_from(count).expect("a count of things in memory fits in 64 bits");
    let gauge = Measurement::gauge;
    let ledger = status.ledger();
    let census = calculator.census();
    let node = calculator.configuration().node().clone();
    let sent = status.sent().map_or(0, |(revision, _)| revision);
    let acknowledged = status.receipts().acknowledged().map_or(0, |known| known.revision);
    let connected = match status.data_half().presence {
        Presence::Here => 1,
        Presence::Away => 0,
    };
    let in_sync = if calculator.is_complete() { 2 } else { 1 };
    let mut all = vec![
        gauge("felix_host", "Always 1; names the host.", 1).with("host", node),
        gauge("felix_resync_state", "The datastore: 1 listing, 2 in sync.", in_sync),
        gauge(
            "felix_active_local_endpoints",
            "Endpoints of this node.",
            number(ledger.workloads().len() + ledger.hosts().len()),
        ),
        gauge(
            "felix_active_local_policies",
            "Policies that select an endpoint of this node.",
            number(ledger.policies().len()),
        ),
        gauge("felix_cluster_num_hosts", "Nodes of the cluster.", census.hosts),
        gauge("felix_cluster_num_host_endpoints", "Host endpoints of the cluster.", census.host_endpoints),
        gauge("felix_cluster_num_workload_endpoints", "Workload endpoints of the cluster.", census.workload_endpoints),
        gauge("felix_cluster_num_tiers", "Tiers of the cluster.", census.tiers),
        gauge("felix_cluster_num_policies", "Policies of the cluster.", census.policies),
        gauge("felix_cluster_num_profiles", "Profiles of the cluster.", census.profiles),
        gauge("caracal_data_half_connected", "Whether the data half is connected.", connected),
        gauge("caracal_revision_sent", "The last revision that was sent to the data half.", sent),
        gauge("caracal_revision_acknowledged", "The last revision that the kernel holds.", acknowledged),
        gauge(
            "caracal_configuration_problems",
            "Texts in the configuration that do not count, or not as it might seem.",
            number(calculator.configuration().problems().len()),
        ),
        gauge(
            "caracal_datastore_problems",
            "Documents, files and objects of the datastore that are not taken as they are.",
            number(status.source_problems().map(Problem::count).sum()),
        ),
        gauge(
            "caracal_graph_problems",
            "Objects that the graph holds and cannot put in force.",
            number(calculator.problems().count()),
        ),
        gauge(
            "caracal_data_half_problems",
            "Things that do not work in the data half.",
            number(status.data_half().report.problems.len()),
        ),
    ];
    let mut by_parameter: BTreeMap<&str, u64> = BTreeMap::new();
    for problem in calculator.configuration().problems() {
        *by_parameter.entry(&problem.name).or_default() += 1;
    }
    all.extend(by_parameter.into_iter().map(|(parameter, count)| {
        let help = "Texts for a parameter that do not count, or not as it might seem.";
        gauge("caracal_configuration_parameter_problems", help, count).with("parameter", parameter)
    }));
    // Dashboards add these up, and one that is absent would empty the sum.
    for name in ["felix_ipset_errors", "felix_iptables_save_errors", "felix_iptables_restore_errors"] {
        all.push(Measurement::counter(name, "Always 0: no such program is ever run.", 0));
    }
    let help = "Lines of the log that were dropped because nobody read it in time.";
    all.push(Measurement::counter("felix_logs_dropped", help, crate::logging::dropped()));
    all.extend(status.numbers().measurements());
    all
}
