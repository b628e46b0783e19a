//! The lists against a sort of all policies that select a member.

use std::collections::{BTreeMap, BTreeSet};

use caracal_model::{Kind, Labels, Policy, PolicyKey, PolicyKind, Tier};
use caracal_selector::Selector;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::ids::MemberIx;
use crate::label_store::LabelStore;
use crate::parents::{Inheritance, Parents};
use crate::policies::{PolicyContext, Selection};
use crate::selector_table::SelectorParser;

/// What lists are made of, and the lists, without the rest of the graph.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) labels: LabelStore,
    pub(crate) parents: Parents,
    pub(crate) lists: PolicyLists,
    policies: Policies,
    tiers: Tiers,
    rank: PolicyRank,
}

impl Listing {
    pub(crate) fn put_policy(&mut self, space: &mut ClassSpace, key: &PolicyKey, policy: &Policy) {
        let selector = Selector::parse(&policy.selector).expect("a selector");
        let known = self.policies.find(key);
        let cx = PolicyContext { space, labels: &mut self.labels, tiers: &mut self.tiers };
        self.policies.put(cx, Kind::NetworkPolicy, known, key, policy, &selector);
    }

    pub(crate) fn remove_policy(&mut self, space: &mut ClassSpace, key: &PolicyKey) {
        if let Some(at) = self.policies.find(key) {
            let cx = PolicyContext { space, labels: &mut self.labels, tiers: &mut self.tiers };
            self.policies.remove(cx, at);
        }
    }

    /// Brings the lists up to date; gives out the classes whose lists changed.
    pub(crate) fn refresh(&mut self, space: &mut ClassSpace) -> BTreeSet<ClassIx> {
        self.policies.follow_pairs(space, &mut self.labels, &mut SelectorParser::default());
        space.settle(&mut self.labels, &self.parents);
        let Selection { moved, selectors, .. } = self.policies.select(space);
        let tiers_changed = if self.tiers.take_changed() { TiersChanged::Yes } else { TiersChanged::No };
        self.rank.refresh(&self.policies, &self.tiers, &moved, tiers_changed);
        let mut stale = space.take_disturbed();
        for selector in selectors {
            stale.extend(space.classes_of(selector));
        }
        let cx = ListContext { space, policies: &self.policies, tiers: &self.tiers, rank: &self.rank };
        self.lists.refresh(cx, &stale, tiers_changed).into_iter().collect()
    }
}

pub(crate) fn policy_key(name: u8) -> PolicyKey {
    let kind = if name.is_multiple_of(3) { PolicyKind::GlobalNetworkPolicy } else { PolicyKind::NetworkPolicy };
    PolicyKey {
        kind,
        namespace: if name.is_multiple_of(3) { "" } else { "shop" }.into(),
        name: format!("p{name}").into(),
    }
}

/// A policy of the tier `a` that applies to incoming traffic.
pub(crate) fn policy(selector: &str) -> Policy {
    Policy {
        tier: "a".into(),
        order: None,
        selector: selector.into(),
        ingress: true,
        egress: false,
        inbound_rules: Vec::new(),
        outbound_rules: Vec::new(),
        untracked: false,
        pre_dnat: false,
        apply_on_forward: false,
        perf_hints: Vec::new(),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Policy),
    Remove(u8),
    Tier(&'static str, Option<Tier>),
    /// A member with a value of the label `a`.
    Join(u32, &'static str),
    Leave(u32),
    Flush,
}

fn a_policy() -> impl Strategy<Value = Policy> {
    let selectors = vec!["all()", "a == '1'", "a == '2'", "a != '1'", "has(b)", "a in {'1', '2'}"];
    let orders = vec![None, Some(1.0), Some(2.0), Some(0.0), Some(-0.0)];
    let flags = prop::array::uniform5(any::<bool>());
    (select(vec!["a", "b", "c"]), select(orders), select(selectors), flags).prop_map(
        |(tier, order, selector, flags)| {
            let [ingress, egress, untracked, pre_dnat, apply_on_forward] = flags;
            Policy {
                tier: tier.into(),
                order,
                ingress,
                egress,
                untracked,
                pre_dnat,
                apply_on_forward,
                ..policy(selector)
            }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let tier = (select(vec![None, Some(1.0), Some(2.0)]), select(vec![TierAction::Deny, TierAction::Pass]))
        .prop_map(|(order, default_action)| Tier { order, default_action });
    prop_oneof![
        5 => (0u8..6, a_policy()).prop_map(|(name, policy)| Step::Put(name, policy)),
        2 => (0u8..6).prop_map(Step::Remove),
        2 => (select(vec!["a", "b", "c"]), prop::option::of(tier)).prop_map(|(name, tier)| Step::Tier(name, tier)),
        3 => (0u32..5, select(vec!["", "1", "2", "3"])).prop_map(|(member, value)| Step::Join(member, value)),
        1 => (0u32..5).prop_map(Step::Leave),
        3 => Just(Step::Flush),
    ]
}

#[derive(Default)]
struct World {
    space: ClassSpace,
    listing: Listing,
    policies: BTreeMap<u8, Policy>,
    tiers: BTreeMap<&'static str, Tier>,
    members: BTreeMap<u32, &'static str>,
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Put(name, policy) => {
                self.listing.put_policy(&mut self.space, &policy_key(name), &policy);
                self.policies.insert(name, policy);
            }
            Step::Remove(name) => {
                self.listing.remove_policy(&mut self.space, &policy_key(name));
                self.policies.remove(&name);
            }
            Step::Tier(name, Some(tier)) => {
                self.listing.tiers.put(Kind::Tier, &name.into(), tier);
                self.tiers.insert(name, tier);
            }
            Step::Tier(name, None) => {
                self.listing.tiers.remove(&name.into());
                self.tiers.remove(name);
            }
            Step::Join(member, value) => {
                let labels = Labels::from_iter([("a", value)]);
                let labels = self.listing.labels.acquire(&labels);
                let (parents, _) = self.listing.parents.acquire(&[]);
                let cx = Inheritance { labels: &self.listing.labels, parents: &self.listing.parents };
                if let Some(placement) = self.space.plan(cx, MemberIx(member), labels, parents, 0) {
                    self.space.commit(cx, placement);
                }
                self.members.insert(member, value);
            }
            Step::Leave(member) => {
                let cx = Inheritance { labels: &self.listing.labels, parents: &self.listing.parents };
                self.space.leave(cx, MemberIx(member));
                self.members.remove(&member);
            }
            Step::Flush => self.check(),
        }
    }

    /// The lists by class, as they are now.
    fn held(&self) -> BTreeMap<ClassIx, HostPolicyLists> {
        self.listing.lists.by_class.iter().map(|(class, held)| (*class, held.lists.clone())).collect()
    }

    fn check(&mut self) {
        let before = self.held();
        let changed = self.listing.refresh(&mut self.space);
        for (class, lists) in self.held() {
            let unchanged = before.get(&class).is_some_and(|before| same(before, &lists));
            assert!(unchanged || changed.contains(&class), "nobody is told of the lists of {class:?}");
        }
        let mut known: Vec<PolicyList> = Vec::new();
        for (member, value) in &self.members {
            let group = self.space.group_of(MemberIx(*member)).expect("it has joined");
            let HostPolicyLists { normal, untracked, pre_dnat, forward } =
                self.listing.lists.of(self.space.class_of(group)).clone();
            let stages = [Stage::Normal, Stage::Untracked, Stage::PreDnat, Stage::Forward];
            for (stage, list) in stages.into_iter().zip([normal, untracked, pre_dnat, forward]) {
                assert_eq!(*list, *self.naive(value, stage), "{stage:?} of {member}");
                match known.iter().find(|other| **other == list) {
                    Some(other) => assert!(Arc::ptr_eq(other, &list), "equal lists are one"),
                    None => known.push(list),
                }
            }
        }
        drop(before);
        self.listing.lists.forget_unused();
        let held = self.held();
        let used = held.values().flat_map(|HostPolicyLists { normal, untracked, pre_dnat, forward }| {
            [normal, untracked, pre_dnat, forward].map(Arc::as_ptr)
        });
        drop(known);
        self.listing.lists.forget_unused();
        assert_eq!(self.listing.lists.interned.len(), used.collect::<BTreeSet<_>>().len(), "nothing else is kept");
    }

    /// A list, by looking at every policy.
    fn naive(&self, value: &str, stage: Stage) -> Vec<TierPolicies> {
        let own_labels = [("a", value)];
        let mut names: Vec<u8> = self.policies.keys().copied().collect();
        names.retain(|name| {
            let Policy { selector, untracked, pre_dnat, apply_on_forward, .. } = &self.policies[name];
            let selects = Selector::parse(selector).expect("a selector").matches(&own_labels[..]);
            let listed = match stage {
                Stage::Untracked => *untracked,
                Stage::PreDnat => *pre_dnat && !untracked,
                Stage::Normal => !pre_dnat && !untracked,
                Stage::Forward => !pre_dnat && !untracked && *apply_on_forward,
            };
            selects && listed
        });
        names.sort_by(|a, b| {
            let tier = |name: &u8| {
                let tier = self.policies[name].tier.as_str();
                let order = self.tiers.get(tier).map(|held| held.order.unwrap_or(f64::INFINITY));
                (order.is_none(), order.unwrap_or_default(), tier)
            };
            let order = |name: &u8| self.policies[name].order.unwrap_or(f64::INFINITY);
            let tiers = tier(a).partial_cmp(&tier(b)).expect("orders are numbers");
            let orders = order(a).partial_cmp(&order(b)).expect("orders are numbers");
            tiers.then(orders).then_with(|| policy_key(*a).tie_break().cmp(&policy_key(*b).tie_break()))
        });
        let mut tiers: Vec<TierPolicies> = Vec::new();
        for name in names {
            let Policy { tier, ingress, egress, .. } = &self.policies[&name];
            let egress = *egress && stage != Stage::PreDnat;
            if !ingress && !egress {
                continue;
            }
            if tiers.last().is_none_or(|last| last.name != *tier) {
                let default_action = match stage {
                    Stage::Normal | Stage::Forward => self.tiers.get(tier.as_str()).map(|tier| tier.default_action),
                    Stage::Untracked | Stage::PreDnat => Some(TierAction::Pass),
                };
                let (ingress, egress) = (Vec::new(), Vec::new());
                tiers.push(TierPolicies { name: tier.clone(), default_action, ingress, egress });
            }
            let last = tiers.last_mut().expect("there is one");
            last.ingress.extend(ingress.then(|| policy_key(name)));
            last.egress.extend(egress.then(|| policy_key(name)));
        }
        tiers
    }
}

proptest! {
    #[test]
    fn lists_are_those_of_all_policies_that_select(
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
        for member in 0..5 {
            world.take(Step::Leave(member));
        }
        world.take(Step::Flush);
        prop_assert!(world.listing.lists.by_class.is_empty() && world.listing.lists.interned.is_empty());
    }
}
