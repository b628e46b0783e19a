//! The flush: what it tells is what a fresh graph would tell of the same objects,
//! it counts and dates what it tells, and there is nothing left to tell after it.

use std::collections::BTreeSet;

use caracal_calc_graph::{CalcGraph, Locality, NotFlushed, Settings};
use caracal_model::{Event, Kind, Object, Stamp};
use proptest::prelude::*;
use proptest::sample::select;

use crate::random::thing;
use crate::receiver::{Receiver, State, flush, snapshot};
use crate::world::{HERE, World};

#[derive(Clone, Debug)]
enum Step {
    Apply(Box<(Kind, Object)>),
    Delete(usize),
    /// A whole list of a kind.
    List(Kind),
    Settings(Settings),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => thing().prop_map(|thing| Step::Apply(thing.into())),
        3 => (0..30usize).prop_map(Step::Delete),
        3 => select(Kind::ALL.to_vec()).prop_map(Step::List),
        1 => crate::random::settings().prop_map(Step::Settings),
        5 => Just(Step::Flush),
    ]
}

struct Flushed {
    graph: CalcGraph,
    receiver: Receiver,
    settings: Settings,
    world: World,
    listed: BTreeSet<Kind>,
    /// Each event is later than the one before.
    clock: u64,
    /// The oldest event since the last flush that left something to tell.
    oldest: Option<Stamp>,
}

impl Flushed {
    fn new() -> Self {
        let settings = Settings::default();
        Self {
            graph: CalcGraph::new(Locality::Node(HERE.into()), settings),
            receiver: Receiver::default(),
            settings,
            world: World::new(),
            listed: BTreeSet::new(),
            clock: 0,
            oldest: None,
        }
    }

    fn tell(&mut self, event: Event) {
        self.clock += 1;
        let stamp = Stamp(self.clock);
        let (event, is_dated) = match event {
            Event::Apply(kind, object, _) => (Event::Apply(kind, object, stamp), true),
            Event::Delete(kind, key, _) => (Event::Delete(kind, key, stamp), true),
            frame @ (Event::Begin(_) | Event::End(_)) => (frame, false),
        };
        self.graph.on_event(event);
        if is_dated && self.graph.is_dirty() {
            self.oldest.get_or_insert(stamp);
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Apply(thing) => {
                let (kind, object) = *thing;
                self.world.0.insert((kind, object.key()), object.clone());
                self.tell(Event::Apply(kind, object, Stamp::default()));
            }
            Step::Delete(at) => {
                if let Some((kind, key)) = self.world.0.keys().nth(at).cloned() {
                    self.world.0.remove(&(kind, key.clone()));
                    self.tell(Event::Delete(kind, key, Stamp::default()));
                }
            }
            Step::List(kind) => {
                self.world.list(kind).into_iter().for_each(|event| self.tell(event));
                self.listed.insert(kind);
            }
            Step::Settings(settings) => {
                self.settings = settings;
                self.graph.set_settings(settings);
            }
            Step::Flush => return self.flush(),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TestCaseError> {
        let was_dirty = self.graph.is_dirty();
        let refused = self.graph.snapshot(&mut |_| {});
        prop_assert_eq!(refused, if was_dirty { Err(NotFlushed) } else { Ok(()) });
        let done = flush(&mut self.graph, &mut self.receiver);
        prop_assert_eq!(done.deltas, self.receiver.take_log().len());
        prop_assert!(was_dirty || done.deltas == 0, "what is not dirty tells nothing");
        prop_assert_eq!(done.stamp, self.oldest.take().filter(|_| done.deltas > 0));

        prop_assert_eq!(&self.receiver.state, &self.made_anew());
        prop_assert_eq!(&self.receiver.state, &snapshot(&mut self.graph));
        let is_complete = self.listed.len() == Kind::ALL.len();
        prop_assert_eq!((self.graph.in_sync(), self.receiver.state.in_sync), (is_complete, is_complete));

        let again = flush(&mut self.graph, &mut self.receiver);
        prop_assert_eq!((again.deltas, again.stamp), (0, None));
        Ok(())
    }

    /// What a graph tells that is given the same objects at once.
    fn made_anew(&self) -> State {
        let mut graph = CalcGraph::new(Locality::Node(HERE.into()), self.settings);
        for ((kind, _), object) in &self.world.0 {
            graph.on_event(Event::Apply(*kind, object.clone(), Stamp::default()));
        }
        for kind in &self.listed {
            graph.on_event(Event::End(*kind));
        }
        let mut receiver = Receiver::default();
        flush(&mut graph, &mut receiver);
        receiver.state
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flush_tells_what_a_fresh_graph_would_and_leaves_nothing(steps in prop::collection::vec(step(), 0..60)) {
        let mut flushed = Flushed::new();
        let rest = Kind::ALL.into_iter().map(Step::List);
        for step in steps.into_iter().chain([Step::Flush]).chain(rest).chain([Step::Flush]) {
            flushed.take(step)?;
        }
    }
}
