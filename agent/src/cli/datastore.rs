//! The name of a datastore on the command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datastore {
    /// A directory of manifests.
    File(PathBuf),
}

/// A text does not name a datastore.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatastoreError {
    /// Nothing stands after `file:`.
    #[error("the directory is missing after \"file:\"")]
    NoDirectory,
    /// Another scheme, or none.
    #[error("{0:?} is not a datastore, write file:DIR")]
    Unknown(String),
}

impl FromStr for Datastore {
    type Err = DatastoreError;

    fn from_str(text: &str) -> Result<Self, DatastoreError> {
        match text.strip_prefix("file:") {
            Some("") => Err(DatastoreError::NoDirectory),
            // `file:///etc/x` is the same directory as `file:/etc/x`.
            Some(path) => Ok(Self::File(path.strip_prefix("//").unwrap_or(path).into())),
            None => Err(DatastoreError::Unknown(text.to_owned())),
        }
    }
}

impl fmt::Display for Datastore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}
