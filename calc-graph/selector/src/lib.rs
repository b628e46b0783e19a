//! Calico's selector language: what a label set must look like to be selected.
//!
//! A [`Selector`] is parsed once and then shared: it is cheap to clone, and two
//! selectors are equal when their canonical texts are, however they were
//! spelled. The canonical text is also what a selector's [`id`](Selector::id)
//! is a hash of, so it follows Calico's to the byte.
//!
//! ```
//! use caracal_selector::Selector;
//!
//! let selector = Selector::parse("role in {'web','api',} && !has(retired)")?;
//! assert_eq!(selector.canonical(), r#"(role in {"api", "web"} && !has(retired))"#);
//! assert!(selector.matches(&[("role", "web")]));
//! # Ok::<(), caracal_selector::SelectorError>(())
//! ```

mod ast;
mod canonical;
mod error;
mod eval;
#[doc(hidden)]
pub mod fuzz;
mod id;
mod lexer;
mod parser;
mod prefix;
mod selector;

pub use ast::Expr;
pub use error::{Problem, SelectorError};
pub use eval::LabelSource;
pub use id::{NamedPortProtocol, canonical_named_port_id, set_id};
pub use lexer::MAX_LABEL_BYTES;
pub use parser::MAX_DEPTH;
pub use selector::Selector;
