//! The policy sync API of `caracal control`, over the sockets of pods.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use caracal_agent::encode::MAX_MEMBERS;
use caracal_proto::felix::policy_sync_client::PolicySyncClient;
use caracal_proto::felix::{DataplaneStats, SyncRequest, ToDataplane, to_dataplane::Payload};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-a}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: retail}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: till, namespace: shop}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web-from-till, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: till}}}]}]
";

/// A node with a control half and nothing else.
struct Node {
    dir: TempDir,
    child: Child,
}

impl Node {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// A control half that finds these pods when it starts: name, app and address.
    fn start_with(pods: &[(&str, &str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["manifests", "sync/creds", "sync/mount"] {
            fs::create_dir_all(dir.path().join(name)).expect("the directory can be written");
        }
        let mut control = Command::new(env!("CARGO_BIN_EXE_caracal"));
        control
            .args(["control", "--node", "node-a", "--log-level", "off", "--datastore"])
            .arg(format!("file:{}", dir.path().join("manifests").display()))
            .arg("--socket")
            .arg(dir.path().join("sync.sock"))
            .arg("--admin-socket")
            .arg(dir.path().join("admin.sock"))
            .stdin(Stdio::null());
        configure(dir.path(), &format!("policySyncPathPrefix: {}", dir.path().join("sync").display()));
        manifest(dir.path(), "cluster", CLUSTER);
        for (name, app, ip) in pods {
            manifest(dir.path(), name, &pod(name, app, ip));
        }
        Self { child: control.spawn().expect("the program runs"), dir }
    }

    fn pod(&self, name: &str, app: &str, ip: &str) {
        manifest(self.dir.path(), name, &pod(name, app, ip));
    }

    /// What the driver on the node does for a pod that mounts a socket.
    fn mount(&self, pod: &str) -> PathBuf {
        fs::create_dir_all(self.dir.path().join("sync/mount").join(pod)).expect("the directory can be written");
        let text = format!(r#"{{"Uid":"{pod}","Workload":"{pod}","Namespace":"shop","ServiceAccount":"till"}}"#);
        write(self.dir.path(), &format!("sync/creds/{pod}.json"), &text);
        self.dir.path().join("sync/mount").join(pod).join("socket")
    }

    fn unmount(&self, pod: &str) {
        fs::remove_file(self.dir.path().join("sync/creds").join(format!("{pod}.json"))).expect("it was mounted");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It has not ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file in one step.
fn write(dir: &Path, path: &str, text: &str) {
    fs::write(dir.join(".new"), text).expect("the directory can be written");
    fs::rename(dir.join(".new"), dir.join(path)).expect("the directory can be written");
}

fn manifest(dir: &Path, name: &str, text: &str) {
    write(dir, &format!("manifests/{name}.yaml"), text);
}

fn configure(dir: &Path, parameter: &str) {
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\nspec: {{{parameter}}}\n"
    );
    manifest(dir, "configuration", &text);
}

fn pod(name: &str, app: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}\n\
         spec: {{nodeName: node-a, containers: [{{name: c, image: i}}]}}\n\
         status: {{phase: Running, podIP: {ip}, podIPs: [{{ip: {ip}}}]}}\n"
    )
}

async fn connect(socket: &Path) -> PolicySyncClient<Channel> {
    let start = Instant::now();
    loop {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        match Endpoint::from_static("http://pod").connect_with_connector(connector).await {
            Ok(channel) => return PolicySyncClient::new(channel),
            Err(error) => assert!(start.elapsed() < PATIENCE, "{}: {error:?}", socket.display()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn sync(socket: &Path) -> Streaming<ToDataplane> {
    connect(socket).await.sync(SyncRequest {}).await.expect("a stream").into_inner()
}

/// The next message in short; `None` at the stream's end.
async fn next(stream: &mut Streaming<ToDataplane>) -> Option<String> {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("a message").expect("no error")?;
    assert_eq!(message.sequence_number, 0);
    Some(match message.payload.expect("a payload") {
        Payload::IpsetUpdate(set) => format!("set {}", set.members.join(" ")),
        Payload::IpsetDeltaUpdate(delta) => {
            format!("delta +{} -{}", delta.added_members.join(" "), delta.removed_members.join(" "))
        }
        Payload::ActivePolicyUpdate(policy) => format!("policy {}", policy.id.expect("an id").name),
        Payload::ActiveProfileUpdate(profile) => format!("profile {}", profile.id.expect("an id").name),
        Payload::WorkloadEndpointUpdate(endpoint) => format!("endpoint {}", endpoint.id.expect("an id").workload_id),
        Payload::WorkloadEndpointRemove(endpoint) => format!("no endpoint {}", endpoint.id.expect("an id").workload_id),
        Payload::ServiceAccountUpdate(account) => format!("account {}", account.id.expect("an id").name),
        Payload::NamespaceUpdate(namespace) => format!("namespace {}", namespace.id.expect("an id").name),
        Payload::InSync(_) => "in sync".to_owned(),
        other => panic!("not expected here: {other:?}"),
    })
}

async fn expect(stream: &mut Streaming<ToDataplane>, want: &[&str]) {
    for want in want {
        assert_eq!(next(stream).await.as_deref(), Some(*want));
    }
}

async fn until(stream: &mut Streaming<ToDataplane>, want: &str) {
    while next(stream).await.expect("the stream goes on") != want {}
}

#[tokio::test]
async fn a_pod_reads_what_applies_to_it() {
    let node = Node::start_with(&[("web-1", "web", "10.65.0.1"), ("till-1", "till", "10.65.0.2")]);
    let mut web = sync(&node.mount("web-1")).await;
    let mut till = sync(&node.mount("till-1")).await;
    let subjects = ["account till", "namespace shop", "in sync"];
    expect(&mut web, &["set 10.65.0.2/32", "policy web-from-till", "profile kns.shop", "endpoint shop/web-1"]).await;
    expect(&mut web, &subjects).await;
    expect(&mut till, &["profile kns.shop", "endpoint shop/till-1"]).await;
    expect(&mut till, &subjects).await;

    // Without a data half, which nobody started here.
    node.pod("till-2", "till", "10.65.0.3");
    expect(&mut web, &["delta +10.65.0.3/32 -"]).await;
}

#[tokio::test]
async fn a_second_stream_ends_the_first_and_the_pods_end_the_second() {
    let node = Node::start();
    let socket = node.mount("web-1");
    let mut first = sync(&socket).await;
    until(&mut first, "in sync").await;
    node.pod("web-1", "web", "10.65.0.1");
    until(&mut first, "endpoint shop/web-1").await;

    let mut second = sync(&socket).await;
    assert_eq!(next(&mut first).await, None);
    until(&mut second, "in sync").await;
    fs::remove_file(node.dir.path().join("manifests/web-1.yaml")).expect("the pod is there");
    expect(&mut second, &["no endpoint shop/web-1"]).await;
    assert_eq!(next(&mut second).await, None);
}

#[tokio::test]
async fn a_pod_that_joins_again_and_again_has_to_wait() {
    let node = Node::start();
    let mut client = connect(&node.mount("web-1")).await;
    let start = Instant::now();
    for _ in 0..5 {
        client.sync(SyncRequest {}).await.expect("a stream");
    }
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

/// Descriptors are what policy is read with.
#[tokio::test]
async fn a_pod_that_opens_many_connections_takes_few_descriptors() {
    let node = Node::start();
    let (greedy, other) = (node.mount("web-1"), node.mount("web-2"));
    drop((connect(&greedy).await, connect(&other).await));
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", node.child.id())).expect("it runs").count();
    let before = descriptors();
    let mut many = Vec::new();
    for _ in 0..100 {
        many.push(UnixStream::connect(&greedy).await.expect("there is room in the backlog"));
    }
    wait_for("some are accepted", || descriptors() > before + 10).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(descriptors() < before + 30, "{before} before, {} now", descriptors());
    assert!(!connect(&other).await.report(DataplaneStats::default()).await.expect("an answer").into_inner().successful);
    drop(many);
    assert!(
        !connect(&greedy).await.report(DataplaneStats::default()).await.expect("an answer").into_inner().successful
    );
}

#[tokio::test]
async fn nobody_collects_reports() {
    let node = Node::start();
    let mut client = connect(&node.mount("web-1")).await;
    let result = client.report(DataplaneStats::default()).await.expect("an answer").into_inner();
    assert!(!result.successful);
}

async fn wait_for(what: &str, reached: impl Fn() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_socket_goes_with_its_credentials() {
    let node = Node::start();
    let socket = node.mount("web-1");
    drop(connect(&socket).await);
    write(node.dir.path(), "sync/creds/broken.json", "{}");
    let other = node.mount("web-2");
    drop(connect(&other).await);
    node.unmount("web-1");
    wait_for("the socket goes", || !socket.exists()).await;
    assert!(other.exists());
}

/// Waits for a socket, and reads which endpoint its stream tells of.
async fn endpoint_of(socket: &Path) -> String {
    let mut stream = sync(socket).await;
    loop {
        let told = next(&mut stream).await.expect("the stream goes on");
        if told.starts_with("endpoint ") {
            return told;
        }
    }
}

#[tokio::test]
async fn a_socket_follows_its_credentials_and_comes_back() {
    let node = Node::start_with(&[("web-1", "web", "10.65.0.1"), ("till-1", "till", "10.65.0.2")]);
    let socket = node.mount("web-1");
    assert_eq!(endpoint_of(&socket).await, "endpoint shop/web-1");

    // A pipe that nobody writes holds up nobody.
    let pipe = node.dir.path().join("sync/creds/pipe.json");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");

    let inode = || fs::metadata(&socket).map(|found| found.ino()).ok();
    let first = inode();
    let text = r#"{"Uid":"web-1","Workload":"till-1","Namespace":"shop","ServiceAccount":"till"}"#;
    write(node.dir.path(), "sync/creds/web-1.json", text);
    wait_for("another socket", || inode().is_some_and(|found| Some(found) != first)).await;
    assert_eq!(endpoint_of(&socket).await, "endpoint shop/till-1");

    fs::remove_dir_all(socket.parent().expect("a directory")).expect("the pod is unmounted");
    fs::create_dir(socket.parent().expect("a directory")).expect("and mounted again");
    assert_eq!(endpoint_of(&socket).await, "endpoint shop/till-1");
}

#[tokio::test]
async fn streams_end_when_the_api_is_turned_off() {
    let node = Node::start_with(&[("web-1", "web", "10.65.0.1")]);
    let socket = node.mount("web-1");
    let mut stream = sync(&socket).await;
    until(&mut stream, "in sync").await;
    configure(node.dir.path(), "");
    assert_eq!(next(&mut stream).await, None);
    wait_for("the socket goes", || !socket.exists()).await;
}

const INSTALLED: &str = "scripts/install-test-packages installs what the client needs";

/// A client in Python, generated by protoc; see its first lines.
fn other_client(socket: &Path) -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(here.join("../target/python/bin/python"));
    command
        .arg(here.join("tests/policysync/client.py"))
        .arg(here.join("../proto/felix/felixbackend.proto"))
        .arg(socket)
        .stderr(Stdio::inherit());
    command
}

/// The messages that it printed.
fn messages(lines: &[impl AsRef<str>]) -> Vec<ToDataplane> {
    lines.iter().map(|line| serde_json::from_str(line.as_ref()).expect("a message")).collect()
}

#[tokio::test]
async fn a_client_of_another_toolchain_reads_the_same() {
    let node = Node::start_with(&[("web-1", "web", "10.65.0.1"), ("till-1", "till", "10.65.0.2")]);
    let socket = node.mount("web-1");
    let mut stream = sync(&socket).await;
    let mut ours = Vec::new();
    while !matches!(ours.last(), Some(ToDataplane { payload: Some(Payload::InSync(_)), .. })) {
        ours.push(stream.message().await.expect("no error").expect("the stream goes on"));
    }
    drop(stream);

    let output = other_client(&socket).output().expect(INSTALLED);
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.pop(), Some("{}"), "a report is not successful, which is the default and not written");
    assert_eq!(messages(&lines), ours);
}

/// One policy with a set larger than a message, with requests and with accounts.
const REQUESTS: &str = "
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: default.requests, namespace: shop}
spec:
  selector: app == 'web'
  ingress:
  - action: Allow
    http: {methods: [GET], paths: [{prefix: /shop}]}
    source: {selector: many == 'yes', namespaceSelector: global()}
  - action: Allow
    source: {serviceAccounts: {names: [till]}}
";

#[tokio::test]
async fn a_client_of_another_toolchain_reads_large_sets_and_matches_of_requests() {
    const MEMBERS: usize = MAX_MEMBERS + 100;
    let node = Node::start_with(&[("web-1", "web", "10.65.0.1")]);
    let nets: Vec<_> = (0..MEMBERS).map(|n| format!("\"10.{}.{}.{}\"", n >> 15, n >> 7 & 255, (n & 127) * 2)).collect();
    let set = format!(
        r#"{{"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
            "metadata": {{"name": "many", "labels": {{"many": "yes"}}}}, "spec": {{"nets": [{}]}}}}"#,
        nets.join(",")
    );
    manifest(node.dir.path(), "many", &set);
    manifest(node.dir.path(), "requests", REQUESTS);
    let socket = node.mount("web-1");
    until(&mut sync(&socket).await, "policy default.requests").await;

    let output = other_client(&socket).output().expect(INSTALLED);
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    let lines: Vec<_> = text.lines().collect();
    let (mut members, mut rules) = (Vec::new(), Vec::new());
    for message in messages(&lines[..lines.len() - 1]) {
        match message.payload.expect("a payload") {
            Payload::IpsetUpdate(update) if update.members.len() > 1 => members.push(update.members.len()),
            Payload::IpsetDeltaUpdate(delta) => members.push(delta.added_members.len()),
            Payload::ActivePolicyUpdate(update) if update.id.as_ref().expect("an id").name == "default.requests" => {
                rules = update.policy.expect("a policy").inbound_rules;
            }
            _ => {}
        }
    }
    assert_eq!(members, [MAX_MEMBERS, MEMBERS - MAX_MEMBERS]);
    let request = rules[0].http_match.as_ref().expect("the match of requests comes along");
    assert_eq!(request.methods, ["GET"]);
    assert_eq!(request.paths.len(), 1);
    let accounts = rules[1].src_service_account_match.as_ref().expect("the match of accounts comes along");
    assert_eq!(accounts.names, ["till"]);
}

#[tokio::test]
async fn the_first_stream_of_another_toolchain_ends_well_when_a_second_one_begins() {
    let node = Node::start_with(&[("web-1", "web", "10.65.0.1")]);
    let socket = node.mount("web-1");
    drop(connect(&socket).await);
    let mut first = other_client(&socket).arg("to-the-end").stdout(Stdio::piped()).spawn().expect(INSTALLED);
    let mut lines = BufReader::new(first.stdout.take().expect("its output")).lines().map(|line| line.expect("text"));
    while lines.next().expect("it is in sync at some time") != r#"{"inSync": {}}"# {}
    node.pod("till-1", "till", "10.65.0.2");
    let change = messages(&[lines.next().expect("the stream goes on")]).remove(0);
    assert!(matches!(change.payload, Some(Payload::IpsetDeltaUpdate(_))), "{change:?}");

    let second = other_client(&socket).output().expect(INSTALLED);
    assert!(second.status.success(), "{}", second.status);
    assert!(first.wait().expect("it ends").success(), "its stream ends without an error");
    assert_eq!(lines.collect::<Vec<_>>(), ["{}"], "the answer to its report follows");
}
