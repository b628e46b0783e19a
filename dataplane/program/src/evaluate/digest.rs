//! A program made ready to decide about many packets of one state of the store.
//!
//! [`evaluate`](super::evaluate) finds each policy and each set by its name, for
//! each packet, and asks each rule for fields that it leaves empty. A digest
//! does that once, and remembers what it said of packets that only differ in a
//! port that no rule looks at. Fields are compared by the same code, and the
//! verdicts are the same. A digest keeps alive what it names, and goes on saying
//! what that said, whatever becomes of the store.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::Verdict;
use crate::matching::Sets;
use crate::{Action, EndOfTier, Field, IpSet, Packet, PolicyStore, Program, ProgramKind, Rule, SetId};

/// How many verdicts are remembered. Where there are more to remember, packets are
/// so different that memory helps little.
const PRECEDENTS: usize = 4096;

/// The verdicts of a program by one state of the store.
#[derive(Debug)]
pub(crate) struct Digest {
    clauses: Vec<Clause>,
    reads_source_port: bool,
    /// What it said before.
    precedents: FxHashMap<Packet, Verdict>,
}

/// A step on the way to a verdict; the next clause follows unless it says otherwise.
#[derive(Debug)]
enum Clause {
    Rule(Test, Then),
    /// Nothing that comes here goes on.
    End(Verdict),
}

/// What follows when a rule matches.
#[derive(Clone, Copy, Debug)]
enum Then {
    Decided(Verdict),
    /// The clause with this index.
    GoOn(usize),
}

/// A rule with the fields that it asks for and the sets that it names.
#[derive(Debug)]
struct Test {
    /// The list of the rule, and its place there.
    list: Arc<[Rule]>,
    index: usize,
    fields: SmallVec<[Field; 16]>,
    sets: SmallVec<[(SetId, Arc<IpSet>); 1]>,
}

impl Test {
    /// `None` if the store lacks a set.
    fn of(list: &Arc<[Rule]>, index: usize, store: &PolicyStore) -> Option<Self> {
        let rule = &list[index];
        let named = |id: &SetId| store.shared_set(id).map(|set| (Arc::clone(id), Arc::clone(set)));
        let sets = rule.set_ids().map(named).collect::<Option<_>>()?;
        let fields = Field::ALL.into_iter().filter(|field| field.is_asked_by(rule)).collect();
        Some(Self { list: Arc::clone(list), index, fields, sets })
    }

    fn matches(&self, packet: &Packet) -> bool {
        let rule = &self.list[self.index];
        self.fields.iter().all(|field| field.holds_among(rule, packet, self))
    }
}

impl Sets for Test {
    fn named(&self, id: &SetId) -> Option<&IpSet> {
        self.sets.iter().find(|(known, _)| Arc::ptr_eq(known, id)).map(|(_, set)| &**set)
    }
}

impl Digest {
    /// What `program` decides by the state of the store.
    pub(crate) fn of(program: &Program, store: &PolicyStore) -> Self {
        let mut digest = Self { clauses: Vec::new(), reads_source_port: false, precedents: FxHashMap::default() };
        let direction = program.direction();
        for tier in program.tiers() {
            let lists = tier.enforced().map(|id| store.policy(id).map(|policy| policy.rules(direction)));
            digest.add(lists, tier.end, store);
        }
        for name in program.profiles() {
            let list = store.profile(name).map(|profile| profile.rules(direction));
            // What a profile does not decide is for the next one.
            digest.add([list], EndOfTier::Pass, store);
        }
        digest.clauses.push(Clause::End(match program.kind() {
            ProgramKind::Normal | ProgramKind::Translated => Verdict::Deny,
            ProgramKind::Forward | ProgramKind::PreDnat | ProgramKind::Untracked => Verdict::Allow,
        }));
        digest
    }

    /// Adds lists of rules that a pass leaves together. What the store lacks is a
    /// denial: a list that is not there, or a set.
    fn add<'a>(
        &mut self,
        lists: impl IntoIterator<Item = Option<&'a Arc<[Rule]>>>,
        end: EndOfTier,
        store: &PolicyStore,
    ) {
        let mut passes = Vec::new();
        let reaches_its_end = self.add_lists(lists, store, &mut passes);
        if !reaches_its_end || end == EndOfTier::Deny {
            self.clauses.push(Clause::End(Verdict::Deny));
        }
        let next = self.clauses.len();
        for pass in passes {
            if let Clause::Rule(_, then) = &mut self.clauses[pass] {
                *then = Then::GoOn(next);
            }
        }
    }

    /// `false` if nothing comes to their end; what `passes` is to be told where to.
    fn add_lists<'a>(
        &mut self,
        lists: impl IntoIterator<Item = Option<&'a Arc<[Rule]>>>,
        store: &PolicyStore,
        passes: &mut Vec<usize>,
    ) -> bool {
        for list in lists {
            let Some(rules) = list else { return false };
            for (index, rule) in rules.iter().enumerate() {
                let Some(test) = Test::of(rules, index, store) else { return false };
                let at = self.clauses.len();
                let then = match rule.action {
                    Action::Allow => Then::Decided(Verdict::Allow),
                    Action::Deny => Then::Decided(Verdict::Deny),
                    Action::Pass => {
                        passes.push(at);
                        Then::GoOn(at)
                    }
                    Action::Log => continue,
                };
                self.reads_source_port |= test.fields.iter().any(|field| field.reads_source_port());
                self.clauses.push(Clause::Rule(test, then));
            }
        }
        true
    }

    /// The verdict about a packet.
    pub(crate) fn verdict(&mut self, packet: &Packet) -> Verdict {
        let alike = if self.reads_source_port { *packet } else { packet.without_source_port() };
        if let Some(verdict) = self.precedents.get(&alike) {
            return *verdict;
        }
        let verdict = self.decide(packet);
        if self.precedents.len() == PRECEDENTS {
            self.precedents.clear();
        }
        self.precedents.insert(alike, verdict);
        verdict
    }

    fn decide(&self, packet: &Packet) -> Verdict {
        let mut at = 0;
        loop {
            match &self.clauses[at] {
                Clause::End(verdict) => return *verdict,
                Clause::Rule(test, then) if test.matches(packet) => match then {
                    Then::Decided(verdict) => return *verdict,
                    Then::GoOn(next) => at = *next,
                },
                Clause::Rule(..) => at += 1,
            }
        }
    }
}
