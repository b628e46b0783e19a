//! A FelixConfiguration that is edited while the real agent runs: nothing restarts, everything follows.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use caracal_fv_tests::agent::{Process, datastore, program};
use caracal_fv_tests::cluster::{Cluster, NODE};
use caracal_fv_tests::pod::pod;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A host endpoint without policy: failsafe ports are all that it lets in.
const HOST: &str = "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: uplink}\n\
                    spec: {node: node-a, interfaceName: eth9}\n";

struct Rig {
    cluster: Cluster,
    run: TempDir,
}

impl Rig {
    fn edit(&self, spec: &str) -> anyhow::Result<()> {
        let text = format!(
            "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\n\
             spec: {{healthEnabled: true, healthHost: 192.0.2.1, prometheusMetricsEnabled: true, {spec}}}\n"
        );
        self.cluster.write("felix.yaml", &text).map(drop)
    }

    fn socket(&self) -> PathBuf {
        self.run.path().join("admin.sock")
    }

    /// What `caracal config` says of the running agent, and its exit status.
    fn config(&self) -> anyhow::Result<(Value, Option<i32>)> {
        let asked = ["config", "--output", "json", "--admin-socket"];
        let output = Command::new(program()?).args(asked).arg(self.socket()).output()?;
        let answer = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        Ok((answer, output.status.code()))
    }

    /// The value and the source of a parameter.
    fn parameter(&self, name: &str) -> anyhow::Result<(String, String)> {
        let (answer, _) = self.config()?;
        let parameters = answer["parameters"].as_array().context("a list of parameters")?;
        let row = parameters.iter().find(|row| row["name"] == name).context("the parameter is listed")?;
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        Ok((text("value"), text("source")))
    }

    fn answers(&self, port: u16, path: &str) -> anyhow::Result<bool> {
        let text = self.cluster.node.run(|| -> anyhow::Result<String> {
            let mut stream = TcpStream::connect(("192.0.2.1", port))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })?;
        Ok(text.is_ok_and(|text| text.starts_with("HTTP/1.1 20")))
    }

    fn ruleset(&self) -> anyhow::Result<String> {
        let output =
            self.cluster.node.run(|| Command::new("nft").args(["list", "table", "inet", "caracal"]).output())??;
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Waits until it is so.
fn eventually(what: &str, mut look: impl FnMut() -> anyhow::Result<bool>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if matches!(seen, Ok(true)) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {seen:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn edits_are_followed_without_a_restart() -> anyhow::Result<()> {
    let mut rig = Rig { cluster: Cluster::new()?, run: TempDir::new()? };
    rig.cluster.namespace("default", &[])?;
    rig.cluster.start_pod(pod("default/web", &[]))?;
    rig.cluster.write("host.yaml", &HOST.replace("node-a", NODE))?;
    rig.edit("healthPort: 9099, prometheusMetricsPort: 9091, defaultEndpointToHostAction: Drop")?;
    let (socket, source) = (rig.socket(), datastore(&rig.cluster));
    let socket = socket.to_str().context("the socket's path is text")?;
    let args = ["agent", "--datastore", &source, "--node", NODE, "--admin-socket", socket];
    let agent = Process::start_with_its_own_log_level(&rig.cluster, &args)?;
    eventually("health", || rig.answers(9099, "/readiness"));
    eventually("metrics", || rig.answers(9091, "/metrics"));

    // Listeners.
    rig.edit("healthPort: 9199, prometheusMetricsPort: 9191, defaultEndpointToHostAction: Drop")?;
    eventually("the new health port", || rig.answers(9199, "/liveness"));
    eventually("the new metrics port", || rig.answers(9191, "/metrics"));
    eventually("the old ports are closed", || Ok(!rig.answers(9099, "/liveness")? && !rig.answers(9091, "/metrics")?));

    // What a workload may send to its host.
    let before = rig.ruleset()?;
    rig.edit("healthPort: 9199, prometheusMetricsPort: 9191, defaultEndpointToHostAction: Accept")?;
    eventually("packets to the host are accepted", || Ok(rig.ruleset()? != before));
    rig.edit("healthPort: 9199, prometheusMetricsPort: 9191, defaultEndpointToHostAction: Drop")?;
    eventually("and dropped again", || Ok(rig.ruleset()? == before));

    // Failsafe ports of the host endpoint.
    assert!(!rig.ruleset()?.contains("40404"));
    rig.edit(
        "healthPort: 9199, prometheusMetricsPort: 9191, failsafeInboundHostPorts: [{protocol: TCP, port: 40404}]",
    )?;
    eventually("the failsafe port", || Ok(rig.ruleset()?.contains("40404")));

    // A bad value: the last good one stays in force, and everybody says so.
    rig.edit("healthPort: 70000, prometheusMetricsPort: 9191")?;
    eventually("the problem", || Ok(rig.config()?.1 == Some(3)));
    let (answer, _) = rig.config()?;
    let problem = &answer["problems"][0];
    assert_eq!((&problem["subject"], &problem["value"]), (&"HealthPort".into(), &"70000".into()), "{problem}");
    assert_eq!(problem["inForce"], "the last good value \"9199\"", "{problem}");
    assert!(rig.answers(9199, "/liveness")?, "the last good port");
    eventually("the log", || Ok(agent.log()?.contains("the last good value \"9199\" is in force")));

    // The log's severity; and the problem is gone.
    assert!(!agent.log()?.contains("DEBUG"), "{}", agent.log()?);
    rig.edit("healthPort: 9299, prometheusMetricsPort: 9191, logSeverityScreen: Debug")?;
    eventually("the mended port", || rig.answers(9299, "/liveness"));
    eventually("the log says more", || Ok(agent.log()?.contains("DEBUG")));
    assert_eq!(rig.config()?.1, Some(0));
    assert_eq!(rig.parameter("LogSeverityScreen")?, ("Debug".to_owned(), "datastore (global)".to_owned()));
    agent.stop()
}

/// Both halves, in one process and in two, outlive the signal that ends what does not ask for it.
#[test]
fn at_sighup_everything_is_read_again() -> anyhow::Result<()> {
    let rig = Rig { cluster: Cluster::new()?, run: TempDir::new()? };
    rig.edit("healthPort: 9099")?;
    let manifest = rig.cluster.manifests().join("felix.yaml");
    // By this name nobody watches it.
    let other_name = rig.run.path().join("felix.yaml");
    fs::hard_link(&manifest, &other_name)?;
    let file = rig.run.path().join("felix.cfg");
    fs::write(&file, "LogPrefix = first\n")?;
    let path = |path: &PathBuf| path.to_str().map(str::to_owned).context("a path is text");
    let (admin, file_name, data) = (path(&rig.socket())?, path(&file)?, path(&rig.run.path().join("data.sock"))?);
    let source = datastore(&rig.cluster);
    let own = ["--datastore", &source, "--node", NODE, "--admin-socket", &admin, "--config-file", &file_name];
    let mut commands: Vec<Vec<&str>> = vec![[&["agent"], &own[..]].concat()];
    commands.push([&["control"], &own[..], &["--socket", &data]].concat());
    for (nth, command) in commands.iter().enumerate() {
        let process = Process::start(&rig.cluster, command)?;
        let other = (nth > 0).then(|| Process::dataplane(&rig.cluster, data.as_ref())).transpose()?;
        let says = |prefix: &str, port: &str| {
            let (value, source) = rig.parameter("LogPrefix")?;
            let (health, _) = rig.parameter("HealthPort")?;
            anyhow::Ok((value.as_str(), source.as_str(), health.as_str()) == (prefix, "config file", port))
        };
        let [before, after] = [["first", "9099"], ["second", "9199"]];
        eventually("what is there at the start", || says(before[0], before[1]));
        if let Some(data_half) = &other {
            eventually("both halves", || Ok(data_half.log()?.contains("connected to the control half")));
        }
        fs::write(&file, "LogPrefix = second\n")?;
        fs::write(&other_name, fs::read_to_string(&manifest)?.replace("9099", "9199"))?;
        let processes = [Some(&process), other.as_ref()];
        for process in processes.into_iter().flatten() {
            kill(process.id(), Signal::SIGHUP)?;
        }
        let asked = Instant::now();
        eventually("what is there now", || says(after[0], after[1]));
        // Without the signal the file is looked at every ten seconds, and the manifest not at all.
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
        for process in processes.into_iter().flatten() {
            eventually("the log", || Ok(process.log()?.contains("SIGHUP: ")));
        }
        for process in [other, Some(process)].into_iter().flatten() {
            process.stop()?;
        }
        fs::write(&file, "LogPrefix = first\n")?;
        fs::write(&other_name, fs::read_to_string(&manifest)?.replace("9199", "9099"))?;
    }
    Ok(())
}
