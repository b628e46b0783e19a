//! Text to tokens.

use crate::{Problem, SelectorError};

/// The longest label name: what Kubernetes allows (a prefix of 253, a slash, a
/// name of 63) and what Calico's own prefixes add, with room to spare.
pub const MAX_LABEL_BYTES: usize = 512;

/// A token; text is borrowed from the selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'t> {
    End,
    Open,
    Close,
    OpenSet,
    CloseSet,
    Comma,
    Bang,
    And,
    Or,
    All,
    Global,
    Has(&'t str),
    Label(&'t str),
    Text(&'t str),
    Operator(Operator),
}

/// What stands between a label and a value or a set of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Eq,
    Ne,
    In,
    NotIn,
    Contains,
    StartsWith,
    EndsWith,
}

/// The operators that are words, as the runs of characters they are made of.
/// Longer spellings stand before their own beginnings.
const WORD_OPERATORS: [(&[&str], Operator); 8] = [
    (&["contains"], Operator::Contains),
    (&["starts", "with"], Operator::StartsWith),
    (&["startswith"], Operator::StartsWith),
    (&["ends", "with"], Operator::EndsWith),
    (&["endswith"], Operator::EndsWith),
    (&["not", "in"], Operator::NotIn),
    (&["notin"], Operator::NotIn),
    (&["in"], Operator::In),
];

impl Token<'_> {
    /// The token in words, for an error.
    pub(crate) fn describe(self) -> String {
        match self {
            Token::End => "the end".into(),
            Token::Open => "\"(\"".into(),
            Token::Close => "\")\"".into(),
            Token::OpenSet => "\"{\"".into(),
            Token::CloseSet => "\"}\"".into(),
            Token::Comma => "\",\"".into(),
            Token::Bang => "\"!\"".into(),
            Token::And => "\"&&\"".into(),
            Token::Or => "\"||\"".into(),
            Token::All => "all()".into(),
            Token::Global => "global()".into(),
            Token::Has(label) => format!("has({label})"),
            Token::Label(label) => format!("the label {label}"),
            Token::Text(_) => "a string".into(),
            Token::Operator(operator) => operator.describe().into(),
        }
    }
}

impl Operator {
    fn describe(self) -> &'static str {
        match self {
            Operator::Eq => "\"==\"",
            Operator::Ne => "\"!=\"",
            Operator::In => "\"in\"",
            Operator::NotIn => "\"not in\"",
            Operator::Contains => "\"contains\"",
            Operator::StartsWith => "\"starts with\"",
            Operator::EndsWith => "\"ends with\"",
        }
    }
}

/// Reads tokens off a selector's text.
///
/// The language has no reserved words: `in` is an operator after a label and a
/// label anywhere else, so the lexer remembers whether it has just read one.
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    after_label: bool,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0, after_label: false }
    }

    /// The next token and the byte offset at which it begins.
    pub(crate) fn next(&mut self) -> Result<(Token<'t>, usize), SelectorError> {
        self.skip_blanks();
        let start = self.at;
        let token = self.token()?;
        self.after_label = matches!(token, Token::Label(_));
        Ok((token, start))
    }

    /// An error at a byte offset.
    pub(crate) fn error(&self, at: usize, problem: Problem) -> SelectorError {
        SelectorError::new(self.text, at, problem)
    }

    fn token(&mut self) -> Result<Token<'t>, SelectorError> {
        let Some(first) = self.rest().chars().next() else {
            return Ok(Token::End);
        };
        if self.after_label
            && first.is_ascii_alphabetic()
            && let Some(operator) = self.word_operator()
        {
            return Ok(Token::Operator(operator));
        }
        let token = match first {
            '(' => self.symbol(1, Token::Open),
            ')' => self.symbol(1, Token::Close),
            '{' => self.symbol(1, Token::OpenSet),
            '}' => self.symbol(1, Token::CloseSet),
            ',' => self.symbol(1, Token::Comma),
            '!' if self.rest().starts_with("!=") => self.symbol(2, Token::Operator(Operator::Ne)),
            '!' => self.symbol(1, Token::Bang),
            '=' => self.doubled("==", first, Token::Operator(Operator::Eq))?,
            '&' => self.doubled("&&", first, Token::And)?,
            '|' => self.doubled("||", first, Token::Or)?,
            '"' | '\'' => Token::Text(self.string(first)?),
            _ if is_label_char(first) => self.label_or_function()?,
            _ => return Err(self.error(self.at, Problem::Character(first))),
        };
        Ok(token)
    }

    fn symbol(&mut self, len: usize, token: Token<'t>) -> Token<'t> {
        self.at += len;
        token
    }

    fn doubled(&mut self, whole: &'static str, half: char, token: Token<'t>) -> Result<Token<'t>, SelectorError> {
        if self.rest().starts_with(whole) {
            Ok(self.symbol(whole.len(), token))
        } else {
            Err(self.error(self.at, Problem::HalfOperator { half, whole }))
        }
    }

    /// A literal has no escapes: it ends at the next quote of its own kind.
    fn string(&mut self, quote: char) -> Result<&'t str, SelectorError> {
        let body = &self.rest()[1..];
        let Some(len) = body.find(quote) else {
            return Err(self.error(self.at, Problem::OpenString(quote)));
        };
        self.at += len + 2;
        Ok(&body[..len])
    }

    /// `all(`, `global(` and `has(` are functions only if the parenthesis
    /// follows at once; otherwise the word is a label like any other.
    fn label_or_function(&mut self) -> Result<Token<'t>, SelectorError> {
        let word = self.label()?;
        let is_call = self.rest().starts_with('(');
        let token = match word {
            "all" if is_call => Token::All,
            "global" if is_call => Token::Global,
            "has" if is_call => {
                self.at += 1;
                self.skip_blanks();
                let label = self.label()?;
                if label.is_empty() {
                    return Err(self.unexpected("a label"));
                }
                self.close_call()?;
                return Ok(Token::Has(label));
            }
            _ => return Ok(Token::Label(word)),
        };
        self.at += 1;
        self.close_call()?;
        Ok(token)
    }

    fn close_call(&mut self) -> Result<(), SelectorError> {
        self.skip_blanks();
        if !self.rest().starts_with(')') {
            return Err(self.unexpected("\")\""));
        }
        self.at += 1;
        Ok(())
    }

    /// An error that names the character here.
    fn unexpected(&self, expected: &'static str) -> SelectorError {
        let found = match self.rest().chars().next() {
            Some(found) => format!("{found:?}"),
            None => Token::End.describe(),
        };
        self.error(self.at, Problem::Unexpected { expected, found })
    }

    /// The run of label characters here, maybe empty.
    fn label(&mut self) -> Result<&'t str, SelectorError> {
        let rest = self.rest();
        // All of them are ASCII: no byte of another character is taken for one.
        let len = rest.bytes().position(|byte| !LABEL_BYTES[usize::from(byte)]).unwrap_or(rest.len());
        if len > MAX_LABEL_BYTES {
            return Err(self.error(self.at, Problem::LongLabel(len)));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn word_operator(&mut self) -> Option<Operator> {
        let (len, operator) =
            WORD_OPERATORS.iter().find_map(|(words, operator)| Some((match_words(self.rest(), words)?, *operator)))?;
        self.at += len;
        Some(operator)
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - trim_blanks(self.rest()).len();
    }
}

/// How many bytes of `text` the words take, with blanks between them, if it
/// begins with them and the last one ends there.
fn match_words(text: &str, words: &[&str]) -> Option<usize> {
    let mut rest = text;
    for (i, word) in words.iter().enumerate() {
        if i > 0 {
            rest = trim_blanks(rest);
        }
        rest = rest.strip_prefix(word)?;
        if rest.starts_with(is_label_char) {
            return None;
        }
    }
    Some(text.len() - rest.len())
}

/// Line ends and other white space are not blanks: they are errors outside of
/// a literal.
fn trim_blanks(text: &str) -> &str {
    let len = text.bytes().position(|byte| !matches!(byte, b' ' | b'\t'));
    &text[len.unwrap_or(text.len())..]
}

const fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

/// Which bytes are label characters.
const LABEL_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_label_char(byte as u8 as char);
        byte += 1;
    }
    table
};
