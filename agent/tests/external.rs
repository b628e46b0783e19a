//! `caracal agent` and `caracal dataplane` with a dataplane driver of somebody else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use caracal_external::framing;
use caracal_proto::felix::{ToDataplane, to_dataplane::Payload};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of manifests, a driver, and programs that run on them.
struct Node {
    dir: TempDir,
    programs: Vec<Child>,
}

impl Node {
    /// The driver is a shell script; `$HERE` in it is the node's directory.
    fn new(driver: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("manifests")).expect("the directory can be written");
        let node = Self { dir, programs: Vec::new() };
        node.write("namespace", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
        // From another process: a file that this one has open for writing could
        // not be run while it starts other children.
        let status = Command::new("sh")
            .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 700 \"$0\""])
            .arg(node.path("driver"))
            .arg(format!("HERE={}\n{driver}", node.dir.path().display()))
            .status();
        assert!(status.expect("a shell").success());
        node
    }

    /// A driver that copies what it is told into a file for each of its processes, `told.PID`.
    fn recording() -> Self {
        Self::new("exec cat <&3 >$HERE/told.$$")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&mut self, arguments: &[&str]) {
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_caracal"))
            .args(arguments)
            .args(["--log-level", "debug"])
            .env("FELIX_USEINTERNALDATAPLANEDRIVER", "false")
            .env("FELIX_DATAPLANEDRIVER", self.path("driver"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program runs");
        self.programs.push(child);
    }

    /// Starts a program that reads the manifests.
    fn read(&mut self, command: &str, arguments: &[&str]) {
        let datastore = format!("file:{}", self.path("manifests").display());
        let admin = self.path("admin.sock").display().to_string();
        let common = [command, "--node", "node-a", "--datastore", &datastore, "--admin-socket", &admin];
        self.run(&[&common, arguments].concat());
    }

    fn agent(&mut self) {
        self.read("agent", &[]);
    }

    fn control(&mut self) {
        let socket = self.path("sync.sock").display().to_string();
        self.read("control", &["--socket", &socket]);
    }

    fn dataplane(&mut self) {
        let socket = self.path("sync.sock").display().to_string();
        self.run(&["dataplane", "--socket", &socket]);
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).expect("the directory can be written");
        fs::rename(self.path("new"), self.path("manifests").join(format!("{name}.yaml"))).expect("a name");
    }

    /// A pod on the node.
    fn pod(&self, name: &str, address: &str) {
        self.write(name, &pod(name, address));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The processes of the recording driver, oldest first.
    fn drivers(&self) -> Vec<i32> {
        let entries = fs::read_dir(self.dir.path()).expect("the directory is there");
        let mut found: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.expect("an entry");
                let pid = entry.file_name().to_str()?.strip_prefix("told.")?.parse().ok()?;
                Some((entry.metadata().expect("its times").created().expect("a time"), pid))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, pid)| pid).collect()
    }

    /// What the driver with this process id was told whole.
    fn told(&self, pid: i32) -> Vec<ToDataplane> {
        let mut stream = Vec::new();
        File::open(self.path(&format!("told.{pid}"))).expect("it is there").read_to_end(&mut stream).expect("a file");
        let mut stream = stream.as_slice();
        let mut messages = Vec::new();
        // A message of which only a part was written is told later.
        while let Ok(Some(message)) = framing::read(&mut stream) {
            messages.push(message);
        }
        messages
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "{what}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the newest of `count` drivers knows these endpoints; its process id.
    fn knows(&self, count: usize, endpoints: &[&str]) -> i32 {
        let endpoints: BTreeSet<_> = endpoints.iter().map(ToString::to_string).collect();
        self.until(&format!("driver {count} knows {endpoints:?}"), || {
            let drivers = self.drivers();
            let newest = *drivers.last().filter(|_| drivers.len() == count)?;
            let messages = self.told(newest);
            let in_sync = messages.iter().any(|message| matches!(message.payload, Some(Payload::InSync(_))));
            (in_sync && fold(&messages) == endpoints).then_some(newest)
        })
    }

    /// Ends the program that was started last, well.
    fn stop(&mut self) {
        let mut child = self.programs.pop().expect("a program runs");
        let pid = i32::try_from(child.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
        assert!(child.wait().expect("it ends").success(), "{}", self.log());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for mut child in self.programs.drain(..) {
            // A test that failed leaves them; their drivers end with their input.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn pod(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{nodeName: node-a, containers: [{{name: c, image: i}}]}}\n\
         status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}]}}\n"
    )
}

/// The workload endpoints that messages amount to.
fn fold(messages: &[ToDataplane]) -> BTreeSet<String> {
    let mut endpoints = BTreeSet::new();
    for message in messages {
        match &message.payload {
            Some(Payload::WorkloadEndpointUpdate(update)) => {
                endpoints.insert(update.id.clone().expect("an id").workload_id);
            }
            Some(Payload::WorkloadEndpointRemove(remove)) => {
                endpoints.remove(&remove.id.clone().expect("an id").workload_id);
            }
            _ => {}
        }
    }
    endpoints
}

fn is_running(pid: i32) -> bool {
    // The state is after the name in parentheses; Z is what is left of a process that has ended.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn the_agent_feeds_a_driver_and_ends_it() {
    let mut node = Node::recording();
    node.pod("web", "10.65.0.1");
    node.agent();
    let driver = node.knows(1, &["shop/web"]);
    let messages = node.told(driver);
    assert!(matches!(messages[0].payload, Some(Payload::ConfigUpdate(_))), "{:?}", messages[0]);
    node.pod("till", "10.65.0.2");
    node.knows(1, &["shop/till", "shop/web"]);
    fs::remove_file(node.path("manifests/web.yaml")).expect("it is there");
    node.knows(1, &["shop/till"]);
    let numbers: Vec<_> = node.told(driver).iter().map(|message| message.sequence_number).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    node.stop();
    assert!(!is_running(driver), "the agent ends its driver");
}

#[test]
fn a_killed_driver_comes_back_to_a_snapshot() {
    let mut node = Node::recording();
    node.pod("web", "10.65.0.1");
    node.agent();
    for life in 1..=3 {
        let driver = node.knows(life, &["shop/web"]);
        kill(Pid::from_raw(driver), Signal::SIGKILL).expect("it runs");
    }
    // What changes while there is none is in the snapshot.
    node.pod("till", "10.65.0.2");
    let driver = node.knows(4, &["shop/till", "shop/web"]);
    assert_eq!(node.told(driver)[0].sequence_number, 0);
    node.stop();
}

#[test]
fn changes_for_a_driver_that_does_not_read_are_folded() {
    // It takes in nothing until it may.
    let mut node = Node::new("while [ ! -e $HERE/go ]; do sleep 0.02; done; exec cat <&3 >$HERE/told.$$");
    // A snapshot that is larger than a pipe.
    let many =
        (0..800).map(|number| pod(&format!("many-{number}"), &format!("10.66.{}.{}", number / 250, number % 250)));
    node.write("many", &many.collect::<Vec<_>>().join("---\n"));
    node.agent();
    node.until("the driver runs", || node.log().contains("the dataplane driver runs").then_some(()));
    for version in 0..300 {
        node.pod("web", &format!("10.67.{}.{}", version / 250, version % 250));
        std::thread::sleep(Duration::from_millis(5));
    }
    node.pod("web", "10.65.0.1");
    std::thread::sleep(Duration::from_millis(500));
    fs::write(node.path("go"), "").expect("the directory can be written");
    let driver = node.until("the driver reads", || node.drivers().first().copied());
    node.pod("till", "10.65.0.2");
    node.until("the driver has all", || fold(&node.told(driver)).contains("shop/till").then_some(()));
    let told: Vec<_> = node.told(driver).into_iter().filter_map(web_address).collect();
    // In the snapshot perhaps, in the revision that waits behind it, and once with all the rest.
    assert!((2..=3).contains(&told.len()), "of 301 versions were told: {told:?}");
    assert_eq!(told.last().map(String::as_str), Some("10.65.0.1/32"));
    node.stop();
}

/// The address of `shop/web` that a message tells.
fn web_address(message: ToDataplane) -> Option<String> {
    match message.payload {
        Some(Payload::WorkloadEndpointUpdate(update)) if update.id.as_ref()?.workload_id == "shop/web" => {
            update.endpoint?.ipv4_nets.pop()
        }
        _ => None,
    }
}

#[test]
fn a_data_half_of_its_own_feeds_a_driver() {
    let mut node = Node::recording();
    node.pod("web", "10.65.0.1");
    node.dataplane();
    node.control();
    let driver = node.knows(1, &["shop/web"]);
    kill(Pid::from_raw(driver), Signal::SIGKILL).expect("it runs");
    node.knows(2, &["shop/web"]);
    // A control half that goes takes nothing along; another one's snapshot is for another driver.
    node.stop();
    let second = node.drivers()[1];
    std::thread::sleep(Duration::from_millis(100));
    assert!(is_running(second));
    node.pod("till", "10.65.0.2");
    node.control();
    let third = node.knows(3, &["shop/till", "shop/web"]);
    assert!(!is_running(second));
    node.stop();
    node.stop();
    assert!(!is_running(third));
}

#[test]
fn the_example_in_the_documentation_works() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../target/python/bin/python");
    assert!(python.exists(), "scripts/install-test-packages installs what the example needs");
    let page = fs::read_to_string(here.join("../docs/external-driver.md")).expect("the page is there");
    let (_, rest) = page.split_once("```python\n").expect("the page has an example");
    let (example, _) = rest.split_once("```").expect("the example ends");
    let mut node = Node::new(&format!("cd $HERE && exec {} example.py", python.display()));
    fs::write(node.path("example.py"), example).expect("the directory can be written");
    let proto = here.join("../proto/felix");
    let generated = Command::new(&python)
        .args(["-m", "grpc_tools.protoc", "felixbackend.proto"])
        .arg(format!("-I{}", proto.display()))
        .arg(format!("--python_out={}", node.dir.path().display()))
        .status()
        .expect("it runs");
    assert!(generated.success());

    node.pod("web", "10.65.0.1");
    node.agent();
    for want in
        ["driver: 0 config_update", "in_sync", "workload_endpoint_update", "programmed endpoint=\"k8s/shop/web/eth0\""]
    {
        node.until(want, || node.log().contains(want).then_some(()));
    }
    node.stop();
}

#[test]
fn a_driver_that_is_not_there_is_an_error() {
    let mut node = Node::recording();
    fs::remove_file(node.path("driver")).expect("it is there");
    node.dataplane();
    let status = node.programs.pop().expect("it was started").wait().expect("it ends");
    assert_eq!(status.code(), Some(1));
    assert!(node.log().contains("DataplaneDriver names "), "{}", node.log());
}
