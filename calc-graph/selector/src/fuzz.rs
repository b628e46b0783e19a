//! What must hold of any text at all. Driven by the fuzz target beside this
//! crate, and by the test that replays its corpus.

use crate::{Expr, Selector};

/// Parses the bytes as a selector and asserts what must hold of it.
///
/// # Panics
///
/// If something does not hold.
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Selector::parse(text) {
        Err(error) => {
            let columns = 1..=text.chars().count() + 1;
            assert!(columns.contains(&error.column()), "{error} in {text:?}");
            let shown = error.to_string();
            assert!(shown.starts_with(&format!("column {}: ", error.column())));
            assert!(shown.ends_with(&error.message()));
        }
        Ok(selector) => check(&selector),
    }
}

fn check(selector: &Selector) {
    let reparsed = Selector::parse(selector.canonical()).expect("a canonical text is a selector");
    if !nests_negations(selector.expr()) {
        assert_eq!(&reparsed, selector);
        assert_eq!(reparsed.expr(), selector.expr());
    }
    let none: [(&str, &str); 0] = [];
    assert_eq!(reparsed.matches(&none), selector.matches(&none));
    assert_eq!(selector.prefixed("").canonical(), selector.canonical());
}

/// Whether a negation is negated directly: its canonical text `!!x` reads as `x`.
fn nests_negations(expr: &Expr) -> bool {
    match expr {
        Expr::Not(operand) => matches!(**operand, Expr::Not(_)) || nests_negations(operand),
        Expr::And(operands) | Expr::Or(operands) => operands.iter().any(nests_negations),
        Expr::All
        | Expr::Global
        | Expr::Has(_)
        | Expr::Eq(..)
        | Expr::Ne(..)
        | Expr::In(..)
        | Expr::NotIn(..)
        | Expr::Contains(..)
        | Expr::StartsWith(..)
        | Expr::EndsWith(..) => false,
    }
}
