//! Endpoint-status files, by which Calico's CNI plugin lets a pod start only
//! when its policy is in force (`policy_setup_timeout_seconds`).
//!
//! The file of an endpoint is there as long as the kernel's acknowledgement of
//! its rules stands; it is what Felix writes, byte for byte. A thread of its own
//! writes, so that a slow disk keeps nobody waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use caracal_program::WorkloadId;
use serde::Serialize;
use tracing::debug;

use super::{Receipt, Workload};
use crate::http::Troubles;
use caracal_proto::sync::endpoint_outcome::Outcome;

/// How often the directory is looked at though nothing changed, as Felix does.
const LOOK: Duration = Duration::from_secs(10);

/// The pauses after a failure: Felix's, 50 ms and ten times as long each time, up to 5 s.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(5)];

/// What they are called where things are told that do not work.
const WHAT: &str = "endpoint-status files";

/// The suffix of a file that is being written.
const UNFINISHED: &str = ".new";

/// The files that are to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The directory in which `endpoint-status` lies (`EndpointStatusPathPrefix`).
    pub prefix: PathBuf,
    /// Contents by file name.
    pub files: BTreeMap<String, String>,
}

/// The thread that keeps files; it ends when dropped, and the files stay.
#[derive(Debug)]
pub struct Keeper {
    wanted: Option<Sender<Wanted>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread, which says in `troubles` why files are not as they are to be: pods wait
    /// for them. Until the first [`Keeper::keep`] it touches nothing.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(troubles: Troubles) -> io::Result<Self> {
        let (wanted, wishes) = channel();
        let thread =
            std::thread::Builder::new().name("endpoint-status".to_owned()).spawn(move || run(&wishes, &troubles))?;
        Ok(Self { wanted: Some(wanted), thread: Some(thread) })
    }

    /// Has exactly these files be there, and none below the prefixes of earlier wishes.
    pub fn keep(&self, wanted: Wanted) {
        if let Some(sender) = &self.wanted {
            // The thread ends with this only.
            let _ = sender.send(wanted);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.wanted.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

/// What the thread sees to.
struct Work {
    wanted: Wanted,
    /// Prefixes of earlier wishes below which files may still be: a pod of the same name
    /// must not start by one of those.
    left: BTreeSet<PathBuf>,
}

impl Work {
    fn take(&mut self, wanted: Wanted) {
        if wanted.prefix != self.wanted.prefix {
            self.left.remove(&wanted.prefix);
            self.left.insert(std::mem::take(&mut self.wanted.prefix));
        }
        self.wanted = wanted;
    }

    /// Settles all; gives the prefix at which it failed.
    fn settle(&mut self) -> Result<(), (PathBuf, io::Error)> {
        settle(&self.wanted).map_err(|error| (self.wanted.prefix.clone(), error))?;
        while let Some(prefix) = self.left.pop_first() {
            let nothing = Wanted { prefix, files: BTreeMap::new() };
            if let Err(error) = settle(&nothing) {
                self.left.insert(nothing.prefix.clone());
                return Err((nothing.prefix, error));
            }
        }
        Ok(())
    }
}

fn run(wishes: &Receiver<Wanted>, troubles: &Troubles) {
    let Ok(wanted) = wishes.recv() else { return };
    let mut work = Work { wanted, left: BTreeSet::new() };
    let mut failures = 0;
    loop {
        wishes.try_iter().for_each(|wanted| work.take(wanted));
        let pause = match work.settle() {
            Ok(()) => {
                failures = 0;
                troubles.set(WHAT, None);
                LOOK
            }
            Err((prefix, error)) => {
                troubles.set(WHAT, Some(format!("cannot be kept below {}: {error}", prefix.display())));
                failures += 1;
                PAUSES[PAUSES.len().min(failures) - 1]
            }
        };
        match wishes.recv_timeout(pause) {
            Ok(next) => work.take(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Makes the directory hold what is wanted. Without the directory above there is
/// no plugin that would look, so there is nothing to do.
fn settle(wanted: &Wanted) -> io::Result<()> {
    let Wanted { prefix, files } = wanted;
    if !prefix.is_dir() {
        return Ok(());
    }
    let directory = prefix.join("endpoint-status");
    match DirBuilder::new().mode(0o755).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        // What has another form of name was never wanted.
        found.insert(entry.file_name().into_string().unwrap_or_else(|name| name.to_string_lossy().into_owned()));
    }
    for name in found.iter().filter(|name| !files.contains_key(*name)) {
        debug!(file = name, "the endpoint is not in force");
        remove(&directory.join(name))?;
    }
    for (name, content) in files {
        let path = directory.join(name);
        let is_right = found.contains(name) && fs::read_to_string(&path).is_ok_and(|held| held == *content);
        if !is_right {
            debug!(file = name, "the endpoint is in force");
            write(&directory, name, content)?;
        }
    }
    Ok(())
}

/// Writes a file so that it is there whole or not at all.
fn write(directory: &Path, name: &str, content: &str) -> io::Result<()> {
    let unfinished = directory.join(format!("{name}{UNFINISHED}"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&unfinished)?;
    file.write_all(content.as_bytes())?;
    drop(file);
    fs::rename(&unfinished, directory.join(name))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What Felix writes into the file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    iface_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ipv4_nets: &'a [smol_str::SmolStr],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ipv6_nets: &'a [smol_str::SmolStr],
    #[serde(skip_serializing_if = "str::is_empty")]
    bgp_peer_name: &'a str,
}

/// The file of an endpoint, its name and its content, if the kernel acknowledged that it is in force.
#[must_use]
pub fn file_of(id: &WorkloadId, workload: &Workload, receipt: &Receipt) -> Option<(String, String)> {
    if !workload.active || receipt.outcome != Outcome::Programmed || !receipt.reason.is_empty() {
        return None;
    }
    let content = Content {
        iface_name: &workload.interface,
        mac: &workload.mac,
        ipv4_nets: &workload.ipv4_nets,
        ipv6_nets: &workload.ipv6_nets,
        bgp_peer_name: &workload.bgp_peer,
    };
    let content = serde_json::to_string(&content).expect("texts and lists of them have a form in JSON");
    Some((file_name(id), content))
}

/// The name of an endpoint's file: the parts of its id, escaped as in the path of a URL.
fn file_name(id: &WorkloadId) -> String {
    [&id.orchestrator, &id.workload, &id.endpoint].map(|part| escape(part)).join(" ")
}

/// Go's `url.PathEscape`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+:=@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
