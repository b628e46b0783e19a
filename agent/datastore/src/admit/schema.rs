//! Tables of what may be in an object.
//!
//! A kind's fields are static data, so that a new kind is a new table. Two walks
//! use them: [`Object::decode`] brings a value into the table's types, and
//! [`Object::check`] tests what decoded against the limits and rules.

mod check;
mod decode;

use serde_json::{Map, Value};

use super::format::Format;
use super::violation::Violation;

/// The fields of a mapping and the rules between them.
pub(super) struct Object {
    fields: &'static [Field],
    unknown: Unknown,
    /// Rules between fields. The fields have been checked when these are called.
    rules: &'static [Rule],
}

/// A rule between the fields of a mapping.
pub(super) type Rule = fn(&Map<String, Value>) -> Result<(), Violation>;

/// What becomes of a field that is not in the table.
enum Unknown {
    Refused,
    Kept,
}

/// One field of a mapping.
pub(super) struct Field {
    name: &'static str,
    kind: Type,
    need: Need,
}

/// Whether a field must be there.
enum Need {
    Optional,
    /// An API server refuses an object without it.
    Required,
    /// It is filled in.
    Default(&'static str),
}

/// What may stand in one place.
pub(super) enum Type {
    /// Anything: nobody reads it.
    Any,
    /// `true` or `false`.
    Boolean,
    /// A whole number within limits.
    Integer {
        /// The least that the type holds.
        min: i64,
        /// The most that the type holds.
        max: i64,
        /// The limits of what is meant by it, if narrower.
        limits: Option<(i64, i64)>,
    },
    /// A number.
    Number,
    /// Text.
    Text(Text),
    /// A whole number or text.
    IntOrText,
    /// Calico's port: a number, a range `first:last`, or a name.
    Port,
    /// Calico's protocol: a number or a name.
    Protocol,
    /// A list.
    List(&'static List),
    /// A mapping from any names to text.
    Texts,
    /// A mapping with fields.
    Object(&'static Object),
}

/// What a text may be.
pub(super) struct Text {
    /// Counted in characters.
    max_length: usize,
    /// All that it may be; nothing means anything.
    allowed: &'static [&'static str],
    format: Format,
}

/// What a list may be.
pub(super) struct List {
    items: Type,
    min: usize,
    max: usize,
    repeats: Repeats,
}

/// Whether an element may occur twice in a list.
enum Repeats {
    Allowed,
    /// The list is a set; elements are compared as written.
    Refused,
}

/// Any text.
pub(super) const TEXT: Type = formatted(Format::Any);
/// A whole number, 64 bits.
pub(super) const INTEGER: Type = integer(i64::MIN, i64::MAX);
/// A list of any texts.
pub(super) const TEXT_LIST: Type = Type::List(&List::of(TEXT));

/// A whole number that does not decode outside these.
pub(super) const fn integer(min: i64, max: i64) -> Type {
    Type::Integer { min, max, limits: None }
}

/// A whole number that decodes as any, and is refused outside these.
pub(super) const fn limited(min: i64, max: i64) -> Type {
    Type::Integer { min: i64::MIN, max: i64::MAX, limits: Some((min, max)) }
}

/// A 16-bit number that is refused if 0: a port.
pub(super) const fn port_number() -> Type {
    Type::Integer { min: 0, max: 65535, limits: Some((1, 65535)) }
}

/// Text of a form.
pub(super) const fn formatted(format: Format) -> Type {
    Type::Text(Text { max_length: usize::MAX, allowed: &[], format })
}

/// Text of a form and of at most so many characters.
pub(super) const fn short(format: Format, max_length: usize) -> Type {
    Type::Text(Text { max_length, allowed: &[], format })
}

/// One of these texts.
pub(super) const fn one_of(allowed: &'static [&'static str]) -> Type {
    Type::Text(Text { max_length: usize::MAX, allowed, format: Format::Any })
}

/// One of these texts, in upper or lower case.
pub(super) const fn any_case(allowed: &'static [&'static str]) -> Type {
    formatted(Format::AnyCase(allowed))
}

/// A field that may be missing.
pub(super) const fn optional(name: &'static str, kind: Type) -> Field {
    Field { name, kind, need: Need::Optional }
}

/// A field that must be there.
pub(super) const fn required(name: &'static str, kind: Type) -> Field {
    Field { name, kind, need: Need::Required }
}

/// A field that is filled in if it is missing or, being text, empty.
pub(super) const fn defaulted(name: &'static str, kind: Type, value: &'static str) -> Field {
    Field { name, kind, need: Need::Default(value) }
}

impl List {
    /// A list of any number of these.
    pub(super) const fn of(items: Type) -> Self {
        Self { items, min: 0, max: usize::MAX, repeats: Repeats::Allowed }
    }

    /// A list in which nothing occurs twice.
    pub(super) const fn set_of(items: Type) -> Self {
        Self { repeats: Repeats::Refused, ..Self::of(items) }
    }

    /// The same with at least so many elements.
    pub(super) const fn min(self, min: usize) -> Self {
        Self { min, ..self }
    }

    /// The same with at most so many elements.
    pub(super) const fn max(self, max: usize) -> Self {
        Self { max, ..self }
    }
}

impl Object {
    /// A mapping that has no fields but these.
    pub(super) const fn of(fields: &'static [Field]) -> Self {
        Self { fields, unknown: Unknown::Refused, rules: &[] }
    }

    /// A mapping of which these fields are read.
    pub(super) const fn open(fields: &'static [Field]) -> Self {
        Self { fields, unknown: Unknown::Kept, rules: &[] }
    }

    /// The names of the fields.
    #[cfg(test)]
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|field| field.name)
    }

    /// The same with rules between the fields.
    pub(super) const fn rules(self, rules: &'static [Rule]) -> Self {
        Self { rules, ..self }
    }
}
