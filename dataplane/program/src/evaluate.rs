//! The reference evaluator: what happens to a packet, and why.

mod digest;
mod host;
mod node;
mod tracking;
mod tunnel;

use crate::{
    Action, AdminState, Direction, EndOfTier, Field, Packet, PolicyId, PolicyStore, ProfileName, Program, ProgramKind,
    Rule, SetId, WorkloadEndpoint,
};

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes on.
    Allow,
    /// It is dropped.
    Deny,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'a> {
    /// The endpoint is administratively down.
    EndpointDown,
    /// A rule of a policy.
    PolicyRule {
        /// The tier.
        tier: &'a str,
        /// The policy.
        policy: &'a PolicyId,
        /// The rule's index among the policy's rules of this direction.
        index: usize,
        /// The rule.
        rule: &'a Rule,
    },
    /// A tier had policies, and none of them decided.
    EndOfTier {
        /// The tier.
        tier: &'a str,
    },
    /// A rule of a profile.
    ProfileRule {
        /// The profile.
        profile: &'a ProfileName,
        /// The rule's index among the profile's rules of this direction.
        index: usize,
        /// The rule.
        rule: &'a Rule,
    },
    /// No tier and no profile decided.
    NoProfile,
    /// The program names a policy that the store does not hold.
    UnknownPolicy(&'a PolicyId),
    /// The program names a profile that the store does not hold.
    UnknownProfile(&'a ProfileName),
    /// A rule names a set that the store does not hold.
    UnknownSet(&'a SetId),
    /// The endpoint's policy let the packet go to its own host, and then this was done.
    EndpointToHost(EndpointToHost),
    /// Nothing in the program decided, and its kind lets the packet go on.
    Undecided,
}

/// What becomes of what a workload sends to its own host, once the workload's
/// egress policy has let it go (Felix's `DefaultEndpointToHostAction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointToHost {
    /// It is dropped.
    Drop,
    /// The host's own rules decide: as far as policy of workloads goes, it arrives.
    Return,
    /// It arrives.
    Accept,
}

/// What happens to a packet, and what decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What happens.
    pub verdict: Verdict,
    /// What decided.
    pub cause: Cause<'a>,
}

/// What an evaluation met on its way, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A tier begins.
    Tier(&'a str),
    /// A policy that is not enforced was left out.
    Staged(&'a PolicyId),
    /// A policy of the tier begins.
    Policy(&'a PolicyId),
    /// A tier ended without a decision.
    EndOfTier {
        /// The tier.
        tier: &'a str,
        /// What follows.
        end: EndOfTier,
    },
    /// A profile begins.
    Profile(&'a ProfileName),
    /// A rule of the policy or profile was compared with the packet.
    Rule {
        /// The rule's index among the rules of this direction.
        index: usize,
        /// The rule.
        rule: &'a Rule,
        /// The fields that the packet does not satisfy; none if it matched.
        mismatches: Vec<Field>,
    },
}

/// Decides about a packet: tiers in order, in each its enforced policies in
/// order, in each its rules in order; then profiles; then deny, unless the
/// program's kind lets an undecided packet go on. What the store lacks is a
/// denial, never a gap.
#[must_use]
pub fn evaluate<'a>(program: &'a Program, store: &'a PolicyStore, packet: &Packet) -> Decision<'a> {
    walk(program, store, packet, &mut VerdictOnly)
}

/// As [`evaluate`], with every step on the way.
#[must_use]
pub fn trace<'a>(program: &'a Program, store: &'a PolicyStore, packet: &Packet) -> (Decision<'a>, Vec<Step<'a>>) {
    let mut trail = Vec::new();
    let decision = walk(program, store, packet, &mut trail);
    (decision, trail)
}

/// Decides about a packet from or to an endpoint: as [`evaluate`] with the
/// endpoint's program, but nothing passes an endpoint that is down.
#[must_use]
pub fn evaluate_endpoint<'a>(
    endpoint: &'a WorkloadEndpoint,
    direction: Direction,
    store: &'a PolicyStore,
    packet: &Packet,
) -> Decision<'a> {
    match endpoint.state {
        AdminState::Active => evaluate(endpoint.program(direction), store, packet),
        AdminState::Down => deny(Cause::EndpointDown),
    }
}

/// As [`evaluate_endpoint`], with every step on the way.
#[must_use]
pub fn trace_endpoint<'a>(
    endpoint: &'a WorkloadEndpoint,
    direction: Direction,
    store: &'a PolicyStore,
    packet: &Packet,
) -> (Decision<'a>, Vec<Step<'a>>) {
    match endpoint.state {
        AdminState::Active => trace(endpoint.program(direction), store, packet),
        AdminState::Down => (deny(Cause::EndpointDown), Vec::new()),
    }
}

/// Decides about a packet from an endpoint to its own host: the endpoint's
/// egress policy, and then the action for what it lets go.
#[must_use]
pub fn evaluate_to_host<'a>(
    endpoint: &'a WorkloadEndpoint,
    store: &'a PolicyStore,
    packet: &Packet,
    action: EndpointToHost,
) -> Decision<'a> {
    let egress = evaluate_endpoint(endpoint, Direction::Egress, store, packet);
    match egress.verdict {
        Verdict::Deny => egress,
        Verdict::Allow => action.decision(),
    }
}

impl EndpointToHost {
    /// What happens to a packet that the endpoint's policy let go.
    #[must_use]
    pub const fn decision(self) -> Decision<'static> {
        let verdict = match self {
            Self::Drop => Verdict::Deny,
            Self::Return | Self::Accept => Verdict::Allow,
        };
        Decision { verdict, cause: Cause::EndpointToHost(self) }
    }
}

/// Compares rules with the packet, and remembers as much of it as it is for.
trait Witness<'a> {
    fn rule(&mut self, index: usize, rule: &'a Rule, packet: &Packet, store: &PolicyStore) -> bool;
    fn step(&mut self, step: Step<'a>);
}

struct VerdictOnly;

impl<'a> Witness<'a> for VerdictOnly {
    fn rule(&mut self, _index: usize, rule: &'a Rule, packet: &Packet, store: &PolicyStore) -> bool {
        rule.matches(packet, store)
    }

    fn step(&mut self, _step: Step<'a>) {}
}

impl<'a> Witness<'a> for Vec<Step<'a>> {
    fn rule(&mut self, index: usize, rule: &'a Rule, packet: &Packet, store: &PolicyStore) -> bool {
        let mismatches = rule.mismatches(packet, store);
        let matched = mismatches.is_empty();
        self.push(Step::Rule { index, rule, mismatches });
        matched
    }

    fn step(&mut self, step: Step<'a>) {
        self.push(step);
    }
}

/// How a list of rules ended.
enum End<'a> {
    Decided(Verdict, usize, &'a Rule),
    Passed,
    NoMatch,
    UnknownSet(&'a SetId),
}

fn walk<'a>(
    program: &'a Program,
    store: &'a PolicyStore,
    packet: &Packet,
    witness: &mut impl Witness<'a>,
) -> Decision<'a> {
    'tiers: for tier in program.tiers() {
        witness.step(Step::Tier(&tier.name));
        for id in &tier.policies {
            if id.is_staged() {
                witness.step(Step::Staged(id));
                continue;
            }
            witness.step(Step::Policy(id));
            let Some(policy) = store.policy(id) else {
                return deny(Cause::UnknownPolicy(id));
            };
            let rules = policy.rules(program.direction());
            match walk_rules(rules, store, packet, witness) {
                End::Decided(verdict, index, rule) => {
                    return Decision {
                        verdict,
                        cause: Cause::PolicyRule { tier: &tier.name, policy: id, index, rule },
                    };
                }
                End::Passed => continue 'tiers,
                End::NoMatch => {}
                End::UnknownSet(set) => return deny(Cause::UnknownSet(set)),
            }
        }
        witness.step(Step::EndOfTier { tier: &tier.name, end: tier.end });
        match tier.end {
            EndOfTier::Deny => return deny(Cause::EndOfTier { tier: &tier.name }),
            EndOfTier::Pass => {}
        }
    }
    for name in program.profiles() {
        witness.step(Step::Profile(name));
        let Some(profile) = store.profile(name) else {
            return deny(Cause::UnknownProfile(name));
        };
        let rules = profile.rules(program.direction());
        match walk_rules(rules, store, packet, witness) {
            End::Decided(verdict, index, rule) => {
                return Decision { verdict, cause: Cause::ProfileRule { profile: name, index, rule } };
            }
            // There is no tier to leave: the next profile decides.
            End::Passed | End::NoMatch => {}
            End::UnknownSet(set) => return deny(Cause::UnknownSet(set)),
        }
    }
    match program.kind() {
        ProgramKind::Normal | ProgramKind::Translated => deny(Cause::NoProfile),
        ProgramKind::Forward | ProgramKind::PreDnat | ProgramKind::Untracked => {
            Decision { verdict: Verdict::Allow, cause: Cause::Undecided }
        }
    }
}

fn walk_rules<'a>(
    rules: &'a [Rule],
    store: &'a PolicyStore,
    packet: &Packet,
    witness: &mut impl Witness<'a>,
) -> End<'a> {
    for (index, rule) in rules.iter().enumerate() {
        if let Some(unknown) = rule.set_ids().find(|id| store.ip_set(id).is_none()) {
            return End::UnknownSet(unknown);
        }
        if !witness.rule(index, rule, packet, store) {
            continue;
        }
        match rule.action {
            Action::Allow => return End::Decided(Verdict::Allow, index, rule),
            Action::Deny => return End::Decided(Verdict::Deny, index, rule),
            Action::Pass => return End::Passed,
            Action::Log => {}
        }
    }
    End::NoMatch
}

const fn deny(cause: Cause<'_>) -> Decision<'_> {
    Decision { verdict: Verdict::Deny, cause }
}

pub(crate) use digest::Digest;
pub use host::{HostCause, HostDecision, HostStep, HostView, Passage, Tracking, Way};
pub use node::{Guard, Guarded, Guards, Interfaces, Ipv6, NodeDecision, NodeStep, NodeView};
pub use tracking::FirstPacket;

#[cfg(test)]
mod tests;
