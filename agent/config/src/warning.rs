//! What is wrong with a configuration.

use std::fmt;

use crate::kind::BadText;
use crate::source::Source;

/// Something in a configuration that does not count, or not as it might seem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A text is not of the parameter's kind. What this source said before
    /// counts, or else what a lower one says.
    Invalid {
        /// The parameter.
        name: &'static str,
        /// Where the text comes from.
        source: Source,
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: BadText,
    },
    /// A field of a resource has no form that its parameter knows.
    InvalidField {
        /// The field of the resource's `spec`.
        field: String,
        /// Which resource.
        source: Source,
        /// The value, as JSON.
        value: String,
        /// What is wrong with it.
        reason: crate::field::FieldError,
    },
    /// No parameter has this name. It is passed on to the data half as it is.
    Unknown {
        /// The name, as written.
        name: String,
        /// Where it comes from.
        source: Source,
        /// The parameter that may have been meant.
        nearest: Option<&'static str>,
    },
    /// The datastore may not set this parameter.
    LocalOnly {
        /// The parameter.
        name: &'static str,
        /// Where the text comes from.
        source: Source,
    },
    /// A value asks for what this build cannot do.
    Refused {
        /// The parameter.
        name: &'static str,
        /// Where the value comes from.
        source: Source,
        /// The value's text.
        text: String,
        /// Why it cannot.
        reason: &'static str,
    },
    /// `CARACAL_*` and `FELIX_*` differ; the first counts.
    EnvironmentsDiffer {
        /// The name, as in `CARACAL_*`.
        name: String,
        /// What counts.
        caracal: String,
        /// What does not.
        felix: String,
    },
    /// A source names a parameter twice, in two spellings, with two texts.
    Repeated {
        /// The name, in the spelling that counts.
        name: String,
        /// The source.
        source: Source,
        /// The text that counts.
        text: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { name, source, text, reason } => {
                write!(f, "{name} from {source} is ignored: {text:?}: {reason}")
            }
            Self::InvalidField { field, source, value, reason } => {
                write!(f, "spec.{field} from {source} is ignored: {value}: {reason}")
            }
            Self::Unknown { name, source, nearest: Some(nearest) } => {
                write!(f, "unknown parameter {name} from {source}, did you mean {nearest}?")
            }
            Self::Unknown { name, source, nearest: None } => write!(f, "unknown parameter {name} from {source}"),
            Self::LocalOnly { name, source } => {
                write!(f, "{name} from {source} is ignored: only the node itself can set it")
            }
            Self::Refused { name, source, text, reason } => {
                write!(f, "{name} {text:?} from {source} is refused: {reason}")
            }
            Self::EnvironmentsDiffer { name, caracal, felix } => {
                write!(f, "CARACAL_{name} is {caracal:?} and FELIX_{name} is {felix:?}: the first counts")
            }
            Self::Repeated { name, source, text } => {
                write!(f, "{name} is set more than once by {source}: {text:?} counts")
            }
        }
    }
}
