//! Host endpoints in the desired state.

use caracal_program::{PolicyStore, ProgramKey};

use super::work::{HostWork, Work};
use super::{Model, Object, Written};
use crate::edits::{ChainEdit, ElementEdit};
use crate::ir::{Chain, IfName, Name, Set};
use crate::lower::{HostPoint, HostTable, lower_hosts};
use crate::names;

/// What the kernel holds of host endpoints, without their programs.
#[derive(Debug, Default)]
pub(super) struct HostState {
    table: HostTable,
    /// The programs that stubs lead to, once for each stub.
    programs: Vec<ProgramKey>,
    chains: Vec<Written>,
    maps: Vec<Set>,
    /// The shared sets that the failsafes look up.
    shared: Vec<Name>,
}

impl HostState {
    /// Whether a chain or map is one of these.
    pub(super) fn has(&self, name: &Name) -> bool {
        let chains = self.chains.iter().map(|(chain, _)| chain);
        chains.chain(self.maps.iter().map(|map| &map.spec.name)).chain(&self.shared).any(|held| held == name)
    }
}

impl Model {
    /// Finds out which programs host endpoints need from now on, so that they
    /// are compiled before stubs lead to them.
    pub(super) fn choose_host_programs(&mut self, store: &PolicyStore, work: &mut Work) {
        if work.hosts == HostWork::None {
            return;
        }
        let table = self.hosts_in_force(store);
        let mut programs = Vec::new();
        for program in table.programs() {
            self.use_program(program, work);
            programs.push(program.key());
        }
        work.released.extend(std::mem::replace(&mut self.hosts.programs, programs));
        self.hosts.table = table;
    }

    /// An interface that is a workload's by its name has no host endpoint.
    fn hosts_in_force(&self, store: &PolicyStore) -> HostTable {
        if self.refused.contains_key(&Object::Hosts) {
            return HostTable::default();
        }
        let interfaces = store.host_interfaces();
        let named = interfaces.into_iter().filter(|(name, _)| !self.settings.is_workload(name));
        let named = named.filter_map(|(name, endpoint)| Some((IfName::new(&name).ok()?, endpoint.clone())));
        HostTable { named: named.collect(), others: store.host_on_others().cloned() }
    }

    pub(super) fn compile_hosts(&mut self, work: &mut Work) {
        if work.hosts == HostWork::None {
            return;
        }
        let lowered = lower_hosts(&self.hosts.table, self.network.tunnels(), &self.sets, &self.settings);
        let shared: Vec<Name> = lowered.lists.iter().map(|set| set.spec.name.clone()).collect();
        for set in lowered.lists {
            self.share(set, work);
        }
        for name in std::mem::replace(&mut self.hosts.shared, shared) {
            self.unshare(name, work);
        }
        let before = std::mem::replace(&mut self.hosts.maps, lowered.maps.clone());
        self.write_sets(before, &lowered.maps, work);
        let before = std::mem::take(&mut self.hosts.chains);
        let written = self.write(&before, lowered.chains, work);
        // A base chain that waits for its deletion would go on judging.
        let is_base = |chain: &Name| HostPoint::ALL.into_iter().any(|point| names::host(point) == *chain);
        let gone = before.into_iter().map(|(name, _)| name);
        let gone = gone.filter(|name| is_base(name) && written.iter().all(|(kept, _)| kept != name));
        work.edits.chains.extend(gone.map(|name| ChainEdit::Rewrite(Chain { name, base: None, rules: Vec::new() })));
        self.hosts.chains = written;
    }

    /// Changes what differs between the sets that the kernel holds and those of now.
    pub(super) fn write_sets(&mut self, mut before: Vec<Set>, now: &[Set], work: &mut Work) {
        for Set { spec, elements } in now {
            let held = before.iter().position(|map| map.spec == *spec).map(|at| before.remove(at));
            let held = match held {
                Some(held) => held.elements,
                None => {
                    // One that still waits for its deletion was emptied before.
                    if !self.bin.revive_set(&spec.name) {
                        work.edits.sets.push(spec.clone());
                    }
                    Vec::new()
                }
            };
            let add = elements.iter().filter(|element| !held.contains(element)).cloned().collect();
            let delete = held.iter().filter(|element| !elements.contains(element)).cloned().collect();
            work.edits.change(ElementEdit { set: spec.clone(), add, delete });
        }
        for Set { spec, elements } in before {
            work.edits.unused_sets.push(spec.name.clone());
            work.edits.change(ElementEdit { set: spec, add: Vec::new(), delete: elements });
        }
    }
}
