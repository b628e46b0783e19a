//! The caracal program.

mod accept;
pub mod admin;
pub mod cli;
pub mod commands;
pub mod configuration;
pub mod control;
pub mod data;
pub mod encode;
pub mod explain;
pub mod health;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod ours;
pub mod policysync;
pub mod signals;
pub mod status;
pub mod sync;

/// This program and its version, as one half tells the other.
pub const BUILD: &str = concat!("caracal ", env!("CARGO_PKG_VERSION"));

/// An error and its causes on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause in their own words.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
