//! The canonical text: one spelling for each parsed selector.

use crate::Expr;

/// The canonical text of a selector.
pub(crate) fn text(expr: &Expr) -> String {
    // Most are one comparison or two.
    let mut out = String::with_capacity(64);
    write(&mut out, expr);
    out
}

fn write(out: &mut String, expr: &Expr) {
    match expr {
        Expr::All => out.push_str("all()"),
        Expr::Global => out.push_str("global()"),
        Expr::Has(label) => {
            out.push_str("has(");
            out.push_str(label);
            out.push(')');
        }
        Expr::Eq(label, value) => write_comparison(out, label, "==", value),
        Expr::Ne(label, value) => write_comparison(out, label, "!=", value),
        Expr::Contains(label, value) => write_comparison(out, label, "contains", value),
        Expr::StartsWith(label, value) => write_comparison(out, label, "starts with", value),
        Expr::EndsWith(label, value) => write_comparison(out, label, "ends with", value),
        Expr::In(label, values) => write_membership(out, label, "in", values),
        Expr::NotIn(label, values) => write_membership(out, label, "not in", values),
        Expr::Not(operand) => {
            out.push('!');
            write(out, operand);
        }
        Expr::And(operands) => write_chain(out, operands, " && "),
        Expr::Or(operands) => write_chain(out, operands, " || "),
    }
}

fn write_comparison(out: &mut String, label: &str, operator: &str, value: &str) {
    write_left_side(out, label, operator);
    write_value(out, value);
}

fn write_membership(out: &mut String, label: &str, operator: &str, values: &[Box<str>]) {
    write_left_side(out, label, operator);
    out.push('{');
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_value(out, value);
    }
    out.push('}');
}

fn write_left_side(out: &mut String, label: &str, operator: &str) {
    for part in [label, " ", operator, " "] {
        out.push_str(part);
    }
}

/// A literal has no escapes, so a value holds at most one kind of quote.
fn write_value(out: &mut String, value: &str) {
    let quote = if value.contains('"') { '\'' } else { '"' };
    out.push(quote);
    out.push_str(value);
    out.push(quote);
}

fn write_chain(out: &mut String, operands: &[Expr], between: &str) {
    out.push('(');
    for (i, operand) in operands.iter().enumerate() {
        if i > 0 {
            out.push_str(between);
        }
        write(out, operand);
    }
    out.push(')');
}
