//! The least that the work can cost: one pass over the same updates that hashes
//! each key and label and stores the endpoints, and the encoding of the same output.

use std::hash::{BuildHasher as _, Hash};
use std::hint::black_box;

use caracal_calc_graph::{
    ActivePolicy, ActiveProfile, CalcGraph, Delta, IpSetKind, Locality, Member, PolicyList, Settings,
};
use caracal_model::{Event, Key, Labels, Object, PolicyKey, WorkloadEndpoint, WorkloadEndpointKey};
use rustc_hash::{FxBuildHasher, FxHashMap};
use smol_str::SmolStr;

use crate::clock::processor_time;
use crate::run::BATCH;
use crate::wire::Wire;
use crate::workloads::{HERE, Step, Workload};

/// Seconds that the floor of a workload takes whose messages are encoded. Updates
/// come in the same portions as in a [`Run`](crate::run::Run): asking for the time counts too.
pub(crate) fn seconds(workload: Workload) -> f64 {
    let mut pass = Pass::default();
    let mut batch = Vec::new();
    let (mut seconds, mut measured) = (0.0, false);
    let mut drain = |batch: &mut Vec<Event>, measured: bool| {
        if batch.is_empty() {
            return;
        }
        let start = processor_time();
        for event in batch.drain(..) {
            pass.take(event);
        }
        if measured {
            seconds += (processor_time() - start).as_secs_f64();
        }
    };
    workload.steps(&mut |step| match step {
        Step::Event(event) => {
            batch.push(event);
            if batch.len() == BATCH {
                drain(&mut batch, measured);
            }
        }
        Step::Measure => {
            drain(&mut batch, measured);
            measured = true;
        }
        Step::Flush | Step::Sample(_) | Step::Skip => drain(&mut batch, measured),
    });
    drain(&mut batch, measured);
    black_box(pass.hashed);
    let output = output(workload);
    let mut wire = Wire::default();
    let start = processor_time();
    for message in &output {
        black_box(wire.encode(&message.delta()));
    }
    seconds + (processor_time() - start).as_secs_f64()
}

#[derive(Default)]
struct Pass {
    endpoints: FxHashMap<WorkloadEndpointKey, WorkloadEndpoint>,
    hashed: u64,
}

impl Pass {
    fn take(&mut self, event: Event) {
        match event {
            Event::Apply(_, Object::WorkloadEndpoint(key, endpoint), _) => {
                self.labels(&endpoint.labels);
                self.endpoints.insert(key, endpoint);
            }
            Event::Delete(_, Key::WorkloadEndpoint(key), _) => {
                self.endpoints.remove(&key);
            }
            Event::Apply(_, object, _) => {
                self.hash(&object.key());
                match &object {
                    Object::Profile(_, profile) => self.labels(&profile.labels),
                    Object::NetworkSet(_, set) => self.labels(&set.labels),
                    _ => {}
                }
            }
            Event::Delete(_, key, _) => self.hash(&key),
            Event::Begin(_) | Event::End(_) => {}
        }
    }

    fn labels(&mut self, labels: &Labels) {
        for label in labels.iter() {
            self.hash(&label);
        }
    }

    fn hash(&mut self, value: &impl Hash) {
        self.hashed ^= FxBuildHasher.hash_one(value);
    }
}

/// A message that outlives the graph.
enum Kept {
    Set { id: SmolStr, kind: IpSetKind, members: Vec<Member> },
    SetDelta { id: SmolStr, added: Vec<Member>, removed: Vec<Member> },
    SetRemove { id: SmolStr },
    Policy { key: PolicyKey, policy: ActivePolicy },
    PolicyRemove { key: PolicyKey },
    Profile { name: SmolStr, profile: ActiveProfile },
    ProfileRemove { name: SmolStr },
    Workload { key: WorkloadEndpointKey, endpoint: Box<WorkloadEndpoint>, tiers: PolicyList },
    WorkloadRemove { key: WorkloadEndpointKey },
    Namespace { name: SmolStr, labels: Labels },
    Other,
}

impl Kept {
    fn of(delta: &Delta<'_>) -> Self {
        match *delta {
            Delta::IpSetUpdate { id, kind, members } => Self::Set { id: id.clone(), kind, members: members.to_vec() },
            Delta::IpSetDelta { id, added, removed } => {
                Self::SetDelta { id: id.clone(), added: added.to_vec(), removed: removed.to_vec() }
            }
            Delta::IpSetRemove { id } => Self::SetRemove { id: id.clone() },
            Delta::PolicyUpdate { key, policy } => Self::Policy { key: key.clone(), policy: policy.clone() },
            Delta::PolicyRemove { key } => Self::PolicyRemove { key: key.clone() },
            Delta::ProfileUpdate { name, profile } => Self::Profile { name: name.clone(), profile: profile.clone() },
            Delta::ProfileRemove { name } => Self::ProfileRemove { name: name.clone() },
            Delta::WorkloadUpdate { key, endpoint, tiers } => {
                Self::Workload { key: key.clone(), endpoint: endpoint.clone().into(), tiers: tiers.clone() }
            }
            Delta::WorkloadRemove { key } => Self::WorkloadRemove { key: key.clone() },
            Delta::NamespaceUpdate { name, labels } => Self::Namespace { name: name.into(), labels: labels.clone() },
            _ => Self::Other,
        }
    }

    fn delta(&self) -> Delta<'_> {
        match self {
            Self::Set { id, kind, members } => Delta::IpSetUpdate { id, kind: *kind, members },
            Self::SetDelta { id, added, removed } => Delta::IpSetDelta { id, added, removed },
            Self::SetRemove { id } => Delta::IpSetRemove { id },
            Self::Policy { key, policy } => Delta::PolicyUpdate { key, policy },
            Self::PolicyRemove { key } => Delta::PolicyRemove { key },
            Self::Profile { name, profile } => Delta::ProfileUpdate { name, profile },
            Self::ProfileRemove { name } => Delta::ProfileRemove { name },
            Self::Workload { key, endpoint, tiers } => Delta::WorkloadUpdate { key, endpoint, tiers },
            Self::WorkloadRemove { key } => Delta::WorkloadRemove { key },
            Self::Namespace { name, labels } => Delta::NamespaceUpdate { name, labels },
            Self::Other => Delta::InSync,
        }
    }
}

/// What a workload tells while it is measured.
fn output(workload: Workload) -> Vec<Kept> {
    let mut graph = CalcGraph::new(Locality::Node(HERE.into()), Settings::default());
    let (mut output, mut measured) = (Vec::new(), false);
    workload.steps(&mut |step| match step {
        Step::Event(event) => graph.on_event(event),
        Step::Flush => {
            graph.flush(&mut |delta| {
                if measured {
                    output.push(Kept::of(&delta));
                }
            });
        }
        Step::Measure => measured = true,
        Step::Sample(_) | Step::Skip => {}
    });
    output
}
