//! Random histories against the plain model: what a receiver has is a function of
//! what is held, whatever happened before and in whatever order it came.
//!
//! `CARACAL_SOAK` multiplies the number of histories: `make soak`.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::hash::BuildHasher as _;

use caracal_calc_graph::{CalcGraph, Locality, Settings};
use caracal_model::{Event, Key, Kind, Object, Stamp};
use proptest::prelude::*;

use crate::model::state_of;
use crate::random::{Step, step, thing};
use crate::receiver::{Receiver, flush, snapshot};
use crate::world::{HERE, World};

/// A graph, its receiver, and what sources have told them.
struct History {
    locality: Locality,
    settings: Settings,
    graph: CalcGraph,
    receiver: Receiver,
    world: World,
    /// What a list that has begun has not repeated yet.
    unseen: BTreeMap<Kind, BTreeSet<(Kind, Key)>>,
}

impl History {
    /// A history in which every kind is listed, and empty.
    fn new(locality: Locality) -> Self {
        let settings = Settings::default();
        let mut history = Self {
            graph: CalcGraph::new(locality.clone(), settings),
            locality,
            settings,
            receiver: Receiver::default(),
            world: World::new(),
            unseen: BTreeMap::new(),
        };
        history.feed(World::new().lists());
        history
    }

    fn feed(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.graph.on_event(event);
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Put(kind, object) => {
                self.feed([apply(kind, &object)]);
                self.unseen.entry(kind).or_default().remove(&(kind, object.key()));
                self.world.0.insert((kind, object.key()), object);
            }
            Step::Delete(at) => {
                if let Some((kind, key)) = self.world.0.keys().nth(at).cloned() {
                    self.delete(kind, key);
                }
            }
            Step::DeleteSpuriously(kind, object) => self.delete(kind, object.key()),
            Step::Relist(kind, kept) => {
                let mut kept = kept.into_iter().cycle();
                self.world.0.retain(|(of, _), _| *of != kind || kept.next() == Some(true));
                self.feed(self.world.list(kind));
                self.unseen.remove(&kind);
            }
            Step::Begin(kind) => {
                self.feed([Event::Begin(kind)]);
                let of_kind = self.world.0.keys().filter(|(of, _)| *of == kind);
                self.unseen.insert(kind, of_kind.cloned().collect());
            }
            Step::Repeat(at) => {
                if let Some((key, object)) = self.world.0.iter().nth(at) {
                    let event = apply(key.0, object);
                    self.unseen.entry(key.0).or_default().remove(key);
                    self.feed([event]);
                }
            }
            Step::End(kind) => {
                self.feed([Event::End(kind)]);
                for key in self.unseen.remove(&kind).unwrap_or_default() {
                    self.world.0.remove(&key);
                }
            }
            Step::Restart(seed) => {
                self.graph = CalcGraph::new(self.locality.clone(), self.settings);
                self.receiver = Receiver::default();
                self.unseen.clear();
                self.feed(in_any_order(&self.world, seed));
            }
            Step::Settings(settings) => {
                self.settings = settings;
                self.graph.set_settings(settings);
            }
            Step::Flush => return self.check(),
        }
        Ok(())
    }

    fn delete(&mut self, kind: Kind, key: Key) {
        self.feed([Event::Delete(kind, key.clone(), Stamp(1))]);
        self.unseen.entry(kind).or_default().remove(&(kind, key.clone()));
        self.world.0.remove(&(kind, key));
    }

    /// Compares what was told so far, and what is told from nothing, with the model.
    fn check(&mut self) -> Result<(), TestCaseError> {
        flush(&mut self.graph, &mut self.receiver);
        let want = state_of(&self.world, &self.locality, self.settings);
        prop_assert_eq!(&self.receiver.state, &want);
        prop_assert_eq!(&snapshot(&mut self.graph), &want);
        Ok(())
    }
}

fn apply(kind: Kind, object: &Object) -> Event {
    Event::Apply(kind, object.clone(), Stamp(1))
}

/// A world's objects in an order of this number, then the end of every list.
fn in_any_order(world: &World, seed: u64) -> Vec<Event> {
    let mut objects: Vec<_> = world.0.iter().collect();
    objects.sort_by_cached_key(|(key, _)| chance(seed, key));
    let applies = objects.into_iter().map(|((kind, _), object)| apply(*kind, object));
    applies.chain(Kind::ALL.map(Event::End)).collect()
}

fn chance(seed: u64, of: impl std::hash::Hash) -> u64 {
    rustc_hash::FxBuildHasher.hash_one((seed, of))
}

fn check(locality: Locality, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut history = History::new(locality);
    for step in steps.into_iter().chain([Step::Flush]) {
        history.take(step)?;
    }
    Ok(())
}

/// Another way to a world: in another order, by way of what is not in it, with
/// repetitions, deletions of what comes back and flushes in between.
fn by_a_detour(world: &World, noise: Vec<(Kind, Object)>, seed: u64) -> Result<(), TestCaseError> {
    let locality = Locality::Node(HERE.into());
    let mut graph = CalcGraph::new(locality.clone(), Settings::default());
    let mut receiver = Receiver::default();
    let mut events: Vec<Event> = noise.iter().map(|(kind, object)| apply(*kind, object)).collect();
    for (kind, object) in &noise {
        events.push(Event::Delete(*kind, object.key(), Stamp(1)));
    }
    for (n, event) in in_any_order(world, seed).into_iter().enumerate() {
        if let Event::Apply(kind, object, _) = &event {
            match chance(seed, n) % 4 {
                0 => events.push(event.clone()),
                1 => events.extend([event.clone(), Event::Delete(*kind, object.key(), Stamp(1))]),
                _ => {}
            }
        }
        events.push(event);
    }
    for (n, event) in events.into_iter().enumerate() {
        graph.on_event(event);
        if chance(!seed, n) % 8 == 0 {
            flush(&mut graph, &mut receiver);
        }
    }
    flush(&mut graph, &mut receiver);
    prop_assert_eq!(&receiver.state, &state_of(world, &locality, Settings::default()));
    Ok(())
}

fn histories(usual: u32) -> ProptestConfig {
    let times = env::var("CARACAL_SOAK").map_or(1, |times| times.parse().expect("CARACAL_SOAK is a number"));
    ProptestConfig { cases: usual * times, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(histories(4_000))]

    #[test]
    fn a_node_gets_what_the_model_says(steps in prop::collection::vec(step(), 0..60)) {
        check(Locality::Node(HERE.into()), steps)?;
    }
}

proptest! {
    #![proptest_config(histories(3_000))]

    #[test]
    fn everywhere_gets_what_the_model_says(steps in prop::collection::vec(step(), 0..40)) {
        check(Locality::Everywhere, steps)?;
    }

    #[test]
    fn every_way_to_a_world_ends_there(
        things in prop::collection::vec(thing(), 0..30),
        noise in prop::collection::vec(thing(), 0..20),
        seed in any::<u64>(),
    ) {
        let world = things.into_iter().fold(World::new(), World::with);
        by_a_detour(&world, noise, seed)?;
    }
}
