//! Either half is killed at every boundary between two frames of a scenario: the
//! kernel ends with the same rules, and nothing that is denied was open.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use caracal_fv_tests::agent::{Process, datastore};
use caracal_fv_tests::cluster::{Cluster, NODE};
use caracal_fv_tests::pod::pod;
use caracal_fv_tests::policies::client_only;
use caracal_fv_tests::stream::Stream;
use caracal_fv_tests::tap::{Seen, Tap};
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(15);

/// A frame that never comes.
const NEVER: usize = usize::MAX;

const NO_WAY_OUT: &str = r"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: no-way-out, namespace: default}
spec:
  podSelector: {matchLabels: {role: client, late: 'yes'}}
  policyTypes: [Egress]
";

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Control,
    Dataplane,
}

/// `client` may reach `server` and `other` may not, whatever the scenario does with `late`.
struct Scenario {
    cluster: Cluster,
    run: TempDir,
    /// The rules before the first step, and after the last; the undisturbed run sets them.
    before: Option<Rules>,
    after: Option<Rules>,
}

/// What a listing says, object by object.
type Rules = BTreeSet<String>;

impl Scenario {
    fn new() -> anyhow::Result<Self> {
        let mut cluster = client_only()?;
        cluster.start_pod(pod("default/late", &[]))?;
        Ok(Self { cluster, run: TempDir::new()?, before: None, after: None })
    }

    /// The state before the first step.
    fn reset(&mut self) -> anyhow::Result<()> {
        if self.cluster.manifests().join("late.yaml").exists() {
            self.cluster.remove("late.yaml")?;
        }
        self.cluster.relabel("default/late", &[]).map(drop)
    }

    const STEPS: usize = 2;

    /// A member for a set, and then a policy for an endpoint.
    fn step(&mut self, number: usize) -> anyhow::Result<()> {
        let renamed = match number {
            0 => self.cluster.relabel("default/late", &[("role", "client"), ("late", "yes")]),
            _ => self.cluster.write("late.yaml", NO_WAY_OUT),
        };
        renamed.map(drop)
    }

    fn start(&self, victim: Victim) -> anyhow::Result<Process> {
        let path = |name: &str| self.run.path().join(name).display().to_string();
        match victim {
            Victim::Control => {
                let (source, socket, admin) = (datastore(&self.cluster), path("control.sock"), path("admin.sock"));
                let arguments =
                    ["control", "--node", NODE, "--datastore", &source, "--socket", &socket, "--admin-socket", &admin];
                Process::start(&self.cluster, &arguments)
            }
            Victim::Dataplane => Process::dataplane(&self.cluster, Path::new(&path("tap.sock"))),
        }
    }

    /// Plays the scenario with fresh processes, one of which is killed instead of
    /// the frame `at`. The kernel holds the rules before the first step when it
    /// begins, and again when it is over. Gives the number of frames there were.
    fn play(&mut self, victim: Victim, at: usize) -> anyhow::Result<usize> {
        let mut control = self.start(Victim::Control)?;
        let mut dataplane = self.start(Victim::Dataplane)?;
        let pid = match victim {
            Victim::Control => control.id(),
            Victim::Dataplane => dataplane.id(),
        };
        let socket = self.run.path().join("tap.sock");
        let tap = Tap::start(&socket, self.run.path().join("control.sock"), at, move || {
            // One that has ended by itself fails the test below.
            let _ = kill(pid, Signal::SIGKILL);
        })?;
        let mut broken = false;
        for step in 0..=Self::STEPS {
            if !broken && tap.wait(step + 1, PATIENCE) == Seen::Break {
                broken = true;
                self.replace(victim, &mut control, &mut dataplane)?;
            }
            if step < Self::STEPS {
                self.step(step)?;
            }
        }
        let known = self.after.take();
        self.after = Some(self.settle(known, "after the last step")?);
        let frames = tap.disarm();
        if !broken && frames > at {
            // It came after the last acknowledgement that was waited for.
            self.replace(victim, &mut control, &mut dataplane)?;
        }
        self.reset()?;
        let known = self.before.take();
        self.before = Some(self.settle(known, "after the reset")?);
        control.kill()?;
        dataplane.kill()?;
        drop(tap);
        std::fs::remove_file(&socket)?;
        Ok(frames)
    }

    /// Starts a new process in the place of the one that was killed.
    fn replace(&self, victim: Victim, control: &mut Process, dataplane: &mut Process) -> anyhow::Result<()> {
        let place = match victim {
            Victim::Control => control,
            Victim::Dataplane => dataplane,
        };
        place.killed()?;
        *place = self.start(victim)?;
        Ok(())
    }

    /// Waits until the kernel holds these rules; those that it settles on, if they are not known.
    fn settle(&self, want: Option<Rules>, when: &str) -> anyhow::Result<Rules> {
        let Some(want) = want else {
            std::thread::sleep(Duration::from_millis(500));
            return self.rules();
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.rules()?;
            if found == want {
                return Ok(want);
            }
            let differing: Vec<_> = found.symmetric_difference(&want).collect();
            // The processes print their logs when a test panics.
            assert!(Instant::now() < deadline, "{when}: {differing:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The rules in the kernel, chain by chain and set by set, without what
    /// differs between two runs: the table's owner, counts of packets, the
    /// versions of sets, the order of elements.
    fn rules(&self) -> anyhow::Result<Rules> {
        let listed =
            self.cluster.node.run(|| Command::new("nft").args(["list", "table", "inet", "caracal"]).output())??;
        let text = String::from_utf8(listed.stdout)?;
        let objects = text.lines().skip_while(|line| line.starts_with("table ") || line.starts_with("\tflags "));
        Ok(objects.collect::<Vec<_>>().join("\n").split("\n\t}").map(plain).collect())
    }
}

/// A chain or a set without what differs between two runs.
fn plain(object: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut rest = object.split_whitespace();
    while let Some(word) = rest.next() {
        match word {
            // A counter's figures.
            "packets" | "bytes" => drop(rest.next()),
            _ => words.push(word.trim_end_matches(',')),
        }
    }
    let unversioned = words.iter().map(|word| match word.rsplit_once("/v") {
        Some((name, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => word,
    });
    let mut words: Vec<_> = unversioned.collect();
    if let Some(elements) = words.iter().position(|word| *word == "elements") {
        words[elements..].sort_unstable();
    }
    words.join(" ")
}

#[test]
fn a_kill_at_any_boundary_changes_nothing_in_the_end() -> anyhow::Result<()> {
    let mut scenario = Scenario::new()?;
    let mut frames = scenario.play(Victim::Control, NEVER)?;
    frames = frames.max(scenario.play(Victim::Dataplane, NEVER)?);
    assert!(frames >= 20, "a snapshot, two deltas and their acknowledgements: {frames}");
    let says = |rules: &Option<Rules>, what| rules.iter().flatten().any(|object| object.contains(what));
    assert!(says(&scenario.after, "no-way-out") && !says(&scenario.before, "no-way-out"));

    let peers = &scenario.cluster.peers;
    let denied = Stream::start(&peers["default/other"], &peers["default/server"])?;
    let allowed = Stream::start(&peers["default/server"], &peers["default/client"])?;
    let start = Instant::now();
    for at in 0..frames {
        for victim in [Victim::Control, Victim::Dataplane] {
            scenario.play(victim, at).with_context(|| format!("{victim:?} killed instead of frame {at}"))?;
        }
    }
    let end = Instant::now();
    std::thread::sleep(Duration::from_millis(50));
    let (arrived, lost) = denied.tally(start, end)?;
    assert!(lost > 1000, "the stream ran: {lost} lost");
    assert_eq!(arrived, 0, "denied packets passed, {lost} were dropped");
    let (arrived, lost) = allowed.tally(start, end)?;
    assert!(arrived > 1000, "the stream ran: {arrived} arrived");
    assert_eq!(lost, 0, "allowed packets lost, {arrived} arrived");
    Ok(())
}
