//! Whether labels satisfy a selector.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use crate::Expr;

/// Something that has labels.
pub trait LabelSource {
    /// The value of a label, if it is present.
    fn label(&self, key: &str) -> Option<&str>;
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> LabelSource for BTreeMap<K, V> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(AsRef::as_ref)
    }
}

/// Pairs in any order; of equal keys the first one counts.
impl<K: AsRef<str>, V: AsRef<str>> LabelSource for [(K, V)] {
    fn label(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| k.as_ref() == key).map(|(_, value)| value.as_ref())
    }
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> LabelSource for [(K, V); N] {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_slice().label(key)
    }
}

impl Expr {
    /// Whether the labels satisfy this part of a selector.
    #[must_use]
    pub fn matches(&self, labels: &(impl LabelSource + ?Sized)) -> bool {
        let holds = |label: &str, test: &dyn Fn(&str) -> bool| labels.label(label).is_some_and(test);
        match self {
            Expr::All | Expr::Global => true,
            Expr::Has(label) => labels.label(label).is_some(),
            Expr::Eq(label, value) => holds(label, &|v| v == &**value),
            Expr::Ne(label, value) => !holds(label, &|v| v == &**value),
            Expr::In(label, values) => holds(label, &|v| is_one_of(values, v)),
            Expr::NotIn(label, values) => !holds(label, &|v| is_one_of(values, v)),
            Expr::Contains(label, value) => holds(label, &|v| v.contains(&**value)),
            Expr::StartsWith(label, value) => holds(label, &|v| v.starts_with(&**value)),
            Expr::EndsWith(label, value) => holds(label, &|v| v.ends_with(&**value)),
            Expr::Not(operand) => !operand.matches(labels),
            Expr::And(operands) => operands.iter().all(|operand| operand.matches(labels)),
            Expr::Or(operands) => operands.iter().any(|operand| operand.matches(labels)),
        }
    }
}

fn is_one_of(sorted: &[Box<str>], value: &str) -> bool {
    sorted.binary_search_by(|held| (**held).cmp(value)).is_ok()
}
