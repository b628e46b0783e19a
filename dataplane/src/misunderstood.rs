//! Messages that cannot be understood: what they are about is closed, and named
//! until a later message says what to do with it.

use std::collections::BTreeMap;

use caracal_program::{Change, Problem, ProgramError, WorkloadId};
use caracal_proto::felix::{self, to_dataplane::Payload};

/// A message that could not be understood. What it is about is closed: the store
/// does not hold it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misunderstood {
    /// The workload endpoint that it is about, if it is about one.
    pub endpoint: Option<WorkloadId>,
    /// What is wrong with it.
    pub error: ProgramError,
}

impl Misunderstood {
    pub(crate) fn new(message: &felix::ToDataplane, error: ProgramError) -> Self {
        let endpoint = match &message.payload {
            Some(Payload::WorkloadEndpointUpdate(update)) => update.id.as_ref().map(workload_id),
            _ => None,
        };
        Self { endpoint, error }
    }
}

/// The message that closes what another one is about. A host endpoint stays as
/// it was: without it its interface would be open.
pub(crate) fn closing(message: &felix::ToDataplane) -> Option<felix::ToDataplane> {
    let removal = match message.payload.as_ref()? {
        Payload::IpsetUpdate(felix::IpSetUpdate { id, .. })
        | Payload::IpsetDeltaUpdate(felix::IpSetDeltaUpdate { id, .. }) => {
            Payload::IpsetRemove(felix::IpSetRemove { id: id.clone() })
        }
        Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate { id, .. }) => {
            Payload::ActivePolicyRemove(felix::ActivePolicyRemove { id: id.clone() })
        }
        Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate { id, .. }) => {
            Payload::ActiveProfileRemove(felix::ActiveProfileRemove { id: id.clone() })
        }
        Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { id, .. }) => {
            Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id: id.clone() })
        }
        _ => return None,
    };
    Some(felix::ToDataplane { sequence_number: message.sequence_number, payload: Some(removal) })
}

/// The objects that are closed because a message about them was not understood.
#[derive(Debug, Default)]
pub(crate) struct Closed(BTreeMap<String, (Option<WorkloadId>, String)>);

impl Closed {
    /// Everything is told again.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// A message was not understood.
    pub(crate) fn note(&mut self, misunderstood: &Misunderstood) {
        let Misunderstood { endpoint, error } = misunderstood;
        self.0.insert(error.object.clone(), (endpoint.clone(), error.to_string()));
    }

    /// Something changed: what it is about was understood.
    pub(crate) fn changed(&mut self, change: &Change) {
        if self.0.is_empty() {
            return;
        }
        let object = match change {
            Change::SetMembers { id, .. } | Change::SetReplaced(id) | Change::SetRemoved(id) => format!("IP set {id}"),
            Change::Policy(id) => id.to_string(),
            Change::Profile(name) => format!("profile {name}"),
            Change::Endpoint { id, .. } => id.to_string(),
            Change::HostEndpoint(id) => format!("host endpoint {id}"),
            Change::IpPool(id) => format!("pool {id}"),
            Change::Nothing | Change::HostAddresses | Change::Cluster | Change::Config | Change::InSync => return,
        };
        self.0.remove(&object);
    }

    /// A message came. If it takes an object away, that needs no name any more;
    /// gives the endpoint that it was, which nobody else knows.
    pub(crate) fn message(&mut self, message: &felix::ToDataplane) -> Option<WorkloadId> {
        if self.0.is_empty() {
            return None;
        }
        let object = match message.payload.as_ref()? {
            Payload::IpsetRemove(felix::IpSetRemove { id }) => format!("IP set {id}"),
            Payload::ActivePolicyRemove(felix::ActivePolicyRemove {
                id: Some(felix::PolicyId { name, namespace, kind }),
            }) => {
                let (kind, namespace, name) = (kind.into(), namespace.into(), name.into());
                caracal_program::PolicyId { kind, namespace, name }.to_string()
            }
            Payload::ActiveProfileRemove(felix::ActiveProfileRemove { id: Some(felix::ProfileId { name }) }) => {
                format!("profile {name}")
            }
            Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id: Some(id) }) => {
                workload_id(id).to_string()
            }
            Payload::HostEndpointRemove(felix::HostEndpointRemove { id: Some(id) }) => {
                format!("host endpoint {}", id.endpoint_id)
            }
            _ => return None,
        };
        self.0.remove(&object)?.0
    }

    /// What is closed, and why.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.0
            .iter()
            .map(|(object, (_, reason))| Problem { subject: object.clone(), reason: format!("closed: {reason}") })
    }
}

fn workload_id(id: &felix::WorkloadEndpointId) -> WorkloadId {
    let felix::WorkloadEndpointId { orchestrator_id, workload_id, endpoint_id } = id;
    WorkloadId { orchestrator: orchestrator_id.into(), workload: workload_id.into(), endpoint: endpoint_id.into() }
}
