//! The kernel's edge: the only crate that may contain `unsafe`.

pub mod netns;
