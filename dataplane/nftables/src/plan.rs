//! The order of a transaction.
//!
//! The kernel takes a batch whole or not at all, but checks each message against
//! those before it: what is named must be there, what is deleted must not be in
//! use. Chains and sets that lost their users in one batch are deleted by a later
//! one: a packet that is on its way may still walk them.

use std::fmt;

use caracal_sys::nft::Handle;

use crate::edits::{ChainEdit, Edits};
use crate::garbage::Garbage;
use crate::ir::{Base, Chain, Element, Name, Rule, SetKind, SetSpec, TABLE};

/// One step of a transaction: one call of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    AddTable,
    DeleteTable,
    AddSet(SetSpec),
    AddChain(Chain),
    AddElements(SetSpec, Vec<Element>),
    DeleteElements(SetSpec, Vec<Element>),
    FlushChain(Name),
    AddRule(Name, Rule),
    /// Of a chain that is edited rule by rule; see [`Edit`].
    EditRule(Name, Edit),
    DeleteChain(Name),
    DeleteSet(Name),
}

/// What becomes of one rule of a chain that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// It goes.
    Delete(Handle),
    /// A rule comes, right before one that is there or behind all others.
    Insert {
        rule: Rule,
        before: Option<Handle>,
        /// What it has counted in another place.
        counted: Count,
    },
    /// A rule takes its place that does the same, and counts on.
    Replace { rule: Rule, instead_of: Handle, counted: Count },
}

/// What a rule has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// Puts edits in order, and the removal of what batches before left behind.
pub(crate) fn plan(edits: Edits, garbage: Garbage) -> Vec<Step> {
    let Edits { sets, elements, chains, policies, unused_chains: _, unused_sets: _ } = edits;
    let mut steps = Vec::new();
    steps.extend(policies.into_iter().map(Step::AddChain));
    steps.extend(sets.into_iter().map(Step::AddSet));
    for chain in &chains {
        if let ChainEdit::Create(chain) = chain {
            steps.push(Step::AddChain(Chain { name: chain.name.clone(), base: chain.base, rules: Vec::new() }));
        }
    }

    let mut entries = Vec::new();
    let mut deletions = Vec::new();
    for edit in elements {
        let (add, delete) = (edit.add, edit.delete);
        match edit.set.kind {
            SetKind::Interfaces => entries.push((edit.set, add, delete)),
            // A range that comes may overlap one that goes: the kernel must lose that first.
            // So must a set of bounded size, if somebody else filled it.
            kind if kind.is_interval() || edit.set.size.is_some() => {
                push_elements(&mut steps, Step::DeleteElements, &edit.set, delete);
                push_elements(&mut steps, Step::AddElements, &edit.set, add);
            }
            _ => {
                push_elements(&mut steps, Step::AddElements, &edit.set, add);
                push_elements(&mut deletions, Step::DeleteElements, &edit.set, delete);
            }
        }
    }
    for edit in chains {
        let (chain, flush) = match edit {
            ChainEdit::Create(chain) => (chain, false),
            ChainEdit::Rewrite(chain) => (chain, true),
        };
        if flush {
            steps.push(Step::FlushChain(chain.name.clone()));
        }
        steps.extend(chain.rules.into_iter().map(|rule| Step::AddRule(chain.name.clone(), rule)));
    }
    for (map, add, delete) in entries {
        push_elements(&mut steps, Step::DeleteElements, &map, delete);
        push_elements(&mut steps, Step::AddElements, &map, add);
    }
    steps.append(&mut deletions);

    let Garbage { chains, sets } = garbage;
    // Rules hold sets, and maps hold chains.
    steps.extend(chains.iter().cloned().map(Step::FlushChain));
    steps.extend(sets.into_iter().map(Step::DeleteSet));
    steps.extend(chains.into_iter().map(Step::DeleteChain));
    steps
}

fn push_elements(
    steps: &mut Vec<Step>,
    step: fn(SetSpec, Vec<Element>) -> Step,
    set: &SetSpec,
    elements: Vec<Element>,
) {
    if !elements.is_empty() {
        steps.push(step(set.clone(), elements));
    }
}

impl Step {
    /// The chain or set that the step is about; none for the table.
    pub(crate) fn object(&self) -> Option<&Name> {
        match self {
            Self::AddTable | Self::DeleteTable => None,
            Self::AddSet(spec) | Self::AddElements(spec, _) | Self::DeleteElements(spec, _) => Some(&spec.name),
            Self::AddChain(chain) => Some(&chain.name),
            Self::FlushChain(name)
            | Self::AddRule(name, _)
            | Self::EditRule(name, _)
            | Self::DeleteChain(name)
            | Self::DeleteSet(name) => Some(name),
        }
    }
}

impl fmt::Display for Step {
    /// As a command of nft, shortened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements = |f: &mut fmt::Formatter<'_>, verb: &str, spec: &SetSpec, elements: &[Element]| {
            write!(f, "{verb} element inet {TABLE} {} {{", spec.name)?;
            for (i, element) in elements.iter().enumerate() {
                write!(f, "{} {element}", if i == 0 { "" } else { "," })?;
            }
            f.write_str(" }")
        };
        match self {
            Self::AddTable => write!(f, "add table inet {TABLE}"),
            Self::DeleteTable => write!(f, "delete table inet {TABLE}"),
            Self::AddSet(SetSpec { name, size: Some(size), .. }) => {
                write!(f, "add set inet {TABLE} {name} {{ size {size} }}")
            }
            Self::AddSet(SetSpec { name, size: None, .. }) => write!(f, "add set inet {TABLE} {name}"),
            Self::AddChain(Chain { name, base: None, .. }) => write!(f, "add chain inet {TABLE} {name}"),
            Self::AddChain(Chain { name, base: Some(Base { hook, priority, .. }), .. }) => {
                write!(f, "add chain inet {TABLE} {name} {{ hook {hook} priority {} }}", priority.0)
            }
            Self::AddElements(spec, list) => elements(f, "add", spec, list),
            Self::DeleteElements(spec, list) => elements(f, "delete", spec, list),
            Self::FlushChain(name) => write!(f, "flush chain inet {TABLE} {name}"),
            Self::AddRule(name, rule) => write!(f, "add rule inet {TABLE} {name} {rule}"),
            Self::EditRule(name, Edit::Delete(Handle(handle))) => {
                write!(f, "delete rule inet {TABLE} {name} handle {handle}")
            }
            Self::EditRule(name, Edit::Insert { rule, before: Some(Handle(handle)), counted: _ }) => {
                write!(f, "insert rule inet {TABLE} {name} position {handle} {rule}")
            }
            Self::EditRule(name, Edit::Insert { rule, before: None, counted: _ }) => {
                write!(f, "add rule inet {TABLE} {name} {rule}")
            }
            Self::EditRule(name, Edit::Replace { rule, instead_of: Handle(handle), counted: _ }) => {
                write!(f, "replace rule inet {TABLE} {name} handle {handle} {rule}")
            }
            Self::DeleteChain(name) => write!(f, "delete chain inet {TABLE} {name}"),
            Self::DeleteSet(name) => write!(f, "delete set inet {TABLE} {name}"),
        }
    }
}

#[cfg(test)]
mod tests;
