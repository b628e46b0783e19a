//! What the receiver has against a look at every policy and local endpoint.

use std::collections::BTreeMap;

use caracal_model::{Action, Labels, PolicyKind, Rule};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::ids::MemberIx;
use crate::parents::{Inheritance, Parents};

fn key(name: u8) -> PolicyKey {
    PolicyKey { kind: PolicyKind::NetworkPolicy, namespace: "shop".into(), name: format!("p{name}").into() }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Policy),
    Remove(u8),
    /// A local endpoint with a value of the label `a`.
    Join(u32, &'static str),
    Leave(u32),
    Flush,
}

fn policy() -> impl Strategy<Value = Policy> {
    let selectors = vec!["all()", "a == '1'", "a == \"1\"", "a == '2' && has(a)", "a != '1'", "has(b)"];
    let hints = subsequence(vec!["AssumeNeededOnEveryNode", "SomethingElse"], 0..=2);
    let rules = select(vec![vec![], vec![Rule::any(Action::Allow)], vec![Rule::any(Action::Deny)]]);
    let orders = select(vec![None, Some(1.0), Some(2.0)]);
    (select(vec!["a", "b"]), orders, select(selectors), hints, rules, prop::array::uniform3(any::<bool>())).prop_map(
        |(tier, order, selector, perf_hints, inbound_rules, [ingress, untracked, pre_dnat])| Policy {
            tier: tier.into(),
            order,
            selector: selector.into(),
            ingress,
            egress: true,
            inbound_rules,
            outbound_rules: Vec::new(),
            untracked,
            pre_dnat,
            apply_on_forward: false,
            perf_hints: perf_hints.into_iter().map(Into::into).collect(),
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u8..5, policy()).prop_map(|(name, policy)| Step::Put(name, policy)),
        2 => (0u8..5).prop_map(Step::Remove),
        3 => (0u32..3, select(vec!["1", "2", "3"])).prop_map(|(member, value)| Step::Join(member, value)),
        2 => (0u32..3).prop_map(Step::Leave),
        3 => Just(Step::Flush),
    ]
}

#[derive(Default)]
struct World {
    space: ClassSpace,
    labels: LabelStore,
    parents: Parents,
    tiers: Tiers,
    policies: Policies,
    held: BTreeMap<u8, Policy>,
    members: BTreeMap<u32, &'static str>,
    has: BTreeMap<PolicyKey, Policy>,
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Put(name, policy) => {
                let selector = Selector::parse(&policy.selector).expect("a selector");
                let known = self.policies.find(&key(name));
                assert_eq!(known.is_some(), self.held.contains_key(&name));
                let cx = PolicyContext { space: &mut self.space, labels: &mut self.labels, tiers: &mut self.tiers };
                self.policies.put(cx, Kind::NetworkPolicy, known, &key(name), &policy, &selector);
                self.held.insert(name, policy);
            }
            Step::Remove(name) => {
                if let Some(at) = self.policies.find(&key(name)) {
                    let cx = PolicyContext { space: &mut self.space, labels: &mut self.labels, tiers: &mut self.tiers };
                    self.policies.remove(cx, at);
                }
                self.held.remove(&name);
            }
            Step::Join(member, value) => {
                let labels = self.labels.acquire(&Labels::from_iter([("a", value)]));
                let (parents, _) = self.parents.acquire(&[]);
                let cx = Inheritance { labels: &self.labels, parents: &self.parents };
                if let Some(placement) = self.space.plan(cx, MemberIx(member), labels, parents, 0) {
                    self.space.commit(cx, placement);
                }
                self.members.insert(member, value);
            }
            Step::Leave(member) => {
                let cx = Inheritance { labels: &self.labels, parents: &self.parents };
                self.space.leave(cx, MemberIx(member));
                self.members.remove(&member);
            }
            Step::Flush => self.flush(),
        }
        self.space.retain_changed_pairs(|pair| self.policies.requires(pair));
    }

    fn flush(&mut self) {
        self.policies.follow_pairs(&mut self.space, &mut self.labels, &mut SelectorParser::default());
        self.space.settle(&mut self.labels, &self.parents);
        let Selection { updated, moved, .. } = self.policies.select(&mut self.space);
        for at in self.policies.by_key(updated.into_iter()) {
            let (key, policy) = (self.policies.key(at), self.policies.policy(at, &self.tiers));
            let as_it_was = self.policies.is_told_as_it_is(at, &self.tiers);
            self.policies.set_told(at);
            let former = self.has.insert(key.clone(), policy.clone());
            let same = former.as_ref().is_some_and(|former| message(former) == message(&policy));
            assert_eq!(same, as_it_was, "{key:?}: what changed is told, and nothing else");
            assert!(former.is_some() || moved.contains(&at), "a policy that comes has a new place");
        }
        for key in self.policies.take_gone() {
            assert!(self.has.remove(&key).is_some(), "{key:?} was never told");
        }
        let selected = |policy: &Policy| {
            let selector = Selector::parse(&policy.selector).expect("a selector");
            let needed = policy.perf_hints.iter().any(|hint| hint == NEEDED_ON_EVERY_NODE);
            needed || self.members.values().any(|value| selector.matches(&[("a", *value)][..]))
        };
        let want: BTreeMap<PolicyKey, Policy> = self
            .held
            .iter()
            .filter(|(_, policy)| selected(policy))
            .map(|(name, policy)| (key(*name), policy.clone()))
            .collect();
        let messages = |policies: &BTreeMap<PolicyKey, Policy>| policies.values().map(message).collect::<Vec<_>>();
        assert_eq!(self.has.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
        assert_eq!(messages(&self.has), messages(&want));
        let active: BTreeMap<PolicyKey, Policy> = self
            .policies
            .active()
            .map(|at| (self.policies.active_key(at).clone(), self.policies.policy(at, &self.tiers)))
            .collect();
        assert_eq!(active, want, "what is active is held as it was put");
        for (name, policy) in &self.held {
            let at = self.policies.find(&key(*name)).expect("it is held");
            assert_eq!((&self.policies.policy(at, &self.tiers), self.policies.key(at)), (policy, key(*name)));
        }
        assert_eq!(self.policies.len(), self.held.len());
    }
}

/// What the message of a policy is made of: not its order, nor its directions.
fn message(policy: &Policy) -> impl PartialEq + std::fmt::Debug + use<> {
    let Policy { tier, selector, inbound_rules, outbound_rules, untracked, pre_dnat, perf_hints, .. } = policy.clone();
    let selector = Selector::parse(&selector).expect("a selector").canonical().to_owned();
    (tier, selector, inbound_rules, outbound_rules, untracked, pre_dnat, perf_hints)
}

proptest! {
    #[test]
    fn the_receiver_has_the_policies_that_an_endpoint_needs(
        watched in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::default();
        if watched {
            world.space.watch_pairs();
        }
        for step in steps.into_iter().chain([Step::Flush]) {
            world.take(step);
        }
        for name in 0..5 {
            world.take(Step::Remove(name));
        }
        world.take(Step::Flush);
        prop_assert!(world.has.is_empty() && world.policies.active.is_empty() && world.policies.hints.is_empty());
    }
}
