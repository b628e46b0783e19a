//! A small world: a control half that knows names, a data half that stores
//! them, and two wires that can be cut between any two frames.

use std::collections::{BTreeSet, VecDeque};

use caracal_proto::felix::{self, to_dataplane::Payload};
use caracal_proto::sync::{Ack, Position, refusal};
use proptest::prelude::*;

use super::*;
use crate::sync::Link;

type Names = BTreeSet<u8>;

/// The control half: a set of names, and what of it was flushed.
#[derive(Default)]
struct Graph {
    names: Names,
    flushed: Names,
}

fn update(name: u8) -> felix::ToDataplane {
    payload(Payload::NamespaceUpdate(felix::NamespaceUpdate {
        id: Some(felix::NamespaceId { name: name.to_string() }),
        ..Default::default()
    }))
}

fn remove(name: u8) -> felix::ToDataplane {
    payload(Payload::NamespaceRemove(felix::NamespaceRemove {
        id: Some(felix::NamespaceId { name: name.to_string() }),
    }))
}

fn payload(payload: Payload) -> felix::ToDataplane {
    felix::ToDataplane { sequence_number: 0, payload: Some(payload) }
}

impl Graph {
    fn messages(&mut self, kind: RevisionKind) -> Vec<felix::ToDataplane> {
        let messages = match kind {
            RevisionKind::Snapshot => self.names.iter().copied().map(update).collect(),
            RevisionKind::Delta => {
                let gone = self.flushed.difference(&self.names).copied().map(remove);
                let new = self.names.difference(&self.flushed).copied().map(update);
                gone.chain(new).collect()
            }
        };
        self.flushed = self.names.clone();
        messages
    }
}

/// The data half's store: applies whole revisions, strictly.
#[derive(Default)]
struct Store {
    held: Option<(Position, Names)>,
    open: Option<(Begin, Names)>,
    messages: u64,
}

impl Store {
    fn take(&mut self, frame: ToData) -> Option<FromData> {
        match frame.frame.expect("a frame has a kind") {
            to_data::Frame::Begin(begin) => {
                let names = match begin.kind() {
                    begin::Kind::Snapshot => Names::new(),
                    begin::Kind::Delta => {
                        let (position, names) = self.held.as_ref().expect("a delta builds on something");
                        assert_eq!((begin.epoch, begin.from), (position.epoch, position.revision));
                        names.clone()
                    }
                };
                self.open = Some((begin, names));
                None
            }
            to_data::Frame::Felix(message) => {
                assert_eq!(message.sequence_number, self.messages, "messages are counted per connection");
                self.messages += 1;
                let (_, names) = self.open.as_mut().expect("a message belongs to a revision");
                let id = |id: Option<felix::NamespaceId>| -> u8 { id.expect("a name").name.parse().expect("a number") };
                match message.payload.expect("a payload") {
                    Payload::NamespaceUpdate(update) => assert!(names.insert(id(update.id)), "new"),
                    Payload::NamespaceRemove(remove) => assert!(names.remove(&id(remove.id)), "known"),
                    other => panic!("{other:?}"),
                }
                None
            }
            to_data::Frame::Commit(commit) => {
                let (begin, names) = self.open.take().expect("a commit ends a revision");
                let position = Position { epoch: begin.epoch, revision: commit.revision };
                self.held = Some((position, names));
                Some(ack(position))
            }
            other => panic!("not for the data half's loop: {other:?}"),
        }
    }
}

fn ack(Position { epoch, revision }: Position) -> FromData {
    FromData { frame: Some(from_data::Frame::Ack(Ack { epoch, revision, ..Ack::default() })) }
}

struct World {
    graph: Graph,
    session: Session,
    down: VecDeque<ToData>,
    up: VecDeque<FromData>,
    link: Link,
    store: Store,
    /// Every state that the graph has flushed: the only ones that the store may show.
    history: Vec<Names>,
    snapshots: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Remove(u8),
    Flush,
    /// Delivers one frame to the data half.
    Down,
    /// Delivers one frame to the control half.
    Up,
    /// Loses what is on the wires, and connects again.
    Cut,
    /// The data half starts afresh.
    RestartData,
    /// The control half starts afresh.
    RestartControl,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            graph: Graph::default(),
            session: Session::new(1, Retention::Resumable),
            down: VecDeque::new(),
            up: VecDeque::new(),
            link: Link::new(),
            store: Store::default(),
            history: Vec::new(),
            snapshots: 0,
        };
        world.connect();
        world
    }

    fn connect(&mut self) {
        self.session.detach();
        self.down.clear();
        self.up.clear();
        self.store.messages = 0;
        let hello = match self.link.hello(self.link.passed()).frame {
            Some(from_data::Frame::Hello(hello)) => hello,
            other => panic!("not a hello: {other:?}"),
        };
        let down = &mut self.down;
        self.session.attach(&hello, &mut |frame| down.push_back(frame)).expect("the versions match");
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Add(name) => drop(self.graph.names.insert(*name)),
            Step::Remove(name) => drop(self.graph.names.remove(name)),
            Step::Flush => self.flush(),
            Step::Down => {
                if let Some(frame) = self.down.pop_front()
                    && let Some(frame) = self.link.receive(frame).expect("the control half keeps to the protocol")
                {
                    self.up.extend(self.store.take(frame));
                }
            }
            Step::Up => {
                if let Some(frame) = self.up.pop_front() {
                    self.session.receive(frame).expect("the data half keeps to the protocol");
                }
            }
            Step::Cut => self.connect(),
            Step::RestartData => {
                self.store = Store::default();
                self.link = Link::new();
                self.connect();
            }
            Step::RestartControl => {
                self.session = Session::new(self.session.epoch + 1, Retention::Resumable);
                self.graph.flushed.clear();
                self.connect();
            }
        }
        self.check();
    }

    fn flush(&mut self) {
        let Some(kind) = self.session.wants() else {
            return;
        };
        self.snapshots += usize::from(kind == RevisionKind::Snapshot);
        let down = &mut self.down;
        let mut out = |frame| down.push_back(frame);
        self.session.begin(kind, &mut out);
        for message in self.graph.messages(kind) {
            self.session.message(message, &mut out);
        }
        self.session.commit(0, &mut out);
        self.history.push(self.graph.flushed.clone());
    }

    fn check(&self) {
        assert!(self.session.in_flight.len() <= WINDOW);
        assert_eq!(self.store.held.as_ref().map(|(position, _)| *position), self.link.passed());
        if let Some((_, names)) = &self.store.held {
            assert!(self.history.contains(names), "{names:?} was never a whole revision");
        }
    }

    /// Delivers everything, until the data half has what the control half has.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.flush();
            while !self.down.is_empty() || !self.up.is_empty() {
                self.step(&Step::Down);
                self.step(&Step::Up);
            }
        }
        let (_, names) = self.store.held.as_ref().expect("a revision has arrived");
        assert_eq!(*names, self.graph.names);
        assert!(self.session.in_flight.is_empty());
    }
}

/// A life with a snapshot, deltas, both in flight, and an empty flush.
fn life() -> Vec<Step> {
    use Step::{Add, Down, Flush, Remove, Up};
    let mut steps = vec![Add(1), Add(2), Flush, Add(3), Flush, Add(4), Flush];
    steps.extend(vec![Down; 6]);
    steps.extend([Up, Remove(1), Add(5), Flush]);
    steps.extend(vec![Down; 7]);
    steps.extend([Up, Up, Flush, Remove(2), Flush, Down, Down, Down, Up]);
    steps
}

#[test]
fn a_cut_at_any_boundary_changes_nothing_in_the_end() {
    for broken in [Step::Cut, Step::RestartData, Step::RestartControl] {
        for at in 0..=life().len() {
            let mut world = World::new();
            let mut steps = life();
            steps.insert(at, broken.clone());
            for step in &steps {
                world.step(step);
            }
            world.settle();
            assert_eq!(world.graph.names, Names::from([3, 4, 5]), "{broken:?} at {at}");
        }
    }
}

#[test]
fn a_cut_costs_no_second_snapshot_once_the_first_has_arrived() {
    for at in 0..=life().len() {
        let mut world = World::new();
        let mut steps = life();
        steps.insert(at, Step::Cut);
        let mut arrived = false;
        for step in &steps {
            if matches!(step, Step::Cut) {
                arrived = world.store.held.is_some();
            }
            world.step(step);
        }
        world.settle();
        if arrived {
            assert_eq!(world.snapshots, 1, "cut at {at}");
        }
    }
}

#[test]
fn without_retention_every_connection_starts_with_a_snapshot() {
    let mut world = World::new();
    world.session = Session::new(1, Retention::Transient);
    world.connect();
    world.step(&Step::Add(1));
    world.settle();
    world.step(&Step::Cut);
    assert_eq!(world.session.wants(), Some(RevisionKind::Snapshot));
}

#[test]
fn the_window_is_two_and_then_the_graph_coalesces() {
    let mut world = World::new();
    for name in 0..9 {
        world.step(&Step::Add(name));
        world.step(&Step::Flush);
    }
    assert_eq!(world.session.wants(), None);
    assert_eq!(world.history.len(), WINDOW);
    world.settle();
    assert_eq!(world.session.newest, 3, "two sent at once, and one with the rest");
    world.settle();
    assert_eq!(world.session.newest, 3, "an empty flush is not a revision");
}

#[test]
fn a_peer_that_breaks_the_protocol_is_refused() {
    let mut world = World::new();
    world.step(&Step::Add(1));
    world.settle();
    let hello = world.link.hello(None);
    let future = ack(Position { epoch: 1, revision: 99 });
    for frame in [FromData { frame: None }, hello, future] {
        let refused = world.session.receive(frame.clone()).expect_err("a violation");
        assert_eq!(refused.reason, refusal::Reason::Protocol, "{frame:?}");
    }
    let stale = ack(Position { epoch: 77, revision: 99 });
    assert!(matches!(world.session.receive(stale), Ok(Heard::Ack { .. })), "another life's");
}

#[test]
fn a_refused_hello_leaves_the_session_as_it_was() {
    let mut session = Session::new(1, Retention::Resumable);
    let hello = Hello { min_version: 7, max_version: 8, ..Hello::default() };
    let refused =
        session.attach(&hello, &mut |frame| panic!("nothing is sent: {frame:?}")).expect_err("no common version");
    assert_eq!(refused.reason, refusal::Reason::Version);
    assert!(!session.is_attached());
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u8).prop_map(Step::Add),
        3 => (0..6u8).prop_map(Step::Remove),
        4 => Just(Step::Flush),
        12 => Just(Step::Down),
        4 => Just(Step::Up),
        2 => Just(Step::Cut),
        1 => Just(Step::RestartData),
        1 => Just(Step::RestartControl),
    ]
}

proptest! {
    #[test]
    fn any_history_ends_in_the_same_state(steps in proptest::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.settle();
    }
}
