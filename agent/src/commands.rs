//! The commands, one file each.

mod agent;
mod calc;
mod control;
mod dataplane;
mod half;
mod render;
mod selector;
mod source;
mod version;

use std::io::BufWriter;

use crate::cli::{Cli, Command};
use crate::explain;
use crate::logging::{self, Reader};

/// Runs a command to its end.
///
/// # Errors
/// What kept the command from its purpose, for standard error and exit status 1.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { command, global } = cli;
    match command {
        Command::Agent(args) => agent::run(&global, &args),
        Command::Control(args) => control::run(&global, &args),
        Command::Dataplane(args) => dataplane::run(&global, &args),
        Command::Calc(args) => calc::run(&global, &args, BufWriter::new(std::io::stdout().lock())),
        Command::Render(args) => render::run(&global, &args, std::io::stdout().lock()),
        Command::Explain(args) => {
            logging::start(global.log_level.as_deref(), Reader::Person)?;
            finished(explain::run(&global, &args, std::io::stdin().lock(), std::io::stdout().lock()))
        }
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
