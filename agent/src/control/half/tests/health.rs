//! What probes are told of the loop, and what the metrics page shows of it.

use caracal_datastore::convert::Settings;
use caracal_datastore::{FileSource, Remote, Sink, Source, SourceError};
use caracal_proto::sync::{Alive, Measurement, Report, measurement};

use super::*;
use crate::control::Feed;
use crate::health::{self, Component, Quality, Ready};
use crate::metrics::Scrapes;

impl Loop {
    /// One part, once it is as it should be.
    fn part(&self, name: &str, check: impl Fn(&Component) -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let components = self.followers.health.components();
            let part = components.iter().find(|part| part.name == name).expect("it is registered");
            if check(part) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{part:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn readiness(&self) -> u16 {
        health::answer(&self.followers.health, Quality::Readiness).status
    }
}

#[test]
fn ready_is_in_sync_and_acknowledged() {
    let control = Loop::start();
    control.followers.health.report(health::DATASTORE, Ready::Yes, "");
    control.list();
    control.settle();
    control.part(health::GRAPH, Component::is_ready);
    control.part(health::DATAPLANE, |part| part.is_live() && !part.is_ready() && part.detail == "not connected");
    assert_eq!(control.readiness(), 503);

    let mut peer = control.attach(1);
    peer.welcome();
    peer.revision();
    control.part(health::DATAPLANE, |part| part.detail == "nothing is acknowledged");
    peer.ack(1);
    control.part(health::DATAPLANE, Component::is_ready);
    assert_eq!(control.readiness(), 204);

    control.inbox.send(Input::Detach { peer: PeerId(1) });
    control.part(health::DATAPLANE, |part| part.is_live() && !part.is_ready());
    control.end().expect("it was told to stop");
}

#[test]
fn a_thread_that_hangs_is_not_live() {
    let control = Loop::start();
    control.list();
    control.settle();
    control.part(health::GRAPH, Component::is_ready);
    let limit = Duration::from_millis(200);
    control.followers.health.set_overrides([(health::GRAPH.to_owned(), limit)].into());
    let (resume, resumed) = mpsc::channel::<()>();
    control.inbox.send(Input::Ask(Question::Look(Box::new(move |_| {
        // It ends with the sender.
        let _ = resumed.recv();
    }))));
    control.part(health::GRAPH, |part| !part.is_live() && !part.is_ready());
    assert_eq!(health::answer(&control.followers.health, Quality::Liveness).status, 503);
    drop(resume);
    control.part(health::GRAPH, Component::is_live);
    control.end().expect("it was told to stop");
}

/// Files, whose reader hangs whenever it has told everything, until the gate's other end is gone.
struct Stalling {
    files: FileSource,
    gate: mpsc::Receiver<()>,
}

impl Source for Stalling {
    fn remote(&self) -> Remote {
        self.files.remote()
    }

    fn list(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.files.list(&mut Stall { sink, gate: &self.gate })
    }

    fn run(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.files.run(&mut Stall { sink, gate: &self.gate })
    }
}

struct Stall<'a> {
    sink: &'a mut dyn Sink,
    gate: &'a mpsc::Receiver<()>,
}

impl Sink for Stall<'_> {
    fn event(&mut self, event: Event) {
        self.sink.event(event);
    }

    fn config(&mut self, event: ConfigEvent) {
        self.sink.config(event);
    }

    fn report(&mut self, report: caracal_datastore::Report) {
        self.sink.report(report);
    }

    fn settled(&mut self) {
        // It ends with the sender.
        let _ = self.gate.recv();
        self.sink.settled();
    }

    fn alive(&mut self) {
        self.sink.alive();
    }

    fn synced(&mut self, token: &str) {
        self.sink.synced(token);
    }
}

#[test]
fn a_source_that_hangs_is_not_live() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str| {
        let text = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n");
        std::fs::write(dir.path().join(format!("{name}.yaml")), text).expect("the directory can be written");
    };
    write("n1");
    let files = FileSource::open(dir.path(), Settings::default()).expect("a directory that can be read");
    let control = Loop::start();
    control.followers.health.register(health::DATASTORE, Some(Duration::from_secs(1)));
    let (open, gate) = mpsc::channel();
    let health = control.followers.health.clone();
    let alive = move || health.report(health::DATASTORE, Ready::Yes, "");
    let feed = Feed::start(Stalling { files, gate }, control.source.clone(), alive).expect("a thread");
    // Dropped before the feed, which waits for its thread.
    let hold = open;
    control.part(health::DATASTORE, |part| !part.is_live() && !part.is_ready());
    assert_eq!(health::answer(&control.followers.health, Quality::Liveness).status, 503);
    drop(hold);
    write("n2");
    control.part(health::DATASTORE, |part| part.is_live() && part.is_ready());
    drop(feed);
    control.end().expect("it was told to stop");
}

#[test]
fn a_source_is_ready_as_soon_as_it_has_told_everything() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = FileSource::open(dir.path(), Settings::default()).expect("a directory that can be read");
    let control = Loop::start();
    let health = control.followers.health.clone();
    let alive = move || health.report(health::DATASTORE, Ready::Yes, "");
    let feed = Feed::start(files, control.source.clone(), alive).expect("a thread");
    control.part(health::GRAPH, Component::is_ready);
    // Long before it says for the first time that it waits.
    let components = control.followers.health.components();
    assert!(components.iter().all(|part| part.name != health::DATASTORE || part.is_ready()), "{components:?}");
    drop(feed);
    control.end().expect("it was told to stop");
}

#[test]
fn a_data_half_that_hangs_is_not_live() {
    let control = Loop::start();
    control.list();
    control.settle();
    let mut peer = control.attach(1);
    peer.welcome();
    peer.revision();
    peer.ack(1);
    control.part(health::DATAPLANE, Component::is_ready);
    let limit = Duration::from_millis(200);
    control.followers.health.set_overrides([(health::DATAPLANE.to_owned(), limit)].into());
    control.part(health::DATAPLANE, |part| !part.is_live());
    peer.say(from_data::Frame::Alive(Alive {}));
    control.part(health::DATAPLANE, Component::is_live);
    control.end().expect("it was told to stop");
}

#[test]
fn the_metrics_page_has_both_halves() {
    let control = Loop::start();
    control.list();
    control.node("n1", 5);
    control.settle();
    let mut peer = control.attach(1);
    peer.welcome();
    peer.revision();
    peer.ack(1);
    let labels = [("what".to_owned(), "rules".to_owned())].into();
    let measurement = Measurement {
        name: "caracal_dataplane_retries_total".to_owned(),
        help: "Retries.".to_owned(),
        kind: measurement::Kind::Counter.into(),
        labels,
        value: 3.0,
    };
    peer.say(from_data::Frame::Report(Report { measurements: vec![measurement], problems: Vec::new() }));
    let scrapes = Scrapes::new(control.inbox.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let page = runtime.block_on(scrapes.page());
    for line in [
        "# TYPE caracal_dataplane_retries_total counter",
        "caracal_dataplane_retries_total{what=\"rules\"} 3",
        "felix_host{host=\"node-a\"} 1",
        "felix_resync_state 2",
        "felix_cluster_num_hosts 1",
        "felix_calc_graph_updates_processed{type=\"ResourceKey\"} 1",
        "# TYPE felix_calc_graph_update_time_seconds summary",
        "felix_calc_graph_update_time_seconds_count 1",
        "# TYPE caracal_event_to_kernel_seconds histogram",
        "caracal_revision_acknowledged 1",
        "felix_ipset_errors 0",
        "caracal_graph_answers 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not on the page:\n{page}");
    }
    assert!(page.contains("process_resident_memory_bytes "), "{page}");
    control.end().expect("it was told to stop");
}
