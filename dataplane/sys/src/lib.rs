//! The kernel's edge: the only crate that may contain `unsafe`.

mod ifname;
pub mod netns;
pub mod nft;
mod wire;

pub use ifname::{IfName, IfNameError};
