//! What the receiver has against a look at every profile.

use std::collections::BTreeMap;

use caracal_model::Action;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::packed_rules::Rules;

const NAMES: [&str; 4] = ["kns.shop", "kns.bank", "ksa.shop.web.front", "open"];

#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, Action, Option<&'static str>),
    Remove(&'static str),
    /// A local endpoint lists the profile, or one does no more.
    Local(&'static str, bool),
    /// A list names the profile, or one does no more.
    List(&'static str, bool),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || select(NAMES.to_vec());
    let put = (name(), select(vec![Action::Allow, Action::Deny]), select(vec![None, Some("1"), Some("2")]));
    prop_oneof![
        4 => put.prop_map(|(name, action, label)| Step::Put(name, action, label)),
        2 => name().prop_map(Step::Remove),
        4 => (name(), any::<bool>()).prop_map(|(name, on)| Step::Local(name, on)),
        2 => (name(), any::<bool>()).prop_map(|(name, on)| Step::List(name, on)),
        3 => Just(Step::Flush),
    ]
}

/// The label as the profile has it: with the prefix of what it stands for.
fn labels(name: &str, value: Option<&str>) -> Labels {
    let prefix = match name.split_once('.') {
        Some(("kns", _)) => NAMESPACE_LABEL_PREFIX,
        Some(("ksa", _)) => SERVICE_ACCOUNT_LABEL_PREFIX,
        _ => "",
    };
    value.map(|value| (format!("{prefix}zone"), value)).into_iter().collect()
}

#[derive(Default)]
struct World {
    profiles: Profiles,
    labels: LabelStore,
    parents: Parents,
    held: BTreeMap<&'static str, (Action, Option<&'static str>)>,
    locals: BTreeMap<&'static str, u32>,
    lists: BTreeMap<&'static str, u32>,
    /// Profiles by name: the actions of their rules.
    has: BTreeMap<SmolStr, Vec<Action>>,
    /// Namespaces and service accounts, and the label of each.
    subjects: BTreeMap<String, Labels>,
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Put(name, action, label) => {
                let at = self.profiles.intern(&name.into());
                self.profiles.put(at, Kind::Profile, &[Rule::any(action)], &[]);
                let labels = self.labels.acquire(&labels(name, label));
                self.relabel(at, Some(labels));
                self.held.insert(name, (action, label));
            }
            Step::Remove(name) => {
                let Some(at) = self.profiles.find(name) else { return };
                self.profiles.remove(at);
                self.relabel(at, None);
                self.profiles.drop_if_unused(at);
                self.held.remove(name);
            }
            Step::Local(name, on) => {
                let locals = self.locals.entry(name).or_default();
                if on {
                    let at = self.profiles.intern(&name.into());
                    self.profiles.add_local(at);
                    *locals += 1;
                } else if *locals > 0 {
                    let at = self.profiles.intern(&name.into());
                    self.profiles.remove_local(at);
                    *locals -= 1;
                }
            }
            Step::List(name, on) => {
                let lists = self.lists.entry(name).or_default();
                if on {
                    let at = self.profiles.intern(&name.into());
                    self.profiles.enlist(at);
                    *lists += 1;
                } else if *lists > 0 {
                    let at = self.profiles.find(name).expect("a list names it");
                    self.profiles.delist(at);
                    *lists -= 1;
                }
            }
            Step::Flush => self.flush(),
        }
        for name in NAMES {
            let kind = self.profiles.find(name).and_then(|at| self.profiles[at].kind());
            assert_eq!(kind.is_some(), self.held.contains_key(name), "{name}");
        }
        let tally = self.profiles.tally().of([Kind::Profile]);
        assert_eq!((tally, tally), (self.held.len() as u64, self.profiles.of_kind(Kind::Profile).len()));
    }

    fn relabel(&mut self, at: ProfileIx, labels: Option<LabelsIx>) {
        let former = self.parents.set_labels(at, labels);
        if former != labels {
            self.profiles.note_labels(at);
        }
        if let Some(former) = former {
            self.labels.release(former);
        }
    }

    fn flush(&mut self) {
        let ListedProfiles { updated, removed } = self.profiles.list();
        assert!(updated.iter().map(|at| &self.profiles[*at].name).is_sorted() && removed.is_sorted());
        for at in updated {
            let name = self.profiles[at].name.clone();
            let rules = self.profiles.rules(at).map(|packed| packed.rules());
            let actions = rules.map(|Rules { inbound, outbound }| {
                assert!(outbound.is_empty());
                inbound.iter().map(|rule| rule.action).collect()
            });
            self.profiles.set_told(at);
            let actions: Vec<Action> = actions.unwrap_or_default();
            assert_ne!(self.has.insert(name, actions.clone()), Some(actions), "told twice");
        }
        for name in removed {
            assert!(self.has.remove(&name).is_some(), "{name} was never told");
        }
        let subjects = &mut self.subjects;
        self.profiles.flush_subjects(&mut self.labels, &self.parents, &mut |delta| match subject(&delta) {
            (key, Some(labels)) => {
                assert_ne!(subjects.insert(key, labels.clone()), Some(labels), "told twice");
            }
            (key, None) => assert!(subjects.remove(&key).is_some(), "{key} was never told"),
        });
        assert!(!self.profiles.is_dirty());
        let listed = self.locals.iter().filter(|(_, count)| **count > 0);
        let want: BTreeMap<SmolStr, Vec<Action>> = listed
            .map(|(name, _)| ((*name).into(), self.held.get(name).map(|(action, _)| *action).into_iter().collect()))
            .collect();
        assert_eq!(self.has, want);
        let told: Vec<SmolStr> = self.profiles.told().into_iter().map(|at| self.profiles[at].name.clone()).collect();
        assert_eq!(told, want.keys().cloned().collect::<Vec<_>>());
        let named = self.held.iter().filter_map(|(name, (_, label))| {
            let key = match *name {
                "kns.shop" => "namespace shop",
                "kns.bank" => "namespace bank",
                "ksa.shop.web.front" => "service account shop/web.front",
                _ => return None,
            };
            Some((key.to_owned(), Labels::from_iter([("zone", (*label)?)])))
        });
        let want: BTreeMap<String, Labels> = named.collect();
        assert_eq!(self.subjects, want);
        let mut whole = BTreeMap::new();
        self.profiles.snapshot_subjects(&self.labels, &mut |delta| match subject(&delta) {
            (key, Some(labels)) => drop(whole.insert(key, labels)),
            (key, None) => panic!("a snapshot removes nothing: {key}"),
        });
        assert_eq!(whole, want);
    }
}

fn subject(delta: &Delta<'_>) -> (String, Option<Labels>) {
    match delta {
        Delta::NamespaceUpdate { name, labels } => (format!("namespace {name}"), Some((*labels).clone())),
        Delta::NamespaceRemove { name } => (format!("namespace {name}"), None),
        Delta::ServiceAccountUpdate { namespace, name, labels } => {
            (format!("service account {namespace}/{name}"), Some((*labels).clone()))
        }
        Delta::ServiceAccountRemove { namespace, name } => (format!("service account {namespace}/{name}"), None),
        other => panic!("not of profiles: {other:?}"),
    }
}

proptest! {
    #[test]
    fn the_receiver_has_the_profiles_that_are_listed_and_what_they_stand_for(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut world = World::default();
        for step in steps.into_iter().chain([Step::Flush]) {
            world.take(step);
        }
        for name in NAMES {
            world.take(Step::Remove(name));
            while world.locals.get(name).is_some_and(|count| *count > 0) {
                world.take(Step::Local(name, false));
            }
            while world.lists.get(name).is_some_and(|count| *count > 0) {
                world.take(Step::List(name, false));
            }
        }
        world.take(Step::Flush);
        prop_assert_eq!(world.profiles.slots.len(), 0, "nothing is left behind");
    }
}
