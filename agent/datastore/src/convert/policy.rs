//! projectcalico.org/v3 NetworkPolicy, GlobalNetworkPolicy and what stages them to policies.

use caracal_model as model;
use caracal_model::{Kind, Object, PolicyKey, PolicyKind};
use smol_str::SmolStr;

use super::{ConvertError, Converted, rule, selector};
use crate::resource::{Policy, PolicyType, StagedAction};

/// Converts a policy of one namespace.
pub(super) fn namespaced(policy: &Policy) -> Result<Converted, ConvertError> {
    Ok(Converted::object(Kind::NetworkPolicy, namespaced_as(PolicyKind::NetworkPolicy, policy)?))
}

/// Converts a policy of the whole cluster.
pub(super) fn global(policy: &Policy) -> Result<Converted, ConvertError> {
    Ok(Converted::object(Kind::GlobalNetworkPolicy, global_as(PolicyKind::GlobalNetworkPolicy, policy)?))
}

/// Converts a staged policy of one namespace. As in Felix, one that stages a
/// deletion is nothing to calculate.
pub(super) fn staged_namespaced(policy: &Policy) -> Result<Converted, ConvertError> {
    match policy.spec.staged_action {
        StagedAction::Delete => Ok(Converted::Nothing),
        StagedAction::Set | StagedAction::Learn | StagedAction::Ignore => {
            let object = namespaced_as(PolicyKind::StagedNetworkPolicy, policy)?;
            Ok(Converted::object(Kind::StagedNetworkPolicy, object))
        }
    }
}

/// Converts a staged policy of the whole cluster.
pub(super) fn staged_global(policy: &Policy) -> Result<Converted, ConvertError> {
    match policy.spec.staged_action {
        StagedAction::Delete => Ok(Converted::Nothing),
        StagedAction::Set | StagedAction::Learn | StagedAction::Ignore => {
            let object = global_as(PolicyKind::StagedGlobalNetworkPolicy, policy)?;
            Ok(Converted::object(Kind::StagedGlobalNetworkPolicy, object))
        }
    }
}

fn namespaced_as(kind: PolicyKind, policy: &Policy) -> Result<Object, ConvertError> {
    let spec = &policy.spec;
    let namespace = &policy.metadata.namespace;
    let selector = selector::of_namespaced_policy(namespace, &spec.selector, &spec.service_account_selector);
    object(policy, kind, selector)
}

fn global_as(kind: PolicyKind, policy: &Policy) -> Result<Object, ConvertError> {
    let spec = &policy.spec;
    let selector = selector::of_global_policy(&spec.selector, &spec.namespace_selector, &spec.service_account_selector);
    object(policy, kind, selector)
}

fn object(policy: &Policy, kind: PolicyKind, selector: Result<SmolStr, ConvertError>) -> Result<Object, ConvertError> {
    let Policy { metadata, spec } = policy;
    let namespace = &metadata.namespace;
    let (ingress, egress) = directions(&spec.types);
    let converted = model::Policy {
        tier: if spec.tier.is_empty() { model::DEFAULT_TIER.into() } else { spec.tier.clone() },
        order: spec.order,
        selector: selector.map_err(|e| e.within("spec"))?,
        ingress,
        egress,
        inbound_rules: rule::rules(&spec.ingress, namespace, "spec.ingress")?,
        outbound_rules: rule::rules(&spec.egress, namespace, "spec.egress")?,
        untracked: spec.do_not_track,
        pre_dnat: spec.pre_dnat,
        apply_on_forward: spec.apply_on_forward,
        perf_hints: spec.performance_hints.clone(),
    };
    let key = PolicyKey { kind, namespace: namespace.clone(), name: metadata.name.clone() };
    Ok(Object::Policy(key, converted))
}

/// Whether a policy applies to ingress and to egress. Without types, which
/// admission fills in, it applies to both, as in Felix.
pub(super) fn directions(types: &[PolicyType]) -> (bool, bool) {
    if types.is_empty() {
        return (true, true);
    }
    (types.contains(&PolicyType::Ingress), types.contains(&PolicyType::Egress))
}
