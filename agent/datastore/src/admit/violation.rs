//! What an object breaks.

use std::borrow::Cow;

use crate::manifest::{FieldPath, Layer, Step};

/// A rule that an object breaks, and where. Built where the rule is checked and
/// handed up through [`Violation::at`] and [`Violation::at_item`], each of which
/// adds the step from the caller's level.
#[derive(Debug)]
pub(super) struct Violation(Box<Parts>);

#[derive(Debug)]
struct Parts {
    layer: Layer,
    /// Innermost step first.
    steps: Vec<Step>,
    reason: Cow<'static, str>,
}

impl Violation {
    pub(super) fn new(layer: Layer, reason: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts { layer, steps: Vec::new(), reason: reason.into() }))
    }

    /// Of the custom resource's schema or its rules between fields.
    pub(super) fn crd(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Layer::Crd, reason)
    }

    /// Of the validator of Calico's client.
    pub(super) fn client(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Layer::Client, reason)
    }

    /// Of the API server's own validation.
    pub(super) fn k8s(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Layer::K8s, reason)
    }

    /// The same, seen from the mapping that has `field`.
    #[must_use]
    pub(super) fn at(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.steps.push(Step::Field(field.into()));
        self
    }

    /// The same, seen from the list that has the element.
    #[must_use]
    pub(super) fn at_item(mut self, index: usize) -> Self {
        self.0.steps.push(Step::Item(index));
        self
    }

    /// The layer, the field and the reason.
    pub(super) fn into_parts(self) -> (Layer, FieldPath, String) {
        let Parts { layer, steps, reason } = *self.0;
        (layer, steps.into_iter().rev().collect(), reason.into_owned())
    }
}
