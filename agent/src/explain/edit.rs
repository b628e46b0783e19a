//! The smallest edit of manifests that lets a denied packet pass.
//!
//! For each side and each host endpoint that denies, drafts are tried in the order in which people would
//! want them: a rule in a policy that is there, a new policy of the kind that
//! is in use, and last a tier before all others, which can overrule anything. A
//! draft is taken if, calculated like any other manifest, it lets the packet
//! pass and changes the verdict of no probe beside it.

mod draft;
mod probe;
mod rule;

use std::collections::BTreeMap;
use std::net::IpAddr;

use caracal_program::{
    Cause, Direction, HostCause, HostId, HostStep, NodeStep, Packet, PolicyId, Program, ProgramKind, Verdict,
    WorkloadId, evaluate, evaluate_endpoint,
};
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;

use self::draft::Draft;
use self::probe::Probes;
use super::answer::{Answer, Named, Reason};
use super::cluster::{Cluster, End};
use super::pick::Pick;
use super::world::{Change, World};
use super::written::Name;
use super::{Question, Service, yaml};

/// How many programs at most a packet meets on its way: of two workloads, and on
/// each of two nodes of host endpoints, one before connection tracking, one before
/// DNAT, and two for what is forwarded.
const MOST_DENIALS: usize = 12;

/// What to change, or why nothing of policy can be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Proposal {
    /// These edits together let the packet pass.
    Edits(Vec<Edit>),
    /// Why there is none.
    None(String),
}

/// One edit of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Edit {
    pub(super) object: Named,
    #[serde(flatten)]
    pub(super) how: How,
}

/// How to make an edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum How {
    /// A JSON patch (RFC 6902) of the object.
    Patch(Value),
    /// A new object.
    Manifest(Value),
}

impl Edit {
    /// The edit as one YAML document: a patch, or a manifest.
    pub(super) fn document(&self) -> String {
        match &self.how {
            How::Patch(value) | How::Manifest(value) => yaml::document(value),
        }
    }
}

/// One end of a denied packet.
#[derive(Clone, Debug)]
struct Party {
    address: IpAddr,
    /// `NAMESPACE/NAME`, and how to select it.
    workload: Option<(SmolStr, Pick)>,
}

impl Party {
    fn of(end: End<'_>, cluster: &Cluster) -> Self {
        let workload = end.workload.and_then(|endpoint| {
            let name = endpoint.id.workload.clone();
            Pick::of(&name, &cluster.facts).map(|pick| (name, pick))
        });
        Self { address: end.address, workload }
    }
}

/// Whose program denies.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Judge {
    Workload(WorkloadId),
    Host(HostId, ProgramKind),
}

impl Judge {
    /// What it says to a packet; `None` if it is not there.
    fn verdict(&self, cluster: &Cluster, direction: Direction, packet: &Packet) -> Option<Verdict> {
        let store = cluster.store();
        Some(match self {
            Self::Workload(id) => evaluate_endpoint(store.workload(id)?, direction, store, packet).verdict,
            Self::Host(id, kind) => evaluate(store.host(id)?.programs.get(*kind, direction), store, packet).verdict,
        })
    }
}

/// A program that denies, and what is to pass there.
#[derive(Clone, Debug)]
struct Denial {
    judge: Judge,
    direction: Direction,
    /// Of a workload the end whose policy it is; else the end in the direction.
    near: Party,
    far: Party,
    service: Service,
    reason: Denied,
    /// The tiers with their enforced policies, in order.
    tiers: Vec<(SmolStr, Vec<PolicyId>)>,
}

/// What denies.
#[derive(Clone, Debug)]
enum Denied {
    Rule(PolicyId, usize),
    EndOfTier(SmolStr),
    /// No tier decided, and no profile allows.
    Profile,
    /// Something that is named is missing, or not understood.
    Incomplete,
}

/// Works out what to change so that a packet passes; `None` if it passes already.
///
/// # Errors
/// If the datastore cannot be calculated.
pub(super) fn propose(world: &mut World, question: &Question) -> anyhow::Result<Option<Proposal>> {
    let mut taken: Vec<Draft> = Vec::new();
    for _ in 0..MOST_DENIALS {
        let changes = changes(&taken);
        let found = world.with(&changes, |world| next(world, question))?;
        match found.unwrap_or(Ok(Found::Nothing))? {
            Found::Passes => return Ok(edits(world, taken)),
            Found::Drafts(drafts) => taken.extend(drafts),
            Found::Nothing => break,
            Found::NotPolicy(reason) => return Ok(Some(Proposal::None(reason))),
        }
    }
    Ok(Some(Proposal::None("no policy that could be written lets it pass".to_owned())))
}

/// The drafts as edits; `None` if there are none.
fn edits(world: &World, taken: Vec<Draft>) -> Option<Proposal> {
    if taken.is_empty() {
        return None;
    }
    let manifests = &world.cluster().manifests;
    let edits = taken.into_iter().map(|draft| {
        let Draft { name, value, patch } = draft;
        Edit { object: Named::of(&name, manifests.at(&name)), how: patch.map_or(How::Manifest(value), How::Patch) }
    });
    Some(Proposal::Edits(edits.collect()))
}

/// What was found for the next that denies.
enum Found {
    Passes,
    Drafts(Vec<Draft>),
    Nothing,
    /// Why no policy would help.
    NotPolicy(String),
}

fn changes(drafts: &[Draft]) -> Vec<Change> {
    // Of several drafts of one object the last holds the others.
    let by_name: BTreeMap<&Name, &Value> = drafts.iter().map(|draft| (&draft.name, &draft.value)).collect();
    by_name.into_iter().map(|(name, value)| Change { name: name.clone(), value: Some(value.clone()) }).collect()
}

fn next(world: &mut World, question: &Question) -> anyhow::Result<Found> {
    let cluster = world.cluster();
    let denial = match denial(cluster, question)? {
        Ok(Some(denial)) => denial,
        Ok(None) => return Ok(Found::Passes),
        Err(reason) => return Ok(Found::NotPolicy(reason)),
    };
    let (_, _, packet) = cluster.resolve(question)?;
    let probes = Probes::around(cluster, &denial.judge, denial.direction, &packet);
    let before = probes.verdicts(cluster);
    for drafts in draft::drafts(&denial, cluster) {
        let good = world.with(&changes(&drafts), |world| {
            let cluster = world.cluster();
            let passes = denial.judge.verdict(cluster, denial.direction, &packet) == Some(Verdict::Allow);
            passes && probes.verdicts(cluster) == before
        })?;
        if good == Some(true) {
            return Ok(Found::Drafts(drafts));
        }
    }
    Ok(Found::Nothing)
}

/// What denies first, if something does; `Err` if it is not policy. Both workloads
/// come before the host endpoints between them.
fn denial(cluster: &Cluster, question: &Question) -> anyhow::Result<Result<Option<Denial>, String>> {
    let Answer { egress, ingress, .. } = cluster.judge(question)?;
    for (side, who) in [(&egress, &question.from), (&ingress, &question.to)] {
        let is_policy = side.is_denied_by_policy() && side.reason != Reason::EndpointDown;
        if side.verdict == Verdict::Deny && side.reason != Reason::EndpointToHost && !is_policy {
            return Ok(Err(not_policy(side.reason, who)));
        }
    }
    let (from, to, packet) = cluster.resolve(question)?;
    let case = Case { cluster, question, from, to };
    for (side, end, direction) in [(&egress, from, Direction::Egress), (&ingress, to, Direction::Ingress)] {
        if let (Verdict::Deny, Some(endpoint)) = (side.verdict, end.workload) {
            let cause = evaluate_endpoint(endpoint, direction, cluster.store(), &packet).cause;
            let judge = Judge::Workload(endpoint.id.clone());
            return Ok(Ok(case.denial(judge, cause, endpoint.program(direction))));
        }
    }
    let legs = cluster.journey([from, to], question.interface.as_ref())?;
    for decision in legs.iter().map(|leg| cluster.at_node(leg, &packet)) {
        match decision.steps.last() {
            Some(NodeStep::Host(step)) if step.verdict == Verdict::Deny => {
                let HostStep { endpoint, kind, cause, .. } = *step;
                let HostCause::Policy(cause) = cause else {
                    return Ok(Err(not_policy(Reason::ConntrackInvalid, &question.from)));
                };
                let judge = Judge::Host(endpoint.clone(), kind);
                return Ok(Ok(case.denial(judge, cause, cluster.host_program(step))));
            }
            Some(NodeStep::EndpointToHost(_)) if decision.verdict == Verdict::Deny => {
                return Ok(Err(not_policy(Reason::EndpointToHost, &question.to)));
            }
            _ => {}
        }
    }
    Ok(Ok(None))
}

/// Why no policy would help.
fn not_policy(reason: Reason, who: &super::Party) -> String {
    match reason {
        Reason::EndpointDown => format!("{who} is administratively down"),
        Reason::EndpointToHost => {
            "the host itself refuses what its workloads send to it; DefaultEndpointToHostAction would open it to all of them"
                .to_owned()
        }
        Reason::NoIpv6 => {
            "workloads have no IPv6 while Ipv6Support is off; on, it would leave IPv6 to policy".to_owned()
        }
        Reason::SpoofedSource => {
            format!("{who} does not send from an address of its own; its annotation cni.projectcalico.org/allowedSourcePrefixes could let it, where WorkloadSourceSpoofing is Any")
        }
        Reason::ConntrackInvalid => {
            "connection tracking knows no connection that begins so; DisableConntrackInvalidCheck would leave such packets to policy"
                .to_owned()
        }
        Reason::IpipFromWorkload => {
            "workloads may not make tunnels; AllowIPIPPacketsFromWorkloads would leave them to policy".to_owned()
        }
        Reason::VxlanFromWorkload => {
            "workloads may not make tunnels; AllowVXLANPacketsFromWorkloads would leave them to policy".to_owned()
        }
        Reason::Loopback => {
            "a host's loopback addresses are its own; another of its addresses is DefaultEndpointToHostAction's to open".to_owned()
        }
        Reason::ForeignIpip | Reason::ForeignVxlan => {
            "only hosts of the cluster may send tunnelled packets to a host while a pool has tunnels".to_owned()
        }
        Reason::ServiceLoop => {
            "a service proxy has to translate the address first; ServiceLoopPrevention would leave it to policy".to_owned()
        }
        Reason::NoEndpoint => "no workload is known on the interface".to_owned(),
        Reason::PolicyRule
        | Reason::EndOfTier
        | Reason::ProfileRule
        | Reason::NoProfile
        | Reason::Outside
        | Reason::Host
        | Reason::Undecided
        | Reason::Failsafe
        | Reason::UnjudgedIpv6
        | Reason::ClusterTunnel
        | Reason::NeighbourDiscovery
        | Reason::HostToWorkload
        | Reason::SameWorkload
        | Reason::Incomplete => "something that is not policy denies it".to_owned(),
    }
}

/// A packet that is denied.
struct Case<'a> {
    cluster: &'a Cluster,
    question: &'a Question,
    from: End<'a>,
    to: End<'a>,
}

impl Case<'_> {
    /// What a program denies, and why.
    fn denial(&self, judge: Judge, cause: Cause<'_>, program: &Program) -> Option<Denial> {
        let reason = match cause {
            Cause::PolicyRule { policy, index, .. } => Denied::Rule(policy.clone(), index),
            Cause::EndOfTier { tier } => Denied::EndOfTier(tier.into()),
            Cause::ProfileRule { .. } | Cause::NoProfile | Cause::UnknownProfile(_) => Denied::Profile,
            Cause::UnknownPolicy(_) | Cause::UnknownSet(_) => Denied::Incomplete,
            Cause::EndpointDown | Cause::Undecided | Cause::EndpointToHost(_) => return None,
        };
        let direction = program.direction();
        let (near, far) = match direction {
            Direction::Egress => (self.from, self.to),
            Direction::Ingress => (self.to, self.from),
        };
        let tiers = program.tiers().iter();
        Some(Denial {
            judge,
            direction,
            near: Party::of(near, self.cluster),
            far: Party::of(far, self.cluster),
            service: self.question.service,
            reason,
            tiers: tiers.map(|tier| (tier.name.clone(), tier.enforced().cloned().collect())).collect(),
        })
    }
}
