//! The kernel's edge: the only crate that may contain `unsafe`.

// Beside one socket address and what gives memory back, only a test needs it: for libnftnl, which the encoder is compared with.
#![cfg_attr(not(test), deny(unsafe_code))]

pub mod arp;
pub mod clock;
pub mod conntrack;
mod ifname;
pub mod link;
pub mod memory;
mod netlink;
pub mod netns;
pub mod nflog;
pub mod nft;
pub mod route;
pub mod sysctl;
mod wire;

pub use ifname::{IfName, IfNameError};
