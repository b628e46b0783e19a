//! Where resources come from, and what they mean to the calculation graph.
//!
//! A [`Source`] reads resources, such as [`FileSource`] the manifests below a
//! directory, and tells a [`Sink`] of the objects that they stand for. On the
//! way a resource is read ([`manifest`]), admitted or refused as a cluster would
//! ([`admit`]), and converted into Felix's form ([`convert`]).

pub mod admit;
pub mod convert;
mod file;
pub mod manifest;
mod resource;
pub mod source;

pub use file::{FileSource, Prints};
pub use source::{
    BgpConfiguration, ClusterInformation, ConfigEvent, FelixConfiguration, InForce, Place, Problem, Remote, Report,
    Request, Sink, Source, SourceError, one_line,
};
