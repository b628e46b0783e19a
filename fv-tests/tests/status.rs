//! What a running agent says of itself: commands on the admin socket, probes,
//! metrics, endpoint-status files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use caracal_fv_tests::agent::{Process, datastore, program};
use caracal_fv_tests::cluster::{Cluster, NODE};
use caracal_fv_tests::pod::pod;
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

const POLICY: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open, namespace: default}
spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{}]}
";

/// A node with an agent that is asked.
struct Rig {
    cluster: Cluster,
    run: TempDir,
}

impl Rig {
    fn new() -> anyhow::Result<Self> {
        let rig = Self { cluster: Cluster::new()?, run: TempDir::new()? };
        rig.configure(9099, 9091)?;
        Ok(rig)
    }

    fn configure(&self, health: u16, metrics: u16) -> anyhow::Result<()> {
        let prefix = self.run.path().display();
        let text = format!(
            "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\n\
             spec: {{healthEnabled: true, healthHost: 192.0.2.1, healthPort: {health}, \
             prometheusMetricsEnabled: true, prometheusMetricsPort: {metrics}, \
             endpointStatusPathPrefix: {prefix}}}\n"
        );
        self.cluster.write("felix.yaml", &text).map(drop)
    }

    fn socket(&self) -> PathBuf {
        self.run.path().join("admin.sock")
    }

    fn agent(&self) -> anyhow::Result<Process> {
        let socket = self.socket();
        let socket = socket.to_str().context("the socket's path is text")?;
        let args = ["agent", "--datastore", &datastore(&self.cluster), "--node", NODE, "--admin-socket", socket];
        Process::start(&self.cluster, &args)
    }

    /// Runs a command that asks the agent.
    fn ask(&self, command: &str, args: &[&str]) -> anyhow::Result<Output> {
        Ok(Command::new(program()?).arg(command).arg("--admin-socket").arg(self.socket()).args(args).output()?)
    }

    /// A command's answer, and its exit status.
    fn answer(&self, command: &str) -> anyhow::Result<(Value, Option<i32>)> {
        let output = self.ask(command, &["--output", "json"])?;
        let answer = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{command}: {}", String::from_utf8_lossy(&output.stderr)))?;
        Ok((answer, output.status.code()))
    }

    /// The status and the body of a page of the node.
    fn get(&self, port: u16, path: &str) -> anyhow::Result<(u16, String)> {
        let text = self.cluster.node.run(|| -> anyhow::Result<String> {
            let mut stream = TcpStream::connect(("192.0.2.1", port))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })??;
        let (head, body) = text.split_once("\r\n\r\n").context("an answer has a head")?;
        let status = head.split(' ').nth(1).context("an answer has a status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// The endpoint-status files, by name.
    fn files(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.run.path().join("endpoint-status")).into_iter().flatten().flatten();
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(entry.path()))).collect()
    }
}

/// Tries until it is so; the last answer explains a failure.
fn eventually<T: std::fmt::Debug>(
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<T>,
    is_so: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        match seen {
            Ok(seen) if is_so(&seen) => return seen,
            seen => assert!(Instant::now() < deadline, "{what}: {seen:?}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_running_agent_says_how_it_is_doing() -> anyhow::Result<()> {
    let mut rig = Rig::new()?;
    rig.cluster.namespace("default", &[])?;
    rig.cluster.start_pod(pod("default/web", &[("app", "web")]))?;
    rig.cluster.write("policy.yaml", POLICY)?;
    fs::create_dir(rig.run.path().join("endpoint-status"))?;
    fs::write(rig.run.path().join("endpoint-status/k8s default%2Fgone eth0"), "{}")?;
    let agent = rig.agent()?;

    let (status, code) = eventually("status", || rig.answer("status"), |(status, _)| status["state"] == "ok");
    assert_eq!(code, Some(0));
    assert_eq!((&status["node"], &status["problems"]), (&Value::from(NODE), &Value::Array(Vec::new())));
    assert_eq!(status["halves"][1]["state"], "running");
    assert!(status["revisions"]["acknowledged"].as_u64() > Some(0), "{status}");
    let text = String::from_utf8(rig.ask("status", &[])?.stdout)?;
    assert!(text.starts_with(&format!("node {NODE}: ok\n")), "{text}");

    let (endpoints, code) = rig.answer("endpoints")?;
    let endpoint = &endpoints["endpoints"][0];
    assert_eq!((&endpoint["id"], code), (&Value::from("k8s/default%2Fweb/eth0".replace("%2F", "/")), Some(0)));
    assert_eq!(endpoint["outcome"], "programmed");
    assert_eq!(endpoint["revision"], status["revisions"]["acknowledged"]);
    let (policies, _) = rig.answer("policies")?;
    let policy = &policies["policies"][0];
    assert_eq!((&policy["name"], &policy["endpoints"]), (&Value::from("open"), &Value::from(1)), "{policies}");
    assert_eq!((&policy["tier"], &policy["inboundRules"]), (&Value::from("default"), &Value::from(1)));
    let text = String::from_utf8(rig.ask("policies", &[])?.stdout)?;
    assert!(text.starts_with("TIER ") && text.contains("\n\nPOLICY "), "{text}");
    // The data half was asked, and has said of which rules it knows.
    let count = &policy["counts"][0];
    assert_eq!((&count["direction"], &count["rule"]), (&Value::from("inbound"), &Value::from(0)), "{policies}");

    eventually("readiness", || rig.get(9099, "/readiness"), |(code, _)| [200, 204].contains(code));
    assert!([200, 204].contains(&rig.get(9099, "/liveness")?.0));
    let file = rig.files();
    assert_eq!(file.keys().collect::<Vec<_>>(), ["k8s default%2Fweb eth0"], "and not what an earlier run left");
    assert!(file["k8s default%2Fweb eth0"].starts_with(r#"{"ifaceName":"cali"#), "{file:?}");

    // An object that is refused degrades, by name, and closes nothing else.
    rig.cluster.write("broken.yaml", &POLICY.replace("Ingress]", "Nonsense]").replace("open", "broken"))?;
    let (status, code) = eventually("refusal", || rig.answer("status"), |(status, _)| status["state"] == "degraded");
    let problem = &status["problems"][0];
    assert_eq!(code, Some(3));
    assert_eq!(problem["subject"], "NetworkPolicy default/broken");
    assert_eq!(
        (&problem["field"], &problem["inForce"]),
        (&"spec.policyTypes[0]".into(), &"nothing".into()),
        "{problem}"
    );
    assert!(problem["place"].as_str().is_some_and(|place| place.ends_with("broken.yaml:5")), "{problem}");
    let (code, body) = rig.get(9099, "/readiness")?;
    assert_eq!(code, 200, "ready all the same");
    assert!(body.contains("degraded: 1 objects"), "{body}");

    // The listeners move while the agent runs.
    rig.configure(9199, 9191)?;
    eventually("the new port", || rig.get(9199, "/liveness"), |(code, _)| *code == 200);
    assert!(rig.get(9099, "/liveness").is_err(), "the old port is closed");
    eventually("the new port", || rig.get(9191, "/metrics"), |(code, _)| *code == 200);

    // A pod that goes takes its file along.
    rig.cluster.stop_pod("default/web")?;
    eventually("the file goes", || Ok(rig.files()), BTreeMap::is_empty);
    agent.stop()
}

const WALL: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: wall, namespace: default}
spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: spare}
spec: {node: node-a, interfaceName: spare0, expectedIPs: ["192.0.2.99"]}
"#;

/// The running agent answers as the manifests alone do, and adds what the kernel holds.
#[test]
fn a_running_agent_explains_as_the_manifests_do() -> anyhow::Result<()> {
    let mut rig = Rig::new()?;
    rig.cluster.namespace("default", &[])?;
    rig.cluster.start_pod(pod("default/web", &[("app", "web")]))?;
    rig.cluster.start_pod(pod("default/db", &[("app", "db")]))?;
    rig.cluster.write("wall.yaml", &WALL.replace("node-a", NODE))?;
    let agent = rig.agent()?;
    let outcomes = |rig: &Rig| -> anyhow::Result<Vec<(String, String, String)>> {
        let (answer, _) = rig.answer("endpoints")?;
        let endpoints = answer["endpoints"].as_array().context("a list")?.iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(endpoints.map(|it| (text(&it["kind"]), text(&it["id"]), text(&it["outcome"]))).collect())
    };
    let want = [
        ("workload", "k8s/default/db/eth0", "programmed"),
        ("workload", "k8s/default/web/eth0", "programmed"),
        ("host", "spare", "waiting for interface"),
    ];
    let want = want.map(|(kind, id, outcome)| (kind.to_owned(), id.to_owned(), outcome.to_owned()));
    eventually("receipts", || outcomes(&rig), |seen| *seen == want);

    for (from, to, port, verdict, local) in [
        ("default/web", "default/db", "80/tcp", "allow", 2),
        ("default/web", "default/db", "81/tcp", "deny", 2),
        ("198.51.100.9", "default/db", "80/tcp", "deny", 1),
    ] {
        let asked = ["--from", from, "--to", to, "--port", port, "--output", "json"];
        let live = rig.ask("explain", &asked)?;
        let mut live: Value = serde_json::from_slice(&live.stdout)
            .with_context(|| format!("{}", String::from_utf8_lossy(&live.stderr)))?;
        let source = datastore(&rig.cluster);
        let offline = Command::new(program()?).args(["explain", "--datastore", &source]).args(asked).output()?;
        let offline: Value = serde_json::from_slice(&offline.stdout)?;
        assert_eq!(live["verdict"], verdict, "{from} {to} {port}: {live}");
        let endpoints = live.as_object_mut().and_then(|live| live.remove("endpoints")).context("receipts")?;
        assert_eq!(live, offline, "{from} {to} {port}");
        let endpoints = endpoints.as_array().context("a list")?;
        assert_eq!(endpoints.len(), local, "{endpoints:?}");
        for endpoint in endpoints {
            assert_eq!(endpoint["outcome"], "programmed", "{endpoint}");
            assert!(endpoint["revision"].as_u64() > Some(0), "{endpoint}");
        }
    }
    let text = String::from_utf8(
        rig.ask("explain", &["--from", "default/web", "--to", "default/db", "--port", "81/tcp"])?.stdout,
    )?;
    assert!(text.starts_with("DENY  ") && text.contains("\nin the kernel  k8s/default/db/eth0 on cali"), "{text}");
    agent.stop()
}

/// What the rows of a page's tables begin with.
fn names(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next()).collect()
}

#[test]
fn the_page_about_metrics_lists_what_is_served() -> anyhow::Result<()> {
    let mut rig = Rig::new()?;
    rig.cluster.namespace("default", &[])?;
    rig.cluster.start_pod(pod("default/web", &[]))?;
    rig.cluster.write("policy.yaml", POLICY)?;
    let agent = rig.agent()?;
    // The data half's first report is a few seconds behind.
    let is_whole = |(_, page): &(u16, String)| page.contains("felix_int_dataplane_apply_time_seconds_count");
    let (_, page) = eventually("metrics", || rig.get(9091, "/metrics"), is_whole);
    agent.stop()?;

    let served: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = fs::read_to_string(path)?;
    let (always, sometimes) = text.split_once("## Once there is something to count").context("the second section")?;
    let (sometimes, never) = sometimes.split_once("## Felix's names that are absent").context("the third section")?;
    let [always, sometimes, never] = [always, sometimes, never].map(names);
    let unlisted: Vec<_> = served.iter().filter(|name| !always.contains(*name) && !sometimes.contains(*name)).collect();
    assert!(unlisted.is_empty(), "served, and not in docs/metrics.md: {unlisted:?}");
    let denied: Vec<_> = never.intersection(&served).collect();
    assert!(denied.is_empty(), "served, though docs/metrics.md says that they are absent: {denied:?}");
    let absent: Vec<_> = always.difference(&served).collect();
    assert!(absent.is_empty(), "in docs/metrics.md, and not served: {absent:?}");
    Ok(())
}

#[test]
fn a_data_half_in_a_process_of_its_own_tells_what_it_uses() -> anyhow::Result<()> {
    let rig = Rig::new()?;
    let socket = rig.run.path().join("sync.sock");
    let control = Process::control(&rig.cluster, &socket)?;
    let data = Process::dataplane(&rig.cluster, &socket)?;
    let number = |page: &str, name: &str| {
        page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or_default()
    };
    let resident = "caracal_dataplane_process_resident_memory_bytes ";
    let (_, page) =
        eventually("metrics", || rig.get(9091, "/metrics"), |(_, page)| number(page, resident) > f64::from(1 << 20));
    let started = number(&page, "caracal_dataplane_process_start_time_seconds ");
    assert!(started >= number(&page, "process_start_time_seconds "), "it was started second: {started}");
    assert!(number(&page, "caracal_dataplane_process_open_fds ") > 3.0, "{page}");
    data.stop()?;
    control.stop()
}
