//! The nftables driver: desired state to the smallest batch of kernel messages.

mod adopt;
mod driver;
mod edits;
mod encode;
mod garbage;
pub mod ir;
mod lists;
mod lower;
mod model;
pub mod names;
mod plan;
mod readback;
mod render;
mod sets;
mod settings;
#[cfg(test)]
mod testing;
mod text;

pub use driver::{Counts, NftablesDriver};
pub use render::render_text;
pub use settings::{DenyAction, InvalidPackets, Ipv6, Ownership, Settings, SettingsError};
