//! What each kind of edit tells: exactly the objects that changed.

mod edits;
mod links;
mod random;
mod refusals;
mod resources;

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use caracal_model::{Event, Key, Object};
use tempfile::TempDir;

use super::FileSource;
use super::schedule::{Pace, Schedule};
use crate::convert::Settings;
use crate::source::{ConfigEvent, Remote, Report, Request, Sink, Source, SourceError};

/// Longer than any wait of the source, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything a source tells, as lines.
struct Lines(Sender<String>);

impl Lines {
    fn tell(&self, line: String) {
        self.0.send(line).expect("the test listens");
    }
}

impl Sink for Lines {
    fn event(&mut self, event: Event) {
        self.tell(match event {
            Event::Begin(kind) => format!("begin {kind:?}"),
            Event::Apply(_, object, _) => format!("apply {}", describe(&object)),
            Event::Delete(_, key, _) => format!("delete {}", name(&key)),
            Event::End(kind) => format!("end {kind:?}"),
        });
    }

    fn config(&mut self, event: ConfigEvent) {
        self.tell(match event {
            ConfigEvent::Begin => "begin config".to_owned(),
            ConfigEvent::Apply(config) => format!("apply config {} {:?}", config.name, config.spec),
            ConfigEvent::Delete(name) => format!("delete config {name}"),
            ConfigEvent::Cluster(Some(information)) => format!("cluster {}", information.cluster_guid),
            ConfigEvent::Cluster(None) => "cluster says nothing".to_owned(),
            ConfigEvent::Bgp(Some(configuration)) => format!("bgp {:?}", configuration.service_cluster),
            ConfigEvent::Bgp(None) => "bgp says nothing".to_owned(),
            ConfigEvent::End => "end config".to_owned(),
        });
    }

    fn report(&mut self, report: Report) {
        self.tell(match report {
            Report::Raised(problem) => format!("raised {problem}"),
            Report::Cleared(problem) => format!("cleared {problem}"),
            Report::SkippedKind { kind, place } => format!("skipped {kind} at {place}"),
        });
    }

    fn converts(&mut self, settings: &Settings) {
        self.tell(format!("converts {}", settings.interface_prefix));
    }

    fn settled(&mut self) {
        self.tell("settled".to_owned());
    }

    fn synced(&mut self, token: &str) {
        self.tell(format!("synced {token}"));
    }
}

fn name(key: &Key) -> String {
    match key {
        Key::WorkloadEndpoint(key) => format!("endpoint {key}"),
        Key::HostEndpoint(key) => format!("host endpoint {}", key.name),
        Key::Policy(key) => format!("policy {key}"),
        Key::Profile(name) => format!("profile {name}"),
        Key::Tier(name) => format!("tier {name}"),
        Key::NetworkSet(key) => format!("set {}", key.0),
        Key::Node(name) => format!("node {name}"),
        Key::EndpointSlice(key) => format!("slice {}/{}", key.namespace, key.name),
        Key::Service(key) => format!("service {}/{}", key.namespace, key.name),
        Key::IpPool(name) => format!("pool {name}"),
    }
}

/// The object's name, and what tells the versions in these tests apart.
fn describe(object: &Object) -> String {
    let version = match object {
        Object::NetworkSet(_, set) => format!(" {:?}", set.nets),
        Object::WorkloadEndpoint(key, endpoint) => format!(" on {} {:?}", key.host, endpoint.ipv4_nets),
        _ => String::new(),
    };
    name(&object.key()) + &version
}

/// A source that follows a temporary directory.
struct Followed {
    /// The directory, or what it is in.
    directory: TempDir,
    lines: Receiver<String>,
    remote: Remote,
    thread: Option<JoinHandle<()>>,
    /// How many tokens were given.
    tokens: Cell<u32>,
}

impl Followed {
    /// Follows a directory with these files; the first list is forgotten.
    fn start(files: &[(&str, &str)]) -> Self {
        Self::start_in(directory_with(files))
    }

    fn start_in(directory: TempDir) -> Self {
        let source = open(directory.path());
        Self::run(directory, source, |source, sink| source.run(sink))
    }

    /// Follows a directory, but believes that what rests goes on: only what is
    /// complete and the token make it look. So how long an edit takes does not
    /// matter.
    fn start_patient(files: &[(&str, &str)]) -> Self {
        let directory = directory_with(files);
        let mut source = open(directory.path());
        source.schedule = Schedule::new(Pace { quiet: PATIENCE, removal_grace: PATIENCE });
        Self::run(directory, source, |source, sink| source.run(sink))
    }

    fn run(
        directory: TempDir,
        mut source: FileSource,
        run: fn(&mut FileSource, &mut dyn Sink) -> Result<(), SourceError>,
    ) -> Self {
        let (tell, lines) = channel();
        let remote = source.remote();
        let thread = std::thread::spawn(move || run(&mut source, &mut Lines(tell)).expect("it is listed"));
        let thread = Some(thread);
        let followed = Self { directory, lines, remote, thread, tokens: Cell::new(0) };
        followed.until("settled");
        followed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The lines up to one that is as given, which is left out.
    fn until(&self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("{last} does not come after {lines:?}"));
            if line == last {
                return lines;
            }
            lines.push(self.without_directory(&line));
        }
    }

    fn without_directory(&self, line: &str) -> String {
        line.replace(&format!("{}/", self.directory.path().display()), "")
    }

    /// Does something to the directory, and answers with all that is told of it.
    fn after(&self, edit: impl FnOnce(&Path)) -> Vec<String> {
        edit(self.directory.path());
        let token = self.tokens.get() + 1;
        self.tokens.set(token);
        put(&self.path(".sync"), &token.to_string());
        let mut lines = self.until(&format!("synced {token}"));
        lines.retain(|line| line != "settled");
        lines
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.remote.ask(Request::Stop);
        let ended = self.thread.take().expect("it is taken once").join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn directory_with(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    for (name, text) in files {
        put(&directory.path().join(name), text);
    }
    directory
}

fn open(directory: &Path) -> FileSource {
    FileSource::open(directory, Settings::default()).expect("it exists")
}

/// Writes a file as a careful program does: elsewhere, and then renamed.
fn put(path: &Path, text: &str) {
    try_put(path, text).expect("written");
}

fn try_put(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().expect("a file is in a directory");
    fs::create_dir_all(directory)?;
    let hidden = directory.join(".written");
    fs::write(&hidden, text)?;
    fs::rename(hidden, path)
}

fn set(name: &str, net: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {{name: {name}}}\nspec: {{nets: [{net}]}}\n"
    )
}
