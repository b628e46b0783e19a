//! networking.k8s.io/v1 NetworkPolicy, and what stages it, to policies.
//!
//! Each rule becomes one of Calico's rules for each protocol and peer, which
//! then goes the way of all of them.

use std::collections::BTreeMap;

use caracal_model as model;
use caracal_model::{Kind, Object, PolicyKey, PolicyKind};

use super::policy::directions;
use super::{ConvertError, Converted, rule, selector};
use crate::resource::{
    Action, Entity, IntOrString, LabelSelector, NetworkPolicy, Peer, PolicyPort, Rule, SelectorOperator,
    SelectorRequirement, StagedAction,
};

/// The order of every Kubernetes policy in the default tier (Calico's KDD converter).
const ORDER: f64 = 1000.0;

/// Converts a policy.
pub(super) fn convert(policy: &NetworkPolicy) -> Result<Converted, ConvertError> {
    Ok(Converted::object(Kind::KubernetesNetworkPolicy, convert_as(PolicyKind::KubernetesNetworkPolicy, policy)?))
}

/// Converts a staged policy. As in Felix, one that stages a deletion is nothing
/// to calculate.
pub(super) fn staged(policy: &NetworkPolicy) -> Result<Converted, ConvertError> {
    match policy.spec.staged_action {
        StagedAction::Delete => Ok(Converted::Nothing),
        StagedAction::Set | StagedAction::Learn | StagedAction::Ignore => {
            let object = convert_as(PolicyKind::StagedKubernetesNetworkPolicy, policy)?;
            Ok(Converted::object(Kind::StagedKubernetesNetworkPolicy, object))
        }
    }
}

fn convert_as(kind: PolicyKind, policy: &NetworkPolicy) -> Result<Object, ConvertError> {
    let NetworkPolicy { metadata, spec } = policy;
    let namespace = &metadata.namespace;
    let mut ingress = Vec::new();
    for (i, k8s) in spec.ingress.iter().enumerate() {
        for (peer, PortGroup { protocol, ports }) in expand(&k8s.from, &k8s.ports, &format!("spec.ingress[{i}].ports"))?
        {
            let mut rule = allow(protocol);
            rule.source = peer;
            rule.destination.ports = ports;
            ingress.push(rule);
        }
    }
    let mut egress = Vec::new();
    for (i, k8s) in spec.egress.iter().enumerate() {
        for (peer, PortGroup { protocol, ports }) in expand(&k8s.to, &k8s.ports, &format!("spec.egress[{i}].ports"))? {
            let mut rule = allow(protocol);
            rule.destination = Entity { ports, ..peer };
            egress.push(rule);
        }
    }
    let (applies_to_ingress, applies_to_egress) = directions(&spec.policy_types);
    let pods = pod_selector(Some(&spec.pod_selector));
    let converted = model::Policy {
        tier: model::DEFAULT_TIER.into(),
        order: Some(ORDER),
        selector: selector::of_namespaced_policy(namespace, &pods, "").map_err(|e| e.within("spec.podSelector"))?,
        ingress: applies_to_ingress,
        egress: applies_to_egress,
        inbound_rules: rule::rules(&ingress, namespace, "spec.ingress")?,
        outbound_rules: rule::rules(&egress, namespace, "spec.egress")?,
        untracked: false,
        pre_dnat: false,
        apply_on_forward: false,
        perf_hints: Vec::new(),
    };
    let key = PolicyKey { kind, namespace: namespace.clone(), name: metadata.name.clone() };
    Ok(Object::Policy(key, converted))
}

fn allow(protocol: Option<IntOrString>) -> Rule {
    Rule { protocol, ..Rule::any(Action::Allow) }
}

/// Ports that share one of Calico's rules.
#[derive(Clone)]
struct PortGroup {
    /// `None` means every protocol.
    protocol: Option<IntOrString>,
    /// Empty means every port.
    ports: Vec<IntOrString>,
}

/// A pair for each group of ports and each peer.
fn expand(peers: &[Peer], ports: &[PolicyPort], field: &str) -> Result<Vec<(Entity, PortGroup)>, ConvertError> {
    let peers: Vec<Entity> =
        if peers.is_empty() { vec![Entity::default()] } else { peers.iter().map(entity).collect() };
    let groups = port_groups(ports, field)?;
    let pairs = groups.iter().flat_map(|group| peers.iter().map(|peer| (peer.clone(), group.clone())));
    Ok(pairs.collect())
}

/// The ports of each protocol, in order of the protocols' names. No ports at all
/// means every protocol; an entry without a port means its whole protocol,
/// whatever else is listed for it.
fn port_groups(ports: &[PolicyPort], field: &str) -> Result<Vec<PortGroup>, ConvertError> {
    if ports.is_empty() {
        let everything = PortGroup { protocol: None, ports: Vec::new() };
        return Ok(vec![everything]);
    }
    // `None` stands for the whole protocol.
    let mut by_protocol: BTreeMap<&str, Option<Vec<PortEntry>>> = BTreeMap::new();
    for (i, port) in ports.iter().enumerate() {
        let entry = PortEntry::of(port).map_err(|reason| ConvertError::new(&format!("{field}[{i}]"), reason))?;
        let listed = by_protocol.entry(port.protocol.as_deref().unwrap_or("TCP")).or_insert_with(|| Some(Vec::new()));
        match entry {
            None => *listed = None,
            Some(entry) => {
                if let Some(entries) = listed {
                    entries.push(entry);
                }
            }
        }
    }
    let groups = by_protocol.into_iter().map(|(protocol, entries)| PortGroup {
        protocol: Some(IntOrString::Text(protocol.to_owned())),
        ports: entries.map(merge).unwrap_or_default(),
    });
    Ok(groups.collect())
}

enum PortEntry {
    Named(String),
    Range(u16, u16),
}

impl PortEntry {
    fn of(port: &PolicyPort) -> Result<Option<Self>, String> {
        let number = |n: i64| u16::try_from(n).map_err(|_| format!("port {n} is not within 0-65535"));
        Ok(Some(match (&port.port, port.end_port) {
            (None, _) => return Ok(None),
            (Some(IntOrString::Text(name)), _) => Self::Named(name.clone()),
            (Some(IntOrString::Int(first)), None) => Self::Range(number(*first)?, number(*first)?),
            (Some(IntOrString::Int(first)), Some(last)) if last < *first => {
                return Err(format!("endPort {last} is below port {first}"));
            }
            (Some(IntOrString::Int(first)), Some(last)) => Self::Range(number(*first)?, number(last)?),
        }))
    }
}

/// The named ports in their order, then the numbers, sorted and merged into ranges.
fn merge(entries: Vec<PortEntry>) -> Vec<IntOrString> {
    let mut merged = Vec::new();
    let mut numbers = Vec::new();
    for entry in entries {
        match entry {
            PortEntry::Named(name) => merged.push(IntOrString::Text(name)),
            PortEntry::Range(first, last) => numbers.push((first, last)),
        }
    }
    numbers.sort_unstable();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for (first, last) in numbers {
        match ranges.last_mut() {
            Some((_, end)) if u32::from(first) <= u32::from(*end) + 1 => *end = last.max(*end),
            Some(_) | None => ranges.push((first, last)),
        }
    }
    merged.extend(ranges.into_iter().map(|(first, last)| {
        if first == last { IntOrString::Int(first.into()) } else { IntOrString::Text(format!("{first}:{last}")) }
    }));
    merged
}

fn entity(peer: &Peer) -> Entity {
    let Peer { pod_selector: pods, namespace_selector: namespaces, ip_block } = peer;
    match ip_block {
        Some(block) => Entity { nets: vec![block.cidr.clone()], not_nets: block.except.clone(), ..Entity::default() },
        None => Entity {
            selector: pod_selector(pods.as_ref()).into(),
            namespace_selector: namespaces.as_ref().map(namespace_selector).unwrap_or_default().into(),
            ..Entity::default()
        },
    }
}

/// Pods only: host endpoints and other workloads are none of a Kubernetes policy's business.
fn pod_selector(selector: Option<&LabelSelector>) -> String {
    let mut terms = vec![format!("{} == 'k8s'", model::LABEL_ORCHESTRATOR)];
    terms.extend(selector.into_iter().flat_map(label_terms));
    terms.join(" && ")
}

/// A namespace selector without terms selects all namespaces; none at all, the policy's own.
fn namespace_selector(selector: &LabelSelector) -> String {
    let terms: Vec<_> = label_terms(selector).collect();
    if terms.is_empty() { "all()".to_owned() } else { terms.join(" && ") }
}

fn label_terms(selector: &LabelSelector) -> impl Iterator<Item = String> {
    let labels = selector.match_labels.iter().map(|(key, value)| format!("{key} == '{value}'"));
    labels.chain(selector.match_expressions.iter().map(requirement))
}

fn requirement(requirement: &SelectorRequirement) -> String {
    let SelectorRequirement { key, operator, values } = requirement;
    let values = values.join("', '");
    match operator {
        SelectorOperator::In => format!("{key} in {{ '{values}' }}"),
        SelectorOperator::NotIn => format!("{key} not in {{ '{values}' }}"),
        SelectorOperator::Exists => format!("has({key})"),
        SelectorOperator::DoesNotExist => format!("! has({key})"),
    }
}
