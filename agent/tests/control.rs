//! `caracal control` as a program, with a data half that only writes down what it gets.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_agent::sync::connect::{self, Client, Loop, ReplySender};
use caracal_proto::felix::to_dataplane::Payload;
use caracal_proto::sync::{Ack, FromData, Position, ToData, begin, from_data, to_data};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

struct Control {
    dir: TempDir,
    child: Child,
}

impl Control {
    fn start() -> Self {
        Self::start_as(spawn)
    }

    fn start_as(spawn: fn(&Path) -> Child) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("manifests")).expect("the directory can be written");
        let child = spawn(dir.path());
        let control = Self { dir, child };
        control.node("node-a");
        control
    }

    fn node(&self, name: &str) {
        let text = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n");
        fs::write(self.dir.path().join(".new"), text).expect("the directory can be written");
        let manifest = self.dir.path().join("manifests").join(format!("{name}.yaml"));
        fs::rename(self.dir.path().join(".new"), manifest).expect("the directory can be written");
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A test that has ended it already ends it in vain.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path) -> Child {
    command(dir, "off").spawn().expect("the program runs")
}

fn command(dir: &Path, log_level: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caracal"));
    command
        .args(["control", "--node", "node-a", "--log-level", log_level, "--datastore"])
        .arg(format!("file:{}", dir.join("manifests").display()))
        .arg("--socket")
        .arg(dir.join("sync.sock"))
        .arg("--admin-socket")
        .arg(dir.join("admin.sock"))
        .stdin(Stdio::null());
    command
}

/// A data half that knows nodes.
struct Data {
    frames: Receiver<ToData>,
    replies: ReplySender,
    held: Arc<Mutex<Option<Position>>>,
    _client: Client,
    epoch: u64,
    nodes: Vec<String>,
}

impl Data {
    fn start(dir: &Path) -> Self {
        let (sender, frames) = channel();
        let (replies, said) = connect::replies();
        let held = Arc::new(Mutex::new(None));
        let position = held.clone();
        let data = Loop {
            frames: Box::new(move |frame| sender.send(frame).is_ok()),
            held: Box::new(move || *position.lock().expect("not poisoned")),
            replies: said,
        };
        Self {
            frames,
            replies,
            held,
            _client: connect::spawn(&dir.join("sync.sock"), data, ()).expect("a thread"),
            epoch: 0,
            nodes: Vec::new(),
        }
    }

    fn frame(&self) -> to_data::Frame {
        let frame = self.frames.recv_timeout(Duration::from_secs(20)).expect("a frame comes");
        frame.frame.expect("a frame has a kind")
    }

    /// Takes one revision, and acknowledges it.
    fn revision(&mut self) -> begin::Kind {
        let to_data::Frame::Begin(begin) = self.frame() else {
            panic!("a revision begins");
        };
        self.epoch = begin.epoch;
        if begin.kind() == begin::Kind::Snapshot {
            self.nodes.clear();
        }
        loop {
            match self.frame() {
                to_data::Frame::Felix(message) => match message.payload {
                    Some(Payload::HostMetadataUpdate(update)) => self.nodes.push(update.hostname),
                    Some(Payload::HostMetadataRemove(remove)) => self.nodes.retain(|name| *name != remove.hostname),
                    _ => {}
                },
                to_data::Frame::Commit(commit) => {
                    let position = Position { epoch: begin.epoch, revision: commit.revision };
                    *self.held.lock().expect("not poisoned") = Some(position);
                    let ack = Ack { epoch: begin.epoch, revision: commit.revision, ..Ack::default() };
                    self.replies.send(Box::new(FromData { frame: Some(from_data::Frame::Ack(ack)) }));
                    return begin.kind();
                }
                other => panic!("not of a revision: {other:?}"),
            }
        }
    }

    /// Takes revisions until the nodes are these; the kind of the first revision.
    fn until(&mut self, nodes: &[&str]) -> begin::Kind {
        let first = self.revision();
        while self.nodes != nodes {
            self.revision();
        }
        first
    }
}

#[test]
fn a_killed_control_half_is_followed_by_a_snapshot_of_the_next_one() {
    let mut control = Control::start();
    let mut data = Data::start(control.dir.path());
    assert_eq!(data.until(&["node-a"]), begin::Kind::Snapshot);
    control.node("node-b");
    assert_eq!(data.until(&["node-a", "node-b"]), begin::Kind::Delta);
    let epoch = data.epoch;

    assert_eq!(control.signal(Signal::SIGKILL), None);
    control.node("node-c");
    assert_eq!(data.frames.recv_timeout(Duration::from_millis(200)), Err(RecvTimeoutError::Timeout));
    // The socket that the killed one left is replaced.
    control.child = spawn(control.dir.path());
    assert_eq!(data.until(&["node-a", "node-b", "node-c"]), begin::Kind::Snapshot);
    assert_ne!(data.epoch, epoch);
}

#[test]
fn a_new_data_half_gets_a_snapshot_of_the_same_control_half() {
    let control = Control::start();
    let mut data = Data::start(control.dir.path());
    data.until(&["node-a"]);
    let epoch = data.epoch;
    drop(data);
    let mut data = Data::start(control.dir.path());
    assert_eq!(data.until(&["node-a"]), begin::Kind::Snapshot);
    assert_eq!(data.epoch, epoch);
}

#[test]
fn a_clean_stop_takes_the_socket_away() {
    let mut control = Control::start();
    let mut data = Data::start(control.dir.path());
    data.until(&["node-a"]);
    assert_eq!(control.signal(Signal::SIGTERM), Some(0));
    assert!(!control.dir.path().join("sync.sock").exists());
}

/// Tools for Felix send these to have profiles written.
#[test]
fn requests_for_profiles_end_nothing() {
    let mut control = Control::start();
    let mut data = Data::start(control.dir.path());
    data.until(&["node-a"]);
    let pid = Pid::from_raw(i32::try_from(control.child.id()).expect("a process id"));
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
        kill(pid, signal).expect("it runs");
    }
    control.node("node-b");
    data.until(&["node-a", "node-b"]);
    assert_eq!(control.signal(Signal::SIGTERM), Some(0));
}

#[test]
fn a_second_control_half_is_refused() {
    let control = Control::start();
    let mut data = Data::start(control.dir.path());
    data.until(&["node-a"]);
    let second = spawn(control.dir.path()).wait_with_output().expect("it ends");
    assert_eq!(second.status.code(), Some(1));
    control.node("node-b");
    data.until(&["node-a", "node-b"]);
}

/// A log that nobody reads is a full pipe, sooner or later.
#[test]
fn nobody_waits_for_who_reads_the_log() {
    let mut control =
        Control::start_as(|dir| command(dir, "debug").stderr(Stdio::piped()).spawn().expect("the program runs"));
    let mut data = Data::start(control.dir.path());
    data.until(&["node-a"]);
    let refused = "---\napiVersion: v1\nkind: Node\nmetadata: {name: Not_A_Name}\n".repeat(100);
    for file in 0..20 {
        fs::write(control.dir.path().join("manifests").join(format!("bad-{file}.yaml")), &refused).expect("written");
    }
    control.node("node-b");
    data.until(&["node-a", "node-b"]);
    control.node("node-c");
    data.until(&["node-a", "node-b", "node-c"]);
    assert_eq!(control.signal(Signal::SIGTERM), Some(0));
}

#[test]
fn a_socket_that_somebody_removes_comes_back() {
    let control = Control::start();
    let mut data = Data::start(control.dir.path());
    data.until(&["node-a"]);
    fs::remove_file(control.dir.path().join("sync.sock")).expect("it is there");
    control.node("node-b");
    data.until(&["node-a", "node-b"]);
    drop(data);
    let mut data = Data::start(control.dir.path());
    assert_eq!(data.until(&["node-a", "node-b"]), begin::Kind::Snapshot);
}
