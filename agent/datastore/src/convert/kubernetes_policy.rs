//! networking.k8s.io/v1 NetworkPolicy, and what stages it, to policies.
//!
//! Each rule becomes one of Calico's rules for each protocol and peer, which
//! then goes the way of all of them.

use caracal_model as model;
use caracal_model::{Kind, Object, PolicyKey, PolicyKind};

use super::label_selector::{namespace_selector, pod_selector};
use super::policy::directions;
use super::port_group::{self, PortGroup, Ports};
use super::{ConvertError, Converted, rule, selector};
use crate::resource::{Action, Entity, IntOrString, NetworkPolicy, Peer, PolicyPort, Rule, StagedAction};

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

/// A pair for each group of ports and each peer.
fn expand(peers: &[Peer], ports: &[PolicyPort], field: &str) -> Result<Vec<(Entity, PortGroup)>, ConvertError> {
    let peers: Vec<Entity> =
        if peers.is_empty() { vec![Entity::default()] } else { peers.iter().map(entity).collect() };
    let groups = port_groups(ports, field)?;
    let pairs = groups.iter().flat_map(|group| peers.iter().map(|peer| (peer.clone(), group.clone())));
    Ok(pairs.collect())
}

/// A port without a protocol is TCP's.
fn port_groups(ports: &[PolicyPort], field: &str) -> Result<Vec<PortGroup>, ConvertError> {
    let grouped = |(i, port): (usize, &PolicyPort)| {
        let entry = entry(port).map_err(|reason| ConvertError::new(&format!("{field}[{i}]"), reason))?;
        Ok((port.protocol.clone().or_else(|| Some("TCP".to_owned())), entry))
    };
    let entries: Vec<_> = ports.iter().enumerate().map(grouped).collect::<Result<_, ConvertError>>()?;
    Ok(port_group::group(entries))
}

fn entry(port: &PolicyPort) -> Result<Ports, String> {
    let number = |n: i64| u16::try_from(n).map_err(|_| format!("port {n} is not within 0-65535"));
    Ok(match (&port.port, port.end_port) {
        (None, _) => Ports::All,
        (Some(IntOrString::Text(name)), _) => Ports::Named(name.clone()),
        (Some(IntOrString::Int(first)), None) => Ports::Range(number(*first)?, number(*first)?),
        (Some(IntOrString::Int(first)), Some(last)) if last < *first => {
            return Err(format!("endPort {last} is below port {first}"));
        }
        (Some(IntOrString::Int(first)), Some(last)) => Ports::Range(number(*first)?, number(last)?),
    })
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
