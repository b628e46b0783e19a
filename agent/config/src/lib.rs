//! Felix's configuration parameters: the table of them, where their values
//! come from, and which value counts.
//!
//! The control half fills [`ConfigSources`] from the environment, a file and
//! FelixConfiguration resources and [resolves](ConfigSources::resolve) them;
//! the winning texts go to the data half in a `ConfigUpdate`, which makes the
//! same [`Settings`] of them. Nothing here reads a file, the environment or a
//! clock, and a bad value never ends the program: it is reported in a
//! [`Warning`], and the last good one of its source counts, or else the next
//! lower source that has one.

mod duration;
mod field;
pub mod fuzz;
mod kind;
mod parameter;
mod resolve;
mod settings;
mod source;
mod table;
mod warning;

pub use field::FieldError;
pub use kind::{BadText, Kind, Value};
pub use parameter::{Disposition, Param, Scope, parameter, parameter_of_field};
pub use resolve::{Effective, RawLayer, Resolved};
pub use settings::{
    ClientCertificate, DenyAction, EndpointToHostAction, HttpListener, LogSeverity, NamedFile, NatExclusions,
    NftablesMode, ServiceLoops, Settings, SourceSpoofing, TlsFiles,
};
pub use source::{ConfigSources, FileError, Source};
pub use table::PARAMETERS;
pub use warning::{InForce, Reason, Warning};
