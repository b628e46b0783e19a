//! Drivers as processes: fed, slow, dying, confused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use caracal_external::{Frames, Handle, Reply, spawn};
use caracal_proto::felix::{self, ToDataplane, to_dataplane::Payload};
use caracal_proto::sync::{Ack, Begin, Commit, Position, Report, ToData, begin, from_data, to_data};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

const EPOCH: u64 = 7;

struct Driver {
    dir: TempDir,
    handle: Handle,
    replies: Receiver<Reply>,
}

impl Driver {
    /// A driver that is a shell script; `$RECORD` in it is a file of its own.
    fn script(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("driver");
        let record = dir.path().join("record");
        write_program(&program, &format!("RECORD={}\nexport RECORD\n{text}", record.display()));
        Self::start(dir, program)
    }

    fn start(dir: TempDir, program: PathBuf) -> Self {
        let (sender, replies) = mpsc::channel();
        let handle = spawn(program, move |reply| drop(sender.send(reply)), ()).expect("a thread");
        Self { dir, handle, replies }
    }

    /// The example beside this test, recording.
    fn recording() -> Self {
        Self::script(&format!("exec {}", recording_driver().display()))
    }

    fn frames(&self) -> Frames {
        self.handle.frames()
    }

    fn send(&self, frame: to_data::Frame) {
        assert!(self.frames().send(ToData { frame: Some(frame) }), "the thread runs");
    }

    fn revision(&self, kind: begin::Kind, revision: u64, messages: impl IntoIterator<Item = Payload>) {
        let from = if kind == begin::Kind::Snapshot { 0 } else { revision - 1 };
        self.send(to_data::Frame::Begin(Begin { epoch: EPOCH, kind: kind.into(), from }));
        for payload in messages {
            self.send(to_data::Frame::Felix(ToDataplane { sequence_number: 99, payload: Some(payload) }));
        }
        self.send(to_data::Frame::Commit(Commit { revision, stamp: 0 }));
    }

    fn reply(&self) -> Reply {
        self.replies.recv_timeout(PATIENCE).expect("a reply comes")
    }

    /// The next report, beyond whatever else is said before it.
    fn report(&self) -> Report {
        loop {
            if let Reply::Frame(frame) = self.reply()
                && let Some(from_data::Frame::Report(report)) = frame.frame
            {
                return report;
            }
        }
    }

    /// The next acknowledgement, beyond reports.
    fn ack(&self) -> Ack {
        loop {
            match self.reply() {
                Reply::Frame(frame) => match frame.frame {
                    Some(from_data::Frame::Ack(ack)) => return ack,
                    Some(from_data::Frame::Report(_) | from_data::Frame::Alive(_)) => {}
                    other => panic!("not an acknowledgement: {other:?}"),
                },
                Reply::StartOver(reason) => panic!("starts over: {reason}"),
            }
        }
    }

    /// Skips what the driver still says.
    fn start_over(&self) -> String {
        loop {
            if let Reply::StartOver(reason) = self.reply() {
                return reason;
            }
        }
    }

    /// The lines that the driver wrote, once there are so many.
    fn record(&self, count: usize) -> Vec<serde_json::Value> {
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(self.dir.path().join("record")).unwrap_or_default();
            let lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).expect("whole lines")).collect();
            if lines.len() >= count {
                return lines;
            }
            assert!(start.elapsed() < PATIENCE, "{count} lines are wanted: {lines:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Writes a shell script from another process: a file that this one has open for
/// writing could not be run while it starts other children.
fn write_program(path: &Path, text: &str) {
    let status = Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\n%s\n' \"$1\" >\"$0\" && chmod 700 \"$0\""])
        .arg(path)
        .arg(text)
        .status();
    assert!(status.expect("a shell").success());
}

fn recording_driver() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("tests are built below the profile's folder");
    let driver = profile.join("examples/recording-driver");
    assert!(driver.exists(), "{} is built with the tests of this crate", driver.display());
    driver
}

fn namespace(name: &str) -> Payload {
    let id = Some(felix::NamespaceId { name: name.to_owned() });
    Payload::NamespaceUpdate(felix::NamespaceUpdate { id, ..Default::default() })
}

fn endpoint(name: &str) -> Payload {
    let id = felix::WorkloadEndpointId {
        orchestrator_id: "k8s".into(),
        workload_id: name.into(),
        endpoint_id: "eth0".into(),
    };
    Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate { id: Some(id), endpoint: None })
}

fn position(revision: u64) -> Option<Position> {
    Some(Position { epoch: EPOCH, revision })
}

fn is_running(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_driver_gets_the_plain_stream_and_its_statuses_become_outcomes() {
    let driver = Driver::recording();
    driver.revision(begin::Kind::Snapshot, 1, [namespace("a"), Payload::InSync(felix::InSync {})]);
    assert_eq!(driver.ack().revision, 1);
    driver.revision(begin::Kind::Delta, 2, [endpoint("a/web")]);
    let mut outcomes = Vec::new();
    while outcomes.is_empty() {
        let ack = driver.ack();
        assert_eq!((ack.epoch, ack.revision), (EPOCH, 2));
        outcomes = ack.outcomes;
    }
    assert_eq!(outcomes[0].id.as_ref().expect("an id").workload_id, "a/web");
    assert_eq!(outcomes[0].outcome(), caracal_proto::sync::endpoint_outcome::Outcome::Programmed);

    let lines = driver.record(4);
    let pid = lines[0]["started"].as_u64().expect("a process id");
    let messages: Vec<ToDataplane> =
        lines[1..].iter().map(|line| serde_json::from_value(line.clone()).expect("a message")).collect();
    let numbers: Vec<_> = messages.iter().map(|message| message.sequence_number).collect();
    assert_eq!(numbers, [0, 1, 2], "counted from 0, whatever the sync API counted");
    let payloads: Vec<_> = messages.into_iter().filter_map(|message| message.payload).collect();
    assert_eq!(payloads, [namespace("a"), Payload::InSync(felix::InSync {}), endpoint("a/web")]);
    assert!(is_running(pid));
    drop(driver.handle);
    assert!(!is_running(pid), "the end of the thread is the driver's");
}

#[test]
fn a_driver_that_is_killed_comes_back_and_is_told_everything() {
    let driver = Driver::recording();
    driver.revision(begin::Kind::Snapshot, 1, [namespace("a")]);
    driver.ack();
    let pid = driver.record(2)[0]["started"].as_i64().expect("a process id");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    driver.report();
    let problems = driver.report().problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].reason, "it is gone: it was ended by signal 9; it is started again");
    assert_eq!(driver.frames().held(), None);
    assert_eq!(driver.start_over(), "the dataplane driver is gone: it was ended by signal 9");

    // What the old connection still had to say is not for the new process.
    driver.revision(begin::Kind::Delta, 2, [namespace("late")]);
    driver.revision(begin::Kind::Snapshot, 3, [namespace("b")]);
    assert_eq!(driver.ack().revision, 3);
    let lines = driver.record(4);
    assert_eq!(lines[3]["namespaceUpdate"]["id"]["name"], "b");
    assert_ne!(lines[2]["started"], lines[0]["started"]);
    let report = driver.report();
    assert_eq!(report.problems, []);
    let counted: Vec<_> = report.measurements.iter().map(|measurement| measurement.value).collect();
    assert_eq!(counted, [2.0, 2.0], "starts and messages");
}

#[test]
fn a_second_snapshot_is_for_a_new_process() {
    let driver = Driver::recording();
    for revision in [1, 2] {
        driver.revision(begin::Kind::Snapshot, revision, [namespace("a")]);
        assert_eq!(driver.ack().revision, revision);
        // The pipe may have taken what the process has not read yet.
        driver.record(2 * usize::try_from(revision).expect("small"));
    }
    let lines = driver.record(4);
    let started: Vec<_> = lines.iter().filter_map(|line| line["started"].as_u64()).collect();
    assert_eq!(started.len(), 2);
    assert!(!is_running(started[0]));
}

#[test]
fn half_a_revision_is_never_told() {
    let driver = Driver::recording();
    driver.revision(begin::Kind::Snapshot, 1, [namespace("a")]);
    driver.ack();
    let begin = || to_data::Frame::Begin(Begin { epoch: EPOCH, kind: begin::Kind::Delta.into(), from: 1 });
    driver.send(begin());
    driver.send(to_data::Frame::Felix(ToDataplane { sequence_number: 0, payload: Some(namespace("lost")) }));
    driver.revision(begin::Kind::Delta, 2, [namespace("b")]);
    assert_eq!(driver.ack().revision, 2);
    assert_eq!(driver.record(3)[2]["namespaceUpdate"]["id"]["name"], "b");
}

#[test]
fn a_driver_that_does_not_read_holds_acknowledgements_back() {
    // Reads once the file is there.
    let driver = Driver::script("while [ ! -e $RECORD ]; do sleep 0.02; done; exec cat <&3 >/dev/null");
    // More than the pipe holds.
    let large = "x".repeat(1 << 20);
    driver.revision(begin::Kind::Snapshot, 1, [namespace(&large)]);
    driver.revision(begin::Kind::Delta, 2, [namespace(&large)]);
    assert_eq!(driver.replies.recv_timeout(Duration::from_millis(300)), Err(RecvTimeoutError::Timeout));
    assert_eq!(driver.frames().held(), None);
    fs::write(driver.dir.path().join("record"), "").expect("a file");
    assert_eq!((driver.ack().revision, driver.ack().revision), (1, 2));
    assert_eq!(driver.frames().held(), position(2));
}

#[test]
fn a_driver_that_reads_nothing_for_long_is_a_problem_until_it_reads() {
    let driver = Driver::script("while [ ! -e $RECORD ]; do sleep 0.02; done; exec cat <&3 >/dev/null");
    driver.revision(begin::Kind::Snapshot, 1, [namespace(&"x".repeat(1 << 20))]);
    let problems = driver.report().problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].reason, "it has read nothing for 10s; changes wait for it");
    fs::write(driver.dir.path().join("record"), "").expect("a file");
    assert_eq!(driver.report().problems, []);
}

#[test]
fn a_driver_that_never_stops_talking_is_heard_slowly_and_still_ends() {
    // A thousand times a status of the process, again and again.
    let driver = Driver::script(
        "for n in $(seq 1000); do printf '\\013\\0\\0\\0\\0\\0\\0\\0\\032\\011\\021\\0\\0\\0\\0\\0\\0\\360\\077'; done >$RECORD
         while cat $RECORD >&4; do :; done",
    );
    driver.revision(begin::Kind::Snapshot, 1, [namespace("a")]);
    assert_eq!(driver.ack().revision, 1);
    std::thread::sleep(Duration::from_secs(3));
    let heard = driver.replies.try_iter().count();
    assert!((1000..20_000).contains(&heard), "{heard} statuses");
    let start = Instant::now();
    drop(driver.handle);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_driver_that_neither_reads_nor_heeds_signals_is_ended() {
    let driver = Driver::script("trap '' TERM; echo $$ >$RECORD; while :; do sleep 0.1; done");
    driver.revision(begin::Kind::Snapshot, 1, [namespace(&"x".repeat(1 << 20))]);
    let pid = driver.record(1)[0].as_u64().expect("a process id");
    let start = Instant::now();
    drop(driver.handle);
    assert!(!is_running(pid));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_driver_that_does_not_work_says_why_and_is_tried_again() {
    for (script, want) in [
        ("exit 3", "is gone: it ended with status 3"),
        (
            "printf '\\377\\377\\377\\377\\377\\377\\377\\377' >&4; sleep 60",
            "wrote what cannot be read: a message of 18446744073709551615 bytes was announced",
        ),
    ] {
        let driver = Driver::script(script);
        for revision in [1, 2] {
            driver.revision(begin::Kind::Snapshot, revision, [namespace("a")]);
            let reason = driver.start_over();
            // A driver may end before or after its pipe has taken the revision.
            let gone = reason.contains("does not read any more") && want.contains("status 3");
            assert!(gone || reason.contains(want), "{reason}");
        }
    }
}

#[test]
fn a_program_that_is_not_there_is_a_problem_and_not_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("nothing");
    let driver = Driver::start(dir, program.clone());
    driver.revision(begin::Kind::Snapshot, 1, [namespace("a")]);
    let reason = driver.start_over();
    assert!(reason.starts_with("the dataplane driver cannot be started: No such file"), "{reason}");
    write_program(&program, "exec cat <&3 >/dev/null");
    driver.revision(begin::Kind::Snapshot, 2, [namespace("a")]);
    assert_eq!(driver.ack().revision, 2);
}
