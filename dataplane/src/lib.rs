//! The data half: whole revisions in, kernel state and receipts out.
//!
//! [`DataHalf`] decides, one input at a time, without threads or clocks;
//! [`spawn`] runs it on a plain thread of its own, with the kernel's links
//! watched beside it. Rules are a [driver](caracal_program::Driver)'s affair;
//! routes, sysctls and conntrack are the [`Host`]'s.

mod complaints;
mod counting;
mod data_half;
#[cfg(test)]
mod fakes;
mod flows;
mod forgetting;
mod host;
mod host_endpoints;
mod interfaces;
mod kernel_host;
mod lifelines;
mod misunderstood;
mod numbers;
mod outcomes;
mod reporter;
mod retry;
mod revision;
mod revocation;
mod rules;
mod thread;
mod workloads;

pub use data_half::{ConfiguredDriver, DataHalf};
pub use flows::FlowListener;
pub use host::{Flow, FlowKey, Host, Judgement, Progress, Route, SourceCheck, Tally};
pub use interfaces::{Interfaces, LinkState};
pub use kernel_host::KernelHost;
pub use misunderstood::Misunderstood;
pub use outcomes::{Networking, Outcomes};
pub use revision::{Assembler, Revision, RevisionError};
pub use rules::nftables_settings;
pub use thread::{DataplaneError, Frames, Handle, Reply, spawn};
pub use workloads::Workloads;
