//! What a running agent has in force where its manifests say something else: of a
//! refused object an earlier version stays, and while the datastore is not ready everything.

use std::fmt;

use caracal_program::{
    Direction, Guard, HostId, HostStep, NodeDecision, NodeStep, Packet, PolicyStore, ProgramKind, Tracking, Verdict,
    WorkloadId, evaluate_endpoint, trace, trace_endpoint,
};
use serde::Serialize;
use smol_str::SmolStr;

use super::answer::{HostSide, Reason, Side, text as as_text, verdict, verdict_text};
use super::cluster::{Cluster, End};
use super::node::NodeSettings;
use super::question::Question;
use super::text::{judgement, reason};
use crate::control::{Concern, InForce, Unanswered};

/// Asks an agent what it has in force; `None` while changes wait to be put in force.
pub type Look<'a> = &'a dyn Fn(Concern) -> Result<Option<InForce>, Unanswered>;

/// How what is in force on a node stands to the manifests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Both decide the same.
    AsWritten,
    /// Changes wait to be put in force.
    Waiting,
    /// These decide otherwise.
    Otherwise(Vec<Difference>),
}

/// What is in force, and is not what the manifests say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    #[serde(flatten)]
    who: Who,
    #[serde(serialize_with = "verdict")]
    verdict: Verdict,
    /// The reason in words.
    why: String,
}

/// Who decides otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Who {
    Workload {
        /// `NAMESPACE/NAME`.
        workload: String,
        #[serde(serialize_with = "as_text")]
        direction: Direction,
    },
    #[serde(rename_all = "camelCase")]
    Host {
        host_endpoint: SmolStr,
        #[serde(serialize_with = "as_text")]
        program: ProgramKind,
        #[serde(serialize_with = "as_text")]
        direction: Direction,
    },
    /// What is asked beside policy.
    Node { node: SmolStr },
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload { workload, direction } => write!(f, "{direction} of {workload}"),
            Self::Host { host_endpoint, program, direction } => {
                write!(f, "{} of HostEndpoint {host_endpoint}", judgement(*program, *direction))
            }
            Self::Node { node } => write!(f, "node {node}"),
        }
    }
}

impl Standing {
    /// What is to be said first; nothing if all is as written.
    pub(super) fn notice(&self) -> String {
        match self {
            Self::AsWritten => String::new(),
            Self::Waiting => "changes wait to be put in force: what follows may not be in force yet\n\n".to_owned(),
            Self::Otherwise(differences) => {
                let lines = differences
                    .iter()
                    .map(|Difference { who, verdict, why }| format!("  {who}: {}, {why}\n", verdict_text(*verdict)));
                let lines: String = lines.collect();
                format!("in force is not what the manifests say; `caracal status` names what is not taken:\n{lines}\n")
            }
        }
    }
}

/// Compares what an agent has in force for a packet with what the manifests say.
///
/// # Errors
/// If the packet cannot exist, the agent does not answer, or its answer cannot be
/// understood.
pub(super) fn compare(cluster: &Cluster, question: &Question, look: Look<'_>) -> anyhow::Result<Standing> {
    let (from, to, packet) = cluster.resolve(question)?;
    if from.is_same_workload(to) {
        return Ok(Standing::AsWritten);
    }
    let [sender, receiver] = [from, to].map(|end| end.workload.map(|endpoint| endpoint.id.clone()));
    let concern = Concern { sender, receiver, addresses: [from.address, to.address] };
    let Some(held) = look(concern)? else { return Ok(Standing::Waiting) };
    let mut store = PolicyStore::new();
    for message in held.messages() {
        store.apply(&message)?;
    }
    let InForce { node, settings, .. } = held;
    let sender = from.workload.map(|endpoint| &endpoint.id);
    let case = Case { cluster, packet, sender, node, store, settings: NodeSettings::from(&settings) };
    let mut differences = case.of_workloads([from, to]);
    for leg in cluster.journey([from, to], question.interface.as_ref())? {
        if leg.node == case.node {
            let written = cluster.at_node(&leg, &case.packet);
            let held = leg.in_force(&case.store, &case.settings, &case.packet);
            differences.extend(case.of_node(&written, &held));
        }
    }
    Ok(if differences.is_empty() { Standing::AsWritten } else { Standing::Otherwise(differences) })
}

/// A packet, what the manifests say, and what is in force on one node.
struct Case<'a> {
    cluster: &'a Cluster,
    packet: Packet,
    /// Who sends it, if it is a workload.
    sender: Option<&'a WorkloadId>,
    node: SmolStr,
    store: PolicyStore,
    settings: NodeSettings,
}

impl Case<'_> {
    /// Where the policies of workloads decide otherwise, whatever else does.
    fn of_workloads(&self, [from, to]: [End<'_>; 2]) -> Vec<Difference> {
        let sides = [(from, Direction::Egress), (to, Direction::Ingress)].into_iter();
        let differences = sides.filter_map(|(end, direction)| {
            let written = end.workload?;
            let verdict = evaluate_endpoint(written, direction, self.cluster.store(), &self.packet).verdict;
            // Those of other nodes are not there.
            let held = self.store.workload(&written.id)?;
            let (decision, steps) = trace_endpoint(held, direction, &self.store, &self.packet);
            let who = Who::Workload { workload: held.id.workload.to_string(), direction };
            (decision.verdict != verdict).then(|| Difference::new(who, &Side::decided(decision, steps)))
        });
        differences.collect()
    }

    /// Where host endpoints and what is asked beside policy decide otherwise. What a
    /// packet does not come to decides nothing.
    fn of_node(&self, written: &NodeDecision<'_>, held: &NodeDecision<'_>) -> Vec<Difference> {
        let mut differences = Vec::new();
        for step in &held.steps {
            let Some(seat) = Seat::of(step) else { continue };
            let verdict = written.steps.iter().find(|other| Seat::of(other) == Some(seat)).map(NodeStep::verdict);
            if verdict.unwrap_or(Verdict::Allow) != step.verdict() {
                differences.push(Difference::new(self.who(seat), &self.side(step, held.tracking)));
            }
        }
        let refusing = written.steps.last().filter(|step| step.verdict() == Verdict::Deny).and_then(Seat::of);
        if let Some(seat) = refusing
            && held.verdict == Verdict::Allow
            && !held.steps.iter().any(|step| Seat::of(step) == Some(seat))
        {
            let why = "as nothing there refuses it".to_owned();
            differences.push(Difference { who: self.who(seat), verdict: Verdict::Allow, why });
        }
        differences
    }

    fn who(&self, seat: Seat<'_>) -> Who {
        match seat {
            Seat::Guard(_) | Seat::EndpointToHost => Who::Node { node: self.node.clone() },
            Seat::Host(id, program, direction) => Who::Host { host_endpoint: id.0.clone(), program, direction },
        }
    }

    /// What a step in force says, for people.
    fn side<'s>(&'s self, step: &NodeStep<'s>, tracking: Tracking) -> Side<'s> {
        match step {
            NodeStep::Host(step) => {
                let endpoint = self.store.host(step.endpoint).expect("a host endpoint that has judged is there");
                let program = endpoint.programs.get(step.kind, step.direction);
                let trail = trace(program, &self.store, &self.packet).1;
                HostSide::new(&self.node, step, trail, tracking).side
            }
            // Nobody is known there who could have the address.
            NodeStep::Guard(Guard::SpoofedSource)
                if self.sender.is_some_and(|id| self.store.workload(id).is_none()) =>
            {
                Side::new(step.verdict(), Reason::NoEndpoint)
            }
            NodeStep::Guard(guard) => Side::new(step.verdict(), Reason::of(*guard)),
            NodeStep::EndpointToHost(_) => Side::new(step.verdict(), Reason::EndpointToHost),
            NodeStep::Workload { decision, .. } => Side::decided(*decision, Vec::new()),
        }
    }
}

impl Difference {
    fn new(who: Who, side: &Side<'_>) -> Self {
        Self { who, verdict: side.verdict, why: reason(side) }
    }
}

/// What has a say at a node beside the policies of workloads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat<'a> {
    Guard(Guard),
    Host(&'a HostId, ProgramKind, Direction),
    EndpointToHost,
}

impl<'a> Seat<'a> {
    fn of(step: &NodeStep<'a>) -> Option<Self> {
        match *step {
            NodeStep::Guard(guard) => Some(Self::Guard(guard)),
            NodeStep::Host(HostStep { endpoint, kind, direction, .. }) => Some(Self::Host(endpoint, kind, direction)),
            NodeStep::EndpointToHost(_) => Some(Self::EndpointToHost),
            NodeStep::Workload { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
