//! What the data half does, one input at a time.
//!
//! No thread, no channel: time is an argument and answers are returned, so that
//! every order of inputs can be tested. The clock is read for the stamps of
//! acknowledgements only.

mod telling;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use caracal_config::Settings;
use caracal_net::Family;
use caracal_program::{
    Change, Driver, DriverError, Failsafes, Finding, HostView, Ipv6, PolicyStore, Receipt, Sweep, cut_off,
};
use caracal_proto::sync::begin::Kind;
use caracal_proto::sync::{Ack, EndpointOutcome, Extension, FromData, Position, ToData, from_data, to_data};
use caracal_proto::{COUNTS, FLOWS};
use caracal_sys::clock::monotonic_nanos;
use smol_str::SmolStr;
use tracing::{debug, error, info, warn};

use crate::complaints::Complaints;
use crate::counting::Counting;
use crate::flows::{Flows, Telling};
use crate::forgetting::Forgetting;
use crate::host::Host;
use crate::host_endpoints::HostEndpoints;
use crate::interfaces::{Interfaces, LinkState, Observed};
use crate::misunderstood::{Closed, Misunderstood};
use crate::numbers::{Numbers, Task};
use crate::outcomes::{Networking, Outcomes};
use crate::retry::Backoff;
use crate::revision::{Assembler, Revision, RevisionError};
use crate::revocation::Revocation;
use crate::workloads::Workloads;

/// How long the rest of a revision is waited for before established connections
/// are looked through again: the frames of one follow each other closely.
const COMING: Duration = Duration::from_millis(10);

/// A driver that takes its settings from Felix's parameters, while it runs.
pub trait ConfiguredDriver: Driver {
    /// Takes new settings; the next apply or resync follows them.
    ///
    /// # Errors
    /// [`DriverError`] if the settings cannot be used; the old ones stay.
    fn configure(&mut self, settings: &Settings) -> Result<(), DriverError>;
}

/// The data half's state.
pub struct DataHalf<D, H> {
    driver: D,
    host: H,
    store: PolicyStore,
    settings: Settings,
    assembler: Assembler,
    interfaces: Interfaces,
    workloads: Workloads,
    outcomes: Outcomes,
    hosts: HostEndpoints,
    /// Whether the kernel was read back against a store that the control half filled.
    read_back: bool,
    /// What the driver could not do.
    owed: Backoff,
    forgetting: Forgetting,
    revocation: Revocation,
    /// While a revision comes in, connections are not looked through before this.
    coming: Option<Instant>,
    next_poll: Instant,
    next_audit: Option<Instant>,
    auditing: Backoff,
    /// The families that the host was seen to forward.
    forwarding: Vec<Family>,
    started: Instant,
    numbers: Numbers,
    /// Why the rules could not be put in force, until they are.
    failure: Option<String>,
    /// Whether the control half was told of a failure that is over.
    recovered: bool,
    /// Why the parameters that are asked for are not in force.
    unusable: Option<String>,
    closed: Closed,
    complaints: Complaints,
    counting: Counting,
    flows: Flows,
}

impl<D: ConfiguredDriver, H: Host> DataHalf<D, H> {
    /// Takes over what the kernel holds, and removes nothing. From here on unknown
    /// workload interfaces carry nothing; where there are no rules of ours at all, the
    /// driver may wait a moment for the first snapshot with that.
    pub fn start(now: Instant, driver: D, host: H, settings: Settings) -> Self {
        let workloads = Workloads::new(&settings);
        let mut half = Self {
            driver,
            host,
            store: PolicyStore::new(),
            settings,
            assembler: Assembler::default(),
            interfaces: Interfaces::default(),
            workloads,
            outcomes: Outcomes::default(),
            hosts: HostEndpoints::default(),
            read_back: false,
            owed: Backoff::default(),
            forgetting: Forgetting::default(),
            revocation: Revocation::default(),
            coming: None,
            next_poll: now,
            next_audit: None,
            auditing: Backoff::default(),
            forwarding: Vec::new(),
            started: now,
            numbers: Numbers::default(),
            failure: None,
            recovered: false,
            unusable: None,
            closed: Closed::default(),
            complaints: Complaints::default(),
            counting: Counting::default(),
            flows: Flows::default(),
        };
        if half.settings.flow_logs {
            half.listen_to_flows(now);
        }
        let taken_over = half.driver.resync(&half.store, Sweep::Keep);
        half.settle_driver(now, taken_over);
        half.driver.look_ahead();
        half.next_poll = now + half.driver.poll_interval();
        half
    }

    /// What is held whole; a new connection may go on there.
    #[must_use]
    pub const fn held(&self) -> Option<Position> {
        self.assembler.held()
    }

    /// Takes a frame of the sync API, and gives the answer if there is one.
    ///
    /// # Errors
    /// [`RevisionError`] if the connection is to be given up; what is held stays.
    pub fn frame(&mut self, now: Instant, frame: ToData) -> Result<Option<FromData>, RevisionError> {
        let answer = match frame.frame {
            Some(to_data::Frame::Begin(begin)) => {
                self.numbers.begin();
                self.assembler.begin(&begin).map(|()| None)
            }
            Some(to_data::Frame::Felix(message)) => {
                self.numbers.message(&message);
                if let Some(endpoint) = self.closed.message(&message) {
                    self.outcomes.removed(&endpoint);
                }
                self.assembler.message(message).map(|()| None)
            }
            Some(to_data::Frame::Commit(commit)) => {
                self.revocation.let_go();
                let revision = self.assembler.commit(&commit, &mut self.store);
                revision.map(|revision| Some(self.revision(now, revision)))
            }
            Some(to_data::Frame::Extension(Extension { name, .. })) if name == COUNTS => {
                self.counting.ask(now);
                Ok(None)
            }
            Some(to_data::Frame::Extension(Extension { name, .. })) if name == FLOWS => {
                self.flows.answered(now);
                Ok(None)
            }
            // The link answers these itself; an extension with an unknown name is nobody's.
            Some(to_data::Frame::Welcome(_) | to_data::Frame::Refusal(_) | to_data::Frame::Extension(_)) | None => {
                Ok(None)
            }
        };
        self.coming = self.assembler.is_open().then(|| now + COMING);
        answer.inspect_err(|_| self.numbers.disorder())
    }

    /// Takes news of an interface, and gives an acknowledgement if an endpoint's outcome changed.
    pub fn link(&mut self, now: Instant, name: &SmolStr, state: LinkState) -> Option<FromData> {
        if self.interfaces.observe(name, state) == Observed::Known {
            return None;
        }
        debug!(interface = %name, ?state, "interface changed");
        self.settle_interface(now, name);
        if state == LinkState::Gone {
            return self.addresses(now, name, BTreeSet::new()).or_else(|| self.news());
        }
        self.news()
    }

    /// Takes note that an interface that was up carries packets from now on: a
    /// workload has not heard what it was told before.
    pub fn running(&mut self, name: &SmolStr) {
        if let LinkState::Up(index) = self.interfaces.state(name) {
            self.workloads.introduce(name, index, &mut self.host);
        }
    }

    /// Takes the addresses of an interface: host endpoints may be found by them.
    /// Gives an acknowledgement if an endpoint's outcome changed.
    pub fn addresses(&mut self, now: Instant, name: &SmolStr, addresses: BTreeSet<IpAddr>) -> Option<FromData> {
        let change = self.store.set_addresses(name, addresses);
        if change == Change::Nothing {
            return None;
        }
        debug!(interface = %name, "a host endpoint may stand for another interface now");
        let changes = [change];
        self.revocation.note(now, &self.store, &changes, &BTreeSet::new());
        let applied = self.put_in_force(&changes);
        self.settle_driver(now, applied);
        self.news()
    }

    /// Takes note that news of interfaces were lost: one that is up may have been
    /// down meanwhile, without its routes.
    pub fn links_missed(&mut self, now: Instant) -> Option<FromData> {
        self.audit_routes(now);
        self.news()
    }

    /// Takes note that others may have changed our rules: [`DataHalf::tick`] looks.
    pub fn woken(&mut self, now: Instant) {
        self.next_poll = self.next_poll.min(now);
    }

    /// Does what is due, and gives an acknowledgement if an endpoint's outcome changed.
    pub fn tick(&mut self, now: Instant) -> Option<FromData> {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if is_due(self.forgetting.due()) {
            self.forget(now, []);
        }
        if is_due(self.owed.due()) {
            let retried = self.put_in_force(&[]);
            self.settle_driver(now, retried);
        }
        if is_due(self.flows.retry_due()) && self.listen_to_flows(now) == Telling::Yes {
            let retold = self.put_in_force(&[]);
            self.settle_driver(now, retold);
        }
        for interface in self.workloads.due(now) {
            self.settle_interface(now, &interface);
        }
        if is_due(self.review_due()) {
            self.review(now);
        }
        if is_due(self.next_audit) {
            self.audit_routes(now);
        }
        if self.next_poll <= now {
            let polled = self.driver.poll(&self.store);
            self.next_poll = now + self.driver.poll_interval();
            let subject = "rules";
            match polled {
                Ok(Finding::Unchanged) => self.complaints.settle(subject),
                Ok(Finding::Repaired(receipt)) => {
                    warn!(messages = receipt.messages, "somebody changed our rules; they are as they were again");
                    self.take_outcomes(receipt);
                    self.complaints.settle(subject);
                    // What was open let connections begin that policy denies.
                    self.revocation.note(now, &self.store, &[Change::InSync], &BTreeSet::new());
                }
                Err(error) => self.complaints.raise(subject, format!("cannot be looked at: {}", chain(&error))),
            }
        }
        self.news()
    }

    /// When [`DataHalf::tick`] has something to do next.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let others =
            [self.owed.due(), self.forgetting.due(), self.workloads.deadline(), self.next_audit, self.review_due()];
        let flows = [self.flows.retry_due(), self.assembler.held().and(self.flows.due())];
        others.into_iter().chain(flows).flatten().fold(self.next_poll, Instant::min)
    }

    fn revision(&mut self, now: Instant, revision: Revision) -> FromData {
        let Revision { position, changes, stamp: _, misunderstood, kind } = &revision;
        self.numbers.revision(*kind);
        if *kind == Kind::Snapshot {
            self.outcomes.forget_sent();
            self.hosts.forget_sent();
            self.closed.clear();
        }
        self.note_misunderstood(changes, misunderstood);
        if changes.contains(&Change::Config) {
            self.configure(now);
        }
        let interfaces = revision.interfaces();
        let active = interfaces.iter().map(|name| (name, self.store.active_on(name).map(AsRef::as_ref)));
        let mut departed = self.workloads.want(active);
        departed.extend(self.revocation.departed().filter(|addr| self.is_owned(*addr)));
        self.revocation.note(now, &self.store, changes, &departed);
        // What nobody has now can wait for the review.
        let is_reviewed = self.store.in_sync() && self.settings.revoke_established;
        departed.retain(|addr| !is_reviewed || self.is_owned(*addr));
        self.forget(now, departed);
        let begun = monotonic_nanos();
        let applied = self.put_in_force(changes);
        let committed = monotonic_nanos();
        self.numbers.applied(Duration::from_nanos(committed.saturating_sub(begun)));
        let failure = self.settle_driver(now, applied);
        if failure.is_some() {
            // There is no review before rules are in force.
            let departed: BTreeSet<IpAddr> = self.revocation.departed().collect();
            self.forget(now, departed);
        }
        for Misunderstood { endpoint, error } in misunderstood {
            if let Some(id) = endpoint {
                self.outcomes.refused(id, chain(error));
            }
        }
        for interface in &interfaces {
            self.settle_interface(now, interface);
        }
        if changes.contains(&Change::InSync) {
            info!(revision = position.revision, endpoints = self.store.workloads().len(), "in sync");
            if failure.is_none() {
                self.numbers.in_sync(now.saturating_duration_since(self.started));
            }
            self.audit_routes(now);
        }
        let outcomes = self.untold();
        self.recovered = false;
        self.ack(outcomes, committed, failure.unwrap_or_default())
    }

    /// What a message says that cannot be understood is not in force, and what
    /// it is about is closed, until a later one can be.
    fn note_misunderstood(&mut self, changes: &[Change], misunderstood: &[Misunderstood]) {
        changes.iter().for_each(|change| self.closed.changed(change));
        for message in misunderstood {
            let error = &message.error;
            error!(error = chain(error), "a message of the control half cannot be understood");
            self.numbers.fault(error.message);
            self.closed.note(message);
        }
    }

    /// Programs changes, or everything the first time: what the kernel holds is
    /// then compared with what is wanted, and after the in-sync what nobody
    /// wants goes.
    fn put_in_force(&mut self, changes: &[Change]) -> Result<Receipt, DriverError> {
        self.foresee(changes);
        if self.read_back && !changes.contains(&Change::InSync) {
            return self.driver.apply(&self.store, changes);
        }
        self.read_back = false;
        let sweep = if self.store.in_sync() { Sweep::Remove } else { Sweep::Keep };
        let receipt = self.driver.resync(&self.store, sweep)?;
        self.read_back = self.assembler.held().is_some();
        Ok(receipt)
    }

    /// Takes what the driver says of its work; a failure is tried again later, and told.
    fn settle_driver(&mut self, now: Instant, outcome: Result<Receipt, DriverError>) -> Option<String> {
        self.next_poll = self.next_poll.min(now + self.driver.poll_interval());
        match outcome {
            Ok(receipt) => {
                if receipt.transactions > 0 {
                    debug!(messages = receipt.messages, bytes = receipt.bytes, "the kernel took the rules");
                }
                self.take_outcomes(receipt);
                self.owed.worked();
                self.recovered |= self.failure.take().is_some();
                None
            }
            Err(error) => {
                let text = chain(&error);
                if self.failure.as_ref() == Some(&text) {
                    debug!(error = text, "the rules could not be programmed this time either");
                } else {
                    error!(error = text, "the rules could not be programmed; the last good ones stand; trying again");
                }
                self.owed.failed(now);
                self.numbers.failed(Task::Rules);
                self.failure = Some(text.clone());
                Some(text)
            }
        }
    }

    fn take_outcomes(&mut self, receipt: Receipt) {
        self.outcomes.rules(receipt.outcomes);
        self.hosts.rules(receipt.hosts);
    }

    /// What the control half does not know yet.
    fn untold(&mut self) -> Vec<EndpointOutcome> {
        let mut outcomes = self.outcomes.take();
        outcomes.extend(self.hosts.take(&self.store, &self.interfaces));
        outcomes
    }

    /// Calls out what the policy of host endpoints is about to cut off.
    fn foresee(&mut self, changes: &[Change]) {
        let matters = |change: &Change| !matches!(change, Change::Nothing | Change::Endpoint { .. });
        if !changes.iter().any(matters) {
            return;
        }
        let cut_off = match self.store.hosts().len() {
            0 => Vec::new(),
            _ => {
                let settings = &self.settings;
                let view = HostView {
                    store: &self.store,
                    failsafes: &Failsafes::new(&settings.failsafe_inbound, &settings.failsafe_outbound),
                    workload_prefixes: &settings.interface_prefixes.iter().map(SmolStr::from).collect::<Vec<_>>(),
                };
                let ipv6 = if settings.ipv6 { Ipv6::On } else { Ipv6::Off };
                cut_off(&view, ipv6, &self.host.lifelines())
            }
        };
        self.hosts.foresee(cut_off);
    }

    fn configure(&mut self, now: Instant) {
        let settings = Settings::from_config_map(self.store.config());
        self.unusable = None;
        if settings == self.settings {
            return;
        }
        let rules = self.for_rules(now, &settings);
        if let Err(error) = self.driver.configure(&rules) {
            let text = chain(&error);
            error!(error = text, "the new settings cannot be used; the old ones stay");
            self.unusable = Some(text);
            return;
        }
        info!("new settings");
        let interfaces = self.workloads.configure(&settings);
        self.settings = settings;
        for interface in interfaces {
            self.settle_interface(now, &interface);
        }
        // What is not an interface's own is seen to there: forwarding, and routes of others.
        self.audit_routes(now);
    }

    /// The settings as the driver gets them: rules tell of flows only while somebody
    /// listens. Without NFLOG the kernel would refuse them.
    fn for_rules(&mut self, now: Instant, settings: &Settings) -> Settings {
        let telling = self.flows.configure(now, settings.flow_logs, &mut self.host);
        Settings { flow_logs: telling == Telling::Yes, ..settings.clone() }
    }

    /// Begins to listen to flows, if that can be.
    fn listen_to_flows(&mut self, now: Instant) -> Telling {
        let settings = self.settings.clone();
        let rules = self.for_rules(now, &settings);
        if let Err(error) = self.driver.configure(&rules) {
            error!(error = chain(&error), "the settings cannot be used; the old ones stay");
        }
        if rules.flow_logs { Telling::Yes } else { Telling::No }
    }

    fn settle_interface(&mut self, now: Instant, interface: &SmolStr) {
        self.enable_forwarding();
        let link = self.interfaces.state(interface);
        if let Some((id, networking)) = self.workloads.settle(now, interface, link, &mut self.host) {
            let failed = match &networking {
                Networking::Failed(reason) => Some(reason.clone()),
                Networking::Ready | Networking::NoInterface => None,
            };
            let is_news = self.outcomes.networking(&id, networking);
            if let Some(reason) = failed {
                self.numbers.failed(Task::Interface);
                if is_news {
                    warn!(endpoint = %id, %interface, reason, "cannot set up the interface; trying again");
                }
            }
        }
    }

    /// Workloads need a host that forwards; without any there is no reason to touch it.
    fn enable_forwarding(&mut self) {
        if !self.settings.ip_forwarding {
            return;
        }
        let families = if self.settings.ipv6 { &Family::ALL[..] } else { &Family::ALL[..1] };
        for family in families {
            if self.forwarding.contains(family) || self.store.workloads().len() == 0 {
                continue;
            }
            let subject = match family {
                Family::V4 => "forwarding of IPv4",
                Family::V6 => "forwarding of IPv6",
            };
            match self.host.enable_forwarding(*family) {
                Ok(()) => {
                    self.forwarding.push(*family);
                    self.complaints.settle(subject);
                }
                Err(error) => self.complaints.raise(subject, format!("cannot be turned on: {error}")),
            }
        }
    }

    /// Whether an endpoint of this host has the address, in service or not.
    fn is_owned(&self, addr: IpAddr) -> bool {
        self.store.workloads().any(|endpoint| endpoint.addresses.contains(&addr))
    }

    fn forget(&mut self, now: Instant, departed: impl IntoIterator<Item = IpAddr>) {
        self.forgetting.owe(departed);
        let subject = "connections of departed addresses";
        match self.forgetting.settle(now, &mut self.host) {
            Ok(_) => self.complaints.settle(subject),
            Err(error) => {
                self.complaints.raise(subject, format!("cannot be forgotten: {error}"));
                self.numbers.failed(Task::Connections);
            }
        }
    }

    /// Only what the kernel enforces can be asked of established connections.
    fn review_due(&self) -> Option<Instant> {
        if self.failure.is_some() {
            return None;
        }
        let due = self.revocation.due()?;
        Some(self.coming.map_or(due, |until| due.max(until)))
    }

    fn review(&mut self, now: Instant) {
        let subject = "established connections";
        match self.revocation.step(now, &self.store, (&self.settings, &self.interfaces), &mut self.host) {
            Ok(_) => self.complaints.settle(subject),
            Err(error) => {
                self.complaints.raise(subject, format!("cannot be looked through for what policy denies: {error}"));
                self.numbers.failed(Task::Review);
            }
        }
    }

    /// Before everything has been told, a route that nobody wants may be wanted soon.
    fn audit_routes(&mut self, now: Instant) {
        if !self.store.in_sync() {
            return;
        }
        // Somebody may have switched it off.
        self.forwarding.clear();
        self.enable_forwarding();
        match self.workloads.audit(now, &self.interfaces, &mut self.host) {
            Ok(missing) => {
                for interface in missing {
                    self.settle_interface(now, &interface);
                }
                self.auditing.worked();
                self.complaints.settle("routes");
                let refresh = self.settings.route_refresh_interval.map(|pause| now + pause);
                self.next_audit = [refresh, self.workloads.grace_end()].into_iter().flatten().min();
            }
            Err(error) => {
                self.complaints.raise("routes", format!("cannot be read back: {error}"));
                self.numbers.failed(Task::Audit);
                self.auditing.failed(now);
                self.next_audit = self.auditing.due();
            }
        }
    }

    /// An acknowledgement, if there is something that the control half does not know.
    fn news(&mut self) -> Option<FromData> {
        // Before the first revision there is nobody to tell, and nothing to tell of.
        self.assembler.held()?;
        let outcomes = self.untold();
        let recovered = std::mem::take(&mut self.recovered);
        if outcomes.is_empty() && !recovered {
            return None;
        }
        // While the rules are owed, what is told of endpoints says nothing about the revision.
        Some(self.ack(outcomes, monotonic_nanos(), self.failure.clone().unwrap_or_default()))
    }

    fn ack(&self, outcomes: Vec<EndpointOutcome>, committed: u64, error: String) -> FromData {
        let Position { epoch, revision } = self.assembler.held().unwrap_or_default();
        FromData { frame: Some(from_data::Frame::Ack(Ack { epoch, revision, outcomes, committed, error })) }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
