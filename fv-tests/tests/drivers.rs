//! The program that puts policy into force, and the names of pods' interfaces, are changed while the
//! real agent runs: nothing restarts.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use caracal_fv_tests::agent::{Process, program};
use caracal_fv_tests::cluster::Cluster;
use caracal_fv_tests::pod::{interface_name, pod};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

struct Rig {
    cluster: Cluster,
    agent: Process,
    /// Drivers, and what they were told.
    dir: TempDir,
}

impl Rig {
    fn start() -> anyhow::Result<Self> {
        let mut cluster = Cluster::new()?;
        cluster.namespace("default", &[])?;
        cluster.start_pod(pod("default/web", &[]))?;
        let agent = Process::agent(&cluster)?;
        Ok(Self { cluster, agent, dir: TempDir::new()? })
    }

    fn configure(&self, spec: &str) -> anyhow::Result<()> {
        let text = format!(
            "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: default}}\nspec: {{{spec}}}\n"
        );
        self.cluster.write("felix.yaml", &text).map(drop)
    }

    /// A driver that writes down what it is told, and its process id.
    fn driver(&self, name: &str) -> anyhow::Result<String> {
        let path = self.dir.path().join(name);
        let script = format!("#!/bin/sh\necho $$ >{0}.pid\nexec cat <&3 >{0}.told\n", path.display());
        // From another process: a file that this one has open for writing could not be run.
        let write = "printf '%s' \"$1\" >\"$0\" && chmod 700 \"$0\"";
        anyhow::ensure!(Command::new("sh").args(["-c", write]).arg(&path).arg(script).status()?.success());
        Ok(path.display().to_string())
    }

    /// Whether a driver was told of something.
    fn was_told(driver: &str, what: &str) -> anyhow::Result<bool> {
        let told = Path::new(driver).with_extension("told");
        if !told.exists() {
            return Ok(false);
        }
        Ok(std::fs::read(told)?.windows(what.len()).any(|bytes| bytes == what.as_bytes()))
    }

    fn has_ended(driver: &str) -> anyhow::Result<bool> {
        let pid = std::fs::read_to_string(Path::new(driver).with_extension("pid"))?;
        // The state is after the name in parentheses; Z is what is left of a process that has ended.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        Ok(stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')))
    }

    fn kernel(&self, command: &str) -> anyhow::Result<String> {
        let output = self.cluster.node.run(|| Command::new("sh").args(["-c", command]).output())??;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Whether the kernel lets the pod of this name send, and knows the way to it.
    fn is_programmed(&self, name: &str) -> anyhow::Result<bool> {
        let interface = interface_name("default", name);
        let rules = self.kernel("nft list table inet caracal 2>&1")?;
        let routes = self.kernel("ip route; ip -6 route")?;
        Ok(rules.contains(&interface) && routes.contains(&interface))
    }

    fn is_clear(&self) -> anyhow::Result<bool> {
        let routes = self.kernel("ip route; ip -6 route show proto 3")?;
        let tables = self.kernel("nft list tables")?;
        Ok(!tables.contains("caracal") && !routes.contains(" dev cali"))
    }

    fn ask(&self, command: &str) -> anyhow::Result<Value> {
        let asked = [command, "--output", "json", "--admin-socket"];
        let output = Command::new(program()?).args(asked).arg(self.agent.admin_socket()).output()?;
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What is wrong with the choice of a driver.
    fn trouble(&self) -> anyhow::Result<Option<String>> {
        let status = self.ask("status")?;
        let problems = status["problems"].as_array().context("a list of problems")?;
        let ours = problems.iter().find(|problem| problem["subject"] == "DataplaneDriver");
        Ok(ours.map(|problem| problem["reason"].as_str().unwrap_or_default().to_owned()))
    }
}

/// Waits until it is so.
fn eventually(rig: &Rig, what: &str, mut look: impl FnMut() -> anyhow::Result<bool>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if matches!(seen, Ok(true)) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {seen:?}\n{}", rig.agent.log().unwrap_or_default());
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn drivers_are_exchanged_without_a_restart() -> anyhow::Result<()> {
    let mut rig = Rig::start()?;
    eventually(&rig, "the internal driver", || rig.is_programmed("web"));

    // Another program: it is told everything, and what the internal one did is gone.
    let first = rig.driver("first")?;
    rig.configure(&format!("useInternalDataplaneDriver: false, dataplaneDriver: '{first}'"))?;
    eventually(&rig, "the first driver knows the pod", || Rig::was_told(&first, "default/web"));
    eventually(&rig, "the kernel is clear", || rig.is_clear());
    assert_eq!(rig.trouble()?, None);

    // Yet another one.
    let second = rig.driver("second")?;
    rig.configure(&format!("useInternalDataplaneDriver: false, dataplaneDriver: '{second}'"))?;
    eventually(&rig, "the second driver knows the pod", || Rig::was_told(&second, "default/web"));
    assert!(Rig::has_ended(&first)?, "the first one was ended before");

    // One that is not there replaces nothing, and everybody says so.
    rig.configure("useInternalDataplaneDriver: false, dataplaneDriver: /nowhere/driver")?;
    eventually(&rig, "the problem", || Ok(rig.trouble()?.is_some_and(|why| why.contains("/nowhere/driver"))));
    rig.cluster.start_pod(pod("default/till", &[]))?;
    eventually(&rig, "the second driver goes on", || Rig::was_told(&second, "default/till"));
    assert!(!Rig::has_ended(&second)?);

    // Back to the internal one, which catches up.
    rig.configure("")?;
    eventually(&rig, "the internal driver is back", || {
        Ok(rig.is_programmed("web")? && rig.is_programmed("till")? && rig.trouble()?.is_none())
    });
    assert!(Rig::has_ended(&second)?);
    let log = rig.agent.log()?;
    assert_eq!(log.matches("the internal dataplane driver takes over the dataplane").count(), 1, "{log}");
    rig.agent.stop()
}

#[test]
fn another_prefix_names_the_interfaces_of_pods_anew() -> anyhow::Result<()> {
    let rig = Rig::start()?;
    eventually(&rig, "the pod's interface", || rig.is_programmed("web"));
    let interface = interface_name("default", "web");
    let renamed = interface.replacen("cali", "tap", 1);
    let is = |name: &str, outcome: &str| -> anyhow::Result<bool> {
        let answer = rig.ask("endpoints")?;
        let endpoint = &answer["endpoints"][0];
        Ok(endpoint["interface"] == name && endpoint["outcome"] == outcome)
    };
    assert!(is(&interface, "programmed")?, "{}", rig.ask("endpoints")?);
    rig.configure("interfacePrefix: 'tap,cali'")?;
    eventually(&rig, "the other name", || is(&renamed, "waiting for interface"));
    // The network plugin follows, or is followed.
    rig.kernel(&format!(
        "ip link set {interface} down; ip link set {interface} name {renamed}; ip link set {renamed} up"
    ))?;
    eventually(&rig, "the renamed interface", || is(&renamed, "programmed"));
    rig.kernel(&format!(
        "ip link set {renamed} down; ip link set {renamed} name {interface}; ip link set {interface} up"
    ))?;
    rig.configure("")?;
    eventually(&rig, "the first name again", || is(&interface, "programmed"));
    rig.agent.stop()
}
