//! The way to a field.

use std::borrow::Cow;
use std::fmt;

/// One step on the way to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the value of a mapping's key.
    Field(Cow<'static, str>),
    /// To an element of a list, counted from 0.
    Item(usize),
}

/// The way to a field from the object's top, printed as `spec.ingress[0].ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// The steps, outermost first.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path one step further down.
    #[must_use]
    pub(crate) fn field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.0.push(Step::Field(name.into()));
        self
    }

    /// The path one element further down.
    #[must_use]
    pub(crate) fn item(mut self, index: usize) -> Self {
        self.0.push(Step::Item(index));
        self
    }

    /// This path, then another one.
    #[must_use]
    pub(crate) fn join(&self, further: &Self) -> Self {
        Self(self.0.iter().chain(&further.0).cloned().collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if i == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl FromIterator<Step> for FieldPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

/// `"spec.types"` as a path: names between dots, no elements of lists.
impl From<&'static str> for FieldPath {
    fn from(dotted: &'static str) -> Self {
        Self(dotted.split('.').map(|name| Step::Field(name.into())).collect())
    }
}
