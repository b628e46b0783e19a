//! The smallest edit of manifests that lets a denied packet pass.
//!
//! For each side that denies, drafts are tried in the order in which people would
//! want them: a rule in a policy that is there, a new policy of the kind that
//! is in use, and last a tier before all others, which can overrule anything. A
//! draft is taken if, calculated like any other manifest, it lets the packet
//! pass and changes the verdict of no probe beside it.

mod draft;
mod probe;
mod rule;

use std::collections::BTreeMap;
use std::net::IpAddr;

use caracal_program::{Cause, Direction, PolicyId, Verdict, evaluate_endpoint};
use serde::Serialize;
use serde_json::Value;
use smol_str::SmolStr;

use self::draft::Draft;
use self::probe::Probes;
use super::answer::{Named, Reason};
use super::cluster::{Cluster, End};
use super::pick::Pick;
use super::world::{Change, World};
use super::written::Name;
use super::{Question, Service, yaml};

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

/// A side that denies, and what is to pass there.
#[derive(Clone, Debug)]
struct Denial {
    direction: Direction,
    /// The end whose policy it is.
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
    for direction in [Direction::Egress, Direction::Ingress] {
        let changes = changes(&taken);
        let found = world.with(&changes, |world| next(world, question, direction))?;
        match found.unwrap_or(Ok(Found::Nothing))? {
            Found::Passes => {}
            Found::Drafts(drafts) => taken.extend(drafts),
            Found::Nothing => {
                return Ok(Some(Proposal::None("no policy that could be written lets it pass".to_owned())));
            }
            Found::NotPolicy(reason) => return Ok(Some(Proposal::None(reason))),
        }
    }
    let at_host = world.cluster().judge(question)?.ingress;
    if at_host.verdict == Verdict::Deny && at_host.reason == Reason::EndpointToHost {
        let reason = "the host itself refuses what its workloads send to it; DefaultEndpointToHostAction would open it \
                      to all of them";
        return Ok(Some(Proposal::None(reason.to_owned())));
    }
    if taken.is_empty() {
        return Ok(None);
    }
    let manifests = &world.cluster().manifests;
    let edits = taken.into_iter().map(|draft| {
        let Draft { name, value, patch } = draft;
        Edit { object: Named::of(&name, manifests.at(&name)), how: patch.map_or(How::Manifest(value), How::Patch) }
    });
    Ok(Some(Proposal::Edits(edits.collect())))
}

/// What was found for one side.
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

fn next(world: &mut World, question: &Question, direction: Direction) -> anyhow::Result<Found> {
    let cluster = world.cluster();
    let denial = match denial(cluster, question, direction)? {
        Ok(Some(denial)) => denial,
        Ok(None) => return Ok(Found::Passes),
        Err(reason) => return Ok(Found::NotPolicy(reason)),
    };
    let (from, to, packet) = cluster.resolve(question)?;
    let near = match direction {
        Direction::Egress => from,
        Direction::Ingress => to,
    };
    let Some(near) = near.workload.map(|endpoint| endpoint.id.clone()) else { return Ok(Found::Passes) };
    let probes = Probes::around(cluster, &near, direction, &packet);
    let before = probes.verdicts(cluster);
    for drafts in draft::drafts(&denial, cluster) {
        let good = world.with(&changes(&drafts), |world| {
            let cluster = world.cluster();
            let passes = cluster.store().workload(&near).is_some_and(|endpoint| {
                evaluate_endpoint(endpoint, direction, cluster.store(), &packet).verdict == Verdict::Allow
            });
            passes && probes.verdicts(cluster) == before
        })?;
        if good == Some(true) {
            return Ok(Found::Drafts(drafts));
        }
    }
    Ok(Found::Nothing)
}

/// What denies on a side, if something does; `Err` if it is not policy.
fn denial(
    cluster: &Cluster,
    question: &Question,
    direction: Direction,
) -> anyhow::Result<Result<Option<Denial>, String>> {
    let (from, to, packet) = cluster.resolve(question)?;
    if let (Some(source), Some(destination)) = (from.workload, to.workload)
        && source.id == destination.id
    {
        return Ok(Ok(None));
    }
    let (near, far) = match direction {
        Direction::Egress => (from, to),
        Direction::Ingress => (to, from),
    };
    let Some(endpoint) = near.workload else { return Ok(Ok(None)) };
    let decision = evaluate_endpoint(endpoint, direction, cluster.store(), &packet);
    if decision.verdict == Verdict::Allow {
        return Ok(Ok(None));
    }
    let reason = match decision.cause {
        Cause::PolicyRule { policy, index, .. } => Denied::Rule(policy.clone(), index),
        Cause::EndOfTier { tier } => Denied::EndOfTier(tier.into()),
        Cause::ProfileRule { .. } | Cause::NoProfile | Cause::UnknownProfile(_) => Denied::Profile,
        Cause::UnknownPolicy(_) | Cause::UnknownSet(_) => Denied::Incomplete,
        Cause::EndpointDown | Cause::Undecided | Cause::EndpointToHost(_) => {
            return Ok(Err(format!("{} is administratively down", endpoint.id.workload)));
        }
    };
    let tiers = endpoint.program(direction).tiers().iter();
    Ok(Ok(Some(Denial {
        direction,
        near: Party::of(near, cluster),
        far: Party::of(far, cluster),
        service: question.service,
        reason,
        tiers: tiers.map(|tier| (tier.name.clone(), tier.enforced().cloned().collect())).collect(),
    })))
}
