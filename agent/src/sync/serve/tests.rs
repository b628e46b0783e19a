//! The two transport ends against each other and against misbehaving peers,
//! over a real socket. The control half behind the server is a counter.

use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_proto::felix::{self, to_dataplane::Payload};
use caracal_proto::sync::dataplane_sync_client::DataplaneSyncClient;
use caracal_proto::sync::{Ack, Commit, Position, ToData, refusal, to_data};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::control::{self, Outlet};
use crate::sync::{Retention, RevisionKind, Session, connect};

const SHORT: Duration = Duration::from_millis(300);

/// A control half whose graph is a list of names; it sends each new one at once.
struct Control {
    inbox: Inbox,
    names: Arc<Mutex<Vec<String>>>,
    /// Why streams were ended that it knows nothing of.
    refused: Arc<Mutex<Vec<refusal::Reason>>>,
    dir: TempDir,
    server: Option<Server>,
}

impl Control {
    fn start(patience: Duration) -> Self {
        let (inbox, _, inputs) = control::inbox();
        let names = Arc::new(Mutex::new(vec!["first".to_owned()]));
        let refused = Arc::new(Mutex::new(Vec::new()));
        let (known, counted) = (names.clone(), refused.clone());
        std::thread::spawn(move || run_control(&inputs, &known, &counted));
        let mut control = Self { inbox, names, refused, dir: tempfile::tempdir().expect("a directory"), server: None };
        control.serve(patience);
        control
    }

    fn serve(&mut self, patience: Duration) {
        self.server = None;
        let socket = Socket::bind(&self.path()).expect("the path is free");
        self.server = Some(spawn_with(socket, self.inbox.clone(), patience, ()).expect("a thread"));
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("sync.sock")
    }

    /// Why streams were ended, once so many were.
    fn refused(&self, count: usize) -> Vec<refusal::Reason> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let refused = self.refused.lock().expect("not poisoned").clone();
            if refused.len() >= count || Instant::now() > deadline {
                return refused;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn add(&self, name: &str) {
        self.names.lock().expect("not poisoned").push(name.to_owned());
    }
}

fn run_control(inputs: &control::Receiver, names: &Mutex<Vec<String>>, refused: &Mutex<Vec<refusal::Reason>>) {
    let mut session = Session::new(1, Retention::Resumable);
    let mut attached: Option<(PeerId, Box<dyn Outlet>)> = None;
    let mut flushed = 0;
    loop {
        match inputs.try_recv() {
            Ok(Input::Attach { peer, hello, mut outlet }) => {
                if attached.is_some() {
                    outlet.refuse(Refused::new(refusal::Reason::Busy, "taken"));
                } else if let Err(refused) = session.attach(&hello, &mut |frame| outlet.send(frame)) {
                    outlet.refuse(refused);
                } else {
                    attached = Some((peer, outlet));
                }
            }
            Ok(Input::Frame { peer, frame }) => {
                if let Some((_, outlet)) = attached.as_mut().filter(|(id, _)| *id == peer)
                    && let Err(refused) = session.receive(*frame)
                {
                    outlet.refuse(refused);
                }
            }
            Ok(Input::Detach { peer }) => {
                if attached.as_ref().is_some_and(|(id, _)| *id == peer) {
                    attached = None;
                    session.detach();
                }
            }
            Ok(Input::Refused(reason)) => refused.lock().expect("not poisoned").push(reason),
            Ok(
                Input::Source(_) | Input::PolicySync(_) | Input::Ask(_) | Input::Count(_) | Input::Reload | Input::Stop,
            )
            | Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(2)),
        }
        let (Some(kind), Some((_, outlet))) = (session.wants(), &mut attached) else {
            continue;
        };
        let names = names.lock().expect("not poisoned");
        let from = match kind {
            RevisionKind::Snapshot => 0,
            RevisionKind::Delta => flushed,
        };
        let mut out = |frame| outlet.send(frame);
        session.begin(kind, &mut out);
        for name in &names[from..] {
            session.message(namespace(name), &mut out);
        }
        session.commit(0, &mut out);
        flushed = names.len();
    }
}

fn namespace(name: &str) -> felix::ToDataplane {
    felix::ToDataplane {
        sequence_number: 0,
        payload: Some(Payload::NamespaceUpdate(felix::NamespaceUpdate {
            id: Some(felix::NamespaceId { name: name.to_owned() }),
            ..Default::default()
        })),
    }
}

/// A data half that lists the names it was told, revision by revision.
struct Data {
    frames: mpsc::Receiver<ToData>,
    replies: connect::ReplySender,
    held: Arc<Mutex<Option<Position>>>,
    epoch: u64,
    _client: connect::Client,
}

impl Data {
    fn start(path: &Path) -> Self {
        let (sender, frames) = mpsc::channel();
        let (replies, said) = connect::replies();
        let held = Arc::new(Mutex::new(None));
        let shared = held.clone();
        let data = connect::Loop {
            frames: Box::new(move |frame| sender.send(frame).is_ok()),
            held: Box::new(move || *shared.lock().expect("not poisoned")),
            replies: said,
        };
        let client = connect::spawn(path, data, ()).expect("a thread");
        Self { frames, replies, held, epoch: 0, _client: client }
    }

    /// The next revision: its kind, and the names it tells. It is acknowledged.
    fn revision(&mut self) -> (RevisionKind, Vec<String>) {
        let mut kind = None;
        let mut names = Vec::new();
        loop {
            let frame = self.frames.recv_timeout(Duration::from_secs(20)).expect("a revision comes");
            match frame.frame.expect("a frame has a kind") {
                to_data::Frame::Begin(begin) => {
                    self.epoch = begin.epoch;
                    kind = Some(if begin.from == 0 { RevisionKind::Snapshot } else { RevisionKind::Delta });
                    names.clear();
                }
                to_data::Frame::Felix(message) => match message.payload {
                    Some(Payload::NamespaceUpdate(update)) => names.push(update.id.expect("an id").name),
                    other => panic!("{other:?}"),
                },
                to_data::Frame::Commit(commit) => {
                    let position = Position { epoch: self.epoch, revision: commit.revision };
                    *self.held.lock().expect("not poisoned") = Some(position);
                    self.replies.send(Box::new(ack(position)));
                    return (kind.expect("a revision begins"), names);
                }
                other => panic!("not for the loop: {other:?}"),
            }
        }
    }
}

fn ack(Position { epoch, revision }: Position) -> FromData {
    FromData { frame: Some(from_data::Frame::Ack(Ack { epoch, revision, ..Ack::default() })) }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn revisions_cross_the_socket_and_a_new_connection_resumes() {
    let mut control = Control::start(PATIENCE);
    let mut data = Data::start(&control.path());
    assert_eq!(data.revision(), (RevisionKind::Snapshot, strings(&["first"])));
    control.add("second");
    assert_eq!(data.revision(), (RevisionKind::Delta, strings(&["second"])));
    // The server goes, the control half behind it stays.
    control.serve(PATIENCE);
    control.add("third");
    assert_eq!(data.revision(), (RevisionKind::Delta, strings(&["third"])));
}

#[test]
fn the_data_half_waits_for_a_control_half() {
    let control = Control::start(PATIENCE);
    let path = control.path();
    drop(control.server);
    let mut data = Data::start(&path);
    std::thread::sleep(Duration::from_millis(200));
    let socket = Socket::bind(&path).expect("the path is free");
    let _server = spawn(socket, control.inbox, ()).expect("a thread");
    assert_eq!(data.revision().0, RevisionKind::Snapshot);
}

#[test]
fn a_data_half_that_gives_up_or_says_too_much_gets_a_snapshot() {
    let control = Control::start(PATIENCE);
    let mut data = Data::start(&control.path());
    data.revision();
    data.replies.give_up("it does not add up".to_owned());
    assert_eq!(data.revision(), (RevisionKind::Snapshot, strings(&["first"])));

    // Replies that find no connection wait, but not without end.
    drop(control.server);
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..2000 {
        data.replies.send(Box::new(FromData { frame: Some(from_data::Frame::Extension(Default::default())) }));
    }
    let socket = Socket::bind(&control.dir.path().join("sync.sock")).expect("the path is free");
    let _server = spawn(socket, control.inbox.clone(), ()).expect("a thread");
    assert_eq!(data.revision(), (RevisionKind::Snapshot, strings(&["first"])));
}

/// A peer that speaks gRPC, and whatever it likes within it.
struct Peer {
    outbound: tokio::sync::mpsc::Sender<FromData>,
    inbound: tonic::Streaming<ToData>,
}

impl Peer {
    async fn connect(path: &Path) -> Self {
        let channel = channel_to(path).await;
        let (outbound, stream) = tokio::sync::mpsc::channel(16);
        let response = DataplaneSyncClient::new(channel).exchange(ReceiverStream::new(stream)).await;
        Self { outbound, inbound: response.expect("the stream opens").into_inner() }
    }

    async fn say(&self, frame: Option<from_data::Frame>) {
        self.outbound.send(FromData { frame }).await.expect("the stream is open");
    }

    async fn hello(&self) {
        self.hello_of(1, 1).await;
    }

    async fn hello_of(&self, min_version: u32, max_version: u32) {
        let hello = Hello { min_version, max_version, ..Hello::default() };
        self.say(Some(from_data::Frame::Hello(hello))).await;
    }

    /// Reads a revision: where it ends, and how many messages it has.
    async fn revision(&mut self) -> (Position, usize) {
        let (mut epoch, mut messages) = (0, 0);
        loop {
            let frame = self.inbound.message().await.expect("no error").expect("the stream goes on");
            match frame.frame.expect("a frame has a kind") {
                to_data::Frame::Begin(begin) => epoch = begin.epoch,
                to_data::Frame::Felix(_) => messages += 1,
                to_data::Frame::Commit(commit) => return (Position { epoch, revision: commit.revision }, messages),
                to_data::Frame::Welcome(_) => {}
                other => panic!("not of a revision: {other:?}"),
            }
        }
    }

    /// Reads to the end of the stream; the refusal must be the last frame.
    async fn refusal(&mut self) -> Refused {
        let mut refused = None;
        while let Ok(Some(frame)) = self.inbound.message().await {
            assert_eq!(refused, None, "nothing follows a refusal");
            if let Some(to_data::Frame::Refusal(refusal)) = frame.frame {
                refused = Some(refusal.into());
            }
        }
        refused.expect("the stream ends with a reason")
    }
}

async fn channel_to(path: &Path) -> Channel {
    let path = path.to_owned();
    Endpoint::from_static("http://caracal.local")
        .connect_with_connector(tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
        .await
        .expect("the server listens")
}

/// Sends a message of another type on the service's path.
async fn speak_another_language(path: &Path) -> Refused {
    let mut client = tonic::client::Grpc::new(channel_to(path).await);
    client.ready().await.expect("the server listens");
    let codec = tonic_prost::ProstCodec::<Commit, ToData>::default();
    let exchange = PathAndQuery::from_static("/caracal.sync.v1.DataplaneSync/Exchange");
    // Its first field is a number where a hello has a message.
    let garbage = tokio_stream::iter([Commit { revision: 5, stamp: 0 }]).chain(tokio_stream::pending());
    let response = client.streaming(Request::new(garbage), exchange, codec).await;
    let mut inbound = response.expect("the stream opens").into_inner();
    match inbound.message().await.expect("a frame").expect("a frame").frame {
        Some(to_data::Frame::Refusal(refusal)) => refusal.into(),
        other => panic!("not a refusal: {other:?}"),
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let limited = tokio::time::timeout(Duration::from_secs(20), future).await;
        limited.expect("it ends in time")
    })
}

#[test]
fn misbehaving_peers_are_told_why_and_leave_the_data_half_alone() {
    let control = Control::start(SHORT);
    let path = control.path();
    let mut data = Data::start(&path);
    data.revision();
    use refusal::Reason::{Busy, Protocol, Version};
    block_on(async {
        let mut second = Peer::connect(&path).await;
        second.hello().await;
        assert_eq!(second.refusal().await.reason, Busy);

        let mut silent = Peer::connect(&path).await;
        assert_eq!(silent.refusal().await, Refused::new(Protocol, "no hello within 300ms"));

        let mut rude = Peer::connect(&path).await;
        rude.say(Some(from_data::Frame::Ack(Ack::default()))).await;
        assert_eq!(rude.refusal().await, Refused::new(Protocol, "the first frame is not a hello"));

        let mut odd = Peer::connect(&path).await;
        odd.say(None).await;
        assert_eq!(odd.refusal().await.reason, Protocol);
    });
    block_on(async {
        let refused = speak_another_language(&path).await;
        assert_eq!(refused.reason, Protocol);
        assert!(refused.message.starts_with("an unreadable frame: "), "{refused}");
    });
    // Silent, rude, odd, and in another language: none of them got as far as the control half.
    assert_eq!(control.refused(4), [Protocol; 4]);
    let mut garbage = StdUnixStream::connect(&path).expect("the server listens");
    std::io::Write::write_all(&mut garbage, &[0xff; 4096]).expect("the bytes are taken");
    let mut answer = Vec::new();
    // The answer is HTTP/2's own; what counts is that the connection ends.
    let _ = std::io::Read::read_to_end(&mut garbage, &mut answer);
    control.add("still served");
    assert_eq!(data.revision(), (RevisionKind::Delta, strings(&["still served"])));
    drop(data);

    block_on(async {
        // The place is free once the control half has seen the data half go.
        let refused = loop {
            let mut future = Peer::connect(&path).await;
            future.hello_of(7, 9).await;
            let refused = future.refusal().await;
            if refused.reason != Busy {
                break refused;
            }
        };
        assert_eq!(refused.reason, Version);
        assert!(refused.message.contains("speaks versions 7 to 9"), "{refused}");

        let mut liar = Peer::connect(&path).await;
        liar.hello().await;
        liar.say(Some(from_data::Frame::Ack(Ack { epoch: 1, revision: 1 << 40, ..Ack::default() }))).await;
        assert_eq!(liar.refusal().await.reason, Protocol);
    });
}

#[test]
fn a_peer_that_stops_reading_is_dropped() {
    let control = Control::start(SHORT);
    // More than the transport's windows hold.
    for _ in 0..64 {
        control.add(&"x".repeat(1 << 16));
    }
    let path = control.path();
    block_on(async {
        let mut peer = Peer::connect(&path).await;
        peer.hello().await;
        tokio::time::sleep(SHORT * 4).await;
        let refused = peer.refusal().await;
        assert_eq!(refused.reason, refusal::Reason::Slow, "{refused}");
    });
    // Without reading at all the connection is cut in the end, and the place is free.
    block_on(async {
        let deaf = Peer::connect(&path).await;
        deaf.hello().await;
        tokio::time::timeout(Duration::from_secs(10), deaf.outbound.closed()).await.expect("it is cut");
    });
    let mut data = Data::start(&path);
    assert_eq!(data.revision().0, RevisionKind::Snapshot);
}

#[test]
fn a_peer_that_reads_late_gets_two_revisions_and_then_the_rest_in_one() {
    const CHANGES: usize = 10_000;
    let control = Control::start(PATIENCE);
    let path = control.path();
    block_on(async {
        let mut peer = Peer::connect(&path).await;
        peer.hello().await;
        for number in 0..CHANGES {
            control.add(&format!("{number:01000}"));
            if number % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let (first, second) = (peer.revision().await, peer.revision().await);
        assert_eq!((first.0.revision, second.0.revision), (1, 2));
        let more = tokio::time::timeout(SHORT, peer.inbound.message()).await;
        assert!(more.is_err(), "a third revision is not begun: {more:?}");
        peer.say(ack(second.0).frame).await;
        let third = peer.revision().await;
        assert_eq!(third.0.revision, 3);
        let told = [first.1, second.1, third.1];
        assert_eq!(told.iter().sum::<usize>(), 1 + CHANGES, "each is told once: {told:?}");
        assert!(told[2] > CHANGES / 2, "most came in while the peer did not read: {told:?}");
    });
}

#[test]
fn progress_is_measured_from_the_last_frame_that_was_read() {
    let (mut queue, mut outgoing) = queue();
    let mut watch = Watch::new(Duration::from_secs(10));
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert!(watch.check(&queue, at(0)).is_ok());
    assert!(watch.check(&queue, at(100)).is_ok(), "nothing waits");
    for _ in 0..3 {
        queue.send(ToData::default());
    }
    assert!(watch.check(&queue, at(101)).is_ok());
    assert!(watch.check(&queue, at(110)).is_ok());
    block_on(async { outgoing.next().await }).expect("a frame").expect("not an error");
    assert!(watch.check(&queue, at(112)).is_ok(), "one was read");
    assert!(watch.check(&queue, at(121)).is_ok());
    let refused = watch.check(&queue, at(122)).expect_err("ten seconds without progress");
    assert_eq!(refused.to_string(), "too slow: 2 frames wait and none was read for 10s");
}
