//! Which objects are in force against a look at all that were delivered.

use std::collections::{BTreeMap, BTreeSet};

use caracal_model::{
    Action, Event, Labels, Policy, PolicyKey, PolicyKind, Rule, Stamp, Tier, TierAction, WorkloadEndpointKey,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::{Locality, Settings};

const HERE: &str = "node-a";

/// Whether an object can be in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Sound,
    /// Something of it cannot be read.
    Broken,
    /// The settings decide.
    Spoofing,
}

/// A delivery: the kinds of one key are those that may describe one object.
fn delivery() -> impl Strategy<Value = (Kind, Object)> {
    let form = || prop_oneof![6 => Just(Form::Sound), 2 => Just(Form::Broken), 3 => Just(Form::Spoofing)];
    let version = || 0..4u8;
    prop_oneof![
        6 => (select(vec![Kind::Pod, Kind::WorkloadEndpoint]), 0..2u8, form(), version())
            .prop_map(|(kind, name, form, version)| (kind, workload(name, form, version))),
        4 => (
            select(vec![Kind::ClusterNetworkPolicy, Kind::AdminNetworkPolicy, Kind::BaselineAdminNetworkPolicy]),
            form(),
            version(),
        )
            .prop_map(|(kind, form, version)| (kind, policy(form, version))),
        4 => (select(vec![Kind::Namespace, Kind::Profile]), form(), version())
            .prop_map(|(kind, form, version)| (kind, profile(form, version))),
        1 => version().prop_map(|version| {
            let tier = Tier { order: Some(f64::from(version)), default_action: TierAction::Deny };
            (Kind::Tier, Object::Tier("t".into(), tier))
        }),
    ]
}

fn workload(name: u8, form: Form, version: u8) -> Object {
    let key = WorkloadEndpointKey {
        host: HERE.into(),
        orchestrator: "k8s".into(),
        workload: format!("shop/w{name}").into(),
        endpoint: "eth0".into(),
    };
    let interface = if form == Form::Broken { SmolStr::default() } else { format!("cali{name}").into() };
    let prefixes = if form == Form::Spoofing { vec!["10.9.0.0/16".parse().expect("a prefix")] } else { Vec::new() };
    let endpoint = WorkloadEndpoint {
        state: "active".into(),
        interface,
        labels: Labels::from_iter([("version", version.to_string())]),
        allowed_source_prefixes: prefixes,
        ..WorkloadEndpoint::default()
    };
    Object::WorkloadEndpoint(key, endpoint)
}

fn policy(form: Form, version: u8) -> Object {
    let key = PolicyKey { kind: PolicyKind::KubernetesClusterNetworkPolicy, namespace: "".into(), name: "p".into() };
    let policy = Policy {
        tier: "kube-admin".into(),
        order: Some(f64::from(version)),
        selector: if form == Form::Broken { "a = b".into() } else { "all()".into() },
        ingress: true,
        egress: true,
        inbound_rules: vec![Rule::any(Action::Allow)],
        outbound_rules: Vec::new(),
        untracked: false,
        pre_dnat: false,
        apply_on_forward: true,
        perf_hints: Vec::new(),
    };
    Object::Policy(key, policy)
}

fn profile(form: Form, version: u8) -> Object {
    let mut rule = Rule::any(Action::Allow);
    if form == Form::Broken {
        rule.source.selector = "a = b".into();
    }
    let labels = Labels::from_iter([("version", version.to_string())]);
    Object::Profile("kns.shop".into(), Profile { labels, inbound_rules: vec![rule], outbound_rules: Vec::new() })
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Kind, Object),
    Delete(Kind, Object),
    Begin(Kind),
    End(Kind),
    Spoofing(SourceSpoofing),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => delivery().prop_map(|(kind, object)| Step::Apply(kind, object)),
        6 => delivery().prop_map(|(kind, object)| Step::Delete(kind, object)),
        1 => delivery().prop_map(|(kind, _)| Step::Begin(kind)),
        1 => delivery().prop_map(|(kind, _)| Step::End(kind)),
        2 => select(vec![SourceSpoofing::Disabled, SourceSpoofing::Any]).prop_map(Step::Spoofing),
        2 => Just(Step::Flush),
    ]
}

struct World {
    graph: CalcGraph,
    settings: Settings,
    /// Everything that sources say there is, the first kind of a key first.
    held: BTreeMap<(Key, Kind), Object>,
    unseen: BTreeMap<Kind, BTreeSet<Key>>,
}

impl World {
    fn new() -> Self {
        let settings = Settings::default();
        let graph = CalcGraph::new(Locality::Node(HERE.into()), settings);
        Self { graph, settings, held: BTreeMap::new(), unseen: BTreeMap::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Apply(kind, object) => {
                let key = object.key();
                self.graph.on_event(Event::Apply(kind, object.clone(), Stamp(1)));
                self.saw(kind, &key);
                self.held.insert((key, kind), object);
            }
            Step::Delete(kind, object) => {
                let key = object.key();
                self.graph.on_event(Event::Delete(kind, key.clone(), Stamp(1)));
                self.saw(kind, &key);
                self.held.remove(&(key, kind));
            }
            Step::Begin(kind) => {
                self.graph.on_event(Event::Begin(kind));
                let of_kind = self.held.keys().filter(|(_, of)| *of == kind).map(|(key, _)| key.clone());
                self.unseen.insert(kind, of_kind.collect());
            }
            Step::End(kind) => {
                self.graph.on_event(Event::End(kind));
                for key in self.unseen.remove(&kind).unwrap_or_default() {
                    self.held.remove(&(key, kind));
                }
            }
            Step::Spoofing(source_spoofing) => {
                self.settings.source_spoofing = source_spoofing;
                self.graph.set_settings(self.settings);
            }
            Step::Flush => drop(self.graph.flush(&mut |_| {})),
        }
    }

    fn saw(&mut self, kind: Kind, key: &Key) {
        if let Some(unseen) = self.unseen.get_mut(&kind) {
            unseen.remove(key);
        }
    }

    /// Why an object cannot be in force whatever there is beside it.
    fn fault(&self, object: &Object) -> Option<&'static str> {
        match object {
            Object::WorkloadEndpoint(_, endpoint) if endpoint.interface.is_empty() => Some("no interface"),
            Object::WorkloadEndpoint(_, endpoint)
                if !endpoint.allowed_source_prefixes.is_empty()
                    && self.settings.source_spoofing == SourceSpoofing::Disabled =>
            {
                Some("prefixes")
            }
            Object::Policy(_, policy) if policy.selector == "a = b" => Some("selector"),
            Object::Profile(_, profile) if profile.inbound_rules[0].source.selector == "a = b" => Some("selector"),
            _ => None,
        }
    }

    /// The kind whose object of a key is in force: the first that has one without a fault.
    fn first(&self, key: &Key) -> Option<(Kind, &Object)> {
        let of_key = self.held.iter().filter(|((of, _), object)| of == key && self.fault(object).is_none());
        of_key.map(|((_, kind), object)| (*kind, object)).next()
    }

    fn check(&self) {
        let keys: BTreeSet<Key> = ALL.iter().map(|object| object().key()).collect();
        for key in &keys {
            let id = self.graph.id_of(key);
            let first = self.first(key);
            assert_eq!(self.graph.kind_of(key, id), first.map(|(kind, _)| kind), "{key:?}");
            // All that the graph acts on is what was delivered; of a tier it has no copy to give.
            if !matches!(key, Key::Tier(_)) {
                assert_eq!(self.graph.held(key).as_ref(), first.map(|(_, object)| object), "{key:?}");
            }
        }
        let problems = self.graph.problems().map(|(key, kind, problem)| {
            let text = match problem {
                Problem::NoInterface => "no interface".to_owned(),
                Problem::SourcePrefixes => "prefixes".to_owned(),
                Problem::Selector { .. } => "selector".to_owned(),
                Problem::HiddenBy(kind) => format!("behind {kind:?}"),
                other => panic!("not of admission: {other}"),
            };
            ((key.clone(), kind), text)
        });
        let want = self.held.iter().filter_map(|((key, kind), object)| {
            let text = match (self.fault(object), self.first(key)) {
                (Some(fault), _) => fault.to_owned(),
                (None, Some((first, _))) if first != *kind => format!("behind {first:?}"),
                (None, _) => return None,
            };
            Some(((key.clone(), *kind), text))
        });
        assert_eq!(problems.collect::<BTreeMap<_, _>>(), want.collect());
    }

    fn ids(&self) -> BTreeMap<Key, u32> {
        let keys = ALL.iter().map(|object| object().key()).filter(|key| self.first(key).is_some());
        keys.filter_map(|key| Some((key.clone(), self.graph.id_of(&key)?))).collect()
    }
}

/// An object of each key.
const ALL: [fn() -> Object; 5] = [
    || workload(0, Form::Sound, 0),
    || workload(1, Form::Sound, 0),
    || policy(Form::Sound, 0),
    || profile(Form::Sound, 0),
    || Object::Tier("t".into(), Tier { order: None, default_action: TierAction::Deny }),
];

proptest! {
    #[test]
    fn of_one_key_the_first_kind_that_can_be_in_force_is(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        for step in steps {
            let before = world.ids();
            world.take(step);
            world.check();
            let after = world.ids();
            for (key, id) in before {
                prop_assert!(after.get(&key).is_none_or(|now| *now == id), "{:?} has another id", key);
            }
        }
        for kind in Kind::ALL {
            world.take(Step::Begin(kind));
            world.take(Step::End(kind));
        }
        world.check();
        prop_assert_eq!((world.held.len(), world.ids().len()), (0, 0));
    }
}
