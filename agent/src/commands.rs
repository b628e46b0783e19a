//! The commands, one file each.

mod agent;
mod calc;
mod cleanup;
mod config;
mod control;
mod dataplane;
mod doctor;
mod endpoints;
mod flows;
mod half;
mod policies;
mod render;
mod selector;
mod source;
mod status;
mod table;
mod version;

use std::io::BufWriter;
use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::explain;
use crate::logging::{self, Reader};

/// What a command has to say by its exit status, beside that it did what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing.
    Fine,
    /// What was asked about is not as it should be.
    Wrong,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Fine => Self::SUCCESS,
            Verdict::Wrong => Self::from(3),
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// What kept the command from its purpose, for standard error and exit status 1.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { command, global } = cli;
    let done = match command {
        Command::Status(args) => return Ok(status::run(&args, std::io::stdout().lock())?.into()),
        Command::Endpoints(args) => return Ok(endpoints::run(&args, std::io::stdout().lock())?.into()),
        Command::Config(args) => return Ok(config::run(&global, &args, std::io::stdout().lock())?.into()),
        Command::Doctor(args) => return Ok(doctor::run(&global, &args, std::io::stdout().lock())?.into()),
        Command::Cleanup(args) => cleanup::run(&global, &args, std::io::stdout().lock()),
        Command::Flows(args) => flows::run(&global, &args, std::io::stdout().lock()),
        Command::Policies(args) => policies::run(&args, std::io::stdout().lock()),
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
    };
    done.map(|()| ExitCode::SUCCESS)
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
