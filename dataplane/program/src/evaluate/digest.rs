//! A program made ready to decide about many packets of one state of the store.
//!
//! [`evaluate`](super::evaluate) finds each policy and each set by its name, for
//! each packet, and asks each rule for fields that it leaves empty. A digest
//! does that once, and remembers what it said of packets that only differ in a
//! port that no rule looks at. Fields are compared by the same code, and the
//! verdicts are the same.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::Verdict;
use crate::matching::Sets;
use crate::{Action, EndOfTier, Field, IpSet, Packet, PolicyStore, Program, ProgramKind, Rule, SetId};

/// The verdicts of a program, while the store stays as it is.
#[derive(Debug)]
pub(crate) struct Digest<'a> {
    clauses: Vec<Clause<'a>>,
    reads_source_port: bool,
    /// What it said before.
    precedents: FxHashMap<Packet, Verdict>,
}

/// A step on the way to a verdict; the next clause follows unless it says otherwise.
#[derive(Debug)]
enum Clause<'a> {
    Rule(Test<'a>, Then),
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
struct Test<'a> {
    rule: &'a Rule,
    fields: SmallVec<[Field; 16]>,
    sets: SmallVec<[(&'a SetId, &'a IpSet); 1]>,
}

impl<'a> Test<'a> {
    /// `None` if the store lacks a set.
    fn of(rule: &'a Rule, store: &'a PolicyStore) -> Option<Self> {
        let sets = rule.set_ids().map(|id| store.ip_set(id).map(|set| (id, set))).collect::<Option<_>>()?;
        let fields = Field::ALL.into_iter().filter(|field| field.is_asked_by(rule)).collect();
        Some(Self { rule, fields, sets })
    }

    fn matches(&self, packet: &Packet) -> bool {
        self.fields.iter().all(|field| field.holds_among(self.rule, packet, self))
    }
}

impl Sets for Test<'_> {
    fn named(&self, id: &SetId) -> Option<&IpSet> {
        self.sets.iter().find(|(known, _)| Arc::ptr_eq(known, id)).map(|(_, set)| *set)
    }
}

impl<'a> Digest<'a> {
    /// What `program` decides by the state of the store.
    pub(crate) fn of(program: &Program, store: &'a PolicyStore) -> Self {
        let mut digest = Self { clauses: Vec::new(), reads_source_port: false, precedents: FxHashMap::default() };
        let direction = program.direction();
        for tier in program.tiers() {
            let lists = tier.enforced().map(|id| store.policy(id).map(|policy| &policy.rules(direction)[..]));
            digest.add(lists, tier.end, store);
        }
        for name in program.profiles() {
            let list = store.profile(name).map(|profile| &profile.rules(direction)[..]);
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
    fn add(&mut self, lists: impl IntoIterator<Item = Option<&'a [Rule]>>, end: EndOfTier, store: &'a PolicyStore) {
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
    fn add_lists(
        &mut self,
        lists: impl IntoIterator<Item = Option<&'a [Rule]>>,
        store: &'a PolicyStore,
        passes: &mut Vec<usize>,
    ) -> bool {
        for list in lists {
            let Some(rules) = list else { return false };
            for rule in rules {
                let Some(test) = Test::of(rule, store) else { return false };
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
