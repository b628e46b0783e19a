//! Lists, and objects that are not in force, against a plain note of each.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Two kinds that describe objects of the same keys, and one beside them.
const KINDS: [Kind; 3] = [Kind::Pod, Kind::WorkloadEndpoint, Kind::Service];

fn key(name: u32) -> Key {
    Key::Profile(format!("p{name}").into())
}

fn name_of(key: &Key) -> u32 {
    (0..4).find(|name| self::key(*name) == *key).expect("no other key is used")
}

/// What tells one version of an object from another.
fn object(name: u32, version: u8) -> Object {
    Object::Tier(
        format!("t{name}.{version}").into(),
        caracal_model::Tier { order: None, default_action: caracal_model::TierAction::Deny },
    )
}

fn endpoint(version: u8) -> WorkloadEndpoint {
    WorkloadEndpoint { interface: format!("cali{version}").into(), ..WorkloadEndpoint::default() }
}

#[derive(Clone, Debug)]
enum Step {
    /// A list begins while the objects of these names are in force.
    Begin(Kind, BTreeSet<u32>),
    Saw(Kind, u32),
    End(Kind),
    /// A table gives an object an id, or may take it away.
    Id(u32, bool),
    /// An object is set aside, and kept or not.
    Aside(Kind, u32, Option<u8>),
    Forget(Kind, u32),
    Successor(u32),
    /// The object of a kind comes into force.
    Holder(Kind, u32),
    Prefixes(Kind, u32, Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let (kind, name) = (|| select(KINDS.to_vec()), || 0..4u32);
    let version = || prop::option::of(0..3u8);
    prop_oneof![
        2 => (kind(), prop::collection::btree_set(name(), 0..4)).prop_map(|(kind, names)| Step::Begin(kind, names)),
        4 => (kind(), name()).prop_map(|(kind, name)| Step::Saw(kind, name)),
        2 => kind().prop_map(Step::End),
        3 => (name(), any::<bool>()).prop_map(|(name, has)| Step::Id(name, has)),
        4 => (kind(), name(), version()).prop_map(|(kind, name, version)| Step::Aside(kind, name, version)),
        2 => (kind(), name()).prop_map(|(kind, name)| Step::Forget(kind, name)),
        3 => name().prop_map(Step::Successor),
        2 => (kind(), name()).prop_map(|(kind, name)| Step::Holder(kind, name)),
        3 => (kind(), name(), version()).prop_map(|(kind, name, version)| Step::Prefixes(kind, name, version)),
    ]
}

#[derive(Default)]
struct World {
    intake: Intake,
    /// The names of objects that have an id, which is the name.
    ids: BTreeSet<u32>,
    unseen: BTreeMap<Kind, BTreeSet<u32>>,
    listed: BTreeSet<Kind>,
    /// The versions that are kept, and what they are hidden by.
    aside: BTreeMap<(u32, Kind), (Option<u8>, Kind)>,
    prefixes: BTreeMap<(u32, Kind), u8>,
}

impl World {
    fn id(&self, name: u32) -> Option<u32> {
        self.ids.contains(&name).then_some(name)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin(kind, names) => {
                let (with, without): (BTreeSet<u32>, BTreeSet<u32>) =
                    names.iter().partition(|name| self.ids.contains(name));
                let keys = without.into_iter().map(key).collect();
                self.intake.begin(kind, Unseen { ids: with.into_iter().collect(), keys });
                let aside = self.aside.keys().filter(|(_, of)| *of == kind).map(|(name, _)| *name);
                self.unseen.insert(kind, aside.chain(names).collect());
            }
            Step::Saw(kind, name) => {
                self.intake.saw(kind, &key(name), self.id(name));
                if let Some(unseen) = self.unseen.get_mut(&kind) {
                    unseen.remove(&name);
                }
            }
            Step::End(kind) => {
                let Unseen { ids, keys } = self.intake.end(kind);
                let names: Vec<u32> = ids.iter().chain(keys.iter().map(name_of)).collect();
                let want = self.unseen.remove(&kind).unwrap_or_default();
                // An object that was in force and aside goes once or twice: the second time it is not there.
                assert_eq!(names.into_iter().collect::<BTreeSet<u32>>(), want);
                self.listed.insert(kind);
            }
            Step::Id(name, has) => {
                for kind in KINDS {
                    self.intake.await_by_key(kind, &key(name), self.id(name));
                }
                if has {
                    self.ids.insert(name)
                } else {
                    self.ids.remove(&name)
                };
            }
            Step::Aside(kind, name, version) => {
                let kept = version.map(|version| object(name, version));
                self.intake.set_aside(kind, key(name), Problem::HiddenBy(Kind::Tier), kept);
                self.aside.insert((name, kind), (version, Kind::Tier));
            }
            Step::Forget(kind, name) => {
                self.intake.forget(kind, &key(name));
                self.aside.remove(&(name, kind));
            }
            Step::Successor(name) => {
                let kept = self.aside.iter().find(|((of, _), (version, _))| *of == name && version.is_some());
                let want = kept.and_then(|((_, kind), (version, _))| Some((*kind, object(name, (*version)?))));
                let next = self.intake.take_successor(&key(name));
                assert_eq!(next, want);
                if let Some((kind, _)) = next {
                    self.aside.remove(&(name, kind));
                    self.hold(name, kind);
                }
            }
            Step::Holder(kind, name) => {
                self.intake.note_holder(&key(name), kind);
                self.hold(name, kind);
            }
            Step::Prefixes(kind, name, Some(version)) => {
                self.intake.remember_prefixes(kind, key(name), endpoint(version));
                self.prefixes.insert((name, kind), version);
            }
            Step::Prefixes(kind, name, None) => {
                self.intake.forget_prefixes(kind, &key(name));
                self.prefixes.remove(&(name, kind));
            }
        }
        let problems = self.intake.problems().map(|(key, kind, problem)| match problem {
            Problem::HiddenBy(by) => (name_of(key), kind, *by),
            other => panic!("never said: {other}"),
        });
        let want = self.aside.iter().map(|((name, kind), (_, by))| (*name, *kind, *by));
        assert_eq!(problems.collect::<Vec<_>>(), want.collect::<Vec<_>>());
        let prefixes = self.intake.with_prefixes();
        let want = self.prefixes.iter().map(|((name, kind), version)| (*kind, key(*name), endpoint(*version)));
        assert_eq!(prefixes, want.collect::<Vec<_>>());
        // These are not all kinds that there are.
        assert!(!self.intake.is_complete());
    }

    fn hold(&mut self, name: u32, holder: Kind) {
        for ((of, _), (_, by)) in &mut self.aside {
            if *of == name {
                *by = holder;
            }
        }
    }
}

proptest! {
    #[test]
    fn a_list_gives_out_what_it_did_not_repeat_and_a_key_its_first_successor(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut world = World::default();
        for step in steps {
            world.take(step);
        }
        for kind in Kind::ALL.into_iter().filter(|kind| !world.listed.contains(kind)) {
            prop_assert!(!world.intake.is_complete());
            world.intake.end(kind);
        }
        prop_assert!(world.intake.is_complete(), "every kind was listed");
    }
}
