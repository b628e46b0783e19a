//! A parsed selector with its canonical text.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use crate::{Expr, LabelSource, SelectorError, canonical, parser, prefix, set_id};

/// A parsed selector. Clones share one allocation; equality, order and hash are
/// those of the canonical text.
#[derive(Clone)]
pub struct Selector(Arc<Parsed>);

struct Parsed {
    expr: Expr,
    /// Written when it is first asked for: of most policies of a cluster a node only wants to know what they require.
    canonical: OnceLock<Box<str>>,
}

impl Selector {
    /// Parses a selector; blank text selects everything.
    ///
    /// # Errors
    ///
    /// If the text is not in the language, or nests deeper than
    /// [`MAX_DEPTH`](crate::MAX_DEPTH). The error names the column.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parser::parse(text).map(Self::from_expr)
    }

    fn from_expr(expr: Expr) -> Self {
        Self(Arc::new(Parsed { expr, canonical: OnceLock::new() }))
    }

    /// The one spelling that all selectors with this parsed form share. It
    /// parses back to itself unless it holds nested negations (`!(!(x))` prints
    /// as `!!x`, which reads as `x`).
    #[must_use]
    pub fn canonical(&self) -> &str {
        self.0.canonical.get_or_init(|| canonical::text(&self.0.expr).into())
    }

    /// The id of the set of what this selects, hashed anew at each call.
    #[must_use]
    pub fn id(&self) -> String {
        set_id("s", self.canonical())
    }

    /// Whether the labels are selected.
    #[must_use]
    pub fn matches(&self, labels: &(impl LabelSource + ?Sized)) -> bool {
        self.0.expr.matches(labels)
    }

    /// The parsed form.
    #[must_use]
    pub fn expr(&self) -> &Expr {
        &self.0.expr
    }

    /// The same selector over labels whose names begin with `prefix`: how a
    /// selector of namespaces (`pcns.`) or service accounts (`pcsa.`) becomes
    /// one of endpoints, which inherit those labels under such names.
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Self {
        Self::from_expr(prefix::prefixed(self.expr(), prefix))
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.canonical() == other.canonical()
    }
}

impl Eq for Selector {}

impl PartialOrd for Selector {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Selector {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.canonical().cmp(other.canonical())
    }
}

impl Hash for Selector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.canonical())
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({})", self.canonical())
    }
}
