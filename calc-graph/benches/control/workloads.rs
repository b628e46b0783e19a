//! The workloads: which events a graph gets, and which of them are measured.
//!
//! Sizes and shapes are those of Felix's own benchmarks, so that both can be run
//! side by side. Everything is counted, nothing drawn: two runs are the same.

use caracal_model::{
    Action, Entity, Event, Key, Kind, Labels, NetworkSet, NetworkSetKey, Object, Policy, PolicyKey, PolicyKind,
    Profile, Rule, RulePort, RuleProtocol, Stamp, Tier, TierAction, WorkloadEndpoint, WorkloadEndpointKey,
};
use caracal_net::{Cidr, PortRange, Protocol};
use smol_str::{SmolStr, format_smolstr};

// Written out because a test takes this file too.
#[path = "workloads/changes.rs"]
mod changes;
#[path = "workloads/customers.rs"]
mod customers;
#[path = "workloads/index.rs"]
mod index;
#[path = "workloads/markers.rs"]
mod markers;

pub(crate) use self::customers::Customers;
pub(crate) use self::markers::Markers;

/// The node that the graph calculates for, and the one that all other pods are on.
pub(crate) const HERE: &str = "node-here";
const THERE: &str = "node-there";

/// What the sync edge adds to a graph's messages: the configuration, before all else.
pub(crate) const CONFIGURATION: usize = 1;

/// What happens next to a graph.
#[expect(clippy::large_enum_variant, reason = "most steps are events")]
pub(crate) enum Step {
    Event(Event),
    Flush,
    /// What comes from here on is measured.
    Measure,
    /// Ends a sample of this kind: what was done since the last one.
    Sample(&'static str),
    /// As [`Step::Sample`], but what was done is not counted.
    Skip,
}

/// Takes the steps of a workload, in order.
pub(crate) type Steps<'a> = &'a mut dyn FnMut(Step);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    /// Everything from nothing.
    Markers(Markers),
    /// The same, and then every local pod is deleted.
    Teardown(Markers),
    /// Updates of remote pods, each flushed, after everything is told.
    Churn(Markers),
    Customers(Customers),
    IndexPod {
        selectors: u32,
    },
    IndexSelector {
        pods: u32,
    },
    IndexParent {
        pods: u32,
    },
    /// One change after another in a cluster of this size.
    Changes {
        pods: u32,
        policies: u32,
        sets: u32,
    },
}

impl Workload {
    /// Every workload by its name.
    pub(crate) fn all() -> Vec<(String, Self)> {
        let markers = [
            ("10k-1k-netset", Markers { remote: 10_000, tags: 0, netsets: 1_000 }),
            ("10k-10k-netset", Markers { remote: 10_000, tags: 0, netsets: 10_000 }),
            ("250k-10k-tag", Markers { remote: 250_000, tags: 10_000, netsets: 0 }),
        ];
        let million = Markers { remote: 1_000_000, tags: 20_000, netsets: 0 };
        let mut all = Vec::new();
        for (name, shape) in markers {
            all.push((format!("snapshot-{name}"), Self::Markers(shape)));
            all.push((format!("teardown-{name}"), Self::Teardown(shape)));
        }
        all.push(("snapshot-1m-20k-tag".to_owned(), Self::Markers(million)));
        all.push(("churn-250k-10k-tag".to_owned(), Self::Churn(markers[2].1)));
        for (name, namespaces) in [("1k", 1_000), ("10k", 10_000), ("100k", 100_000)] {
            all.push((format!("isolated-customers-{name}"), Self::Customers(Customers { namespaces })));
        }
        for selectors in [10, 100, 1_000, 10_000] {
            all.push((format!("index-pod-{selectors}"), Self::IndexPod { selectors }));
        }
        for pods in [100, 1_000, 10_000, 100_000] {
            all.push((format!("index-selector-{pods}"), Self::IndexSelector { pods }));
        }
        for pods in [100, 1_000, 10_000, 100_000] {
            all.push((format!("index-parent-{pods}"), Self::IndexParent { pods }));
        }
        for (doubled, [pods, policies, sets]) in [
            ("", [1, 1, 1]),
            ("-2x-pods", [2, 1, 1]),
            ("-4x-pods", [4, 1, 1]),
            ("-2x-policies", [1, 2, 1]),
            ("-4x-policies", [1, 4, 1]),
            ("-2x-sets", [1, 1, 2]),
            ("-4x-sets", [1, 1, 4]),
        ] {
            let changes = Self::Changes { pods: pods * 20_000, policies: policies * 2_000, sets: sets * 1_000 };
            all.push((format!("changes{doubled}"), changes));
        }
        all
    }

    /// Whether messages become bytes, as on the way to a receiver. Workloads of
    /// the index alone count them only.
    pub(crate) const fn is_encoded(self) -> bool {
        match self {
            Self::Markers(_) | Self::Teardown(_) | Self::Churn(_) | Self::Customers(_) | Self::Changes { .. } => true,
            Self::IndexPod { .. } | Self::IndexSelector { .. } | Self::IndexParent { .. } => false,
        }
    }

    pub(crate) fn steps(self, to: Steps<'_>) {
        let measured_from_the_start = match self {
            Self::Markers(_) | Self::Teardown(_) | Self::Customers(_) => true,
            Self::Churn(_)
            | Self::IndexPod { .. }
            | Self::IndexSelector { .. }
            | Self::IndexParent { .. }
            | Self::Changes { .. } => false,
        };
        if measured_from_the_start {
            to(Step::Measure);
        }
        apply(to, Kind::Tier, default_tier());
        match self {
            Self::Markers(shape) => shape.snapshot(to),
            Self::Teardown(shape) => {
                shape.snapshot(to);
                shape.teardown(to);
            }
            Self::Churn(shape) => {
                shape.snapshot(to);
                to(Step::Measure);
                shape.churn(to);
            }
            Self::Customers(shape) => shape.snapshot(to),
            Self::IndexPod { selectors } => index::pods(selectors, to),
            Self::IndexSelector { pods } => index::selectors(pods, to),
            Self::IndexParent { pods } => index::parents(pods, to),
            Self::Changes { pods, policies, sets } => changes::changes([pods, policies, sets], to),
        }
    }
}

fn apply(to: Steps<'_>, kind: Kind, object: Object) {
    to(Step::Event(Event::Apply(kind, object, Stamp(1))));
}

fn delete(to: Steps<'_>, kind: Kind, key: Key) {
    to(Step::Event(Event::Delete(kind, key, Stamp(1))));
}

/// Ends the list of every kind, and flushes.
fn in_sync(to: Steps<'_>) {
    for kind in Kind::ALL {
        to(Step::Event(Event::End(kind)));
    }
    to(Step::Flush);
}

fn default_tier() -> Object {
    Object::Tier("default".into(), Tier { order: Some(1_000_000.0), default_action: TierAction::Deny })
}

fn v4(bits: u32) -> Cidr {
    Cidr::host(std::net::Ipv4Addr::from_bits(bits).into())
}

/// A pod whose address is that many after 10.0.0.0.
fn pod(workload: &str, host: &str, offset: u32, profile: &str, labels: Labels) -> Object {
    let key = WorkloadEndpointKey {
        host: host.into(),
        orchestrator: "k8s".into(),
        workload: workload.into(),
        endpoint: "eth0".into(),
    };
    let endpoint = WorkloadEndpoint {
        state: "active".into(),
        interface: format_smolstr!("cali{offset:011x}"),
        profiles: vec![SmolStr::from(profile)],
        ipv4_nets: vec![v4(0x0a00_0000 + offset)],
        labels,
        ..WorkloadEndpoint::default()
    };
    Object::WorkloadEndpoint(key, endpoint)
}

fn profile(name: &str, labels: Labels, rules: Vec<Rule>) -> Object {
    let profile = Profile { labels, inbound_rules: rules.clone(), outbound_rules: rules };
    Object::Profile(name.into(), profile)
}

fn network_set(name: &str, labels: Labels, nets: Vec<Cidr>) -> Object {
    Object::NetworkSet(NetworkSetKey(name.into()), NetworkSet { labels, profiles: Vec::new(), nets })
}

fn allow_from(selector: &str) -> Rule {
    Rule {
        source: Entity { selector: selector.into(), original_selector: selector.into(), ..Entity::default() },
        ..Rule::any(Action::Allow)
    }
}

fn allow_to(selector: &str) -> Rule {
    Rule {
        destination: Entity { selector: selector.into(), original_selector: selector.into(), ..Entity::default() },
        ..Rule::any(Action::Allow)
    }
}

fn allow_dns() -> Rule {
    let mut rule = Rule::any(Action::Allow);
    rule.protocol = Some(RuleProtocol::Name(Protocol::UDP));
    rule.destination.nets = vec!["10.96.0.10/32".parse().expect("a prefix")];
    rule.destination.ports = vec![RulePort::Numeric(PortRange::single(53))];
    rule
}

fn global_policy(name: &str, selector: &str, inbound_rules: Vec<Rule>) -> Object {
    let key = PolicyKey { kind: PolicyKind::GlobalNetworkPolicy, namespace: SmolStr::default(), name: name.into() };
    Object::Policy(key, policy(selector, inbound_rules, Vec::new()))
}

fn policy(selector: &str, inbound_rules: Vec<Rule>, outbound_rules: Vec<Rule>) -> Policy {
    Policy {
        tier: "default".into(),
        order: None,
        selector: selector.into(),
        ingress: true,
        egress: !outbound_rules.is_empty(),
        inbound_rules,
        outbound_rules,
        untracked: false,
        pre_dnat: false,
        apply_on_forward: false,
        perf_hints: Vec::new(),
    }
}
