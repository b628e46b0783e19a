//! The space against selectors evaluated member by member.

use std::collections::{BTreeMap, BTreeSet};

use caracal_model::Labels;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::parents::Parents;

type Pairs = Vec<(&'static str, &'static str)>;

/// A space, and what it was told.
#[derive(Default)]
struct World {
    space: ClassSpace,
    labels: LabelStore,
    parents: Parents,
    members: BTreeMap<MemberIx, (Pairs, Vec<ProfileIx>, LabelsIx, ParentsIx)>,
    profiles: BTreeMap<ProfileIx, (Pairs, LabelsIx)>,
    selectors: BTreeMap<SelectorIx, Selector>,
}

impl World {
    fn put(&mut self, member: u32, pairs: Pairs, profiles: &[u32]) {
        let member = MemberIx(member);
        let profiles: Vec<ProfileIx> = profiles.iter().copied().map(ProfileIx).collect();
        let labels = self.labels.acquire(&to_labels(&pairs));
        let (parents, _) = self.parents.acquire(&profiles);
        let cx = Inheritance { labels: &self.labels, parents: &self.parents };
        if let Some(placement) = self.space.plan(cx, member, labels, parents, 0) {
            self.space.commit(cx, placement);
        }
        let former = self.members.insert(member, (pairs, profiles, labels, parents));
        self.release(former);
    }

    fn remove(&mut self, member: u32) {
        let cx = Inheritance { labels: &self.labels, parents: &self.parents };
        self.space.leave(cx, MemberIx(member));
        let former = self.members.remove(&MemberIx(member));
        self.release(former);
    }

    fn release(&mut self, former: Option<(Pairs, Vec<ProfileIx>, LabelsIx, ParentsIx)>) {
        if let Some((_, _, labels, parents)) = former {
            self.labels.release(labels);
            self.parents.release(parents);
        }
    }

    fn relabel(&mut self, profile: u32, pairs: Option<Pairs>) {
        let profile = ProfileIx(profile);
        let labels = pairs.map(|pairs| {
            let labels = self.labels.acquire(&to_labels(&pairs));
            (pairs, labels)
        });
        self.parents.set_labels(profile, labels.as_ref().map(|(_, labels)| *labels));
        let cx = Inheritance { labels: &self.labels, parents: &self.parents };
        let moves = self.space.relabel_parent(cx, profile);
        self.space.commit_reclass(&moves);
        let former = match labels {
            Some(labels) => self.profiles.insert(profile, labels),
            None => self.profiles.remove(&profile),
        };
        if let Some((_, former)) = former {
            self.labels.release(former);
        }
    }

    fn select(&mut self, text: &str) -> SelectorIx {
        let selector = Selector::parse(text).expect("a selector");
        let at = self.space.add_selector(&mut self.labels, &selector);
        self.selectors.insert(at, selector);
        at
    }

    fn deselect(&mut self, at: SelectorIx) {
        self.selectors.remove(&at);
        self.space.remove_selector(at);
    }

    /// Settles, and compares every member with every selector.
    fn check(&mut self) {
        self.space.settle(&mut self.labels, &self.parents);
        for (at, selector) in &self.selectors {
            let matching: BTreeSet<MemberIx> = self
                .space
                .classes_of(*at)
                .flat_map(|class| self.space.groups_of(class))
                .flat_map(|group| self.space.members(group))
                .collect();
            let want = self.members.iter().filter(|(_, (pairs, profiles, ..))| {
                let inherited = profiles.iter().filter_map(|profile| self.profiles.get(profile));
                let inherited = inherited.flat_map(|(pairs, _)| pairs);
                // Of equal keys the first counts: own labels, then the profiles' in order.
                let sets: Vec<(&str, &str)> = pairs.iter().copied().chain(inherited.copied()).collect();
                selector.matches(&sets[..])
            });
            let want: BTreeSet<MemberIx> = want.map(|(member, _)| *member).collect();
            assert_eq!(matching, want, "{selector}");
            assert_eq!(self.space.has_match(*at), !want.is_empty());
            for member in self.members.keys() {
                assert_eq!(self.space.is_match(*member, *at), want.contains(member));
            }
        }
    }
}

fn to_labels(pairs: &Pairs) -> Labels {
    pairs.iter().copied().collect()
}

#[derive(Clone, Debug)]
enum Step {
    Put(u32, Pairs, Vec<u32>),
    Remove(u32),
    Relabel(u32, Option<Pairs>),
    Select(&'static str),
    /// Takes out the selector at a place.
    Deselect(usize),
    /// Many selectors of values that nothing has, in and out again.
    Flood(u32),
    Check,
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let label = (select(vec!["a", "b", "c", "d"]), select(vec!["1", "2", "12", ""]));
    prop::collection::vec(label, 0..4).prop_map(|pairs| {
        // Each key once, as in a label set.
        let unique: BTreeMap<_, _> = pairs.into_iter().collect();
        unique.into_iter().collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let selectors = vec![
        "all()",
        "a == '1'",
        "a != '1'",
        "has(a)",
        "!has(b)",
        "has(b) && has(c)",
        "b starts with '1'",
        "b ends with '2' && a == '1'",
        "c contains '' || d in {'1', '12'}",
        "a in {'1', '2'} && b not in {'1'}",
        "!(has(a) || d == '2')",
        "a in {}",
    ];
    prop_oneof![
        5 => (0..6u32, pairs(), prop::collection::vec(0..3u32, 0..3))
            .prop_map(|(member, pairs, profiles)| Step::Put(member, pairs, profiles)),
        1 => (0..6u32).prop_map(Step::Remove),
        2 => (0..3u32, prop::option::of(pairs())).prop_map(|(profile, pairs)| Step::Relabel(profile, pairs)),
        3 => select(selectors).prop_map(Step::Select),
        2 => (0..8usize).prop_map(Step::Deselect),
        1 => (0..100u32).prop_map(Step::Flood),
        3 => Just(Step::Check),
    ]
}

proptest! {
    #[test]
    fn every_member_is_matched_by_what_selects_it(steps in prop::collection::vec(step(), 0..50)) {
        let mut world = World::default();
        for step in steps {
            match step {
                Step::Put(member, pairs, profiles) => world.put(member, pairs, &profiles),
                Step::Remove(member) => world.remove(member),
                Step::Relabel(profile, pairs) => world.relabel(profile, pairs),
                Step::Select(text) => drop(world.select(text)),
                Step::Deselect(at) => {
                    if let Some(at) = world.selectors.keys().nth(at).copied() {
                        world.deselect(at);
                    }
                }
                Step::Flood(count) => {
                    let flood: Vec<_> = (0..count).map(|i| world.select(&format!("e == '{i}' || a != '{i}'"))).collect();
                    world.check();
                    flood.into_iter().for_each(|at| world.deselect(at));
                }
                Step::Check => world.check(),
            }
        }
        world.check();
        // With nothing in it the space holds nothing but atoms that may come back.
        for member in 0..6 {
            world.remove(member);
        }
        prop_assert_eq!(world.space.classes().count(), 0);
        prop_assert_eq!(world.space.owns.stored(), 0);
        prop_assert!(world.space.projections.iter().all(|(_, projection)| projection.uses == 0));
    }
}

/// Members that no selector tells apart share a class, whatever else they are labelled.
#[test]
fn values_that_nobody_asks_for_make_no_classes() {
    let mut world = World::default();
    for member in 0..100u32 {
        let unique: &'static str = member.to_string().leak();
        world.put(member, vec![("unique", unique), ("app", if member % 2 == 0 { "web" } else { "db" })], &[]);
    }
    assert_eq!(world.space.classes().count(), 1);
    let web = world.select("app == 'web'");
    world.check();
    assert_eq!(world.space.classes().count(), 2);
    let one = world.select("unique == '4'");
    world.check();
    assert_eq!(world.space.classes().count(), 3);
    world.deselect(one);
    world.deselect(web);
    world.check();
    // Atoms that nobody names go once there are many of them, and the classes join.
    for i in 0..200 {
        let at = world.select(&format!("unique == '{i}'"));
        world.check();
        world.deselect(at);
    }
    world.check();
    world.select("unique == 'none'");
    world.check();
    assert!(world.space.classes().count() <= 65, "{}", world.space.classes().count());
}

/// How many groups have members.
fn groups(world: &World) -> usize {
    world.space.groups.all_members().map(|(_, group, _)| group).collect::<BTreeSet<_>>().len()
}

/// A selector that is known already, or that asks for known values, moves nobody.
#[test]
fn presence_makes_one_value_and_text_one_per_text() {
    let mut world = World::default();
    for (member, value) in ["1", "2", "3"].into_iter().enumerate() {
        world.put(member as u32, vec![("a", value)], &[]);
    }
    world.select("has(a)");
    world.check();
    assert_eq!(groups(&world), 1);
    world.select("a == '1'");
    world.check();
    assert_eq!((groups(&world), world.space.classes().count()), (3, 2));
}
