//! `caracal version`.

use std::io::Write;

use serde::Serialize;

use super::finished;
use crate::cli::{Output, VersionArgs};
use crate::sync::VERSIONS;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    name: &'static str,
    version: &'static str,
    /// Of the sync API: a half of another release must speak one of them.
    sync_versions: [u32; 2],
}

const VERSION: Version = Version {
    name: "caracal",
    version: env!("CARGO_PKG_VERSION"),
    sync_versions: [*VERSIONS.start(), *VERSIONS.end()],
};

pub(super) fn run(args: &VersionArgs, output: impl Write) -> anyhow::Result<()> {
    finished(print(args.output, output))
}

fn print(format: Output, mut output: impl Write) -> anyhow::Result<()> {
    match format {
        Output::Text => {
            let [oldest, newest] = VERSION.sync_versions;
            writeln!(output, "{} (sync API {oldest} to {newest})", crate::BUILD)?;
        }
        Output::Json => {
            serde_json::to_writer(&mut output, &VERSION)?;
            writeln!(output)?;
        }
    }
    Ok(())
}
