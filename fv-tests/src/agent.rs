//! The real program, run in the node's namespace.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::cluster::{Cluster, NODE};

/// The program under test: `$CARACAL`, else the one beside the test binary.
///
/// # Errors
/// When it has not been built: a test must not pass because there is nothing to test.
pub fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("CARACAL") {
        return PathBuf::from(path).canonicalize().context("CARACAL names no file");
    }
    let test = std::env::current_exe()?;
    let found = test.ancestors().take(4).map(|dir| dir.join("caracal")).find(|path| path.is_file());
    found.context("the caracal program is not built: run `cargo build -p caracal-agent` first, or set CARACAL")
}

fn admin_socket(run: &TempDir) -> PathBuf {
    run.path().join("admin.sock")
}

/// A running process of the program, ended when dropped.
pub struct Process {
    child: Child,
    log: File,
    what: String,
    /// Holds the admin socket, unless the arguments name another.
    run: TempDir,
}

impl Process {
    /// Starts `caracal ARGS` in the node's namespace. A control half that is not told
    /// where its admin socket is gets one of its own: namespaces share `/run`.
    pub fn start(cluster: &Cluster, args: &[&str]) -> anyhow::Result<Self> {
        Self::start_within(cluster, &[], args)
    }

    /// The same, run by another program that becomes this one: `WRAPPER caracal ARGS`.
    pub fn start_within(cluster: &Cluster, wrapper: &[&str], args: &[&str]) -> anyhow::Result<Self> {
        let level = std::env::var_os("CARACAL_LOG").unwrap_or_else(|| "info".into());
        Self::start_logging(cluster, wrapper, args, Some(level))
    }

    /// The same, with the parameters to decide what is logged.
    pub fn start_with_its_own_log_level(cluster: &Cluster, args: &[&str]) -> anyhow::Result<Self> {
        Self::start_logging(cluster, &[], args, None)
    }

    fn start_logging(
        cluster: &Cluster,
        wrapper: &[&str],
        args: &[&str],
        level: Option<OsString>,
    ) -> anyhow::Result<Self> {
        let program = program()?;
        let mut command = match wrapper {
            [] => Command::new(&program),
            [first, others @ ..] => {
                let mut command = Command::new(first);
                command.args(others).arg(&program);
                command
            }
        };
        let run = TempDir::new()?;
        let is_asked = matches!(args.first(), Some(&("agent" | "control"))) && !args.contains(&"--admin-socket");
        let admin = is_asked.then(|| ["--admin-socket".into(), admin_socket(&run).into_os_string()]);
        let log = tempfile::tempfile()?;
        let output = log.try_clone()?;
        let what = args.first().copied().unwrap_or_default().to_owned();
        // A child inherits the namespace of the thread that starts it.
        let child = cluster.node.run(|| {
            command
                .args(args)
                .args(admin.iter().flatten())
                .env_remove("CARACAL_LOG")
                .envs(level.iter().map(|level| ("CARACAL_LOG", level)))
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                .spawn()
        })?;
        Ok(Self { child: child.with_context(|| format!("cannot run {}", program.display()))?, log, what, run })
    }

    /// Starts both halves in one process, on the cluster's manifests.
    pub fn agent(cluster: &Cluster) -> anyhow::Result<Self> {
        Self::start(cluster, &["agent", "--datastore", &datastore(cluster), "--node", NODE])
    }

    /// Starts the control half alone.
    pub fn control(cluster: &Cluster, socket: &Path) -> anyhow::Result<Self> {
        let socket = socket.to_str().context("the socket's path is text")?;
        Self::start(cluster, &["control", "--datastore", &datastore(cluster), "--node", NODE, "--socket", socket])
    }

    /// Starts the data half alone.
    pub fn dataplane(cluster: &Cluster, socket: &Path) -> anyhow::Result<Self> {
        let socket = socket.to_str().context("the socket's path is text")?;
        Self::start(cluster, &["dataplane", "--socket", socket])
    }

    /// Where the process answers commands, unless its arguments named another place.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        admin_socket(&self.run)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// What the process has printed so far.
    pub fn log(&self) -> anyhow::Result<String> {
        // The process writes at the file's own position, which must not move.
        let mut text = vec![0; usize::try_from(self.log.metadata()?.len())?];
        self.log.read_exact_at(&mut text, 0)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Ends the process as `kill -9` does.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.end()
    }

    /// As [`Process::kill`], for a process that is followed by another one in its place.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for a process that somebody has sent SIGKILL; it must not have ended otherwise.
    pub fn killed(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait()?;
        if status.signal() != Some(Signal::SIGKILL as i32) {
            bail!("{} ended with {status}:\n{}", self.what, self.log()?);
        }
        Ok(())
    }

    /// Asks the process to end and waits for it; it must end by itself and without an error.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let status = self.terminate(Duration::from_secs(10))?;
        if !status.success() {
            bail!("{} ended with {status}:\n{}", self.what, self.log()?);
        }
        Ok(())
    }

    fn terminate(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, Signal::SIGTERM)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("{} did not end within {patience:?} of SIGTERM:\n{}", self.what, self.log()?)
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the program said")]
    fn drop(&mut self) {
        if thread::panicking() {
            // The log explains a failed test; a log that cannot be read must not hide the failure.
            let log = self.log().unwrap_or_default();
            eprintln!("--- {} printed:\n{log}---", self.what);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The `--datastore` argument for a cluster's manifests.
#[must_use]
pub fn datastore(cluster: &Cluster) -> String {
    format!("file:{}", cluster.manifests().display())
}
