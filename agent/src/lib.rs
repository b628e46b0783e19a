//! The caracal program.

pub mod encode;
