//! The commands, one file each.

mod selector;
mod version;

use crate::cli::{Cli, Command};

/// Runs a command to its end.
///
/// # Errors
/// What kept the command from its purpose, for standard error and exit status 1.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { command, global: _ } = cli;
    match command {
        Command::Selector => selector::run(std::io::stdin().lock(), std::io::stdout().lock()),
        Command::Version(args) => version::run(&args, std::io::stdout().lock()),
        _ => unreachable!(),
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
