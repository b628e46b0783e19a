//! Pieces of the desired state to chains.

use std::hash::BuildHasher;

use caracal_program::{Action, Direction, PolicyId, PolicyStore, ProgramKey, Rule as PolicyRule, SetId};
use smol_str::SmolStr;

use super::work::Work;
use super::{InterfaceState, ListKey, Model, Object, Owner, Written};
use crate::edits::{ChainEdit, ElementEdit};
use crate::ir::{Chain, Element, IfName, LogPrefix, Name, Set, SetKind, SetSpec, Verdict};
use crate::lower::{LoweredRules, PassMeans, RuleList, Stage, closed, lower_program, lower_rules, lower_stub, sources};
use crate::names;

impl Model {
    /// The chains of a list of rules. A list that is not known denies, as in the
    /// reference evaluator.
    pub(super) fn lower_list(&self, store: &PolicyStore, key: &ListKey) -> LoweredRules {
        let ListKey { owner, direction, stage } = key;
        let refused = self.refused.get(&Object::List(key.clone())).map(String::as_str);
        let template = self.settings.log_prefix();
        let title = key.title();
        let (chain, log_prefix, pass) = match owner {
            Owner::Policy(id) => {
                let tier = store.policy(id).map_or("", |policy| &policy.tier);
                let chain = names::policy_at(*stage, *direction, id);
                (chain, log_prefix(template, tier, id), PassMeans::NextTier)
            }
            Owner::Profile(name) => {
                let id = PolicyId { kind: "Profile".into(), namespace: SmolStr::default(), name: name.clone() };
                let chain = names::profile(*stage, *direction, name);
                (chain, log_prefix(template, "", &id), PassMeans::NextProfile)
            }
        };
        match (refused, rules_of(store, key)) {
            (Some(why), _) => closed(chain, &format!("{title}: {why}"), *stage, &self.settings),
            (None, None) => closed(chain, &format!("{title}: not known"), *stage, &self.settings),
            (None, Some(rules)) => {
                let owner = Some((owner, *direction));
                let list = RuleList { chain, title, rules, log_prefix, pass, stage: *stage, owner };
                lower_rules(&list, &self.sets, &self.settings)
            }
        }
    }

    pub(super) fn compile_list(&mut self, store: &PolicyStore, key: &ListKey, work: &mut Work) {
        let Some(mut state) = self.lists.remove(key) else { return };
        let lowered = self.lower_list(store, key);
        let rules = rules_of(store, key).unwrap_or_default();

        let mut sets: Vec<SetId> = rules.iter().flat_map(PolicyRule::set_ids).cloned().collect();
        sets.sort_unstable();
        sets.dedup();
        for id in &sets {
            self.sets.users_of(id).insert(key.clone());
        }
        for id in state.sets.iter().filter(|id| sets.binary_search(id).is_err()) {
            self.sets.users_of(id).remove(key);
            self.sets.forget_unused(id);
        }
        state.sets = sets;

        let shared: Vec<Name> = lowered.lists.iter().map(|set| set.spec.name.clone()).collect();
        for set in lowered.lists {
            self.share(set, work);
        }
        for name in std::mem::replace(&mut state.shared, shared) {
            self.unshare(name, work);
        }

        let passes = rules.iter().any(|rule| rule.action == Action::Pass);
        if std::mem::replace(&mut state.passes, passes) != passes {
            work.programs.extend(state.users.iter().copied());
        }
        state.chains = self.write(&state.chains, lowered.chains, work);
        self.note_faults(key, lowered.faults, work);
        self.lists.insert(key.clone(), state);
    }

    pub(super) fn compile_program(&mut self, key: ProgramKey, work: &mut Work) {
        let Some(mut state) = self.programs.remove(&key) else { return };
        let direction = state.program.direction();
        let stage = Stage::of(state.program.kind(), &self.settings);
        let chains = match self.refused.get(&Object::Program(key)) {
            Some(why) => closed(names::program(direction, key), why, stage, &self.settings).chains,
            None => {
                let passes = |id: &PolicyId| {
                    let list = ListKey { owner: Owner::Policy(id.clone()), direction, stage };
                    self.lists.get(&list).is_some_and(|list| list.passes)
                };
                lower_program(&state.program, passes, &self.settings)
            }
        };
        state.chains = self.write(&state.chains, chains, work);
        self.programs.insert(key, state);
    }

    pub(super) fn compile_interface(&mut self, store: &PolicyStore, interface: &SmolStr, work: &mut Work) {
        let before = self.interfaces.remove(interface);
        let name = IfName::new(interface);
        let (Some(endpoint), Ok(name)) = (self.enforced(store, interface).cloned(), name) else {
            let (Some(before), Ok(name)) = (before, IfName::new(interface)) else { return };
            for direction in Direction::ALL {
                let stub = names::stub(direction, &name);
                work.member(dispatch(direction), None, Some(Element::Interface(name, Verdict::Jump(stub))));
            }
            for (set, source) in before.sources {
                work.member(set, None, Some(source));
            }
            work.edits.unused_chains.extend(before.stubs.into_iter().map(|(stub, _)| stub));
            return;
        };
        let state = endpoint.state;
        let stubs = Direction::ALL.map(|direction| {
            let program = endpoint.program(direction);
            let stub = lower_stub(direction, &name, state, program, &self.settings);
            if before.is_none() {
                let entry = Element::Interface(name, Verdict::Jump(stub.name.clone()));
                work.member(dispatch(direction), Some(entry), None);
            }
            let old: &[Written] = before.as_ref().map_or(&[], |before| &before.stubs);
            let old: Vec<Written> = old.iter().filter(|(held, _)| *held == stub.name).cloned().collect();
            self.write(&old, vec![stub], work).remove(0)
        });
        let programs = Direction::ALL.map(|direction| endpoint.program(direction).key());
        let sources: Vec<_> = sources(name, &endpoint, &self.settings).collect();
        let held = before.map(|before| before.sources).unwrap_or_default();
        for (set, source) in sources.iter().filter(|source| !held.contains(source)) {
            work.member(set.clone(), Some(source.clone()), None);
        }
        for (set, source) in held.into_iter().filter(|source| !sources.contains(source)) {
            work.member(set, None, Some(source));
        }
        let next = InterfaceState { endpoint: endpoint.id.clone(), programs, stubs, sources };
        self.interfaces.insert(interface.clone(), next);
    }

    /// Counts one more use of a shared set.
    pub(super) fn share(&mut self, set: Set, work: &mut Work) {
        let users = self.shared.entry(set.spec.name.clone()).or_insert(0);
        *users += 1;
        if *users > 1 {
            return;
        }
        // Equal names are equal sets: one that is still there can stay.
        let name = &set.spec.name;
        let unused = work.edits.unused_sets.iter().position(|unused| unused == name);
        let revived = unused.map(|at| work.edits.unused_sets.remove(at)).is_some() || self.bin.revive_set(name);
        if !revived {
            work.edits.sets.push(set.spec.clone());
            work.edits.change(ElementEdit { set: set.spec, add: set.elements, delete: Vec::new() });
        }
    }

    /// Counts one use less of a shared set.
    pub(super) fn unshare(&mut self, name: Name, work: &mut Work) {
        let Some(users) = self.shared.get_mut(&name) else { return };
        *users -= 1;
        if *users == 0 {
            self.shared.remove(&name);
            work.edits.unused_sets.push(name);
        }
    }

    /// Has chains written that the kernel does not hold as they must be.
    pub(super) fn write(&mut self, old: &[Written], chains: Vec<Chain>, work: &mut Work) -> Vec<Written> {
        let written: Vec<Written> = chains.iter().map(|chain| self.hash(chain)).collect();
        for (chain, now) in chains.into_iter().zip(&written) {
            let held = old.iter().find(|(name, _)| *name == chain.name);
            match held {
                Some(held) if held == now => {}
                Some(_) => work.edits.chains.push(ChainEdit::Rewrite(chain)),
                None if self.bin.revive_chain(&chain.name) => work.edits.chains.push(ChainEdit::Rewrite(chain)),
                None => work.edits.chains.push(ChainEdit::Create(chain)),
            }
        }
        let gone = old.iter().filter(|(name, _)| written.iter().all(|(kept, _)| kept != name));
        work.edits.unused_chains.extend(gone.map(|(name, _)| name.clone()));
        written
    }

    pub(super) fn is_written(&self, old: &[Written], chains: &[Chain]) -> bool {
        old.len() == chains.len() && chains.iter().zip(old).all(|(chain, held)| self.hash(chain) == *held)
    }

    fn hash(&self, chain: &Chain) -> Written {
        (chain.name.clone(), self.hasher.hash_one(chain))
    }
}

/// The verdict map of a direction.
fn dispatch(direction: Direction) -> SetSpec {
    SetSpec::new(names::dispatch(direction), SetKind::Interfaces)
}

/// The rules of a list; `None` if the store does not know their owner.
pub(super) fn rules_of<'s>(store: &'s PolicyStore, key: &ListKey) -> Option<&'s [PolicyRule]> {
    let rules = match &key.owner {
        Owner::Policy(id) => store.policy(id)?.rules(key.direction),
        Owner::Profile(name) => store.profile(name)?.rules(key.direction),
    };
    Some(rules)
}

/// `%t`, `%k`, `%n` and `%p` stand for tier, kind, name and namespace/name.
fn log_prefix(template: &str, tier: &str, id: &PolicyId) -> LogPrefix {
    let path = match id.namespace.is_empty() {
        true => id.name.to_string(),
        false => format!("{}/{}", id.namespace, id.name),
    };
    let text = template.replace("%t", tier).replace("%k", &id.kind).replace("%n", &id.name).replace("%p", &path);
    names::log_prefix(&format!("{text}: "))
}
