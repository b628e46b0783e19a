//! The loop with a real graph, and data halves that only write down what they get.

mod answers;
mod configuration;
mod health;
mod held_back;

use std::sync::mpsc;
use std::time::Duration;

use caracal_calc_graph::Locality;
use caracal_datastore::{ConfigEvent, FelixConfiguration};
use caracal_model::{Event, Key, Kind, Labels, Node, Object, Profile, Stamp};
use caracal_proto::felix::to_dataplane::Payload;
use caracal_proto::sync::{Position, ToData, begin, from_data, to_data};
use tokio_stream::StreamExt as _;

use super::*;
use crate::configuration::Configuration;
use crate::control::{Followers, Inbox, SourceInbox, inbox};
use crate::logging::{self, Reader};
use crate::policysync::{self, EndpointId, JoinId};
use crate::sync::{Link, VERSIONS};

struct Loop {
    inbox: Inbox,
    source: SourceInbox,
    followers: Followers,
    thread: Option<std::thread::JoinHandle<Result<(), ControlError>>>,
}

impl Loop {
    fn start() -> Self {
        let (inbox, source, inputs) = inbox();
        let configuration = Configuration::load(None, Some("node-a")).expect("the node has a name");
        let calculator = Calculator::new(Locality::Node("node-a".into()), configuration);
        let logging = logging::start(Some("off"), Reader::Log).expect("a level");
        let (outward, followers) = Outward::new(logging).expect("a thread");
        let half = ControlHalf::new(inputs, calculator, Retention::Resumable, outward);
        Self { inbox, source, followers, thread: Some(std::thread::spawn(move || half.run())) }
    }

    /// A source that lists nothing.
    fn list(&self) {
        for kind in Kind::ALL {
            self.source.send(vec![News::Event(Box::new(Event::Begin(kind)))]);
            self.source.send(vec![News::Event(Box::new(Event::End(kind)))]);
        }
    }

    fn node(&self, name: &str, stamp: u64) {
        let labels = Labels::from_iter([("zone", "z1")]);
        let node = Node { labels, ..Node::default() };
        let apply = Event::Apply(Kind::Node, Object::Node(name.into(), node), Stamp(stamp));
        self.source.send(vec![News::Event(Box::new(apply))]);
    }

    fn no_node(&self, name: &str) {
        let delete = Event::Delete(Kind::Node, Key::Node(name.into()), Stamp(9));
        self.source.send(vec![News::Event(Box::new(delete))]);
    }

    fn settle(&self) {
        self.source.send(vec![News::Settled]);
    }

    fn attach(&self, id: u64) -> Peer {
        self.attach_with(id, None)
    }

    fn attach_with(&self, id: u64, have: Option<Position>) -> Peer {
        let (frames, received) = mpsc::channel();
        let Some(from_data::Frame::Hello(hello)) = Link::new().hello(have).frame else {
            panic!("a link says hello");
        };
        self.inbox.send(Input::Attach { peer: PeerId(id), hello, outlet: Box::new(Recorder(frames)) });
        Peer { id: PeerId(id), inbox: self.inbox.clone(), received, epoch: 0 }
    }

    fn namespace(&self, name: &str) {
        let profile = Profile { labels: Labels::from_iter([("pcns.team", "retail")]), ..Profile::default() };
        let object = Object::Profile(format!("kns.{name}").into(), profile);
        self.source.send(vec![News::Event(Box::new(Event::Apply(Kind::Namespace, object, Stamp(3))))]);
    }

    fn policysync(&self, join: u64) -> policysync::Outgoing {
        let (queue, outgoing) = policysync::queue();
        let endpoint =
            EndpointId { orchestrator: "k8s".into(), workload: format!("shop/{join}"), endpoint: "eth0".into() };
        let join = policysync::Request::Join { endpoint, join: JoinId(join), queue };
        self.inbox.send(Input::PolicySync(join));
        outgoing
    }

    fn end(mut self) -> Result<(), ControlError> {
        self.inbox.send(Input::Stop);
        let thread = self.thread.take().expect("it was started");
        thread.join().expect("the loop does not panic")
    }
}

struct Recorder(mpsc::Sender<ToData>);

impl Outlet for Recorder {
    fn send(&mut self, frame: ToData) {
        let _ = self.0.send(frame);
    }

    fn refuse(&mut self, refused: Refused) {
        self.send(ToData { frame: Some(to_data::Frame::Refusal(refused.into())) });
    }
}

struct Peer {
    id: PeerId,
    inbox: Inbox,
    received: mpsc::Receiver<ToData>,
    epoch: u64,
}

#[derive(Debug, PartialEq)]
struct Revision {
    kind: begin::Kind,
    revision: u64,
    stamp: u64,
    messages: Vec<String>,
}

impl Peer {
    fn frame(&self) -> to_data::Frame {
        let frame = self.received.recv_timeout(Duration::from_secs(10)).expect("a frame comes");
        frame.frame.expect("a frame has a kind")
    }

    fn welcome(&mut self) {
        match self.frame() {
            to_data::Frame::Welcome(welcome) => {
                assert!(VERSIONS.contains(&welcome.version) && welcome.epoch != 0);
                self.epoch = welcome.epoch;
            }
            other => panic!("not a welcome: {other:?}"),
        }
    }

    fn refusal(&self) -> refusal::Reason {
        match self.frame() {
            to_data::Frame::Refusal(refusal) => refusal.reason(),
            other => panic!("not a refusal: {other:?}"),
        }
    }

    fn revision(&self) -> Revision {
        let to_data::Frame::Begin(begin) = self.frame() else {
            panic!("a revision begins");
        };
        assert_eq!(begin.epoch, self.epoch);
        let mut messages = Vec::new();
        loop {
            match self.frame() {
                to_data::Frame::Felix(message) => messages.push(match message.payload.expect("a payload") {
                    Payload::ConfigUpdate(update) => {
                        format!("config {}", update.config.get("LogPrefix").map_or("", String::as_str))
                    }
                    Payload::HostMetadataUpdate(update) => format!("+{}", update.hostname),
                    Payload::HostMetadataRemove(remove) => format!("-{}", remove.hostname),
                    Payload::Encapsulation(_) => "tunnels".to_owned(),
                    Payload::InSync(_) => "in sync".to_owned(),
                    other => format!("{other:?}"),
                }),
                to_data::Frame::Commit(commit) => {
                    return Revision { kind: begin.kind(), revision: commit.revision, stamp: commit.stamp, messages };
                }
                other => panic!("not of a revision: {other:?}"),
            }
        }
    }

    fn nothing(&self) {
        let frame = self.received.recv_timeout(Duration::from_millis(100));
        assert_eq!(frame, Err(mpsc::RecvTimeoutError::Timeout));
    }

    fn ack(&self, revision: u64) {
        self.say(from_data::Frame::Ack(Ack { epoch: self.epoch, revision, ..Ack::default() }));
    }

    fn say(&self, frame: from_data::Frame) {
        self.inbox.send(Input::Frame { peer: self.id, frame: Box::new(FromData { frame: Some(frame) }) });
    }
}

fn snapshot(revision: u64, messages: &[&str]) -> Revision {
    Revision {
        kind: begin::Kind::Snapshot,
        revision,
        stamp: 0,
        messages: messages.iter().map(ToString::to_string).collect(),
    }
}

fn delta(revision: u64, stamp: u64, messages: &[&str]) -> Revision {
    Revision { kind: begin::Kind::Delta, stamp, ..snapshot(revision, messages) }
}

#[test]
fn a_snapshot_waits_until_everything_is_listed() {
    let control = Loop::start();
    let mut peer = control.attach(1);
    peer.welcome();
    control.settle();
    peer.nothing();
    control.list();
    control.settle();
    assert_eq!(peer.revision(), snapshot(1, &["config ", "tunnels", "in sync"]));
    control.end().expect("it was told to stop");
}

#[test]
fn what_belongs_together_is_one_revision() {
    let control = Loop::start();
    let mut peer = control.attach(1);
    peer.welcome();
    control.list();
    control.settle();
    peer.revision();
    peer.ack(1);
    control.node("n1", 7);
    control.node("n2", 8);
    peer.nothing();
    control.settle();
    assert_eq!(peer.revision(), delta(2, 7, &["+n1", "+n2"]));
    // What cancels itself out is no revision.
    control.node("n3", 9);
    control.no_node("n3");
    control.settle();
    peer.nothing();
    control.end().expect("it was told to stop");
}

#[test]
fn two_revisions_may_be_unacknowledged_and_then_the_graph_coalesces() {
    let control = Loop::start();
    let mut peer = control.attach(1);
    peer.welcome();
    control.list();
    control.settle();
    peer.revision();
    control.node("n1", 1);
    control.settle();
    assert_eq!(peer.revision(), delta(2, 1, &["+n1"]));
    for (name, stamp) in [("n2", 2), ("n3", 3), ("n4", 4)] {
        control.node(name, stamp);
        control.settle();
    }
    control.no_node("n3");
    control.settle();
    peer.nothing();
    peer.ack(1);
    assert_eq!(peer.revision(), delta(3, 2, &["+n2", "+n4"]));
    peer.nothing();
    control.end().expect("it was told to stop");
}

#[test]
fn ten_thousand_changes_behind_held_acknowledgements_are_one_revision() {
    let control = Loop::start();
    let mut peer = control.attach(1);
    peer.welcome();
    control.list();
    control.settle();
    assert_eq!(peer.revision().revision, 1);
    control.node("n0", 1);
    control.settle();
    assert_eq!(peer.revision().revision, 2);
    // A hundred nodes, each of which comes a hundred times and goes every time but the last.
    for stamp in 2..=100 {
        for name in 1..=100 {
            control.node(&format!("n{name}"), stamp);
            control.settle();
            if stamp < 100 {
                control.no_node(&format!("n{name}"));
                control.settle();
            }
        }
    }
    peer.nothing();
    peer.ack(1);
    let revision = peer.revision();
    // Each is new, and told once.
    let mut nodes: Vec<_> = (1..=100).map(|name| format!("+n{name}")).collect();
    nodes.sort();
    assert_eq!(revision, Revision { messages: nodes, ..delta(3, 2, &[]) });
    peer.nothing();
    peer.ack(3);
    peer.nothing();
    control.end().expect("it was told to stop");
}

#[test]
fn configuration_comes_first_and_follows_the_resources() {
    let control = Loop::start();
    let mut peer = control.attach(1);
    peer.welcome();
    let resource = |name: &str, selector: &str, prefix: &str| FelixConfiguration {
        name: name.into(),
        node_selector: selector.to_owned(),
        spec: serde_json::from_str(&format!(r#"{{"logPrefix": "{prefix}"}}"#)).expect("an object"),
        ..FelixConfiguration::default()
    };
    let config = |event| control.source.send(vec![News::Config(event)]);
    config(ConfigEvent::Begin);
    config(ConfigEvent::Apply(resource("default", "", "all")));
    config(ConfigEvent::Apply(resource("zone", "zone == 'z1'", "zone")));
    config(ConfigEvent::End);
    control.list();
    control.settle();
    assert_eq!(peer.revision(), snapshot(1, &["config all", "tunnels", "in sync"]));
    peer.ack(1);
    // The node appears, with labels that a resource selects.
    control.node("node-a", 1);
    control.settle();
    assert_eq!(peer.revision(), delta(2, 1, &["config zone", "+node-a"]));
    config(ConfigEvent::Delete("zone".into()));
    control.settle();
    assert_eq!(peer.revision(), delta(3, 0, &["config all"]));
    control.end().expect("it was told to stop");
}

#[test]
fn one_data_half_at_a_time() {
    let control = Loop::start();
    control.list();
    control.settle();
    let mut first = control.attach(1);
    first.welcome();
    first.revision();
    assert_eq!(control.attach(2).refusal(), refusal::Reason::Busy);
    // What the second one still says, and its end, are nobody's.
    control.inbox.send(Input::Detach { peer: PeerId(2) });
    control.node("n1", 1);
    control.settle();
    assert_eq!(first.revision(), delta(2, 1, &["+n1"]));
    control.inbox.send(Input::Detach { peer: PeerId(1) });
    let mut third = control.attach(3);
    third.welcome();
    assert_eq!(third.revision(), snapshot(3, &["config ", "+n1", "tunnels", "in sync"]));
    // One that breaks the protocol is out, and the place is free.
    third.ack(77);
    assert_eq!(third.refusal(), refusal::Reason::Protocol);
    let mut fourth = control.attach(4);
    fourth.welcome();
    control.end().expect("it was told to stop");
}

#[test]
fn a_failed_source_ends_the_loop() {
    let control = Loop::start();
    control.source.send(vec![News::Failed("the disk is gone".to_owned())]);
    let error = control.end().expect_err("it has failed");
    assert_eq!(error.to_string(), "the datastore failed: the disk is gone");
}

/// The next messages of a client of policy sync in short, as many as are wanted.
fn told(pod: &mut policysync::Outgoing, count: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut next = || {
        let next = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), pod.next()).await });
        let message = next.expect("a message comes").expect("the stream goes on").expect("no error");
        match message.payload.expect("a payload") {
            Payload::NamespaceUpdate(update) => update.id.expect("an id").name,
            Payload::InSync(_) => "in sync".to_owned(),
            other => format!("{other:?}"),
        }
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn clients_of_policy_sync_are_told_what_the_data_half_is_told() {
    let control = Loop::start();
    let mut early = control.policysync(1);
    control.list();
    control.namespace("shop");
    control.settle();
    assert_eq!(told(&mut early, 2), ["shop", "in sync"]);

    let mut peer = control.attach(1);
    peer.welcome();
    assert_eq!(peer.revision().kind, begin::Kind::Snapshot);
    control.namespace("a");
    control.settle();
    assert_eq!(told(&mut early, 1), ["a"]);
    assert_eq!(peer.revision().revision, 2);

    // Two revisions are unacknowledged, and a third is not begun for the pods alone.
    control.namespace("b");
    control.settle();
    let mut late = control.policysync(2);
    assert_eq!(told(&mut late, 3), ["a", "shop", "in sync"]);
    peer.nothing();
    peer.ack(1);
    assert_eq!(peer.revision().revision, 3);
    assert_eq!((told(&mut early, 1), told(&mut late, 1)), (vec!["b".to_owned()], vec!["b".to_owned()]));
    control.end().expect("it was told to stop");
}

#[test]
fn clients_of_policy_sync_do_not_wait_for_a_data_half_that_is_away() {
    for (clients, kind) in [(0, begin::Kind::Delta), (1, begin::Kind::Snapshot)] {
        let control = Loop::start();
        control.list();
        control.settle();
        let mut peer = control.attach(1);
        peer.welcome();
        peer.revision();
        peer.ack(1);
        control.inbox.send(Input::Detach { peer: PeerId(1) });
        control.namespace("a");
        control.settle();
        for client in 0..clients {
            assert_eq!(told(&mut control.policysync(client), 2), ["a", "in sync"]);
        }
        let mut back = control.attach_with(2, Some(Position { epoch: peer.epoch, revision: 1 }));
        back.welcome();
        let revision = back.revision();
        assert_eq!((revision.revision, revision.kind), (2, kind), "{clients} clients");
        control.end().expect("it was told to stop");
    }
}
