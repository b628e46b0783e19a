//! One parameter.

use crate::kind::{BadText, Kind, Value};
use crate::table::PARAMETERS;

/// A configuration parameter.
#[derive(Debug)]
pub struct Param {
    /// Its name in files and in the environment, where case does not matter.
    pub name: &'static str,
    /// The field of FelixConfiguration's `spec` that sets it, if one does.
    pub field: Option<&'static str>,
    /// How its text is read.
    pub kind: Kind,
    /// The text of its default; empty means the [zero value](Param::zero).
    pub default: &'static str,
    /// Which sources it may come from.
    pub scope: Scope,
    /// Whether it must have a value: then the text `none` is refused.
    pub required: bool,
    /// What this build makes of it.
    pub disposition: Disposition,
    /// How what it does differs from what Felix does; empty if it does not.
    pub note: &'static str,
}

/// What this build makes of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It does what the parameter says: [`Settings`](crate::Settings) has it.
    ActedOn,
    /// It reads the value, passes it on, and does nothing with it, for this reason.
    Ignored(&'static str),
    /// It cannot do what a value other than the default asks for, for this
    /// reason, and warns about one.
    Refused(&'static str),
}

impl Disposition {
    /// One word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ActedOn => "acted on",
            Self::Ignored(_) => "ignored",
            Self::Refused(_) => "refused",
        }
    }
}

/// Which sources a parameter may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Any.
    Anywhere,
    /// Any but the datastore.
    Local,
}

impl Param {
    pub(crate) const fn new(
        name: &'static str,
        field: &'static str,
        kind: Kind,
        default: &'static str,
        disposition: Disposition,
    ) -> Self {
        Self {
            name,
            field: if field.is_empty() { None } else { Some(field) },
            kind,
            default,
            scope: Scope::Anywhere,
            required: false,
            disposition,
            note: "",
        }
    }

    pub(crate) const fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    pub(crate) const fn local(mut self) -> Self {
        self.scope = Scope::Local;
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Why it is not acted on, or how what it does differs from what Felix does;
    /// empty if there is nothing to remark.
    #[must_use]
    pub const fn remark(&self) -> &'static str {
        match self.disposition {
            Disposition::ActedOn => self.note,
            Disposition::Ignored(reason) | Disposition::Refused(reason) => reason,
        }
    }

    /// Reads a text that is not empty. `none` stands for the zero value.
    ///
    /// # Errors
    /// If the text is not of the parameter's kind, or `none` for a parameter
    /// that must have a value.
    pub fn parse(&self, text: &str) -> Result<Value, BadText> {
        let none_is_an_option = matches!(self.kind, Kind::OneOf(options) if has_none(options));
        if !text.eq_ignore_ascii_case("none") || none_is_an_option {
            self.kind.parse(text)
        } else if self.required {
            Err(BadText::Required)
        } else {
            Ok(self.zero())
        }
    }

    /// The value without any source.
    #[must_use]
    pub fn default_value(&self) -> Value {
        if self.default.is_empty() {
            return self.zero();
        }
        self.kind.parse(self.default).expect("each default in the table is of its parameter's kind")
    }

    /// What `none` stands for. A switch without a default has three states, and
    /// this is the third.
    #[must_use]
    pub fn zero(&self) -> Value {
        match self.kind {
            Kind::Bool if !self.default.is_empty() => Value::Bool(false),
            Kind::Integer { .. } => Value::Integer(0),
            Kind::Seconds | Kind::Milliseconds => Value::Duration(std::time::Duration::ZERO),
            Kind::Bool
            | Kind::OneOf(_)
            | Kind::MarkMask
            | Kind::Text
            | Kind::Pattern(_)
            | Kind::Regex
            | Kind::InterfacePatterns
            | Kind::KeyValues
            | Kind::KeyDurations
            | Kind::Ipv4
            | Kind::Ipv6
            | Kind::Cidrs
            | Kind::ProtocolPorts
            | Kind::PortRange
            | Kind::PortRanges
            | Kind::TableRanges { .. } => Value::Unset,
        }
    }
}

fn has_none(options: &[&str]) -> bool {
    options.iter().any(|option| option.eq_ignore_ascii_case("none"))
}

/// The parameter of a name, in any case.
#[must_use]
pub fn parameter(name: &str) -> Option<&'static Param> {
    PARAMETERS.iter().find(|p| p.name.eq_ignore_ascii_case(name))
}

/// The parameter that a field of FelixConfiguration's `spec` sets.
#[must_use]
pub fn parameter_of_field(field: &str) -> Option<&'static Param> {
    PARAMETERS.iter().find(|p| p.field == Some(field))
}
