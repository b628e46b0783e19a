//! Which established connections a change of policy may have touched, and what
//! policy says of them now.
//!
//! Connection tracking lets the packets of established connections pass without
//! a look at policy. When policy changes, [`Touched`] keeps what
//! changed, [`Effects`] tells which endpoints may
//! deny what they allowed, or allow what they denied; [`Bench`] judges the
//! connections of these [`Suspects`] with what a [`Brief`] holds ready, by the
//! reference evaluator.

mod bench;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Action, Change, Direction, PolicyId, PolicyStore, ProfileName, Program, ProgramKey, Rule, SetId, WorkloadEndpoint,
    WorkloadId,
};

pub use bench::{Bench, Brief, Terms};

/// What a change may do to verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Something that was allowed may be denied now.
    pub tightens: bool,
    /// Something that was denied may be allowed now.
    pub loosens: bool,
}

impl Effect {
    /// No verdict changes.
    pub const NONE: Self = Self { tightens: false, loosens: false };
    /// Any verdict may change.
    pub const ANY: Self = Self { tightens: true, loosens: true };

    /// What two changes together may do.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { tightens: self.tightens || other.tightens, loosens: self.loosens || other.loosens }
    }

    /// The same on the other side of a negation.
    const fn negated(self) -> Self {
        Self { tightens: self.loosens, loosens: self.tightens }
    }
}

/// What verdicts depend on and what changed of it, since some moment. It is
/// cheap to collect; what it means is found when it is needed.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// What became of the members of sets: more of them count as loosening.
    sets: BTreeMap<SetId, Effect>,
    policies: BTreeSet<PolicyId>,
    profiles: BTreeSet<ProfileName>,
    /// Host endpoints themselves, or the interfaces that they stand for.
    hosts: bool,
    everything: bool,
}

impl Touched {
    /// Takes the changes of one revision. What they say of workload endpoints
    /// themselves is for the caller to compare.
    pub fn take(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::SetMembers { id, added, removed } => {
                    self.set(id, Effect { tightens: !removed.is_empty(), loosens: !added.is_empty() });
                }
                Change::SetReplaced(id) | Change::SetRemoved(id) => self.set(id, Effect::ANY),
                Change::Policy(id) => drop(self.policies.insert(id.clone())),
                Change::Profile(name) => drop(self.profiles.insert(name.clone())),
                // Before the in-sync nothing is known whole, and what the kernel
                // allowed then was by rules of an earlier run.
                Change::Config | Change::InSync => self.everything = true,
                Change::HostEndpoint(_) | Change::HostAddresses => self.hosts = true,
                Change::Nothing | Change::Endpoint { .. } | Change::IpPool(_) | Change::Cluster => {}
            }
        }
    }

    fn set(&mut self, id: &SetId, effect: Effect) {
        let held = self.sets.entry(id.clone()).or_default();
        *held = held.and(effect);
    }

    /// Whether no verdict can have changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { sets, policies, profiles, hosts, everything } = self;
        !hosts && !everything && sets.is_empty() && policies.is_empty() && profiles.is_empty()
    }
}

/// Whose connections are to be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspects {
    /// Workload endpoints.
    pub workloads: BTreeSet<WorkloadId>,
    /// Host endpoints: they may stand in the way of any connection.
    pub hosts: bool,
}

impl Suspects {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.hosts && self.workloads.is_empty()
    }

    /// Adds others to them.
    pub fn add(&mut self, mut others: Self) {
        self.workloads.append(&mut others.workloads);
        self.hosts |= others.hosts;
    }
}

/// What changes may have done to the verdicts of this host's endpoints.
#[derive(Debug)]
pub struct Effects<'a> {
    store: &'a PolicyStore,
    touched: &'a Touched,
    programs: BTreeMap<ProgramKey, Effect>,
}

impl<'a> Effects<'a> {
    /// `store` is the state after the changes.
    #[must_use]
    pub const fn of(store: &'a PolicyStore, touched: &'a Touched) -> Self {
        Self { store, touched, programs: BTreeMap::new() }
    }

    /// What became of an endpoint's verdicts, if the endpoint itself is as before.
    pub fn on(&mut self, endpoint: &WorkloadEndpoint) -> Effect {
        if self.touched.everything {
            return Effect::ANY;
        }
        if self.touched.is_empty() {
            return Effect::NONE;
        }
        Direction::ALL
            .into_iter()
            .map(|direction| self.on_program(endpoint.program(direction)))
            .fold(Effect::NONE, Effect::and)
    }

    /// What became of the verdicts of host endpoints, all in all.
    pub fn on_hosts(&mut self) -> Effect {
        if self.touched.everything || self.touched.hosts {
            return Effect::ANY;
        }
        if self.touched.is_empty() {
            return Effect::NONE;
        }
        let store = self.store;
        let programs = store.hosts().flat_map(|endpoint| endpoint.programs.all());
        programs.map(|program| self.on_program(program)).fold(Effect::NONE, Effect::and)
    }

    /// The endpoints with an effect on their verdicts that the caller looks for.
    pub fn suspects(&mut self, wanted: impl Fn(Effect) -> bool) -> Suspects {
        let store = self.store;
        let workloads = store.workloads().filter(|endpoint| wanted(self.on(endpoint)));
        let workloads = workloads.map(|endpoint| endpoint.id.clone()).collect();
        Suspects { workloads, hosts: wanted(self.on_hosts()) }
    }

    fn on_program(&mut self, program: &Program) -> Effect {
        if let Some(known) = self.programs.get(&program.key()) {
            return *known;
        }
        let direction = program.direction();
        let policies = program.tiers().iter().flat_map(|tier| tier.enforced()).map(|id| match self.store.policy(id) {
            _ if self.touched.policies.contains(id) => Effect::ANY,
            Some(policy) => self.on_rules(policy.rules(direction)),
            None => Effect::NONE,
        });
        let profiles = program.profiles().iter().map(|name| match self.store.profile(name) {
            _ if self.touched.profiles.contains(name) => Effect::ANY,
            Some(profile) => self.on_rules(profile.rules(direction)),
            None => Effect::NONE,
        });
        let effect = policies.chain(profiles).fold(Effect::NONE, Effect::and);
        self.programs.insert(program.key(), effect);
        effect
    }

    fn on_rules(&self, rules: &[Rule]) -> Effect {
        match self.touched.sets.is_empty() {
            true => Effect::NONE,
            false => rules.iter().map(|rule| self.on_rule(rule)).fold(Effect::NONE, Effect::and),
        }
    }

    /// More members of a set that a rule wants make it match more packets, of one
    /// that it refuses fewer; what that does depends on the rule's action.
    fn on_rule(&self, rule: &Rule) -> Effect {
        let of = |ids: &[SetId]| {
            ids.iter().filter_map(|id| self.touched.sets.get(id)).fold(Effect::NONE, |sum, effect| sum.and(*effect))
        };
        let sides = [&rule.src, &rule.dst];
        let wanted = sides.iter().map(|side| of(&side.sets).and(of(&side.named_port_sets)));
        let refused = sides.iter().map(|side| of(&side.not_sets).and(of(&side.not_named_port_sets)).negated());
        let matches = wanted.chain(refused).fold(of(&rule.dst_ip_port_sets), Effect::and);
        match rule.action {
            _ if matches == Effect::NONE => Effect::NONE,
            Action::Allow => matches,
            Action::Deny => matches.negated(),
            Action::Pass => Effect::ANY,
            Action::Log => Effect::NONE,
        }
    }
}

#[cfg(test)]
mod tests;
