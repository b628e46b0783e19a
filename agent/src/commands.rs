//! The commands, one file each.

mod calc;
mod control;
mod half;
mod selector;
mod source;
mod version;

use std::io::BufWriter;

use crate::cli::{Cli, Command};

pub use source::Prepared;

/// Runs a command to its end.
///
/// # Errors
/// What kept the command from its purpose, for standard error and exit status 1.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { command, global } = cli;
    match command {
        Command::Agent(_) | Command::Dataplane(_) | Command::Render(_) => anyhow::bail!("not in this build"),
        Command::Control(args) => control::run(&global, &args),
        Command::Calc(args) => calc::run(&global, &args, BufWriter::new(std::io::stdout().lock())),
        Command::Selector => selector::run(std::io::stdin().lock(), std::io::stdout().lock()),
        Command::Version(args) => version::run(&args, std::io::stdout().lock()),
    }
}

/// A reader that has seen enough closes the pipe: that is no failure.
fn finished(result: anyhow::Result<()>) -> anyhow::Result<()> {
    let closed = |error: &anyhow::Error| {
        error.chain().any(|cause| {
            let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
            io.or(json) == Some(std::io::ErrorKind::BrokenPipe)
        })
    };
    match result {
        Err(error) if closed(&error) => Ok(()),
        result => result,
    }
}
