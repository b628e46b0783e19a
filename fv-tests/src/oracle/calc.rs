//! `caracal calc` on a scenario: from scratch, and followed through its steps.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::Value;

use super::fold::{Fold, differences};
use crate::agent::program;

/// How long one run or one step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `scenario.json` says.
#[derive(Deserialize)]
struct Meta {
    node: String,
    /// Steps at which a refused edit leaves an older version in force, so that a fresh start differs.
    #[serde(default)]
    kept: Vec<usize>,
    /// Objects that admission must refuse.
    #[serde(default)]
    refused: Vec<Refused>,
}

/// One object that must be refused.
#[derive(Debug, Deserialize)]
struct Refused {
    file: String,
    #[serde(default)]
    name: Option<String>,
}

/// One scenario: directories of manifests, and the state that each must give.
pub struct Scenario {
    /// The folder's name.
    pub name: String,
    meta: Meta,
    steps: Vec<(PathBuf, PathBuf)>,
}

impl Scenario {
    /// Every scenario below a folder, by name.
    pub fn read_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let mut folders: Vec<_> = fs::read_dir(folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        folders.sort();
        folders.iter().filter(|path| path.join("scenario.json").is_file()).map(|path| Self::read(path)).collect()
    }

    fn read(folder: &Path) -> anyhow::Result<Self> {
        let meta = serde_json::from_slice(&fs::read(folder.join("scenario.json"))?)?;
        let name = folder.file_name().context("a scenario has a name")?.to_string_lossy().into_owned();
        let mut steps = vec![(folder.join("state"), folder.join("expected.json"))];
        if !steps[0].0.is_dir() {
            steps = (0..)
                .map(|n| (folder.join(format!("step-{n:02}")), folder.join(format!("expected-{n:02}.json"))))
                .take_while(|(dir, _)| dir.is_dir())
                .collect();
        }
        Ok(Self { name, meta, steps })
    }

    /// How many states it has.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Whether the scenario has several steps.
    #[must_use]
    pub fn is_multi(&self) -> bool {
        self.steps.len() > 1
    }

    /// Runs every step from scratch (but those that depend on the step before),
    /// and compares. Also: what must be refused is named on standard error.
    pub fn check_fresh(&self) -> anyhow::Result<()> {
        for (n, (dir, expected)) in self.steps.iter().enumerate() {
            if self.meta.kept.contains(&n) {
                continue;
            }
            let output = command(dir, &self.meta.node).output().context("cannot run caracal calc")?;
            let stderr = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                bail!("step {n}: {}: {stderr}", output.status);
            }
            let mut fold = Fold::default();
            for line in String::from_utf8(output.stdout)?.lines() {
                fold.line(line).with_context(|| format!("step {n}"))?;
            }
            compare(&fold, expected).with_context(|| format!("step {n}"))?;
            if !self.is_multi() {
                self.check_refusals(&stderr)?;
            }
        }
        Ok(())
    }

    /// Follows the directory through the steps, each edit by rename, and compares at each.
    pub fn check_followed(&self) -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        replace(&self.steps[0].0, dir.path(), None)?;
        let mut run = Followed::start(dir.path(), &self.meta.node)?;
        for (n, (source, expected)) in self.steps.iter().enumerate() {
            if n == 0 {
                run.until(Fold::in_sync).context("before inSync")?;
            } else {
                let token = format!("step-{n:02}");
                replace(source, dir.path(), Some(&token))?;
                run.until(|fold| fold.synced() == Some(&token)).with_context(|| format!("before {token}"))?;
            }
            compare(&run.fold, expected).with_context(|| format!("step {n}"))?;
        }
        run.stop()
    }

    fn check_refusals(&self, stderr: &str) -> anyhow::Result<()> {
        for refused in &self.meta.refused {
            let named = |line: &&str| {
                line.contains(&refused.file) && refused.name.as_deref().is_none_or(|name| line.contains(name))
            };
            if !stderr.lines().any(|line| named(&line)) {
                bail!("no refusal names {refused:?}:\n{stderr}");
            }
        }
        Ok(())
    }
}

fn command(dir: &Path, node: &str) -> Command {
    // A missing program is reported when the command is run.
    let mut command = Command::new(program().unwrap_or_else(|_| "caracal".into()));
    command.args(["calc", "--datastore", &format!("file:{}", dir.display()), "--node", node]);
    command.stdin(Stdio::null());
    command
}

fn compare(fold: &Fold, expected: &Path) -> anyhow::Result<()> {
    if !fold.in_sync() {
        bail!("no inSync");
    }
    let mut expected: Value = serde_json::from_slice(&fs::read(expected)?)?;
    for (_, set) in expected["ipSets"].as_object_mut().into_iter().flatten() {
        if let Some(members) = set["members"].as_array_mut() {
            members.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    let mut found = Vec::new();
    differences(&expected, &fold.state(), "", &mut found);
    if found.is_empty() {
        return Ok(());
    }
    bail!("{} differences:\n  {}", found.len(), found[..found.len().min(8)].join("\n  "))
}

/// A `caracal calc --follow` and what it has printed so far.
struct Followed {
    child: Child,
    lines: Receiver<String>,
    fold: Fold,
}

impl Followed {
    fn start(dir: &Path, node: &str) -> anyhow::Result<Self> {
        let mut child = command(dir, node)
            .arg("--follow")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run caracal calc --follow")?;
        let stdout = child.stdout.take().context("the child has a standard output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines, fold: Fold::default() })
    }

    fn until(&mut self, reached: impl Fn(&Fold) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !reached(&self.fold) {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.fold.line(&line)?,
                Err(RecvTimeoutError::Timeout) => bail!("nothing more within {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("the program ended"),
            }
        }
        Ok(())
    }

    fn stop(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("SIGTERM ended it with {status}"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
        bail!("SIGTERM did not end it")
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Makes a directory's manifests those of another, each file by rename, what is
/// too much deleted, the token last.
fn replace(source: &Path, target: &Path, token: Option<&str>) -> anyhow::Result<()> {
    let wanted = files(source)?;
    for file in &wanted {
        let (from, to) = (source.join(file), target.join(file));
        let text = fs::read(&from)?;
        if fs::read(&to).is_ok_and(|there| there == text) {
            continue;
        }
        let parent = to.parent().context("a file lies in a folder")?;
        fs::create_dir_all(parent)?;
        let hidden = parent.join(format!(".new-{}", file.file_name().context("a file has a name")?.to_string_lossy()));
        fs::write(&hidden, text)?;
        fs::rename(&hidden, &to)?;
    }
    for file in files(target)? {
        if !wanted.contains(&file) {
            fs::remove_file(target.join(&file))?;
        }
    }
    if let Some(token) = token {
        fs::write(target.join(".sync.new"), token)?;
        fs::rename(target.join(".sync.new"), target.join(".sync"))?;
    }
    Ok(())
}

/// The files below a folder that are not hidden, as relative paths.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(folder)?.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}
