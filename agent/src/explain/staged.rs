//! What would happen if everything that is staged were enforced.

use std::collections::BTreeMap;

use anyhow::Context as _;
use caracal_datastore::manifest::ResourceKind;
use caracal_program::{Direction, ProgramKind, Verdict};
use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, HostSide, Named, Reason, Side, text as as_text, verdict};
use super::world::{Change, World};
use super::written::{Manifests, Name};
use super::{Question, text};

/// What each staged kind stages.
const STAGED: [(ResourceKind, ResourceKind); 3] = [
    (ResourceKind::StagedNetworkPolicy, ResourceKind::NetworkPolicy),
    (ResourceKind::StagedGlobalNetworkPolicy, ResourceKind::GlobalNetworkPolicy),
    (ResourceKind::StagedKubernetesNetworkPolicy, ResourceKind::KubernetesNetworkPolicy),
];

/// The verdict that would be if all staged policies were enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Staged {
    #[serde(serialize_with = "verdict")]
    pub(super) verdict: Verdict,
    pub(super) egress: StagedSide,
    pub(super) ingress: StagedSide,
    /// What host endpoints on the way would say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hosts: Vec<StagedHost>,
}

/// What one program of a host endpoint would say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct StagedHost {
    pub(super) endpoint: Named,
    #[serde(serialize_with = "as_text")]
    pub(super) program: ProgramKind,
    #[serde(serialize_with = "as_text")]
    pub(super) direction: Direction,
    #[serde(flatten)]
    pub(super) side: StagedSide,
}

/// What one side's policy would say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct StagedSide {
    #[serde(serialize_with = "verdict")]
    pub(super) verdict: Verdict,
    pub(super) reason: Reason,
    /// The policy that would decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<Named>,
    /// The index of its rule that would decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<usize>,
    /// The reason in words.
    pub(super) why: String,
}

/// Answers a question as if all staged policies were enforced; `None` if nothing is staged.
///
/// A staged policy takes the place of the policy that it stages: of its kind and
/// name. One that stages a deletion takes that policy away. As in Felix, every
/// other action is calculated like `Set`.
pub(super) fn judge(world: &mut World, question: &Question) -> anyhow::Result<Option<Staged>> {
    let mut changes = Vec::new();
    let mut stages: BTreeMap<Name, Named> = BTreeMap::new();
    let manifests = &world.cluster().manifests;
    for (staged_kind, kind) in STAGED {
        for (staged, manifest) in manifests.of_kind(staged_kind) {
            let name = Name { kind, ..staged.clone() };
            stages.insert(name.clone(), Named::of(staged, manifests.at(staged)));
            match enforced(&manifest.value, kind) {
                None if manifests.get(&name).is_none() => {}
                value => changes.push(Change { name, value }),
            }
        }
    }
    if stages.is_empty() {
        return Ok(None);
    }
    let judged = world.with(&changes, |world| {
        world.cluster().judge(question).map(|answer| {
            let Answer { verdict, egress, ingress, hosts, .. } = answer;
            let manifests = &world.cluster().manifests;
            let side = |answered| side(answered, manifests, &stages);
            let hosts = hosts.into_iter().map(|HostSide { endpoint, kind, direction, side: answered, .. }| {
                StagedHost { endpoint, program: kind, direction, side: side(answered) }
            });
            Staged { verdict, egress: side(egress), ingress: side(ingress), hosts: hosts.collect() }
        })
    })?;
    Ok(Some(judged.context("a staged policy would not be admitted as what it stages")??))
}

/// The policy that a staged one stages; `None` if it stages a deletion.
fn enforced(staged: &Value, kind: ResourceKind) -> Option<Value> {
    let mut value = staged.clone();
    let spec = value.get_mut("spec").and_then(Value::as_object_mut);
    let action = spec.and_then(|spec| spec.remove("stagedAction"));
    if action.as_ref().and_then(Value::as_str) == Some("Delete") {
        return None;
    }
    value["kind"] = kind.kind().into();
    value["apiVersion"] = kind.api_version().into();
    Some(value)
}

fn side(mut side: Side<'_>, manifests: &Manifests, stages: &BTreeMap<Name, Named>) -> StagedSide {
    if let Some(policy) = &mut side.policy {
        let staged = Name::of_policy(policy.id).and_then(|name| stages.get(&name));
        match staged {
            Some(staged) => policy.named = staged.clone(),
            None => policy.named.at = manifests.policy_at(policy.id),
        }
    }
    let why = text::reason(&side);
    StagedSide {
        verdict: side.verdict,
        reason: side.reason,
        policy: side.policy.map(|policy| policy.named),
        rule: side.rule,
        why,
    }
}
