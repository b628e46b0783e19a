//! The caracal program.

use std::process::ExitCode;

use clap::Parser as _;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let done = caracal_agent::commands::run(caracal_agent::cli::Cli::parse());
    let (exit, last_words) = match done {
        Ok(exit) => (exit, None),
        Err(error) => (ExitCode::FAILURE, Some(format!("caracal: {}\n", caracal_agent::chain(error.as_ref())))),
    };
    caracal_agent::logging::finish(last_words.as_deref());
    exit
}
