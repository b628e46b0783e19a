//! The answer to a question, as programs read it.

use std::fmt;
use std::net::IpAddr;

use caracal_net::Port;
use caracal_program::{
    Action, Cause, Decision, Direction, EndOfTier, Field, Guard, HostCause, HostId, HostStep, NodeStep, PolicyId,
    ProgramKind, Step, Tracking, Verdict,
};
use serde::{Serialize, Serializer};
use smol_str::SmolStr;

use super::cluster::End;
use super::written::{Name, WrittenAt, WrittenRule};
use super::{Question, Service};

/// What happens to a packet, and why.
#[derive(Serialize)]
pub struct Answer<'a> {
    #[serde(serialize_with = "verdict")]
    pub(super) verdict: Verdict,
    pub(super) from: Address<'a>,
    pub(super) to: Address<'a>,
    #[serde(serialize_with = "text")]
    pub(super) port: Service,
    #[serde(skip)]
    pub(super) source_port: Port,
    /// What the source's policy says.
    pub(super) egress: Side<'a>,
    /// What the destination's policy says.
    pub(super) ingress: Side<'a>,
    /// What host endpoints on the way say, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hosts: Vec<HostSide<'a>>,
}

/// An end of the packet.
#[derive(Serialize)]
pub(super) struct Address<'a> {
    pub(super) address: IpAddr,
    /// `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) workload: Option<&'a str>,
    /// The node whose own address it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<&'a str>,
}

/// What one program of a host endpoint says.
#[derive(Serialize)]
pub(super) struct HostSide<'a> {
    pub(super) node: &'a str,
    pub(super) endpoint: Named,
    #[serde(skip)]
    pub(super) id: &'a HostId,
    /// When it judges.
    #[serde(rename = "program", serialize_with = "text")]
    pub(super) kind: ProgramKind,
    #[serde(serialize_with = "text")]
    pub(super) direction: Direction,
    #[serde(flatten)]
    pub(super) side: Side<'a>,
    /// The connection is not followed: answers need rules of their own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) untracked: bool,
}

impl<'a> HostSide<'a> {
    pub(super) fn new(node: &'a str, step: &HostStep<'a>, trail: Vec<Step<'a>>, tracking: Tracking) -> Self {
        let HostStep { endpoint: id, kind, direction, verdict, cause } = *step;
        let side = match cause {
            HostCause::Failsafe(_) => Side::new(verdict, Reason::Failsafe),
            HostCause::Invalid => Side::new(verdict, Reason::ConntrackInvalid),
            HostCause::Policy(cause) => Side::decided(Decision { verdict, cause }, trail),
        };
        // What an untracked rule allows is not followed from there on.
        let decided = !matches!(side.reason, Reason::Undecided | Reason::Failsafe);
        let untracked =
            kind == ProgramKind::Untracked && decided && verdict == Verdict::Allow && tracking == Tracking::Untracked;
        Self { node, endpoint: Named::of(&Name::of_host(&id.0), None), id, kind, direction, side, untracked }
    }
}

/// What one side's policy says.
#[derive(Serialize)]
pub(super) struct Side<'a> {
    #[serde(serialize_with = "verdict")]
    pub(super) verdict: Verdict,
    pub(super) reason: Reason,
    /// The tier that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tier: Option<&'a str>,
    /// The policy that decided, or that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<Policy<'a>>,
    /// The profile that decided, or that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<&'a str>,
    /// The index of the rule that decided, counted from 0 in its direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<usize>,
    /// The rule that decided, as its author wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) written: Option<WrittenRule>,
    /// The IP set that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) set: Option<&'a str>,
    /// What was looked at, in order.
    pub(super) trail: Vec<Stage<'a>>,
    /// Of a side that denies, the rules that allow something, and what the packet lacks for each.
    #[serde(rename = "nearMisses", skip_serializing_if = "Vec::is_empty")]
    pub(super) near_misses: Vec<Miss<'a>>,
}

/// A rule that allows something, and why it does not allow this packet.
#[derive(Serialize)]
pub(super) struct Miss<'a> {
    pub(super) tier: &'a str,
    pub(super) policy: Policy<'a>,
    /// The index of the rule in its direction, as enforced.
    pub(super) rule: usize,
    /// The rule as its author wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) written: Option<WrittenRule>,
    /// What the packet lacks; nothing if the rule would allow it, were it reached.
    pub(super) lacks: Vec<Lack>,
}

/// A field that a packet does not satisfy.
#[derive(Serialize)]
pub(super) struct Lack {
    #[serde(serialize_with = "field")]
    pub(super) field: Field,
    /// What the packet has and what the rule asks for, in words.
    pub(super) why: String,
}

/// Why a side decides as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reason {
    /// A rule of a policy matched.
    PolicyRule,
    /// No rule of a tier's policies matched.
    EndOfTier,
    /// A rule of a profile matched.
    ProfileRule,
    /// No tier and no profile decided.
    NoProfile,
    /// The endpoint is administratively down.
    EndpointDown,
    /// Not a workload: its policy is not ours to know.
    Outside,
    /// A host's own address: its host endpoints decide, if it has any.
    Host,
    /// A program that lets pass what none of its rules decides.
    Undecided,
    /// A failsafe port of a host endpoint.
    Failsafe,
    /// IPv6 from or to a workload, while it is not programmed.
    NoIpv6,
    /// IPv6 from or to a host, while it is not programmed.
    UnjudgedIpv6,
    /// A sender that pretends to have another's address.
    SpoofedSource,
    /// No workload is known on the interface.
    NoEndpoint,
    /// No connection begins with such a packet.
    ConntrackInvalid,
    /// IP in IP that a workload makes itself.
    IpipFromWorkload,
    /// VXLAN that a workload makes itself.
    VxlanFromWorkload,
    /// A loopback address of a host, from a workload of it.
    Loopback,
    /// IP in IP from what is no host of the cluster.
    ForeignIpip,
    /// VXLAN from what is no host of the cluster.
    ForeignVxlan,
    /// IP in IP or VXLAN between hosts of the cluster.
    ClusterTunnel,
    /// A service's address that no service proxy has translated.
    ServiceLoop,
    /// Neighbour discovery of a workload and its host.
    NeighbourDiscovery,
    /// What a host sends to its own workload.
    HostToWorkload,
    /// A workload that sends to itself.
    SameWorkload,
    /// A policy, profile or IP set that is named is not there.
    Incomplete,
    /// What a workload sends to its own host: `DefaultEndpointToHostAction`.
    EndpointToHost,
}

impl Reason {
    /// Why a guard decides.
    pub(super) const fn of(guard: Guard) -> Self {
        match guard {
            Guard::NoIpv6(_) => Self::NoIpv6,
            Guard::UnjudgedIpv6(_) => Self::UnjudgedIpv6,
            Guard::SpoofedSource => Self::SpoofedSource,
            Guard::NoEndpoint(_) => Self::NoEndpoint,
            Guard::Invalid(_) => Self::ConntrackInvalid,
            Guard::Ipip => Self::IpipFromWorkload,
            Guard::Vxlan => Self::VxlanFromWorkload,
            Guard::Loopback => Self::Loopback,
            Guard::ForeignIpip => Self::ForeignIpip,
            Guard::ForeignVxlan => Self::ForeignVxlan,
            Guard::ClusterTunnel(_) => Self::ClusterTunnel,
            Guard::ServiceLoop => Self::ServiceLoop,
            Guard::NeighbourDiscovery => Self::NeighbourDiscovery,
            Guard::HostToWorkload => Self::HostToWorkload,
        }
    }
}

/// A policy, named as its author wrote it.
#[derive(Clone, Serialize)]
pub(super) struct Policy<'a> {
    #[serde(flatten)]
    pub(super) named: Named,
    #[serde(skip)]
    pub(super) id: &'a PolicyId,
}

impl<'a> Policy<'a> {
    /// A policy, and where it is written down.
    pub(super) fn at(id: &'a PolicyId, at: Option<WrittenAt>) -> Self {
        let mut policy = Self::from(id);
        policy.named.at = at;
        policy
    }
}

impl<'a> From<&'a PolicyId> for Policy<'a> {
    fn from(id: &'a PolicyId) -> Self {
        let named = match Name::of_policy(id) {
            Some(name) => Named::of(&name, None),
            None => {
                let PolicyId { kind, namespace, name } = id.clone();
                Named { kind, api_version: "", namespace, name, at: None }
            }
        };
        Self { named, id }
    }
}

/// An object's name, and where it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Named {
    pub(super) kind: SmolStr,
    #[serde(rename = "apiVersion", skip_serializing_if = "str::is_empty")]
    pub(super) api_version: &'static str,
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub(super) namespace: SmolStr,
    pub(super) name: SmolStr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<WrittenAt>,
}

impl Named {
    pub(super) fn of(name: &Name, at: Option<WrittenAt>) -> Self {
        let Name { kind, namespace, name } = name.clone();
        Self { kind: kind.kind().into(), api_version: kind.api_version(), namespace, name, at }
    }
}

impl fmt::Display for Named {
    /// `KIND NAMESPACE/NAME (FILE:LINE)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, api_version: _, namespace, name, at } = self;
        match namespace.as_str() {
            "" => write!(f, "{kind} {name}")?,
            namespace => write!(f, "{kind} {namespace}/{name}")?,
        }
        match at {
            Some(at) => write!(f, " ({at})"),
            None => Ok(()),
        }
    }
}

/// A tier or a profile that was looked at.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Stage<'a> {
    Tier {
        tier: &'a str,
        policies: Vec<PolicyTrail<'a>>,
        /// What happened at the end, if the tier was not left before.
        #[serde(rename = "endOfTier", serialize_with = "end_of_tier", skip_serializing_if = "Option::is_none")]
        end: Option<EndOfTier>,
    },
    Profile {
        profile: &'a str,
        rules: Vec<Compared>,
    },
}

/// A policy that was looked at.
#[derive(Serialize)]
pub(super) struct PolicyTrail<'a> {
    #[serde(flatten)]
    pub(super) policy: Policy<'a>,
    /// Not enforced, so its rules were not looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) staged: bool,
    /// The rules that were looked at.
    pub(super) rules: Vec<Compared>,
}

/// A rule that was compared with the packet.
#[derive(Serialize)]
pub(super) struct Compared {
    #[serde(rename = "rule")]
    pub(super) index: usize,
    #[serde(serialize_with = "action")]
    pub(super) action: Action,
    /// The fields that the packet does not satisfy; none if it matched.
    #[serde(serialize_with = "fields", skip_serializing_if = "Vec::is_empty")]
    pub(super) mismatches: Vec<Field>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        question: &Question,
        [from, to]: [End<'a>; 2],
        verdict: Verdict,
        [egress, ingress]: [Side<'a>; 2],
        hosts: Vec<HostSide<'a>>,
    ) -> Self {
        Self {
            verdict,
            from: Address::of(from),
            to: Address::of(to),
            port: question.service,
            source_port: question.source_port,
            egress,
            ingress,
            hosts,
        }
    }
}

impl<'a> Address<'a> {
    fn of(end: End<'a>) -> Self {
        let workload = end.workload.map(|endpoint| endpoint.id.workload.as_str());
        Self { address: end.address, workload, node: end.host }
    }
}

impl<'a> Side<'a> {
    pub(super) fn new(verdict: Verdict, reason: Reason) -> Self {
        Self {
            verdict,
            reason,
            tier: None,
            policy: None,
            profile: None,
            rule: None,
            written: None,
            set: None,
            trail: Vec::new(),
            near_misses: Vec::new(),
        }
    }

    /// The side of an address that no workload has, and maybe a host.
    pub(super) fn no_workload(host: Option<&str>) -> Self {
        Self::new(Verdict::Allow, if host.is_some() { Reason::Host } else { Reason::Outside })
    }

    /// Takes note of what decides beside policy, and before it: egress and ingress.
    pub(super) fn overrule([egress, ingress]: &mut [Self; 2], step: &NodeStep<'a>) {
        let say = |side: &mut Self, reason| *side = Self::new(step.verdict(), reason);
        match step {
            NodeStep::Guard(guard) => match guard {
                Guard::NoIpv6(Direction::Egress)
                | Guard::UnjudgedIpv6(Direction::Egress)
                | Guard::SpoofedSource
                | Guard::NoEndpoint(Direction::Egress)
                | Guard::Invalid(Direction::Egress)
                | Guard::Ipip
                | Guard::Vxlan
                | Guard::ClusterTunnel(Direction::Egress) => say(egress, Reason::of(*guard)),
                Guard::NoIpv6(Direction::Ingress)
                | Guard::UnjudgedIpv6(Direction::Ingress)
                | Guard::NoEndpoint(Direction::Ingress)
                | Guard::Invalid(Direction::Ingress)
                | Guard::Loopback
                | Guard::ForeignIpip
                | Guard::ForeignVxlan
                | Guard::ClusterTunnel(Direction::Ingress)
                | Guard::ServiceLoop
                | Guard::HostToWorkload => say(ingress, Reason::of(*guard)),
                Guard::NeighbourDiscovery => {
                    say(egress, Reason::of(*guard));
                    say(ingress, Reason::of(*guard));
                }
            },
            NodeStep::EndpointToHost(_) => say(ingress, Reason::EndpointToHost),
            NodeStep::Host(_) | NodeStep::Workload { .. } => {}
        }
    }

    /// Whether rules could let the packet pass here.
    pub(super) fn is_denied_by_policy(&self) -> bool {
        let is_policy = match self.reason {
            Reason::PolicyRule
            | Reason::EndOfTier
            | Reason::ProfileRule
            | Reason::NoProfile
            | Reason::Incomplete
            | Reason::EndpointDown => true,
            Reason::Outside
            | Reason::Host
            | Reason::Undecided
            | Reason::Failsafe
            | Reason::NoIpv6
            | Reason::UnjudgedIpv6
            | Reason::SpoofedSource
            | Reason::NoEndpoint
            | Reason::ConntrackInvalid
            | Reason::IpipFromWorkload
            | Reason::VxlanFromWorkload
            | Reason::Loopback
            | Reason::ForeignIpip
            | Reason::ForeignVxlan
            | Reason::ClusterTunnel
            | Reason::ServiceLoop
            | Reason::NeighbourDiscovery
            | Reason::HostToWorkload
            | Reason::SameWorkload
            | Reason::EndpointToHost => false,
        };
        is_policy && self.verdict == Verdict::Deny
    }

    /// Either side of what a workload sends to itself.
    pub(super) fn same_workload() -> Self {
        Self::new(Verdict::Allow, Reason::SameWorkload)
    }

    /// The policies that it names.
    pub(super) fn policies_mut(&mut self) -> impl Iterator<Item = &mut Policy<'a>> {
        let looked_at = self.trail.iter_mut().flat_map(|stage| match stage {
            Stage::Tier { policies, .. } => policies.as_mut_slice(),
            Stage::Profile { .. } => &mut [],
        });
        self.policy.iter_mut().chain(looked_at.map(|trail| &mut trail.policy))
    }

    /// The side of a workload.
    pub(super) fn decided(decision: Decision<'a>, steps: Vec<Step<'a>>) -> Self {
        let new = |reason| Self::new(decision.verdict, reason);
        let mut side = match decision.cause {
            Cause::PolicyRule { tier, policy, index, rule: _ } => {
                Self { tier: Some(tier), policy: Some(policy.into()), rule: Some(index), ..new(Reason::PolicyRule) }
            }
            Cause::EndOfTier { tier } => Self { tier: Some(tier), ..new(Reason::EndOfTier) },
            Cause::ProfileRule { profile, index, rule: _ } => {
                Self { profile: Some(profile), rule: Some(index), ..new(Reason::ProfileRule) }
            }
            Cause::NoProfile => new(Reason::NoProfile),
            Cause::Undecided => new(Reason::Undecided),
            Cause::EndpointDown => new(Reason::EndpointDown),
            Cause::UnknownPolicy(id) => Self { policy: Some(id.into()), ..new(Reason::Incomplete) },
            Cause::UnknownProfile(name) => Self { profile: Some(name), ..new(Reason::Incomplete) },
            Cause::UnknownSet(id) => Self { set: Some(id), ..new(Reason::Incomplete) },
            Cause::EndpointToHost(_) => new(Reason::EndpointToHost),
        };
        side.trail = stages(steps);
        side
    }
}

/// Puts rules below their policies, and policies below their tiers.
fn stages(steps: Vec<Step<'_>>) -> Vec<Stage<'_>> {
    let mut stages: Vec<Stage<'_>> = Vec::new();
    for step in steps {
        match (step, stages.last_mut()) {
            (Step::Tier(tier), _) => stages.push(Stage::Tier { tier, policies: Vec::new(), end: None }),
            (Step::Profile(profile), _) => stages.push(Stage::Profile { profile, rules: Vec::new() }),
            (Step::Policy(id), Some(Stage::Tier { policies, .. })) => {
                policies.push(PolicyTrail { policy: id.into(), staged: false, rules: Vec::new() });
            }
            (Step::Staged(id), Some(Stage::Tier { policies, .. })) => {
                policies.push(PolicyTrail { policy: id.into(), staged: true, rules: Vec::new() });
            }
            (Step::EndOfTier { tier: _, end: action }, Some(Stage::Tier { end, .. })) => *end = Some(action),
            (Step::Rule { index, rule, mismatches }, Some(stage)) => {
                let rules = match stage {
                    Stage::Tier { policies, .. } => policies.last_mut().map(|policy| &mut policy.rules),
                    Stage::Profile { rules, .. } => Some(rules),
                };
                let rules = rules.expect("a policy begins before its rules");
                rules.push(Compared { index, action: rule.action, mismatches });
            }
            (Step::Policy(_) | Step::Staged(_) | Step::EndOfTier { .. } | Step::Rule { .. }, _) => {
                unreachable!("a tier begins before its policies and ends after them")
            }
        }
    }
    stages
}

pub(super) const fn verdict_text(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

pub(super) fn verdict<S: Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verdict_text(*verdict))
}

fn action<S: Serializer>(action: &Action, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Pass => "pass",
        Action::Log => "log",
    })
}

fn end_of_tier<S: Serializer>(end: &Option<EndOfTier>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = end.map(|end| match end {
        EndOfTier::Deny => "deny",
        EndOfTier::Pass => "pass",
    });
    text.serialize(serializer)
}

fn fields<S: Serializer>(fields: &[Field], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(fields.iter().map(|field| field.as_str()))
}

fn field<S: Serializer>(field: &Field, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(field.as_str())
}

pub(super) fn text<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}
