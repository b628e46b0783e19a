//! What the data half counts of its own work.

use std::collections::BTreeMap;
use std::time::Duration;

use caracal_program::{Distribution, DistributionNames, Measurement};
use caracal_proto::felix::{ToDataplane, to_dataplane::Payload};
use caracal_proto::sync::begin::Kind;

/// Something that is tried again when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// Putting rules in force.
    Rules,
    /// Setting up an interface: its routes, neighbours and sysctls.
    Interface,
    /// Forgetting the connections of departed addresses.
    Connections,
    /// Reviewing connections after a change of policy.
    Review,
    /// Reading routes back.
    Audit,
}

impl Task {
    const ALL: [Self; 5] = [Self::Rules, Self::Interface, Self::Connections, Self::Review, Self::Audit];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Interface => "interface",
            Self::Connections => "connections",
            Self::Review => "review",
            Self::Audit => "audit",
        }
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    messages: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    snapshots: u64,
    deltas: u64,
    disorders: u64,
    failures: BTreeMap<Task, u64>,
    /// Messages of the revision that is being received.
    waiting: u32,
    batch: Distribution,
    apply: Distribution,
    initial: Option<Duration>,
}

impl Numbers {
    /// A message of a revision came.
    pub(crate) fn message(&mut self, message: &ToDataplane) {
        self.waiting += 1;
        *self.messages.entry(name_of(message)).or_default() += 1;
    }

    /// A message could not be understood.
    pub(crate) fn fault(&mut self, message: &'static str) {
        *self.faults.entry(message).or_default() += 1;
    }

    /// A frame came where it must not.
    pub(crate) fn disorder(&mut self) {
        self.disorders += 1;
        self.waiting = 0;
    }

    /// A revision is whole.
    pub(crate) fn revision(&mut self, kind: Kind) {
        self.batch.observe(f64::from(std::mem::take(&mut self.waiting)));
        match kind {
            Kind::Snapshot => self.snapshots += 1,
            Kind::Delta => self.deltas += 1,
        }
    }

    /// A revision begins: what came of one that never ended does not count.
    pub(crate) fn begin(&mut self) {
        self.waiting = 0;
    }

    /// A revision was put in force, or refused, within this time.
    pub(crate) fn applied(&mut self, time: Duration) {
        self.apply.observe(time.as_secs_f64());
    }

    /// Everything was in force for the first time, so long after the start.
    pub(crate) fn in_sync(&mut self, since_start: Duration) {
        self.initial.get_or_insert(since_start);
    }

    /// Something failed, and will be tried again.
    pub(crate) fn failed(&mut self, task: Task) {
        *self.failures.entry(task).or_default() += 1;
    }

    /// All of it.
    pub(crate) fn measurements(&self) -> Vec<Measurement> {
        let mut all = Vec::new();
        for (name, count) in &self.messages {
            let help = "Messages of the control half, by type.";
            all.push(Measurement::counter("felix_int_dataplane_messages", help, *count).with("type", *name));
        }
        let rules = self.failures.get(&Task::Rules).copied().unwrap_or_default();
        all.push(Measurement::counter(
            "felix_int_dataplane_failures",
            "Times that rules could not be put in force and were tried again.",
            rules,
        ));
        all.extend(self.batch.measurements(BATCH, "Messages in one revision."));
        all.extend(self.apply.measurements(APPLY, "Seconds to put one revision's rules in force."));
        all.extend(self.initial.map(|time| {
            let help = "From the start of the data half until everything was in force for the first time.";
            Measurement::seconds("felix_int_dataplane_initial_resync_time_seconds", help, time)
        }));
        for (kind, count) in [("snapshot", self.snapshots), ("delta", self.deltas)] {
            let help = "Whole revisions, by kind.";
            all.push(Measurement::counter("caracal_dataplane_revisions_total", help, count).with("kind", kind));
        }
        for (message, count) in &self.faults {
            let help = "Messages that could not be understood, by type; what they are about is closed.";
            let faults = Measurement::counter("caracal_dataplane_message_faults_total", help, *count);
            all.push(faults.with("type", *message));
        }
        all.push(Measurement::counter(
            "caracal_dataplane_disordered_frames_total",
            "Frames where they must not come; each ended a connection.",
            self.disorders,
        ));
        for task in Task::ALL {
            let count = self.failures.get(&task).copied().unwrap_or_default();
            let help = "Things that failed and were tried again, by what.";
            all.push(Measurement::counter("caracal_dataplane_retries_total", help, count).with("what", task.as_str()));
        }
        all
    }
}

const BATCH: DistributionNames = DistributionNames {
    quantiles: "felix_int_dataplane_msg_batch_size",
    sum: "felix_int_dataplane_msg_batch_size_sum",
    count: "felix_int_dataplane_msg_batch_size_count",
};

const APPLY: DistributionNames = DistributionNames {
    quantiles: "felix_int_dataplane_apply_time_seconds",
    sum: "felix_int_dataplane_apply_time_seconds_sum",
    count: "felix_int_dataplane_apply_time_seconds_count",
};

/// A message's type as Go's generator spells it, which is the label that Felix uses.
fn name_of(message: &ToDataplane) -> &'static str {
    match &message.payload {
        None => "Unknown",
        Some(Payload::InSync(_)) => "InSync",
        Some(Payload::IpsetUpdate(_)) => "IPSetUpdate",
        Some(Payload::IpsetDeltaUpdate(_)) => "IPSetDeltaUpdate",
        Some(Payload::IpsetRemove(_)) => "IPSetRemove",
        Some(Payload::ActivePolicyUpdate(_)) => "ActivePolicyUpdate",
        Some(Payload::ActivePolicyRemove(_)) => "ActivePolicyRemove",
        Some(Payload::ActiveProfileUpdate(_)) => "ActiveProfileUpdate",
        Some(Payload::ActiveProfileRemove(_)) => "ActiveProfileRemove",
        Some(Payload::WorkloadEndpointUpdate(_)) => "WorkloadEndpointUpdate",
        Some(Payload::WorkloadEndpointRemove(_)) => "WorkloadEndpointRemove",
        Some(Payload::HostEndpointUpdate(_)) => "HostEndpointUpdate",
        Some(Payload::HostEndpointRemove(_)) => "HostEndpointRemove",
        Some(Payload::ConfigUpdate(_)) => "ConfigUpdate",
        Some(Payload::HostMetadataUpdate(_)) => "HostMetadataUpdate",
        Some(Payload::HostMetadataRemove(_)) => "HostMetadataRemove",
        Some(Payload::IpamPoolUpdate(_)) => "IPAMPoolUpdate",
        Some(Payload::IpamPoolRemove(_)) => "IPAMPoolRemove",
        Some(Payload::ServiceAccountUpdate(_)) => "ServiceAccountUpdate",
        Some(Payload::ServiceAccountRemove(_)) => "ServiceAccountRemove",
        Some(Payload::NamespaceUpdate(_)) => "NamespaceUpdate",
        Some(Payload::NamespaceRemove(_)) => "NamespaceRemove",
        Some(Payload::RouteUpdate(_)) => "RouteUpdate",
        Some(Payload::RouteRemove(_)) => "RouteRemove",
        Some(Payload::VtepUpdate(_)) => "VXLANTunnelEndpointUpdate",
        Some(Payload::VtepRemove(_)) => "VXLANTunnelEndpointRemove",
        Some(Payload::WireguardEndpointUpdate(_)) => "WireguardEndpointUpdate",
        Some(Payload::WireguardEndpointRemove(_)) => "WireguardEndpointRemove",
        Some(Payload::WireguardEndpointV6Update(_)) => "WireguardEndpointV6Update",
        Some(Payload::WireguardEndpointV6Remove(_)) => "WireguardEndpointV6Remove",
        Some(Payload::GlobalBgpConfigUpdate(_)) => "GlobalBGPConfigUpdate",
        Some(Payload::Encapsulation(_)) => "Encapsulation",
        Some(Payload::ServiceUpdate(_)) => "ServiceUpdate",
        Some(Payload::ServiceRemove(_)) => "ServiceRemove",
    }
}
