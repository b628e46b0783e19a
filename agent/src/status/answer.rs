//! The answers of the admin API, worked out on the graph's thread.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use caracal_calc_graph::Census;
use caracal_datastore::{InForce, Problem as SourceProblem};
use caracal_program::{HostId, PolicyId, WorkloadId};
use caracal_proto::admin::{
    Component, Datastore, EndCount, Endpoint, EndpointsResponse, FlowsResponse, Half, OutcomeCount, PoliciesResponse,
    Policy, Problem, Revisions, RuleCount, StatusResponse,
};
use caracal_proto::sync::{self, endpoint_outcome::Outcome};

use super::{Acknowledged, Host, Ledger, Moment, Presence, Receipt, Tier, Workload};
use crate::configuration;
use crate::control::Insight;
use crate::health;

/// The word for an endpoint that the data half was told of and has not answered for.
const PENDING: &str = "pending";

/// How long a revision may be on its way before that is a problem: a large snapshot takes a
/// second, a data half that hangs for ever.
const LATE: Duration = Duration::from_secs(5);

/// Whether everything is in force, and what is not. `datastore` is as on the command line.
pub fn status(
    insight: &Insight<'_>,
    datastore: String,
    health: &[health::Component],
    troubles: &[(&str, String)],
) -> StatusResponse {
    let Insight { calculator, session: _, status } = insight;
    let mut problems = problems(insight);
    problems.extend(troubles.iter().map(|(what, trouble)| of("agent", (*what).to_owned(), trouble.clone())));
    let data_half = status.data_half();
    let control = Half {
        name: "control".into(),
        build: crate::BUILD.into(),
        state: "running".into(),
        since: status.started().unix_seconds(),
    };
    let data = Half {
        name: "data".into(),
        build: data_half.build.clone(),
        state: match data_half.presence {
            Presence::Here => "running",
            Presence::Away => "absent",
        }
        .into(),
        since: data_half.since.unix_seconds(),
    };
    let is_ready = health.iter().all(health::Component::is_ready);
    let state = match (is_ready, problems.is_empty()) {
        (false, _) => "not ready",
        (true, false) => "degraded",
        (true, true) => "ok",
    };
    StatusResponse {
        node: calculator.configuration().node().to_string(),
        state: state.into(),
        halves: vec![control, data],
        datastore: Some(Datastore {
            url: datastore,
            state: match (calculator.configuration().datastore_is_ready(), calculator.is_complete()) {
                (false, _) => "not ready",
                (true, true) => "in sync",
                (true, false) => "listing",
            }
            .into(),
        }),
        revisions: Some(revisions(insight)),
        endpoints: outcomes(insight),
        other_endpoints: others(&calculator.census()),
        problems,
        health: health.iter().map(component).collect(),
    }
}

/// How many endpoints are of other nodes.
fn others(census: &Census) -> u64 {
    let Census { host_endpoints, workload_endpoints, local_endpoints, .. } = census;
    (host_endpoints + workload_endpoints).saturating_sub(*local_endpoints)
}

fn revisions(insight: &Insight<'_>) -> Revisions {
    let sent = insight.status.sent();
    let acknowledged = insight.status.receipts().acknowledged();
    Revisions {
        sent: sent.map_or(0, |(revision, _)| revision),
        sent_at: sent.map_or(0.0, |(_, at)| at.unix_seconds()),
        acknowledged: acknowledged.map_or(0, |known| known.revision),
        acknowledged_at: acknowledged.map_or(0.0, |known| known.at.unix_seconds()),
        latency_seconds: acknowledged.and_then(|known| Some(known.at.since(known.since?).as_secs_f64())),
    }
}

fn outcomes(insight: &Insight<'_>) -> Vec<OutcomeCount> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let (ledger, receipts) = (insight.status.ledger(), insight.status.receipts());
    let workloads = ledger.workloads().keys().map(|id| receipts.of(id));
    for receipt in workloads.chain(ledger.hosts().keys().map(|id| receipts.of_host(id))) {
        *counts.entry(receipt.map_or(PENDING, |receipt| word(receipt.outcome))).or_default() += 1;
    }
    counts.into_iter().map(|(outcome, count)| OutcomeCount { outcome: outcome.into(), count }).collect()
}

/// What is wrong, wherever it was found.
fn problems(insight: &Insight<'_>) -> Vec<Problem> {
    let Insight { calculator, session: _, status } = insight;
    let mut problems: Vec<Problem> = status.source_problems().map(source_problem).collect();
    problems.extend(calculator.configuration().problems().iter().map(configuration::answer::problem));
    if !calculator.configuration().datastore_is_ready() {
        let field = "spec.datastoreReady".into();
        let subject = "ClusterInformation default".to_owned();
        problems.push(Problem { field, ..of("datastore", subject, configuration::NOT_READY.into()) });
    }
    for (subject, problem) in calculator.problems() {
        problems.push(Problem { in_force: "nothing".into(), ..of("graph", subject, problem.to_string()) });
    }
    if let Some(failure) = status.receipts().failure() {
        let reason = format!("not programmed, the last good state stands: {failure}");
        problems.push(of("data half", "the last revision".into(), reason));
    }
    if status.data_half().presence == Presence::Here && status.receipts().failure().is_none() {
        problems.extend(late(status.sent(), status.receipts().acknowledged()));
    }
    let mut reported: Vec<_> =
        status.data_half().report.problems.iter().map(|told| (told.subject.clone(), told.reason.clone())).collect();
    reported.sort();
    problems.extend(reported.into_iter().map(|(subject, reason)| of("data half", subject, reason)));
    problems
}

/// What is to be said of the last revision that was `sent` if it should be in force by now.
fn late(sent: Option<(u64, Moment)>, acknowledged: Option<Acknowledged>) -> Option<Problem> {
    let (revision, at) = sent.filter(|(_, at)| at.age() > LATE)?;
    let held = acknowledged.map_or(0, |known| known.revision);
    let reason = format!("sent {} s ago and not acknowledged; what is in force is older", at.age().as_secs());
    (held < revision).then(|| of("data half", format!("revision {revision}"), reason))
}

fn of(source: &str, subject: String, reason: String) -> Problem {
    Problem { source: source.into(), subject, reason, ..Problem::default() }
}

fn component(component: &health::Component) -> Component {
    let [liveness, readiness] = health::words(component);
    Component {
        name: component.name.into(),
        timeout_seconds: component.timeout.map_or(0.0, |timeout| timeout.as_secs_f64()),
        liveness: liveness.into(),
        readiness: readiness.into(),
        detail: component.detail.clone(),
    }
}

fn source_problem(problem: &SourceProblem) -> Problem {
    let told = Problem { source: "datastore".into(), ..Problem::default() };
    match problem {
        SourceProblem::Refused { refusal, in_force } => Problem {
            subject: refusal.object.as_ref().map(ToString::to_string).unwrap_or_default(),
            place: format!("{}:{}", refusal.file.display(), refusal.line),
            field: refusal.field.clone(),
            reason: refusal.reason.clone(),
            in_force: match (in_force, &refusal.object) {
                (InForce::OtherVersion, _) => "another version",
                (InForce::Nothing, Some(_)) => "nothing",
                // It may be anything that the file named.
                (InForce::Nothing, None) => "what the file said before",
            }
            .into(),
            ..told
        },
        SourceProblem::Duplicate { object, used, ignored } => Problem {
            subject: object.to_string(),
            place: ignored.to_string(),
            reason: format!("the object is also at {used}, which counts"),
            in_force: "another version".into(),
            ..told
        },
        SourceProblem::Broken { object, place, reason } => Problem {
            subject: object.to_string(),
            place: place.to_string(),
            reason: reason.clone(),
            in_force: "nothing".into(),
            ..told
        },
        SourceProblem::More { file, documents, absent } => Problem {
            place: file.display().to_string(),
            reason: format!("{documents} more documents are not taken as they are"),
            in_force: if *absent == 0 { String::new() } else { format!("for {absent} of them nothing") },
            ..told
        },
        SourceProblem::Unreadable { path, reason, in_force } => Problem {
            place: path.display().to_string(),
            reason: format!("cannot be read: {reason}"),
            in_force: match in_force {
                InForce::Nothing => "nothing",
                InForce::OtherVersion => "what it last said",
            }
            .into(),
            ..told
        },
        SourceProblem::Polling { .. } => Problem { reason: problem.to_string(), ..told },
    }
}

/// Endpoints of this node as they were at some moment. Each may name thousands of policies, so
/// that words are made of it by who asked, not by the thread that was asked.
pub struct Endpoints {
    workloads: Vec<(WorkloadId, Workload, Option<Receipt>)>,
    hosts: Vec<(HostId, Host, Option<Receipt>)>,
    /// What the kernel acknowledged last, 0 if nothing.
    revision: u64,
}

impl Endpoints {
    /// All of this node.
    pub fn all(insight: &Insight<'_>) -> Self {
        let (ledger, receipts) = (insight.status.ledger(), insight.status.receipts());
        let hosts = ledger.hosts().iter();
        let hosts = hosts.map(|(id, host)| (id.clone(), host.clone(), receipts.of_host(id).cloned()));
        Self { hosts: hosts.collect(), ..Self::workloads(insight, ledger.workloads().keys()) }
    }

    /// Of some workload endpoints those that the data half was told of.
    pub fn workloads<'a>(insight: &Insight<'_>, ids: impl IntoIterator<Item = &'a WorkloadId>) -> Self {
        let (ledger, receipts) = (insight.status.ledger(), insight.status.receipts());
        let revision = receipts.acknowledged().map_or(0, |known| known.revision);
        let known = ids.into_iter().filter_map(|id| {
            let workload = ledger.workloads().get(id)?.clone();
            Some((id.clone(), workload, receipts.of(id).cloned()))
        });
        Self { workloads: known.collect(), hosts: Vec::new(), revision }
    }

    /// The same in words, each with its receipt.
    #[must_use]
    pub fn answer(&self) -> EndpointsResponse {
        let Self { workloads, hosts, revision } = self;
        let workloads = workloads.iter();
        let workloads = workloads.map(|(id, workload, receipt)| (workload_endpoint(id, workload), receipt));
        let hosts = hosts.iter().map(|(id, host, receipt)| (host_endpoint(id, host), receipt));
        let endpoints = workloads.chain(hosts);
        EndpointsResponse {
            endpoints: endpoints.map(|(endpoint, receipt)| told(endpoint, receipt.as_ref(), *revision)).collect(),
        }
    }
}

fn workload_endpoint(id: &WorkloadId, workload: &Workload) -> Endpoint {
    let Workload { interface, ipv4_nets, ipv6_nets, tiers, profiles, .. } = workload;
    let addresses = ipv4_nets.iter().chain(ipv6_nets);
    let addresses = addresses.map(|net| net.split('/').next().unwrap_or(net).to_owned());
    Endpoint {
        kind: "workload".into(),
        id: id.to_string(),
        interface: interface.to_string(),
        addresses: addresses.collect(),
        policies: policies_of(tiers),
        profiles: profiles.iter().map(ToString::to_string).collect(),
        ..Endpoint::default()
    }
}

fn host_endpoint(id: &HostId, host: &Host) -> Endpoint {
    let Host { interface, addresses, tiers, profiles } = host;
    Endpoint {
        kind: "host".into(),
        id: id.to_string(),
        interface: interface.to_string(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        policies: policies_of(tiers),
        profiles: profiles.iter().map(ToString::to_string).collect(),
        ..Endpoint::default()
    }
}

/// Each once, though several programs of a host endpoint may name it.
fn policies_of(tiers: &[Tier]) -> Vec<String> {
    let mut named = HashSet::new();
    let policies = tiers.iter().flat_map(|tier| &tier.policies);
    policies.filter(|policy| named.insert(*policy)).map(ToString::to_string).collect()
}

/// An endpoint with what became of it.
fn told(endpoint: Endpoint, receipt: Option<&Receipt>, revision: u64) -> Endpoint {
    Endpoint {
        outcome: receipt.map_or(PENDING, |receipt| word(receipt.outcome)).into(),
        reason: receipt.map(|receipt| receipt.reason.clone()).unwrap_or_default(),
        revision: if receipt.is_some() { revision } else { 0 },
        since_revision: receipt.map_or(0, |receipt| receipt.revision),
        since: receipt.map_or(0.0, |receipt| receipt.at.unix_seconds()),
        ..endpoint
    }
}

/// The policies that apply to some endpoint of this node, as the data half was told.
pub fn policies(insight: &Insight<'_>) -> PoliciesResponse {
    let ledger: &Ledger = insight.status.ledger();
    let endpoints = ledger.endpoints_by_policy();
    let ranked = insight.calculator.active_policies();
    // What the graph holds may be newer than what was told.
    let told = ranked.into_iter().filter_map(|(id, order)| {
        let policy = ledger.policies().get(&id)?;
        let count = endpoints.get(&id).copied().unwrap_or_default();
        let staged = id.is_staged();
        let PolicyId { kind, namespace, name } = id;
        Some(Policy {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
            tier: policy.tier.to_string(),
            order,
            staged,
            endpoints: number(count),
            inbound_rules: number(policy.inbound_rules),
            outbound_rules: number(policy.outbound_rules),
            counts: Vec::new(),
        })
    });
    let mut answer = PoliciesResponse { policies: told.collect(), ends: Vec::new() };
    if let Some(counts) = insight.status.counts() {
        count(&mut answer, counts);
    }
    answer
}

/// What rules decided about flows, behind the place that an answer before has told.
pub fn flows(insight: &Insight<'_>, after: u64) -> FlowsResponse {
    let enabled = insight.calculator.configuration().settings().flow_logs;
    FlowsResponse { enabled, ..insight.status.flows().after(after) }
}

/// Adds what was counted; a rule that has counted nothing is not among that.
fn count(answer: &mut PoliciesResponse, counts: &sync::Counts) {
    let mut places = BTreeMap::new();
    for (at, policy) in answer.policies.iter_mut().enumerate().filter(|(_, policy)| !policy.staged) {
        places.insert([policy.kind.clone(), policy.namespace.clone(), policy.name.clone()], at);
        for (direction, rules) in [("inbound", policy.inbound_rules), ("outbound", policy.outbound_rules)] {
            let nothing = |rule| RuleCount { direction: direction.to_owned(), rule, packets: 0, bytes: 0 };
            policy.counts.extend((0..rules).map(nothing));
        }
    }
    for sync::RuleCount { kind, namespace, name, rule, direction, action: _, packets, bytes } in &counts.rules {
        let (packets, bytes) = (*packets, *bytes);
        match kind.as_str() {
            "EndOfTier" | "NoMatch" => {
                answer.ends.push(EndCount { tier: name.clone(), direction: direction.clone(), packets, bytes });
            }
            _ => {
                let Some(at) = places.get(&[kind.clone(), namespace.clone(), name.clone()]) else { continue };
                let Policy { inbound_rules, counts, .. } = &mut answer.policies[*at];
                // They stand as they were put in above: by direction, then by rule.
                let before = if direction == "inbound" { 0 } else { *inbound_rules };
                let count = usize::try_from(before.saturating_add(*rule)).ok().and_then(|at| counts.get_mut(at));
                if let Some(count) = count.filter(|count| count.rule == *rule && count.direction == *direction) {
                    (count.packets, count.bytes) = (packets, bytes);
                }
            }
        }
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).expect("a count of things in memory fits in 64 bits")
}

/// An outcome as the admin API spells it.
#[must_use]
pub const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Programmed => "programmed",
        Outcome::WaitingForInterface => "waiting for interface",
        Outcome::Shadowed => "shadowed",
        Outcome::Quarantined => "quarantined",
        Outcome::Removed => "removed",
    }
}

#[cfg(test)]
mod tests;
