//! The nftables driver: desired state to the smallest batch of kernel messages.
//!
//! `lower` turns rule programs into chains and sets as values ([`ir`]); `model`
//! does so piece by piece and says which pieces changed (`edits`); `plan` puts
//! these in the order of a transaction; `encode` gives them to the kernel by
//! netlink and `text` prints them for people. `readback` and `adopt` go the other
//! way: from what the kernel holds to the edits that are missing; `layout` says whether
//! it can be edited at all. `held` keeps prints of what the kernel must hold, so that the driver can look at it piece by piece.

mod adopt;
mod driver;
mod edits;
mod encode;
pub mod flow_log;
mod garbage;
mod held;
pub mod ir;
mod layout;
mod lists;
mod lower;
mod model;
pub mod names;
mod neighbours;
mod plan;
mod readback;
mod render;
mod sets;
mod settings;
#[cfg(test)]
mod testing;
mod text;

pub use driver::{Counts, NftablesDriver};
pub use neighbours::{Matter, Neighbour, Place, Survey, survey};
pub use render::render_text;
pub use settings::{
    DenyAction, Encapsulated, EndpointToHost, Events, FlowLogs, InterfaceFilter, InvalidPackets, Ipv6, NatExclusions,
    NatOutgoing, Ownership, Rate, RateError, RatePeriod, Revocation, ServiceLoops, Settings, SettingsError,
};
