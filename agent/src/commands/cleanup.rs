//! `caracal cleanup`.
//!
//! See [`ours`](crate::ours) for what is in the kernel; files come with it.

use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use caracal_config::Settings;
use serde::Serialize;

use super::finished;
use crate::cli::{CleanupArgs, Global, Output};
use crate::configuration::Configuration;
use crate::logging::{self, Reader};
use crate::ours::{self, Kernel};

/// What stays, for people to know.
const STAYS: &str =
    "sysctls stay as they are (ip_forward, and those of workload interfaces): what they were before is not known";

/// Something of ours on this node.
#[derive(Clone, Debug)]
enum Thing {
    Kernel(ours::Thing),
    File(PathBuf),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(thing) => thing.fmt(f),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// What became of a thing.
#[derive(Debug, Serialize)]
struct Removal {
    thing: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    dry_run: bool,
    things: Vec<Removal>,
    stays: &'static str,
}

pub(super) fn run(global: &Global, args: &CleanupArgs, output: impl Write) -> anyhow::Result<()> {
    logging::start(global.log_level.as_deref(), Reader::Person)?;
    let settings = Configuration::load(global.config_file.as_deref(), None)?.settings();
    let mut kernel = Kernel::open()?;
    let found = find(&mut kernel, &settings)?;
    let things: Vec<Removal> = found
        .iter()
        .map(|thing| {
            let removed = if args.dry_run { Ok(()) } else { remove(&mut kernel, thing) };
            Removal { thing: thing.to_string(), error: removed.err().map(|error| error.to_string()) }
        })
        .collect();
    let failed = things.iter().filter(|removal| removal.error.is_some()).count();
    finished(print(args.output, &Answer { dry_run: args.dry_run, things, stays: STAYS }, output))?;
    anyhow::ensure!(failed == 0, "{failed} things could not be removed");
    Ok(())
}

fn print(format: Output, answer: &Answer, mut output: impl Write) -> anyhow::Result<()> {
    match format {
        Output::Json => {
            serde_json::to_writer(&mut output, answer)?;
            writeln!(output)?;
        }
        Output::Text => {
            let verb = if answer.dry_run { "would remove" } else { "removed" };
            for Removal { thing, error } in &answer.things {
                match error {
                    None => writeln!(output, "{verb} {thing}")?,
                    Some(error) => writeln!(output, "cannot remove {thing}: {error}")?,
                }
            }
            if answer.things.is_empty() {
                writeln!(output, "nothing of ours is here")?;
            }
            writeln!(output, "{}", answer.stays)?;
        }
    }
    Ok(())
}

/// Everything of ours, in the order in which it is to go.
fn find(kernel: &mut Kernel, settings: &Settings) -> anyhow::Result<Vec<Thing>> {
    let mut things: Vec<Thing> = kernel.find(settings)?.into_iter().map(Thing::Kernel).collect();
    if let Some(prefix) = &settings.endpoint_status_path_prefix {
        things.extend(files(&prefix.join("endpoint-status"), fs::FileType::is_file));
    }
    if let Some(prefix) = &settings.policy_sync_path_prefix {
        let pods = entries(&prefix.join("mount"));
        things.extend(pods.flat_map(|pod| files(&pod, |kind| kind.is_socket())));
    }
    // Rules last: see `Kernel::find`.
    things.sort_by_key(|thing| matches!(thing, Thing::Kernel(ours::Thing::Table(_))));
    Ok(things)
}

fn remove(kernel: &mut Kernel, thing: &Thing) -> anyhow::Result<()> {
    match thing {
        Thing::Kernel(thing) => kernel.remove(thing),
        Thing::File(path) => Ok(fs::remove_file(path)?),
    }
}

/// The paths in a directory, sorted; none if there is no such directory.
fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter()
}

/// The files of a kind in a directory. Links are not followed.
fn files(dir: &Path, kind: impl Fn(&fs::FileType) -> bool) -> Vec<Thing> {
    let is = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| kind(&found.file_type()));
    entries(dir).filter(is).map(Thing::File).collect()
}

#[cfg(test)]
mod tests;
