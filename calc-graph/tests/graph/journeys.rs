//! From one named state to another, by any way: only where it ends matters.

use std::hash::BuildHasher as _;

use caracal_calc_graph::{CalcGraph, Locality};
use caracal_model::{Event, Kind};

use crate::model::state_of;
use crate::receiver::{Receiver, State, flush, snapshot};
use crate::states::{Named, states};
use crate::world::HERE;

/// The order in which the events of a journey come.
#[derive(Clone, Copy, Debug)]
enum Order {
    Forward,
    Reversed,
    /// By a hash of the event and this number.
    Shuffled(u64),
    /// Every kind is listed anew.
    Relisted,
    /// Lists of all kinds at once.
    Interleaved,
}

/// How often the graph is flushed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushes {
    Each,
    AtEnd,
}

/// Whether events come once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeats {
    Once,
    Twice,
}

const WAYS: [(Order, Flushes, Repeats); 8] = [
    (Order::Forward, Flushes::AtEnd, Repeats::Once),
    (Order::Forward, Flushes::Each, Repeats::Twice),
    (Order::Reversed, Flushes::Each, Repeats::Once),
    (Order::Reversed, Flushes::AtEnd, Repeats::Twice),
    (Order::Shuffled(1), Flushes::Each, Repeats::Once),
    (Order::Shuffled(2), Flushes::AtEnd, Repeats::Once),
    (Order::Relisted, Flushes::Each, Repeats::Once),
    (Order::Interleaved, Flushes::AtEnd, Repeats::Once),
];

struct Traveller {
    graph: CalcGraph,
    receiver: Receiver,
    at: Named,
}

impl Traveller {
    /// Starts in a state, from nothing.
    fn start(at: Named, order: Order) -> Self {
        let mut graph = CalcGraph::new(Locality::Node(HERE.into()), at.settings);
        let mut receiver = Receiver::default();
        let kinds: Vec<Kind> = match order {
            Order::Reversed => Kind::ALL.into_iter().rev().collect(),
            _ => Kind::ALL.to_vec(),
        };
        for kind in kinds {
            for event in at.world.list(kind) {
                graph.on_event(event);
            }
            flush(&mut graph, &mut receiver);
        }
        Self { graph, receiver, at }
    }

    fn go(&mut self, to: &Named, (order, flushes, repeats): (Order, Flushes, Repeats)) {
        self.graph.set_settings(to.settings);
        for event in events(&self.at, to, order) {
            if repeats == Repeats::Twice {
                self.graph.on_event(event.clone());
            }
            self.graph.on_event(event);
            if flushes == Flushes::Each {
                flush(&mut self.graph, &mut self.receiver);
            }
        }
        flush(&mut self.graph, &mut self.receiver);
        self.at = to.clone();
    }
}

fn events(from: &Named, to: &Named, order: Order) -> Vec<Event> {
    let mut changes = to.world.changes_from(&from.world);
    match order {
        Order::Forward => changes,
        Order::Reversed => {
            changes.reverse();
            changes
        }
        Order::Shuffled(seed) => {
            let hasher = rustc_hash::FxBuildHasher;
            changes.sort_by_cached_key(|event| hasher.hash_one(&(seed, format!("{event:?}"))));
            changes
        }
        Order::Relisted => to.world.lists(),
        Order::Interleaved => {
            let mut lists = to.world.lists();
            let place = |event: &Event| match event {
                Event::Begin(_) => 0,
                Event::Apply(..) | Event::Delete(..) => 1,
                Event::End(_) => 2,
            };
            lists.sort_by_key(place);
            lists
        }
    }
}

fn want(state: &Named) -> State {
    state_of(&state.world, &Locality::Node(HERE.into()), state.settings)
}

#[test]
fn a_fresh_graph_agrees_with_the_model() {
    for state in states() {
        for order in [Order::Forward, Order::Reversed] {
            let mut traveller = Traveller::start(state.clone(), order);
            assert_eq!(traveller.receiver.state, want(&state), "{} {order:?}", state.name);
            assert_eq!(snapshot(&mut traveller.graph), want(&state), "{} {order:?}", state.name);
        }
    }
}

/// Every ordered pair of states is visited once by each way.
#[test]
fn only_the_end_of_a_journey_matters() {
    let states = states();
    assert!(states.len() >= 48, "there are {} states", states.len());
    let wants: Vec<State> = states.iter().map(want).collect();
    for way in WAYS {
        for (i, (from, from_want)) in states.iter().zip(&wants).enumerate() {
            let mut traveller = Traveller::start(from.clone(), way.0);
            for (to, to_want) in states.iter().zip(&wants).skip(i) {
                traveller.go(to, way);
                let name = || format!("{} to {} by {way:?}", from.name, to.name);
                assert_eq!(&traveller.receiver.state, to_want, "{}", name());
                traveller.go(from, way);
                assert_eq!(&traveller.receiver.state, from_want, "{} and back", name());
            }
        }
    }
}

/// All states in a row, told of the last one only.
#[test]
fn states_may_be_squashed() {
    let states = states();
    for last in &states {
        let mut traveller = Traveller::start(states[0].clone(), Order::Forward);
        let mut at = &states[0];
        for to in states.iter().chain([last]) {
            for event in events(at, to, Order::Shuffled(3)) {
                traveller.graph.on_event(event);
            }
            at = to;
        }
        traveller.graph.set_settings(last.settings);
        flush(&mut traveller.graph, &mut traveller.receiver);
        assert_eq!(traveller.receiver.state, want(last), "{}", last.name);
    }
}

/// Going back before the flush is as if nothing had been.
#[test]
fn what_changes_back_changes_no_set() {
    let states = states();
    for (from, to) in states.iter().zip(states.iter().skip(1)) {
        let mut traveller = Traveller::start(from.clone(), Order::Forward);
        traveller.receiver.take_log();
        let there = events(from, to, Order::Forward);
        for event in there.into_iter().chain(events(to, from, Order::Forward)) {
            traveller.graph.on_event(event);
        }
        flush(&mut traveller.graph, &mut traveller.receiver);
        let log = traveller.receiver.take_log();
        let sets: Vec<_> = log.iter().filter(|line| line.starts_with("set")).collect();
        assert!(sets.is_empty(), "{} to {} and back: {sets:?}", from.name, to.name);
        assert_eq!(traveller.receiver.state, want(from), "{}", from.name);
    }
}
