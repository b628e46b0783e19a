//! Tokens to the parsed form.
//!
//! ```text
//! selector := [ or ]                    blank means all()
//! or       := and { "||" and }
//! and      := operand { "&&" operand }
//! operand  := { "!" } primary
//! primary  := "(" or ")" | "all()" | "global()" | "has(" LABEL ")"
//!           | LABEL ("==" | "!=" | "contains" | "starts with" | "ends with") STRING
//!           | LABEL ("in" | "not in") "{" [ STRING { "," STRING } [","] ] "}"
//! ```

use crate::lexer::{Lexer, Operator, Token};
use crate::{Expr, Problem, SelectorError};

/// How deep parentheses may nest, both in the text and in the canonical text,
/// which has one pair around each chain. It bounds the stack of the parser and
/// of everything that walks an [`Expr`]; what people write stays below ten.
pub const MAX_DEPTH: usize = 256;

/// Parses a whole text.
pub(crate) fn parse(text: &str) -> Result<Expr, SelectorError> {
    let mut parser = Parser::new(text)?;
    if parser.token == Token::End {
        return Ok(Expr::All);
    }
    let whole = parser.or()?;
    match parser.token {
        Token::End => Ok(whole.expr),
        _ => Err(parser.unexpected("\"&&\", \"||\" or the end")),
    }
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The token that is next, and the byte offset at which it begins.
    token: Token<'t>,
    at: usize,
    /// How many parentheses are open.
    depth: usize,
}

/// An expression and how deep parentheses nest in its canonical text.
struct Nested {
    expr: Expr,
    depth: usize,
}

impl Nested {
    fn leaf(expr: Expr) -> Self {
        Self { expr, depth: 0 }
    }
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Result<Self, SelectorError> {
        let mut lexer = Lexer::new(text);
        let (token, at) = lexer.next()?;
        Ok(Self { lexer, token, at, depth: 0 })
    }

    fn or(&mut self) -> Result<Nested, SelectorError> {
        self.chain(Token::Or, Self::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Nested, SelectorError> {
        self.chain(Token::And, Self::operand, Expr::And)
    }

    /// One operand, or a chain of them with `between` between each two.
    fn chain(
        &mut self,
        between: Token<'t>,
        operand: fn(&mut Self) -> Result<Nested, SelectorError>,
        node: fn(Vec<Expr>) -> Expr,
    ) -> Result<Nested, SelectorError> {
        let first = operand(self)?;
        if self.token != between {
            return Ok(first);
        }
        let mut depth = first.depth;
        let mut operands = vec![first.expr];
        while self.token == between {
            self.advance()?;
            let next = operand(self)?;
            depth = depth.max(next.depth);
            operands.push(next.expr);
        }
        if depth == MAX_DEPTH {
            return Err(self.lexer.error(self.at, Problem::TooDeep));
        }
        Ok(Nested { expr: node(operands), depth: depth + 1 })
    }

    /// Negations in a row cancel out in pairs; those with a parenthesis between
    /// them stay, as they do in Calico, whose ids depend on it.
    fn operand(&mut self) -> Result<Nested, SelectorError> {
        let mut negated = false;
        while self.token == Token::Bang {
            negated = !negated;
            self.advance()?;
        }
        let mut primary = self.primary()?;
        if negated {
            primary.expr = Expr::Not(Box::new(primary.expr));
        }
        Ok(primary)
    }

    fn primary(&mut self) -> Result<Nested, SelectorError> {
        let expr = match self.token {
            Token::Open => return self.parenthesised(),
            Token::Label(label) => {
                self.advance()?;
                return Ok(Nested::leaf(self.comparison(label)?));
            }
            Token::All => Expr::All,
            Token::Global => Expr::Global,
            Token::Has(label) => Expr::Has(label.into()),
            Token::End
            | Token::Close
            | Token::OpenSet
            | Token::CloseSet
            | Token::Comma
            | Token::Bang
            | Token::And
            | Token::Or
            | Token::Text(_)
            | Token::Operator(_) => {
                return Err(self.unexpected("a label, \"!\", \"(\", has(…), all() or global()"));
            }
        };
        self.advance()?;
        Ok(Nested::leaf(expr))
    }

    fn parenthesised(&mut self) -> Result<Nested, SelectorError> {
        if self.depth == MAX_DEPTH {
            return Err(self.lexer.error(self.at, Problem::TooDeep));
        }
        self.depth += 1;
        self.advance()?;
        let inner = self.or()?;
        if self.token != Token::Close {
            return Err(self.unexpected("\"&&\", \"||\" or \")\""));
        }
        self.depth -= 1;
        self.advance()?;
        Ok(inner)
    }

    fn comparison(&mut self, label: &'t str) -> Result<Expr, SelectorError> {
        let Token::Operator(operator) = self.token else {
            return Err(self.unexpected("an operator"));
        };
        self.advance()?;
        let label = label.into();
        Ok(match operator {
            Operator::Eq => Expr::Eq(label, self.value()?),
            Operator::Ne => Expr::Ne(label, self.value()?),
            Operator::Contains => Expr::Contains(label, self.value()?),
            Operator::StartsWith => Expr::StartsWith(label, self.value()?),
            Operator::EndsWith => Expr::EndsWith(label, self.value()?),
            Operator::In => Expr::In(label, self.values()?),
            Operator::NotIn => Expr::NotIn(label, self.values()?),
        })
    }

    fn value(&mut self) -> Result<Box<str>, SelectorError> {
        let Token::Text(value) = self.token else {
            return Err(self.unexpected("a string in quotes"));
        };
        self.advance()?;
        Ok(value.into())
    }

    /// A set, sorted and without repetitions. A comma may follow the last value
    /// but not stand alone.
    fn values(&mut self) -> Result<Box<[Box<str>]>, SelectorError> {
        if self.token != Token::OpenSet {
            return Err(self.unexpected("\"{\""));
        }
        self.advance()?;
        let mut values = Vec::new();
        while self.token != Token::CloseSet {
            let Token::Text(value) = self.token else {
                return Err(self.unexpected("a string in quotes or \"}\""));
            };
            values.push(Box::from(value));
            self.advance()?;
            match self.token {
                Token::Comma => self.advance()?,
                Token::CloseSet => {}
                _ => return Err(self.unexpected("\",\" or \"}\"")),
            }
        }
        self.advance()?;
        values.sort_unstable();
        values.dedup();
        Ok(values.into())
    }

    fn advance(&mut self) -> Result<(), SelectorError> {
        (self.token, self.at) = self.lexer.next()?;
        Ok(())
    }

    fn unexpected(&self, expected: &'static str) -> SelectorError {
        let found = self.token.describe();
        self.lexer.error(self.at, Problem::Unexpected { expected, found })
    }
}
