//! What is to be changed in the kernel, in no order yet.

use crate::ir::{Chain, Element, Name, SetSpec};

/// Elements of one set that come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ElementEdit {
    pub(crate) set: SetSpec,
    pub(crate) add: Vec<Element>,
    pub(crate) delete: Vec<Element>,
}

/// What becomes of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChainEdit {
    /// The kernel does not have it.
    Create(Chain),
    /// The kernel has it with other rules.
    Rewrite(Chain),
}

impl ChainEdit {
    pub(crate) const fn chain(&self) -> &Chain {
        match self {
            Self::Create(chain) | Self::Rewrite(chain) => chain,
        }
    }
}

/// What is to be changed in the kernel, in no order yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edits {
    /// Sets to make.
    pub(crate) sets: Vec<SetSpec>,
    /// Elements of these and other sets.
    pub(crate) elements: Vec<ElementEdit>,
    /// Chains to make or to rewrite.
    pub(crate) chains: Vec<ChainEdit>,
    /// Base chains, without rules, that the kernel has with another policy.
    pub(crate) policies: Vec<Chain>,
    /// Chains that nothing leads to after this.
    pub(crate) unused_chains: Vec<Name>,
    /// Sets that no rule looks up after this.
    pub(crate) unused_sets: Vec<Name>,
}

impl Edits {
    pub(crate) fn change(&mut self, edit: ElementEdit) {
        if !edit.add.is_empty() || !edit.delete.is_empty() {
            self.elements.push(edit);
        }
    }
}
