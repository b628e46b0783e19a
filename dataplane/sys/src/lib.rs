//! The kernel's edge: the only crate that may contain `unsafe`.

// Only a test calls C: libnftnl, which the encoder is compared with.
#![cfg_attr(not(test), deny(unsafe_code))]

pub mod clock;
pub mod conntrack;
mod ifname;
pub mod link;
mod netlink;
pub mod netns;
pub mod nflog;
pub mod nft;
pub mod route;
pub mod sysctl;
mod wire;

pub use ifname::{IfName, IfNameError};
