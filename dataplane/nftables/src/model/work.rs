//! What one update has still to do.

use std::collections::BTreeSet;

use caracal_program::{ProgramKey, SetId, WorkloadId};
use smol_str::SmolStr;

use super::ListKey;
use crate::edits::{Edits, ElementEdit};
use crate::ir::{Element, SetSpec};

/// Whether host endpoints are to be compiled: all of them together, as they are few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HostWork {
    /// Nothing changed for them.
    #[default]
    None,
    /// Something did.
    Due,
}

/// Whether what follows from the cluster's network is to be compiled: all of it
/// together, as there is little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum NetworkWork {
    /// Nothing changed for them.
    #[default]
    None,
    /// Something did.
    Due,
}

/// What one update has still to do, each thing once and in a fixed order.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) edits: Edits,
    interfaces: BTreeSet<SmolStr>,
    /// Lists of rules to compile.
    pub(super) lists: BTreeSet<ListKey>,
    /// Lists whose own rules changed.
    pub(super) changed_rules: Vec<ListKey>,
    /// Sets whose members changed in place.
    pub(super) edited_sets: Vec<SetId>,
    /// Programs to compile.
    pub(super) programs: BTreeSet<ProgramKey>,
    /// Programs that a stub led to before, once for each stub.
    pub(super) released: Vec<ProgramKey>,
    /// Endpoints whose outcome may differ.
    pub(super) endpoints: Vec<WorkloadId>,
    /// Whether host endpoints are to be compiled.
    pub(super) hosts: HostWork,
    /// Whether what follows from the cluster's network is to be compiled.
    pub(super) network: NetworkWork,
    /// Whether a list of rules has become faulty, or is so no longer.
    pub(super) faults_changed: bool,
}

impl Work {
    pub(super) fn interface(&mut self, interface: &SmolStr) {
        self.interfaces.insert(interface.clone());
    }

    pub(super) fn interfaces(&self) -> Vec<SmolStr> {
        self.interfaces.iter().cloned().collect()
    }

    /// Changes an interface's entry in a set or map of interfaces.
    pub(super) fn member(&mut self, set: SetSpec, add: Option<Element>, delete: Option<Element>) {
        // Those of interfaces come after those of IP sets, of which there may be thousands.
        match self.edits.elements.iter_mut().rev().find(|edit| edit.set == set) {
            Some(edit) => {
                edit.add.extend(add);
                edit.delete.extend(delete);
            }
            None => {
                let (add, delete) = (add.into_iter().collect(), delete.into_iter().collect());
                self.edits.elements.push(ElementEdit { set, add, delete });
            }
        }
    }
}
