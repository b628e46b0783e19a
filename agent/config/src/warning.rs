//! What is wrong with a configuration.

use std::fmt;

use crate::field::FieldError;
use crate::kind::BadText;
use crate::source::Source;

/// Something in a configuration that does not count, or not as it might seem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The parameter; or the name as it is written, if no parameter has it.
    pub name: String,
    /// Where it is set.
    pub source: Source,
    /// What it is set to, as it is written there.
    pub value: String,
    /// What is wrong.
    pub reason: Reason,
    /// What counts instead, if that is the question.
    pub in_force: Option<InForce>,
}

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The text is not of the parameter's kind.
    Text(BadText),
    /// A field of a resource has no form that its parameter knows.
    Field {
        /// The field of the resource's `spec`.
        field: String,
        /// What is wrong with it.
        reason: FieldError,
    },
    /// No parameter has this name. It is passed on to the data half as it is.
    Unknown {
        /// The parameter that may have been meant.
        nearest: Option<&'static str>,
    },
    /// The datastore may not set this parameter.
    LocalOnly,
    /// The value asks for what this build cannot do.
    Refused(&'static str),
    /// A variable that wins, such as `CARACAL_*` over `FELIX_*`, says something else.
    EnvironmentsDiffer,
    /// The file that the name is of cannot be used, for this reason.
    Unusable(String),
    /// The source names the parameter again, in another spelling, with another text.
    Repeated,
}

/// What counts in place of a value that does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InForce {
    /// What the same source said before.
    LastGood(String),
    /// What a source says, maybe the same one in another place.
    Said {
        /// The text; empty for a default that has none.
        text: String,
        /// The source.
        source: Source,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(reason) => reason.fmt(f),
            Self::Field { field, reason } => write!(f, "spec.{field}: {reason}"),
            Self::Unknown { nearest: Some(nearest) } => write!(f, "no parameter has this name, {nearest} has"),
            Self::Unknown { nearest: None } => f.write_str("no parameter has this name"),
            Self::LocalOnly => f.write_str("only the node itself can set it"),
            Self::Refused(reason) => f.write_str(reason),
            Self::EnvironmentsDiffer => f.write_str("another variable for the same differs"),
            Self::Unusable(reason) => write!(f, "cannot be used, what it last said counts: {reason}"),
            Self::Repeated => f.write_str("set more than once"),
        }
    }
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LastGood(text) => write!(f, "the last good value {text:?}"),
            Self::Said { text, source: Source::Default } => write!(f, "the default {text:?}"),
            Self::Said { text, source } => write!(f, "{text:?} from {source}"),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, source, value, reason, in_force } = self;
        write!(f, "{name} {value:?} from {source}: {reason}")?;
        match in_force {
            Some(in_force) => write!(f, "; {in_force} is in force"),
            None => Ok(()),
        }
    }
}
