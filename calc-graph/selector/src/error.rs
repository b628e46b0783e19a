//! Why a text is not a selector.

/// Why a text is not a selector, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct SelectorError {
    column: usize,
    problem: Problem,
}

impl SelectorError {
    /// `at` is a byte offset into `text`, on a character's border.
    pub(crate) fn new(text: &str, at: usize, problem: Problem) -> Self {
        let column = text[..at].chars().count() + 1;
        Self { column, problem }
    }

    /// The place of the offending character, counted in characters from 1; one
    /// past the last character if the text ends too early.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong there.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// What is wrong there, in words, without the column.
    #[must_use]
    pub fn message(&self) -> String {
        self.problem.to_string()
    }
}

/// What can be wrong with a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Something else belongs here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What could stand here.
        expected: &'static str,
        /// What does stand here.
        found: String,
    },
    /// A character that starts nothing in this language.
    #[error("unexpected character {0:?}")]
    Character(char),
    /// Half of a two-character operator.
    #[error("a single {half:?}, write {whole:?}")]
    HalfOperator {
        /// What was written.
        half: char,
        /// What there is in the language.
        whole: &'static str,
    },
    /// A value whose closing quote is missing.
    #[error("a string without its closing {0}")]
    OpenString(char),
    /// A label name above the limit.
    #[error("a label name of {0} bytes, the longest allowed is {max}", max = crate::MAX_LABEL_BYTES)]
    LongLabel(usize),
    /// Parentheses nested above the limit.
    #[error("parentheses nested more than {max} deep", max = crate::MAX_DEPTH)]
    TooDeep,
}
