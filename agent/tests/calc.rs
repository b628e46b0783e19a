//! `caracal calc` as a program, on small directories.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: node-a}
";

const BROKEN: &str = "
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: broken, namespace: shop}
spec:
  selector: role = 'db'
";

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        write(dir.path(), name, text);
    }
    dir
}

/// Replaces a file by rename, as careful writers do.
fn write(dir: &Path, name: &str, text: &str) {
    let new = dir.join(format!(".new-{name}"));
    fs::write(&new, text).expect("the directory can be written");
    fs::rename(new, dir.join(name)).expect("the directory can be written");
}

fn caracal(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caracal"));
    command.args(args).env_remove("CARACAL_LOG").stdin(Stdio::null());
    command
}

fn calc(dir: &Path) -> Command {
    caracal(&["calc", "--datastore", &format!("file:{}", dir.display()), "--node", "node-a"])
}

fn run(mut command: Command) -> Output {
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the output is text")
}

fn lines(output: &Output) -> Vec<Value> {
    let lines = text(&output.stdout).lines();
    lines.map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

#[test]
fn prints_messages_up_to_in_sync() {
    let dir = directory(&[("node.yaml", NODE)]);
    let output = run(calc(dir.path()));
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
    let lines = lines(&output);
    assert_eq!(lines[0]["configUpdate"]["config"]["FelixHostname"], "node-a");
    assert!(lines.iter().any(|line| line["hostMetadataUpdate"]["hostname"] == "node-a"), "{lines:?}");
    let last = lines.len() - 1;
    assert_eq!(lines[last], json!({"sequenceNumber": last.to_string(), "inSync": {}}));
}

/// Objects that are right alone and cannot be true together.
const CONFLICTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIPs: [10.96.0.1, 'fd00:96::1'], ports: [{port: 443}]}
---
apiVersion: crd.projectcalico.org/v1
kind: IPPool
metadata: {name: wide}
spec: {cidr: 10.64.0.0/16}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: narrow}
spec: {cidr: 10.64.3.0/24, natOutgoing: true}
---
apiVersion: projectcalico.org/v3
kind: ClusterInformation
metadata: {name: default}
spec: {clusterGUID: 0af3, calicoVersion: v3.31.0, datastoreReady: true}
";

#[test]
fn of_what_conflicts_one_is_told_and_the_other_named() {
    let dir = directory(&[("conflicts.yaml", CONFLICTS), ("node.yaml", NODE)]);
    let output = run(calc(dir.path()));
    assert!(output.status.success());
    let lines = lines(&output);
    let told = |kind: &str, field: &str| -> Vec<&Value> {
        lines.iter().filter_map(|line| line.get(kind)).map(|payload| &payload[field]).collect()
    };
    assert_eq!(told("serviceUpdate", "name"), ["api"]);
    assert_eq!(told("ipamPoolUpdate", "id"), ["10.64.3.0-24"]);
    assert_eq!(told("hostMetadataUpdate", "hostname"), ["node-a"]);
    assert_eq!(lines[0]["configUpdate"]["config"]["ClusterGUID"], "0af3");
    assert_eq!(lines[0]["configUpdate"]["config"]["CalicoVersion"], "v3.31.0");
    for problem in [
        "Service shop/web is not in force: clusterIPs: 10.96.0.1 belongs to the service shop/api",
        "IPPool wide is not in force: cidr: 10.64.0.0/16 overlaps 10.64.3.0/24 of the pool narrow",
    ] {
        assert!(text(&output.stderr).contains(problem), "{}", text(&output.stderr));
    }
}

#[test]
fn what_is_refused_is_named_and_the_rest_goes_on() {
    let dir = directory(&[("broken.yaml", BROKEN), ("node.yaml", NODE)]);
    let output = run(calc(dir.path()));
    assert!(output.status.success());
    let errors = text(&output.stderr);
    for part in ["broken.yaml:6", "NetworkPolicy shop/broken", "spec.selector"] {
        assert!(errors.contains(part), "{part} is not in {errors}");
    }
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(text(&output.stdout).contains("hostMetadataUpdate"));
}

#[test]
fn a_node_that_nothing_is_on_is_told_of() {
    let pod = |node: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: shop, name: web}}\n\
             spec: {{nodeName: {node}, containers: [{{name: main, image: web}}]}}\nstatus: {{podIP: 10.0.0.1}}\n"
        )
    };
    let warning = "node node-a has no endpoint, other nodes have 1: is it called that in the cluster?";
    for (node, is_told) in [("node-a", false), ("worker-1", true)] {
        let dir = directory(&[("pod.yaml", &pod(node))]);
        let output = run(calc(dir.path()));
        assert_eq!(text(&output.stderr).contains(warning), is_told, "{node}");
    }
}

#[test]
fn failures_have_a_reason_and_a_status() {
    let nowhere = run(caracal(&["calc", "--datastore", "file:/nowhere", "--node", "n"]));
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).starts_with("caracal: cannot read the manifests below /nowhere: "));
    assert_eq!(text(&nowhere.stdout), "");

    let unknown = run(caracal(&["calc", "--datastore", "etcd:x"]));
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("\"etcd:x\" is not a datastore, write file:DIR"));

    let file = run(caracal(&["calc", "--datastore", "file:/", "--config-file", "/nowhere.cfg"]));
    assert_eq!(file.status.code(), Some(1));
    let want = "caracal: cannot read the configuration file /nowhere.cfg: No such file or directory (os error 2)\n";
    assert_eq!(text(&file.stderr), want);
}

#[test]
fn configuration_comes_from_files_and_the_environment() {
    let dir = directory(&[("felix.cfg", "[global]\nLogPrefix = from-file\nChainInsertMode = append\n")]);
    let file = dir.path().join("felix.cfg");
    let mut command = calc(dir.path());
    command.arg("--config-file").arg(&file);
    command.env("FELIX_LOGPREFIX", "felix").env("CARACAL_LOGPREFIX", "caracal").env("FELIX_LOGPREFX", "x");
    // No parameter, and not taken for one.
    command.env("CARACAL_LOG", "warn");
    let output = run(command);
    assert!(output.status.success());
    let config = &lines(&output)[0]["configUpdate"]["config"];
    assert_eq!((&config["LogPrefix"], &config["ChainInsertMode"]), (&json!("caracal"), &json!("append")));
    let warnings = text(&output.stderr);
    assert!(warnings.contains("LOGPREFX \"x\" from environment variable: no parameter has this name, LogPrefix has"));
    let differ = "LogPrefix \"felix\" from environment variable: another variable for the same differs; \"caracal\"";
    assert!(warnings.contains(differ), "{warnings}");
    assert_eq!(warnings.lines().count(), 2, "{warnings}");
}

/// A reader that has seen enough, such as `head`, is no failure.
#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let node = |i| format!("---\napiVersion: v1\nkind: Node\nmetadata: {{name: node-{i}}}\n");
    let many: String = (0..4000).map(node).collect();
    let dir = directory(&[("nodes.yaml", &many)]);
    let mut child = calc(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

struct Follower {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Follower {
    fn start(dir: &Path) -> Self {
        let mut command = calc(dir);
        command.arg("--follow").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    /// The lines up to and including the one that holds `key`.
    fn until(&mut self, key: &str) -> Vec<Value> {
        let mut lines: Vec<Value> = Vec::new();
        while lines.last().is_none_or(|line| line.get(key).is_none()) {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("the pipe is open");
            assert_ne!(read, 0, "the program ended after {lines:?}");
            lines.push(serde_json::from_str(&line).expect("each line is JSON"));
        }
        lines
    }

    fn terminate(mut self) -> (Option<i32>, String) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
        let mut errors = String::new();
        let stderr = self.child.stderr.as_mut().expect("it is piped");
        stderr.read_to_string(&mut errors).expect("it is text");
        (self.child.wait().expect("it ends").code(), errors)
    }
}

#[test]
fn follow_goes_on_until_it_is_told_to_stop() {
    let dir = directory(&[("node.yaml", NODE)]);
    let mut follower = Follower::start(dir.path());
    follower.until("inSync");

    write(dir.path(), "more.yaml", &NODE.replace("node-a", "node-b"));
    fs::remove_file(dir.path().join("node.yaml")).expect("it is there");
    write(dir.path(), ".sync", "step-1\n");
    let lines = follower.until("caracal");
    assert_eq!(lines.last(), Some(&json!({"caracal": {"synced": "step-1"}})));
    assert!(lines.iter().any(|line| line["hostMetadataUpdate"]["hostname"] == "node-b"), "{lines:?}");
    assert!(lines.iter().any(|line| line["hostMetadataRemove"]["hostname"] == "node-a"), "{lines:?}");

    // Nothing was done before this token.
    write(dir.path(), ".sync", "step-2");
    assert_eq!(follower.until("caracal"), [json!({"caracal": {"synced": "step-2"}})]);

    assert_eq!(follower.terminate(), (Some(0), String::new()));
}
