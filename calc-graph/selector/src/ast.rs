//! The parsed form.

/// A parsed selector.
///
/// Labels and values are compared byte by byte, with case. An absent label
/// makes every comparison false except [`Ne`](Expr::Ne) and
/// [`NotIn`](Expr::NotIn), which it makes true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// `all()`: true.
    All,
    /// `global()`: true. What it means beyond that is for whoever assembles a
    /// policy's selectors.
    Global,
    /// `has(label)`: the label is present, even if its value is empty.
    Has(Box<str>),
    /// `label == "value"`.
    Eq(Box<str>, Box<str>),
    /// `label != "value"`: absent or different.
    Ne(Box<str>, Box<str>),
    /// `label in {"value", …}`. The values are sorted by bytes, each once.
    In(Box<str>, Box<[Box<str>]>),
    /// `label not in {"value", …}`: absent or none of them. The values are
    /// sorted by bytes, each once.
    NotIn(Box<str>, Box<[Box<str>]>),
    /// `label contains "value"`.
    Contains(Box<str>, Box<str>),
    /// `label starts with "value"`.
    StartsWith(Box<str>, Box<str>),
    /// `label ends with "value"`.
    EndsWith(Box<str>, Box<str>),
    /// `!operand`.
    Not(Box<Expr>),
    /// `(operand && …)`, two operands or more.
    And(Vec<Expr>),
    /// `(operand || …)`, two operands or more.
    Or(Vec<Expr>),
}
