//! The caracal program.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match caracal_agent::commands::run(caracal_agent::cli::Cli::parse()) {
        Ok(exit) => exit,
        Err(error) => {
            // With standard error closed there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "caracal: {}", caracal_agent::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
