//! Established connections that a change of policy denies are cut, after the
//! change is in force and its acknowledgement is on its way.
//!
//! A review looks through the kernel's connections in slices, so that nothing
//! else waits for it, and labels those that policy denies now; the rules refuse
//! what bears the label. The review after a change begins at once; the next one
//! leaves the processor to others first ([`pause_after`]).
//!
//! What was cut is remembered, so that a change that allows it again restores it
//! at once, without a review and at the cost of what was cut only.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caracal_config::{EndpointToHostAction, Settings};
use caracal_program::{
    Bench, Brief, Change, Effects, EndpointToHost, Failsafes, Measurement, Packet, PolicyStore, Suspects, Terms,
    Touched, Transport, Verdict, WorkloadEndpoint, WorkloadId,
};
use caracal_sys::clock::thread_time;
use smol_str::SmolStr;
use tracing::info;

use crate::host::{Flow, FlowKey, Host, Judgement, Progress, Tally};
use crate::interfaces::Interfaces;
use crate::retry::Backoff;

/// How long one slice of a review may take.
const SLICE: Duration = Duration::from_millis(1);

/// What others have of the thread between two slices.
const BREATH: Duration = Duration::from_micros(100);

/// How long the kernel is left to list connections before they are looked at:
/// less than it takes for as many as may wait.
const LISTING: Duration = Duration::from_millis(3);

/// A packet that met the rules before the change is through by then.
const SETTLING: Duration = Duration::from_millis(2);

/// How much longer than a short review the pause after it is.
const PAUSE: u32 = 9;

/// Within this time after a change what it denies is cut, where a review takes no
/// longer than a third of it, as one of some 25,000 connections does. A change
/// that just misses a review waits for its end, for the pause and for the next.
const IN_TIME: Duration = Duration::from_millis(150);

/// The longest pause: a connection that policy denies must not live on for long
/// because the machine is busy or its connections are many.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long the processor is left to others after a review of which this is the
/// processor time, if policy goes on changing. Reviews then take a tenth of a
/// processor if one takes up to 14 ms, up to half of one where that is needed to
/// be in time, or nearly, and less and less of it, down to a quarter, the longer
/// they take beyond that.
fn pause_after(review: Duration) -> Duration {
    let in_time = review.max(IN_TIME.saturating_sub(2 * review));
    let hopeless = 3 * review.saturating_sub(IN_TIME / 2);
    (PAUSE * review).min(in_time.max(hopeless)).min(LONGEST_PAUSE)
}

/// What is to be looked at.
#[derive(Clone, Debug, Default)]
struct Docket {
    /// Endpoints that may deny what they allowed, or the other way round.
    suspects: Suspects,
    /// Addresses that lost their owner. What is left of their connections is
    /// forgotten, unless they have another one now.
    departed: BTreeSet<IpAddr>,
}

impl Docket {
    fn is_empty(&self) -> bool {
        self.suspects.is_empty() && self.departed.is_empty()
    }
}

/// What changed since the connections that were cut were looked through.
#[derive(Debug, Default)]
struct Loosened {
    touched: Touched,
    /// Endpoints that are not as they were.
    endpoints: Suspects,
}

impl Loosened {
    fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.endpoints.is_empty()
    }

    /// The endpoints that may allow what they denied.
    fn suspects(self, store: &PolicyStore) -> Suspects {
        let mut suspects = Effects::of(store, &self.touched).suspects(|effect| effect.loosens);
        suspects.add(self.endpoints);
        suspects
    }
}

/// A review that is not over.
#[derive(Debug, Default)]
struct Running {
    docket: Docket,
    briefing: Briefing,
    /// The processor time that its slices took so far.
    spent: Duration,
}

/// Cut connections that are being looked through.
#[derive(Debug)]
struct Restoring {
    /// The endpoints that they are of.
    suspects: Suspects,
    briefing: Briefing,
}

/// What judging takes, from one slice to the next.
#[derive(Debug, Default)]
struct Briefing {
    brief: Option<Brief>,
    /// How often it was made: once, and whenever the store had changed between two slices.
    made: usize,
}

impl Briefing {
    fn on(&mut self, suspects: &Suspects, store: &PolicyStore) -> &Brief {
        let Self { brief, made } = self;
        if !brief.as_ref().is_some_and(|brief| brief.is_of(store)) {
            *made += 1;
            *brief = None;
        }
        brief.get_or_insert_with(|| Brief::of(store, suspects))
    }

    fn let_go(&mut self) {
        self.brief = None;
    }
}

/// Sums since the start.
#[derive(Debug, Default)]
struct Totals {
    reviews: u64,
    cut: u64,
    unlabelled: u64,
    restored: u64,
    forgotten: u64,
    /// How often what judging takes was made ready for a review.
    briefs: u64,
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
    /// How many connections are cut, if all of them are known.
    cut: Option<usize>,
    loosened: Loosened,
    restoring: Option<Restoring>,
    restoration_due: Option<Instant>,
    restoring_backoff: Backoff,
    /// How many connections bore the label when they were last looked through.
    labelled: usize,
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
        if self.cut != Some(0) {
            self.loosened.touched.take(changes);
        }
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
                        if self.cut != Some(0) {
                            self.loosened.endpoints.workloads.insert(id.clone());
                        }
                        self.docket.suspects.workloads.insert(id.clone());
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
        if !departed.is_empty() {
            // An address that is nobody's here may be somebody's elsewhere soon.
            if self.due == self.rest.take() {
                self.due = None;
            }
        }
        if self.due.is_none() && !(self.touched.is_empty() && self.docket.is_empty()) {
            let settled = now + SETTLING;
            self.due = Some(self.rest.map_or(settled, |rest| rest.max(settled)));
        }
        self.schedule_restoration(now);
    }

    /// Lets go of what judging shares with the store, which is about to change: a set
    /// that somebody else holds would be copied for it.
    pub(crate) fn let_go(&mut self) {
        let running = self.running.iter_mut().map(|running| &mut running.briefing);
        let restoring = self.restoring.iter_mut().map(|restoring| &mut restoring.briefing);
        running.chain(restoring).for_each(|briefing| briefing.let_go());
    }

    /// The addresses that lost their owner and whose connections are still to be
    /// looked for.
    pub(crate) fn departed(&self) -> impl Iterator<Item = IpAddr> {
        let running = self.running.iter().flat_map(|running| &running.docket.departed);
        self.docket.departed.iter().chain(running).copied()
    }

    /// Without any connection that was cut there is none to restore; as long as
    /// not all of them are known, the next review does it.
    fn schedule_restoration(&mut self, now: Instant) {
        if self.restoration_due.is_none() && self.cut.is_some() && !self.loosened.is_empty() {
            self.restoration_due = Some(now + BREATH);
        }
    }

    /// When there is something to do next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.restoration_due).min()
    }

    /// Looks through some of the connections, first of all those that were cut.
    ///
    /// # Errors
    /// When the kernel cannot be asked; a later step begins anew.
    pub(crate) fn step(
        &mut self,
        now: Instant,
        store: &PolicyStore,
        (settings, interfaces): (&Settings, &Interfaces),
        host: &mut impl Host,
    ) -> io::Result<()> {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let court = Court::new(store, settings, interfaces);
        let restored = if is_due(self.restoration_due) { self.restore(now, &court, host) } else { Ok(()) };
        let reviewed = if is_due(self.due) { self.review(now, &court, host) } else { Ok(()) };
        self.cut = host.cut_connections();
        self.schedule_restoration(now);
        restored.and(reviewed)
    }

    /// Looks through some of the connections that were cut.
    fn restore(&mut self, now: Instant, court: &Court<'_>, host: &mut impl Host) -> io::Result<()> {
        self.restoration_due = None;
        let mut restoring = self.restoring.take().unwrap_or_else(|| {
            let suspects = std::mem::take(&mut self.loosened).suspects(court.store);
            Restoring { suspects, briefing: Briefing::default() }
        });
        if !court.settings.revoke_established || restoring.suspects.is_empty() {
            return Ok(());
        }
        let outcome = {
            let Restoring { suspects, briefing } = &mut restoring;
            let (bench, nobody) = (court.bench(briefing.on(suspects, court.store)), BTreeSet::new());
            host.reconsider_connections(SLICE, &mut |flow| court.judge(flow, &bench, &nobody))
        };
        match outcome {
            Ok(Progress::Ahead | Progress::Waiting) => {
                self.restoring = Some(restoring);
                self.restoration_due = Some(now + BREATH);
                Ok(())
            }
            Ok(Progress::Done(Tally { restored, forgotten, labelled, .. })) => {
                if restored + forgotten > 0 {
                    info!(restored, forgotten, "policy allows again connections that were cut");
                }
                self.totals.restored += number(restored);
                self.totals.forgotten += number(forgotten);
                self.labelled = labelled;
                self.restoring_backoff.worked();
                Ok(())
            }
            Err(error) => {
                self.loosened.endpoints.add(restoring.suspects);
                self.restoring_backoff.failed(now);
                self.restoration_due = self.restoring_backoff.due();
                Err(error)
            }
        }
    }

    /// Looks through some of all connections.
    fn review(&mut self, now: Instant, court: &Court<'_>, host: &mut impl Host) -> io::Result<()> {
        let begun = thread_time();
        let mut running = match self.running.take() {
            Some(running) => running,
            None => Running { docket: self.open(court.store), ..Running::default() },
        };
        let is_wanted = court.settings.revoke_established;
        if running.docket.is_empty() || (!is_wanted && self.cut == Some(0)) {
            self.due = None;
            return Ok(());
        }
        let outcome = if is_wanted {
            // Mostly the kernel is still at it, and there is no connection to look at.
            let Running { docket: Docket { suspects, departed }, briefing, spent: _ } = &mut running;
            let bench = LazyCell::new(|| court.bench(briefing.on(suspects, court.store)));
            host.review_connections(SLICE, &mut |flow| court.judge(flow, &bench, departed))
        } else {
            host.review_connections(SLICE, &mut acquit)
        };
        running.spent += thread_time().saturating_sub(begun);
        match outcome {
            Ok(progress @ (Progress::Ahead | Progress::Waiting)) => {
                self.running = Some(running);
                self.due = Some(now + if progress == Progress::Waiting { LISTING } else { BREATH });
                Ok(())
            }
            Ok(Progress::Done(tally)) => {
                self.totals.briefs += number(running.briefing.made);
                self.finish(now, running.spent + tally.listing, tally);
                Ok(())
            }
            Err(error) => {
                self.docket.suspects.add(running.docket.suspects);
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
        let is_unknown = self.cut.is_none();
        let suspects =
            Effects::of(store, &touched).suspects(|effect| effect.tightens || (effect.loosens && is_unknown));
        docket.suspects.add(suspects);
        if self.cut.is_none() {
            // This review restores what there is to restore.
            self.loosened = Loosened::default();
        }
        docket
    }

    fn finish(&mut self, now: Instant, spent: Duration, tally: Tally) {
        let Tally { seen, cut, unlabelled, restored, forgotten, labelled, listing: _ } = tally;
        if cut + unlabelled + restored + forgotten > 0 {
            info!(seen, cut, unlabelled, restored, forgotten, ?spent, "policy has changed for established connections");
        }
        let sum = |total: &mut u64, more: usize| *total += number(more);
        sum(&mut self.totals.cut, cut);
        sum(&mut self.totals.unlabelled, unlabelled);
        sum(&mut self.totals.restored, restored);
        sum(&mut self.totals.forgotten, forgotten);
        self.totals.reviews += 1;
        self.totals.longest = self.totals.longest.max(spent);
        self.labelled = labelled;
        self.backoff.worked();
        let rest = match self.docket.departed.is_empty() {
            true => now + pause_after(spent),
            false => now + BREATH,
        };
        self.rest = Some(rest);
        self.due = (!(self.touched.is_empty() && self.docket.is_empty())).then_some(rest);
    }

    /// What was counted.
    pub(crate) fn measurements(&self) -> Vec<Measurement> {
        let Totals { reviews, cut, unlabelled, restored, forgotten, briefs, longest } = self.totals;
        vec![
            Measurement::counter(
                "caracal_dataplane_connection_reviews_total",
                "Times that all connections were looked through because policy had changed.",
                reviews,
            ),
            Measurement::counter(
                "caracal_dataplane_connection_review_preparations_total",
                "Times that policy was made ready to judge connections: once in a review, and again when it changed meanwhile.",
                briefs,
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
            Measurement::counter(
                "caracal_dataplane_forgotten_connections_total",
                "Connections whose entries were deleted by a review: their address left, untracked policy takes them, or policy denies them and lets the other end open them.",
                forgotten,
            ),
            Measurement::gauge(
                "caracal_dataplane_labelled_connections",
                "Connections that bore the label of the cut ones when they were last looked through.",
                number(self.labelled),
            ),
            Measurement::seconds(
                "caracal_dataplane_longest_connection_review_seconds",
                "The most processor time that a review of all connections took.",
                longest,
            ),
        ]
    }
}

/// What becomes of a connection while none is to be cut: labels do nothing then, and whoever
/// has connections cut again must find none that policy has come to allow meanwhile.
const fn acquit(flow: &Flow) -> Judgement {
    match flow.revoked {
        true => Judgement::Restore,
        false => Judgement::Leave,
    }
}

/// Whether policy may say other things of the same packets.
fn differ(before: &WorkloadEndpoint, after: &WorkloadEndpoint) -> bool {
    let decides = |endpoint: &WorkloadEndpoint| (endpoint.state, endpoint.ingress.key(), endpoint.egress.key());
    decides(before) != decides(after) || before.addresses != after.addresses || before.interface != after.interface
}

/// What connections are judged by.
struct Court<'a> {
    store: &'a PolicyStore,
    settings: &'a Settings,
    failsafes: Failsafes,
    workload_prefixes: Vec<SmolStr>,
    interfaces: Vec<SmolStr>,
}

impl<'a> Court<'a> {
    fn new(store: &'a PolicyStore, settings: &'a Settings, interfaces: &Interfaces) -> Self {
        Self {
            store,
            settings,
            failsafes: Failsafes::new(&settings.failsafe_inbound, &settings.failsafe_outbound),
            workload_prefixes: settings.interface_prefixes.iter().map(SmolStr::from).collect(),
            interfaces: interfaces.up().cloned().collect(),
        }
    }

    fn bench<'b>(&'b self, brief: &'b Brief) -> Bench<'b> {
        let Self { store, settings, failsafes, workload_prefixes, interfaces } = self;
        let (to_host, vxlan_port) = (to_host(settings), settings.vxlan_port);
        Bench::new(store, brief, Terms { to_host, failsafes, workload_prefixes, interfaces, vxlan_port })
    }

    fn judge(&self, flow: &Flow, bench: &Bench<'_>, departed: &BTreeSet<IpAddr>) -> Judgement {
        let gone = |addr: &IpAddr| departed.contains(addr) && !bench.is_owned(addr);
        if gone(&flow.source) || gone(&flow.destination) {
            return Judgement::Forget;
        }
        if flow.related || (flow.source.is_ipv6() && !self.settings.ipv6) {
            return Judgement::Leave;
        }
        let transport = match flow.key {
            FlowKey::Ports { source: src, destination: dst } => Transport::Ports { src, dst },
            FlowKey::Icmp { icmp_type, code } => Transport::Icmp { icmp_type, code },
            FlowKey::Opaque => Transport::Opaque,
        };
        let called = flow.called.map(|called| {
            let transport = match transport {
                Transport::Ports { src, .. } => Transport::Ports { src, dst: called.port() },
                Transport::Icmp { .. } | Transport::Opaque => transport,
            };
            Packet::new(flow.source, called.ip(), flow.protocol, transport)
        });
        // What is translated between the families is no packet of one policy.
        let (Ok(packet), Ok(called)) =
            (Packet::new(flow.source, flow.destination, flow.protocol, transport), called.transpose())
        else {
            return Judgement::Leave;
        };
        if called.is_none() && bench.is_untracked(&packet) {
            return Judgement::Forget;
        }
        match bench.verdict(&packet, called.as_ref()) {
            // What the other end sends is allowed, and is no answer only: with the entry
            // the label would refuse it for as long as anybody sends. Without it policy
            // judges the next packet, whoever sends.
            Some(Verdict::Deny) if flow.mutual && bench.verdict(&packet.answer(), None) == Some(Verdict::Allow) => {
                Judgement::Forget
            }
            Some(Verdict::Deny) => Judgement::Cut,
            Some(Verdict::Allow) => Judgement::Restore,
            None => Judgement::Leave,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_just_misses_a_review_is_in_time_if_reviews_are_short() {
        for (review, pause) in
            [(0, 0), (5, 45), (13, 117), (20, 110), (40, 70), (50, 50), (75, 75), (120, 135), (300, 675), (900, 2_000)]
        {
            let [review, pause] = [review, pause].map(Duration::from_millis);
            assert_eq!(pause_after(review), pause, "{review:?}");
            assert!(review > IN_TIME / 3 || review + pause + review <= IN_TIME, "{review:?}");
        }
    }
}
