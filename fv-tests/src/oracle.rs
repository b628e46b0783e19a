//! Outside yardsticks: what other programs answered on the same input.

pub mod calc;
pub mod explain;
pub mod fold;

use std::path::PathBuf;

/// A file or folder below `fv-tests/data`.
#[must_use]
pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}
