//! policy.networking.k8s.io to policies: ClusterNetworkPolicy, and the two kinds
//! that it replaced.
//!
//! Each rule becomes one of Calico's rules for each protocol and peer, which
//! then goes the way of all of them.

use caracal_model as model;
use caracal_model::{Kind, Object, PolicyKey, PolicyKind};
use smol_str::{SmolStr, format_smolstr};

use super::label_selector::{namespace_selector, pod_selector};
use super::port_group::{self, PortGroup, Ports};
use super::{ConvertError, Converted, rule, selector};
use crate::resource::{
    Action, AdminNetworkPolicy, AdminPort, BaselineAdminNetworkPolicy, ClusterAction, ClusterNetworkPolicy,
    ClusterPeer, ClusterProtocol, ClusterRule, ClusterTier, DestinationPort, Entity, Rule, Subject,
};

const ADMIN_TIER: &str = "kube-admin";
const BASELINE_TIER: &str = "kube-baseline";

/// The one baseline of v1alpha1 states no priority: it comes after the baselines
/// of v1alpha2, whose priorities end at 1000.
const BASELINE_ORDER: u16 = 1001;

/// Converts a ClusterNetworkPolicy.
pub(super) fn convert(policy: &ClusterNetworkPolicy) -> Result<Converted, ConvertError> {
    let ClusterNetworkPolicy { metadata, spec } = policy;
    let place = Place {
        name: metadata.name.clone(),
        tier: match spec.tier {
            ClusterTier::Admin => ADMIN_TIER,
            ClusterTier::Baseline => BASELINE_TIER,
        },
        order: spec.priority,
    };
    let object = object(place, &spec.subject, &spec.ingress, &spec.egress)?;
    Ok(Converted::object(Kind::ClusterNetworkPolicy, object))
}

/// Converts an AdminNetworkPolicy.
pub(super) fn admin(policy: &AdminNetworkPolicy) -> Result<Converted, ConvertError> {
    let AdminNetworkPolicy { metadata, spec } = policy;
    let name = replaced_name("AdminNetworkPolicy", &metadata.name);
    let place = Place { name, tier: ADMIN_TIER, order: spec.priority };
    let object = object(place, &spec.subject, &spec.ingress, &spec.egress)?;
    Ok(Converted::object(Kind::AdminNetworkPolicy, object))
}

/// Converts a BaselineAdminNetworkPolicy.
pub(super) fn baseline_admin(policy: &BaselineAdminNetworkPolicy) -> Result<Converted, ConvertError> {
    let BaselineAdminNetworkPolicy { metadata, spec } = policy;
    let name = replaced_name("BaselineAdminNetworkPolicy", &metadata.name);
    let place = Place { name, tier: BASELINE_TIER, order: BASELINE_ORDER };
    let object = object(place, &spec.subject, &spec.ingress, &spec.egress)?;
    Ok(Converted::object(Kind::BaselineAdminNetworkPolicy, object))
}

/// The kinds share one kind on the wire. No object's name has upper case
/// letters, so no ClusterNetworkPolicy has such a name.
fn replaced_name(kind: &str, name: &str) -> SmolStr {
    format_smolstr!("{kind}.{name}")
}

/// Where a policy stands among the others.
struct Place {
    name: SmolStr,
    tier: &'static str,
    order: u16,
}

fn object<P: PortForm>(
    place: Place,
    subject: &Subject,
    ingress: &[ClusterRule<P>],
    egress: &[ClusterRule<P>],
) -> Result<Object, ConvertError> {
    let mut inbound = Vec::new();
    for (rule, peer, PortGroup { protocol, ports }) in expand(ingress) {
        let mut inbound_rule = Rule { protocol, source: peer, ..base(rule) };
        inbound_rule.destination.ports = ports;
        inbound.push(inbound_rule);
    }
    let mut outbound = Vec::new();
    for (rule, peer, PortGroup { protocol, ports }) in expand(egress) {
        outbound.push(Rule { protocol, destination: Entity { ports, ..peer }, ..base(rule) });
    }
    let (pods, namespaces) = match subject {
        Subject::Namespaces(namespaces) => (pod_selector(None), namespace_selector(namespaces)),
        Subject::Pods(pods) => (pod_selector(Some(&pods.pod_selector)), namespace_selector(&pods.namespace_selector)),
    };
    // A policy without rules has nothing to say in either direction; as in Felix
    // it then applies to both, and its tier passes.
    let has_none = ingress.is_empty() && egress.is_empty();
    let converted = model::Policy {
        tier: SmolStr::new_static(place.tier),
        order: Some(place.order.into()),
        selector: selector::of_global_policy(&pods, &namespaces, "").map_err(|e| e.within("spec.subject"))?,
        ingress: has_none || !ingress.is_empty(),
        egress: has_none || !egress.is_empty(),
        inbound_rules: rule::rules(&inbound, "", "spec.ingress")?,
        outbound_rules: rule::rules(&outbound, "", "spec.egress")?,
        untracked: false,
        pre_dnat: false,
        apply_on_forward: false,
        perf_hints: Vec::new(),
    };
    let key =
        PolicyKey { kind: PolicyKind::KubernetesClusterNetworkPolicy, namespace: SmolStr::default(), name: place.name };
    Ok(Object::Policy(key, converted))
}

/// What each of Calico's rules takes from the rule as it is.
fn base<P>(rule: &ClusterRule<P>) -> Rule {
    let mut base = Rule::any(match rule.action {
        ClusterAction::Accept => Action::Allow,
        ClusterAction::Deny => Action::Deny,
        ClusterAction::Pass => Action::Pass,
    });
    if !rule.name.is_empty() {
        base.metadata.annotations.insert(SmolStr::new_static("name"), rule.name.clone());
    }
    base
}

/// Each rule with each group of its ports and each of its peers.
fn expand<P: PortForm>(rules: &[ClusterRule<P>]) -> impl Iterator<Item = (&ClusterRule<P>, Entity, PortGroup)> {
    rules.iter().flat_map(|rule| {
        let groups = port_group::group(rule.ports.iter().map(PortForm::ports));
        groups.into_iter().flat_map(move |group| rule.peers.iter().map(move |peer| (rule, entity(peer), group.clone())))
    })
}

fn entity(peer: &ClusterPeer) -> Entity {
    match peer {
        ClusterPeer::Namespaces(namespaces) => {
            Entity { namespace_selector: namespace_selector(namespaces).into(), ..Entity::default() }
        }
        ClusterPeer::Pods(pods) => Entity {
            selector: pod_selector(Some(&pods.pod_selector)).into(),
            namespace_selector: namespace_selector(&pods.namespace_selector).into(),
            ..Entity::default()
        },
        ClusterPeer::Networks(nets) => Entity { nets: nets.clone(), ..Entity::default() },
    }
}

/// A version's way to write a protocol and ports.
trait PortForm {
    /// The protocol, if it is one, and its ports.
    fn ports(&self) -> (Option<String>, Ports);
}

impl PortForm for ClusterProtocol {
    fn ports(&self) -> (Option<String>, Ports) {
        let (protocol, ported) = match self {
            Self::Tcp(ported) => ("TCP", ported),
            Self::Udp(ported) => ("UDP", ported),
            Self::Sctp(ported) => ("SCTP", ported),
            Self::DestinationNamedPort(name) => return (None, Ports::Named(name.clone())),
        };
        let ports = match ported.destination_port {
            DestinationPort::Number(number) => Ports::Range(number, number),
            DestinationPort::Range { start, end } => Ports::Range(start, end),
        };
        (Some(protocol.to_owned()), ports)
    }
}

impl PortForm for AdminPort {
    fn ports(&self) -> (Option<String>, Ports) {
        match self {
            Self::PortNumber { protocol, port } => (Some(protocol.clone()), Ports::Range(*port, *port)),
            Self::PortRange { protocol, start, end } => (Some(protocol.clone()), Ports::Range(*start, *end)),
            Self::NamedPort(name) => (None, Ports::Named(name.clone())),
        }
    }
}
