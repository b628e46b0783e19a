//! Which established connections a change of policy may have touched, and what
//! policy says of them now.
//!
//! Connection tracking lets the packets of established connections pass without
//! a look at policy. When policy changes, [`Touched`] keeps what
//! changed, [`Effects`] tells which endpoints may
//! deny what they allowed, or allow what they denied; [`Bench`] judges the
//! connections of these, by the reference evaluator.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::{
    Action, Change, Direction, EndpointToHost, Packet, PolicyId, PolicyStore, ProfileName, Program, ProgramKey, Rule,
    SetId, Verdict, WorkloadEndpoint, WorkloadId, evaluate_endpoint, evaluate_to_host,
};

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
    everything: bool,
}

impl Touched {
    /// Takes the changes of one revision. What they say of endpoints themselves
    /// is for the caller to compare.
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
                Change::Nothing
                | Change::Endpoint { .. }
                | Change::HostEndpoint(_)
                | Change::HostAddresses
                | Change::IpPool(_)
                | Change::Cluster => {}
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
        !self.everything && self.sets.is_empty() && self.policies.is_empty() && self.profiles.is_empty()
    }
}

/// What changes may have done to the verdicts of local workload endpoints.
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

/// Judges the connections of some endpoints.
#[derive(Debug)]
pub struct Bench<'a> {
    store: &'a PolicyStore,
    /// The active endpoints by their addresses. More than one may have an address
    /// for a moment.
    owners: FxHashMap<IpAddr, SmallVec<[&'a WorkloadEndpoint; 1]>>,
    suspects: &'a BTreeSet<WorkloadId>,
    /// The host's own addresses.
    host: FxHashSet<IpAddr>,
    to_host: EndpointToHost,
}

impl<'a> Bench<'a> {
    /// Judges the connections of `suspects`, by the state of the store. `to_host`
    /// is what becomes of a workload's packets to its own host.
    #[must_use]
    pub fn new(store: &'a PolicyStore, suspects: &'a BTreeSet<WorkloadId>, to_host: EndpointToHost) -> Self {
        let mut owners: FxHashMap<IpAddr, SmallVec<[&'a WorkloadEndpoint; 1]>> = FxHashMap::default();
        for endpoint in store.workloads().filter(|endpoint| store.is_active(endpoint)) {
            for addr in &endpoint.addresses {
                owners.entry(*addr).or_default().push(endpoint);
            }
        }
        Self { store, owners, suspects, host: store.host_addresses().collect(), to_host }
    }

    /// Whether a workload has the address.
    #[must_use]
    pub fn is_owned(&self, addr: &IpAddr) -> bool {
        self.owners.contains_key(addr)
    }

    /// What policy says now of a connection that began with this packet, as the
    /// forward and input hooks see it; `None` if it is of none of the suspects.
    #[must_use]
    pub fn verdict(&self, packet: &Packet) -> Option<Verdict> {
        let (src, dst) = (packet.src(), packet.dst());
        let owners = |addr: &IpAddr| self.owners.get(addr).map_or(&[][..], SmallVec::as_slice);
        let (senders, receivers) = (owners(&src), owners(&dst));
        if !senders.iter().chain(receivers).any(|endpoint| self.suspects.contains(&endpoint.id)) {
            return None;
        }
        let leaves = |endpoint: &&WorkloadEndpoint| match self.host.contains(&dst) {
            true => evaluate_to_host(endpoint, self.store, packet, self.to_host).verdict,
            false => evaluate_endpoint(endpoint, Direction::Egress, self.store, packet).verdict,
        };
        let enters = |endpoint: &&WorkloadEndpoint| match self.host.contains(&src) {
            // A host reaches its own workloads whatever their policy.
            true => Verdict::Allow,
            false => evaluate_endpoint(endpoint, Direction::Ingress, self.store, packet).verdict,
        };
        let passes = |verdicts: &mut dyn Iterator<Item = Verdict>| {
            let mut verdicts = verdicts.peekable();
            verdicts.peek().is_none() || verdicts.any(|verdict| verdict == Verdict::Allow)
        };
        let passes = passes(&mut senders.iter().map(leaves)) && passes(&mut receivers.iter().map(enters));
        Some(if passes { Verdict::Allow } else { Verdict::Deny })
    }
}

#[cfg(test)]
mod tests;
