//! `caracal cleanup`.
//!
//! Each thing is found first and removed one by one, so that a dry run lists exactly
//! what would go. What cannot be removed does not keep the rest.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use caracal_config::Settings;
use caracal_nftables::ir::TABLE;
use caracal_sys::nft::{Batch, CommitError, Name, NftSocket, TableId};
use caracal_sys::route::{Route, RouteSocket};
use nix::errno::Errno;
use serde::Serialize;

use super::finished;
use crate::cli::{CleanupArgs, Global, Output};
use crate::configuration::Configuration;
use crate::logging::{self, Reader};

/// What stays, for people to know.
const STAYS: &str =
    "sysctls stay as they are (ip_forward, and those of workload interfaces): what they were before is not known";

/// Something of ours on this node.
#[derive(Clone, Debug)]
enum Thing {
    Table(TableId),
    Route(Route, String),
    File(PathBuf),
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "table {table}"),
            Self::Route(route, interface) => write!(f, "route {} dev {interface}", route.destination),
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
    let found = kernel.find(&settings)?;
    let things: Vec<Removal> = found
        .iter()
        .map(|thing| {
            let removed = if args.dry_run { Ok(()) } else { kernel.remove(thing) };
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

/// The kernel of the calling thread's network namespace.
struct Kernel {
    nft: NftSocket,
    routes: RouteSocket,
}

impl Kernel {
    fn open() -> anyhow::Result<Self> {
        let nft = NftSocket::open().context("cannot ask nf_tables")?;
        Ok(Self { nft, routes: RouteSocket::open().context("cannot ask for routes")? })
    }

    /// Everything of ours, in the order in which it is to go: rules last, so that what
    /// workloads send is judged for as long as it has a way.
    fn find(&mut self, settings: &Settings) -> anyhow::Result<Vec<Thing>> {
        let mut things = self.our_routes(settings).context("cannot list routes")?;
        if let Some(prefix) = &settings.endpoint_status_path_prefix {
            things.extend(files(&prefix.join("endpoint-status"), fs::FileType::is_file));
        }
        if let Some(prefix) = &settings.policy_sync_path_prefix {
            let pods = entries(&prefix.join("mount"));
            things.extend(pods.flat_map(|pod| files(&pod, |kind| kind.is_socket())));
        }
        let table = TableId::inet(Name::new(TABLE).expect("the table's name is short"));
        if self.nft.table(&table).context("cannot list tables; this needs CAP_NET_ADMIN")?.is_some() {
            things.push(Thing::Table(table));
        }
        Ok(things)
    }

    /// Routes to single addresses that lead into workload interfaces and have our protocol.
    fn our_routes(&mut self, settings: &Settings) -> io::Result<Vec<Thing>> {
        let names = nix::net::if_::if_nameindex()?;
        let mut things = Vec::new();
        for interface in &names {
            let name = interface.name().to_string_lossy();
            if !settings.interface_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())) {
                continue;
            }
            let routes = self.routes.routes()?.into_iter().filter(|route| {
                route.interface.0 == interface.index()
                    && route.protocol == settings.device_route_protocol
                    && route.destination.is_host()
            });
            things.extend(routes.map(|route| Thing::Route(route, name.to_string())));
        }
        things.sort_by_key(ToString::to_string);
        Ok(things)
    }

    fn remove(&mut self, thing: &Thing) -> anyhow::Result<()> {
        match thing {
            Thing::Route(route, _) => self.routes.delete(route)?,
            Thing::File(path) => fs::remove_file(path)?,
            Thing::Table(table) => {
                let mut batch = Batch::new(table);
                batch.delete_table().expect("a name is short");
                match self.nft.commit(&mut batch) {
                    Err(CommitError::Refused(refused)) if refused.iter().any(|r| r.errno == Errno::EPERM) => {
                        anyhow::bail!("a running agent owns it, or CAP_NET_ADMIN is missing; stop the agent first")
                    }
                    outcome => drop(outcome?),
                }
            }
        }
        Ok(())
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
