//! Rules.

use super::expr::{self, Expr};
use super::name::{Comment, Name};
use super::uapi::{
    NFTA_LIST_ELEM, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_HANDLE, NFTA_RULE_POSITION, NFTA_RULE_USERDATA,
};
use super::userdata;
use crate::wire::{Attrs, Malformed, Writer};

/// What a rule does: its expressions in order, and a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The expressions. The packet leaves the rule at the first that does not match.
    pub exprs: Vec<Expr>,
    /// Printed by `nft list`.
    pub comment: Option<Comment>,
}

impl Rule {
    /// A rule without a comment.
    #[must_use]
    pub fn new(exprs: impl Into<Vec<Expr>>) -> Self {
        Self { exprs: exprs.into(), comment: None }
    }

    /// The rule with a comment.
    #[must_use]
    pub fn with_comment(mut self, comment: Comment) -> Self {
        self.comment = Some(comment);
        self
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        if let Some(comment) = &self.comment {
            userdata::put_comment(out, NFTA_RULE_USERDATA, comment);
        }
        if !self.exprs.is_empty() {
            out.nest(NFTA_RULE_EXPRESSIONS, |out| self.exprs.iter().for_each(|expr| expr.encode(out)));
        }
    }
}

/// The kernel's number of a rule; unique in its table, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u64);

/// Where in its chain a rule goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind all others.
    Last,
    /// Before all others.
    First,
    /// Right behind a rule that the kernel has.
    Behind(Handle),
    /// Right before a rule that the kernel has.
    Before(Handle),
    /// Instead of a rule that the kernel has; the new one gets a new handle.
    Instead(Handle),
}

impl Place {
    pub(super) const fn flags(self) -> i32 {
        match self {
            Self::Last | Self::Behind(_) => libc::NLM_F_CREATE | libc::NLM_F_APPEND,
            Self::First | Self::Before(_) => libc::NLM_F_CREATE,
            Self::Instead(_) => libc::NLM_F_REPLACE,
        }
    }

    pub(super) fn encode(self, out: &mut Writer) {
        match self {
            Self::Last | Self::First => {}
            Self::Behind(Handle(handle)) | Self::Before(Handle(handle)) => out.be64(NFTA_RULE_POSITION, handle),
            Self::Instead(Handle(handle)) => out.be64(NFTA_RULE_HANDLE, handle),
        }
    }
}

/// A rule that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRule {
    /// Its chain.
    pub chain: Name,
    /// Its number.
    pub handle: Handle,
    /// What it does. Counters have the values of the moment.
    pub rule: Rule,
}

/// A rule that has counted something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedRule {
    /// Its chain.
    pub chain: Name,
    /// Its number.
    pub handle: Handle,
    /// Its comment.
    pub comment: Option<Comment>,
    /// Packets so far.
    pub packets: u64,
    /// Bytes so far.
    pub bytes: u64,
}

impl CountedRule {
    /// `None` for a rule without a counter, or one that has counted nothing.
    pub(super) fn decode(attrs: Attrs<'_>) -> Result<Option<Self>, Malformed> {
        let (mut chain, mut handle, mut comment, mut counted) = (None, None, None, (0, 0));
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                NFTA_RULE_CHAIN => chain = Some(attr.text()?),
                NFTA_RULE_HANDLE => handle = Some(Handle(attr.be64()?)),
                NFTA_RULE_EXPRESSIONS => {
                    for element in attr.nested() {
                        counted = expr::counted(element?.nested())?.unwrap_or(counted);
                    }
                }
                NFTA_RULE_USERDATA => comment = Some(attr.payload),
                _ => {}
            }
        }
        let (packets, bytes) = counted;
        if packets == 0 {
            return Ok(None);
        }
        let chain = chain.and_then(|chain| Name::new(chain).ok()).ok_or(Malformed("a rule without its chain"))?;
        let handle = handle.ok_or(Malformed("a rule without a handle"))?;
        Ok(Some(Self { chain, handle, comment: comment.and_then(userdata::comment), packets, bytes }))
    }
}

impl ListedRule {
    pub(super) fn decode(attrs: Attrs<'_>) -> Result<Self, Malformed> {
        let mut rule = Rule::default();
        let (chain, handle) = Self::decode_into(attrs, &mut rule)?;
        let chain = Name::new(chain).map_err(|_| Malformed("a rule without its chain"))?;
        Ok(Self { chain, handle, rule })
    }

    /// Decodes a rule in the memory of another one, and gives its chain and its number.
    pub(super) fn decode_into<'a>(attrs: Attrs<'a>, rule: &mut Rule) -> Result<(&'a str, Handle), Malformed> {
        rule.exprs.clear();
        rule.comment = None;
        let (mut chain, mut handle) = (None, None);
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                NFTA_RULE_CHAIN => chain = Some(attr.text()?),
                NFTA_RULE_HANDLE => handle = Some(Handle(attr.be64()?)),
                NFTA_RULE_EXPRESSIONS => {
                    for element in attr.nested() {
                        let element = element?;
                        if element.kind == NFTA_LIST_ELEM {
                            rule.exprs.push(Expr::decode(element.nested())?);
                        }
                    }
                }
                NFTA_RULE_USERDATA => rule.comment = userdata::comment(attr.payload),
                _ => {}
            }
        }
        let chain = chain.ok_or(Malformed("a rule without its chain"))?;
        Ok((chain, handle.ok_or(Malformed("a rule without a handle"))?))
    }
}
