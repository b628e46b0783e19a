//! Established connections that a change of policy denies are cut, after the
//! change is in force and its acknowledgement is on its way.
//!
//! A review looks through the kernel's connections in slices, so that nothing
//! else waits for it, and labels those that policy denies now; the rules refuse
//! what bears the label. The review after a change begins at once, the next one
//! leaves the processor to others for nine times as long as it took, two seconds
//! at most.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caracal_config::{EndpointToHostAction, Settings};
use caracal_program::{
    Bench, Change, Effects, EndpointToHost, Measurement, Packet, PolicyStore, Touched, Transport, Verdict,
    WorkloadEndpoint, WorkloadId,
};
use caracal_sys::clock::monotonic_nanos;
use tracing::info;

use crate::host::{Flow, FlowKey, Host, Judgement, Progress, Tally};
use crate::retry::Backoff;

/// How long one slice of a review may take.
const SLICE: Duration = Duration::from_millis(5);

/// What others have of the thread between two slices.
const BREATH: Duration = Duration::from_micros(100);

/// A packet that met the rules before the change is through by then.
const SETTLING: Duration = Duration::from_millis(2);

/// How much longer than a review the pause after it is.
const PAUSE: u32 = 9;

/// The longest pause: a connection that policy denies must not live on for long
/// because the machine is busy or its connections are many.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is to be looked at.
#[derive(Clone, Debug, Default)]
struct Docket {
    /// Endpoints that may deny what they allowed, or the other way round.
    suspects: BTreeSet<WorkloadId>,
    /// Addresses that lost their owner. Their connections were forgotten before
    /// the change was in force; packets since then may have made new entries.
    departed: BTreeSet<IpAddr>,
}

impl Docket {
    fn is_empty(&self) -> bool {
        self.suspects.is_empty() && self.departed.is_empty()
    }
}

/// A review that is not over.
#[derive(Debug)]
struct Running {
    docket: Docket,
    /// What its slices took so far.
    spent: Duration,
}

/// Sums since the start.
#[derive(Debug, Default)]
struct Totals {
    reviews: u64,
    cut: u64,
    unlabelled: u64,
    restored: u64,
    longest: Duration,
}

/// What changed, and the review of connections that follows from it.
#[derive(Debug, Default)]
pub(crate) struct Revocation {
    /// Endpoints as they were after the last revision.
    known: BTreeMap<WorkloadId, Arc<WorkloadEndpoint>>,
    touched: Touched,
    docket: Docket,
    running: Option<Running>,
    due: Option<Instant>,
    /// Not before this is the next review due.
    rest: Option<Instant>,
    backoff: Backoff,
    /// How many connections bear the label; unknown before the first review.
    labelled: Option<usize>,
    totals: Totals,
}

impl Revocation {
    /// Takes note of a revision that is being put in force, and of the addresses
    /// that it takes from their owners.
    pub(crate) fn note(&mut self, now: Instant, store: &PolicyStore, changes: &[Change], departed: &BTreeSet<IpAddr>) {
        if !store.in_sync() {
            // The in-sync has everything reviewed.
            return;
        }
        self.touched.take(changes);
        for change in changes {
            match change {
                Change::InSync => {
                    self.known =
                        store.workloads().map(|endpoint| (endpoint.id.clone(), Arc::clone(endpoint))).collect();
                }
                Change::Endpoint { id, .. } => {
                    let after = store.workload(id);
                    let before = match after {
                        Some(after) => self.known.insert(id.clone(), Arc::clone(after)),
                        None => self.known.remove(id),
                    };
                    let suspicious = match (before, after) {
                        (Some(before), Some(after)) => differ(&before, after),
                        // Until now its interface carried nothing. Its address may have.
                        (None, Some(after)) => after.addresses.iter().any(|addr| departed.contains(addr)),
                        (_, None) => false,
                    };
                    if suspicious {
                        self.docket.suspects.insert(id.clone());
                    }
                }
                Change::Nothing
                | Change::SetMembers { .. }
                | Change::SetReplaced(_)
                | Change::SetRemoved(_)
                | Change::Policy(_)
                | Change::Profile(_)
                | Change::HostEndpoint(_)
                | Change::HostAddresses
                | Change::IpPool(_)
                | Change::Cluster
                | Change::Config => {}
            }
        }
        self.docket.departed.extend(departed);
        if self.due.is_none() && !(self.touched.is_empty() && self.docket.is_empty()) {
            let settled = now + SETTLING;
            self.due = Some(self.rest.map_or(settled, |rest| rest.max(settled)));
        }
    }

    /// When there is something to do next.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks through some of the connections.
    ///
    /// # Errors
    /// When the kernel cannot be asked; a later step begins anew.
    pub(crate) fn step(
        &mut self,
        now: Instant,
        store: &PolicyStore,
        settings: &Settings,
        host: &mut impl Host,
    ) -> io::Result<()> {
        let begun = monotonic_nanos();
        let mut running = match self.running.take() {
            Some(running) => running,
            None => Running { docket: self.open(store), spent: Duration::ZERO },
        };
        if !settings.revoke_established || running.docket.is_empty() {
            self.due = None;
            return Ok(());
        }
        let outcome = {
            let bench = Bench::new(store, &running.docket.suspects, to_host(settings));
            let mut judge = |flow: &Flow| judge(flow, &bench, &running.docket.departed, settings);
            host.review_connections(SLICE, &mut judge)
        };
        running.spent += Duration::from_nanos(monotonic_nanos().saturating_sub(begun));
        match outcome {
            Ok(Progress::Ahead) => {
                self.running = Some(running);
                self.due = Some(now + BREATH);
                Ok(())
            }
            Ok(Progress::Done(tally)) => {
                self.finish(now, running.spent, tally);
                Ok(())
            }
            Err(error) => {
                self.docket.suspects.append(&mut running.docket.suspects);
                self.docket.departed.append(&mut running.docket.departed);
                self.backoff.failed(now);
                self.due = self.backoff.due();
                Err(error)
            }
        }
    }

    /// What was noted, as a docket for the next review.
    fn open(&mut self, store: &PolicyStore) -> Docket {
        let (mut docket, touched) = (std::mem::take(&mut self.docket), std::mem::take(&mut self.touched));
        let mut effects = Effects::of(store, &touched);
        for endpoint in store.workloads() {
            let effect = effects.on(endpoint);
            // Without any connection that was cut there is none to restore.
            if effect.tightens || (effect.loosens && self.labelled != Some(0)) {
                docket.suspects.insert(endpoint.id.clone());
            }
        }
        docket
    }

    fn finish(&mut self, now: Instant, spent: Duration, tally: Tally) {
        let Tally { seen, cut, unlabelled, restored, forgotten, labelled } = tally;
        if cut + unlabelled + restored + forgotten > 0 {
            info!(seen, cut, unlabelled, restored, forgotten, ?spent, "policy has changed for established connections");
        }
        let sum = |total: &mut u64, more: usize| *total += number(more);
        sum(&mut self.totals.cut, cut);
        sum(&mut self.totals.unlabelled, unlabelled);
        sum(&mut self.totals.restored, restored);
        self.totals.reviews += 1;
        self.totals.longest = self.totals.longest.max(spent);
        self.labelled = Some(labelled);
        self.backoff.worked();
        let rest = now + (PAUSE * spent).min(LONGEST_PAUSE);
        self.rest = Some(rest);
        self.due = (!(self.touched.is_empty() && self.docket.is_empty())).then_some(rest);
    }

    /// What was counted.
    pub(crate) fn measurements(&self) -> Vec<Measurement> {
        let Totals { reviews, cut, unlabelled, restored, longest } = self.totals;
        vec![
            Measurement::counter(
                "caracal_dataplane_connection_reviews_total",
                "Times that all connections were looked through because policy had changed.",
                reviews,
            ),
            Measurement::counter(
                "caracal_dataplane_revoked_connections_total",
                "Established connections that were cut because policy denies them now.",
                cut,
            ),
            Measurement::counter(
                "caracal_dataplane_unlabelled_connections_total",
                "Established connections that policy denies now and that were deleted because they could not be labelled: they are older than the rules.",
                unlabelled,
            ),
            Measurement::counter(
                "caracal_dataplane_restored_connections_total",
                "Connections that had been cut and that policy allows again.",
                restored,
            ),
            Measurement::gauge(
                "caracal_dataplane_labelled_connections",
                "Connections that bore the label of the cut ones at the end of the last review.",
                number(self.labelled.unwrap_or_default()),
            ),
            Measurement::seconds(
                "caracal_dataplane_longest_connection_review_seconds",
                "The longest time that a review of all connections took.",
                longest,
            ),
        ]
    }
}

/// Whether policy may say other things of the same packets.
fn differ(before: &WorkloadEndpoint, after: &WorkloadEndpoint) -> bool {
    let decides = |endpoint: &WorkloadEndpoint| (endpoint.state, endpoint.ingress.key(), endpoint.egress.key());
    decides(before) != decides(after) || before.addresses != after.addresses || before.interface != after.interface
}

fn judge(flow: &Flow, bench: &Bench<'_>, departed: &BTreeSet<IpAddr>, settings: &Settings) -> Judgement {
    let gone = |addr: &IpAddr| departed.contains(addr) && !bench.is_owned(addr);
    if gone(&flow.source) || gone(&flow.destination) {
        return Judgement::Forget;
    }
    if flow.related || (flow.source.is_ipv6() && !settings.ipv6) {
        return Judgement::Leave;
    }
    let transport = match flow.key {
        FlowKey::Ports { source: src, destination: dst } => Transport::Ports { src, dst },
        FlowKey::Icmp { icmp_type, code } => Transport::Icmp { icmp_type, code },
        FlowKey::Opaque => Transport::Opaque,
    };
    // What is translated between the families is no packet of one policy.
    let Ok(packet) = Packet::new(flow.source, flow.destination, flow.protocol, transport) else {
        return Judgement::Leave;
    };
    match bench.verdict(&packet) {
        Some(Verdict::Deny) => Judgement::Cut,
        Some(Verdict::Allow) => Judgement::Restore,
        None => Judgement::Leave,
    }
}

const fn to_host(settings: &Settings) -> EndpointToHost {
    match settings.endpoint_to_host_action {
        EndpointToHostAction::Drop => EndpointToHost::Drop,
        EndpointToHostAction::Return => EndpointToHost::Return,
        EndpointToHostAction::Accept => EndpointToHost::Accept,
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).expect("a count of things in memory fits in 64 bits")
}
