//! The admin API: what a running agent says of itself on a unix socket.
//!
//! `serve` answers on a thread of its own, by asking the graph's thread
//! ([`Insight`](crate::control::Insight)); [`call`] is the other end, for commands.
//!
//! A further call takes three steps: its rpc and messages in
//! `proto/caracal/admin.proto`; a function `fn(&Insight, Request) -> Response`
//! in the module that it is about, which [`Service`] hands to the graph's thread
//! in one line of `service.rs`; and a command that uses [`call`]. What takes
//! long is worked out by the caller's side from what the function returns: the
//! graph's thread calculates nothing while it answers.

mod client;
mod serve;
mod service;

pub use client::{CallError, call};
pub use serve::{Listeners, Server, spawn};
pub use service::Service;

/// Where the admin API is served if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/caracal/admin.sock";
