//! Rewriting of label names.

use crate::Expr;

/// The same selector over labels whose names begin with `prefix`.
pub(crate) fn prefixed(expr: &Expr, prefix: &str) -> Expr {
    let name = |label: &str| format!("{prefix}{label}").into_boxed_str();
    let each = |operands: &[Expr]| operands.iter().map(|e| prefixed(e, prefix)).collect();
    match expr {
        Expr::All => Expr::All,
        Expr::Global => Expr::Global,
        Expr::Has(label) => Expr::Has(name(label)),
        Expr::Eq(label, value) => Expr::Eq(name(label), value.clone()),
        Expr::Ne(label, value) => Expr::Ne(name(label), value.clone()),
        Expr::In(label, values) => Expr::In(name(label), values.clone()),
        Expr::NotIn(label, values) => Expr::NotIn(name(label), values.clone()),
        Expr::Contains(label, value) => Expr::Contains(name(label), value.clone()),
        Expr::StartsWith(label, value) => Expr::StartsWith(name(label), value.clone()),
        Expr::EndsWith(label, value) => Expr::EndsWith(name(label), value.clone()),
        Expr::Not(operand) => Expr::Not(Box::new(prefixed(operand, prefix))),
        Expr::And(operands) => Expr::And(each(operands)),
        Expr::Or(operands) => Expr::Or(each(operands)),
    }
}
