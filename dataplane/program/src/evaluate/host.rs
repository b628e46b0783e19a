//! What happens to a packet at the host's own interfaces.
//!
//! A packet meets programs in the order of the kernel's hooks. Untracked and
//! pre-DNAT programs come first; a packet that a rule of theirs allows is not
//! judged by the ingress programs after them. On the way out through an
//! interface forwarded packets are always judged. Failsafe ports end the judgement of
//! one program, not of later ones.

use smol_str::SmolStr;

use super::node::Interfaces;
use super::{Cause, Verdict, evaluate};
use crate::{Direction, FailsafePoint, Failsafes, HostEndpoint, HostId, Packet, PolicyStore, ProgramKind, Rule};

/// What the programs of host endpoints depend on.
#[derive(Clone, Copy, Debug)]
pub struct HostView<'a> {
    /// Policies and endpoints.
    pub store: &'a PolicyStore,
    /// Ports that are always open.
    pub failsafes: &'a Failsafes,
    /// How the names of workload interfaces begin.
    pub workload_prefixes: &'a [SmolStr],
}

/// A packet's way, by names of interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// It ends at this host.
    ToHost {
        /// Where it came in.
        from: &'a str,
    },
    /// This host made it.
    FromHost {
        /// Where it leaves.
        to: &'a str,
    },
    /// It passes through.
    Through {
        /// Where it came in.
        from: &'a str,
        /// Where it leaves.
        to: &'a str,
    },
}

/// The first packet of a connection on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage<'a> {
    /// Its way.
    pub way: Way<'a>,
    /// As it came in or was made.
    pub original: &'a Packet,
    /// With the destination that DNAT gave it, if it did.
    pub translated: Option<&'a Packet>,
}

/// Whether the kernel follows the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// It does: answers pass.
    Tracked,
    /// It does not: every packet is judged by itself.
    Untracked,
}

/// Why a program of a host endpoint let a packet pass or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCause<'a> {
    /// A failsafe port.
    Failsafe(&'a Rule),
    /// Connection tracking finds that no connection begins so.
    Invalid,
    /// Policy.
    Policy(Cause<'a>),
}

/// One program that judged a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStep<'a> {
    /// Whose program it is.
    pub endpoint: &'a HostId,
    /// Which one.
    pub kind: ProgramKind,
    /// Its direction.
    pub direction: Direction,
    /// What it decided.
    pub verdict: Verdict,
    /// Why.
    pub cause: HostCause<'a>,
}

/// What the programs of host endpoints do with a packet. Workloads' programs are
/// not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDecision<'a> {
    /// What happens.
    pub verdict: Verdict,
    /// Whether the connection is followed.
    pub tracking: Tracking,
    /// The programs that judged, in order; the last one denied if one did.
    pub steps: Vec<HostStep<'a>>,
}

impl<'a> HostView<'a> {
    /// Decides about a packet.
    #[must_use]
    pub fn evaluate(&self, passage: &Passage<'_>) -> HostDecision<'a> {
        let interfaces = &self.store;
        let mut walk =
            Walk { view: *self, interfaces, steps: Vec::new(), tracking: Tracking::Tracked, is_invalid: false };
        let verdict = match walk.judge(passage) {
            Some(()) => Verdict::Allow,
            None => Verdict::Deny,
        };
        HostDecision { verdict, tracking: walk.tracking, steps: walk.steps }
    }

    pub(super) fn is_workload(&self, interface: &str) -> bool {
        self.workload_prefixes.iter().any(|prefix| interface.starts_with(prefix.as_str()))
    }
}

pub(super) struct Walk<'a, 'v> {
    pub(super) view: HostView<'a>,
    pub(super) interfaces: &'v dyn Interfaces<'a>,
    pub(super) steps: Vec<HostStep<'a>>,
    pub(super) tracking: Tracking,
    /// Whether what is tracked is refused, as no connection begins so.
    pub(super) is_invalid: bool,
}

/// Whether later ingress programs still judge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    Open,
    Allowed,
}

impl<'a> Walk<'a, '_> {
    /// `None` if a program denies.
    fn judge(&mut self, passage: &Passage<'_>) -> Option<()> {
        let Passage { way, original, translated } = *passage;
        // The kernel translates no connection that it does not follow.
        let later = |walk: &Self| match walk.tracking {
            Tracking::Tracked => translated.unwrap_or(original),
            Tracking::Untracked => original,
        };
        match way {
            Way::ToHost { from } => {
                // What workloads send to their host is judged by their own programs.
                if self.early(from, original)? == Early::Open && !self.view.is_workload(from) {
                    self.at(from, ProgramKind::Normal, Direction::Ingress, later(self))?;
                }
            }
            Way::FromHost { to } => {
                if self.untracked(to, Direction::Egress, original)? == Early::Open && !self.view.is_workload(to) {
                    self.at(to, ProgramKind::Normal, Direction::Egress, later(self))?;
                }
            }
            Way::Through { from, to } => {
                if self.early(from, original)? == Early::Open {
                    self.at(from, ProgramKind::Forward, Direction::Ingress, later(self))?;
                }
                self.at(to, ProgramKind::Forward, Direction::Egress, later(self))?;
            }
        }
        Some(())
    }

    /// The endpoint of an interface, its own or the one for all.
    fn endpoint(&self, interface: &str) -> Option<&'a HostEndpoint> {
        let own = if self.view.is_workload(interface) { None } else { self.interfaces.host(interface) };
        own.or_else(|| self.interfaces.host_on_others())
    }

    /// Asks the program of an interface's endpoint, as [`Walk::program`] does.
    pub(super) fn at(
        &mut self,
        interface: &str,
        kind: ProgramKind,
        direction: Direction,
        packet: &Packet,
    ) -> Option<Early> {
        self.program(self.endpoint(interface), kind, direction, packet)
    }

    /// Before routing.
    pub(super) fn early(&mut self, from: &str, packet: &Packet) -> Option<Early> {
        match self.untracked(from, Direction::Ingress, packet)? {
            Early::Allowed => Some(Early::Allowed),
            Early::Open => {
                let endpoint = self.endpoint(from).filter(|endpoint| endpoint.has_pre_dnat());
                self.program(endpoint, ProgramKind::PreDnat, Direction::Ingress, packet)
            }
        }
    }

    pub(super) fn untracked(&mut self, interface: &str, direction: Direction, packet: &Packet) -> Option<Early> {
        let endpoint = self.endpoint(interface).filter(|endpoint| endpoint.has_untracked());
        let early = self.program(endpoint, ProgramKind::Untracked, direction, packet)?;
        if early == Early::Allowed {
            self.tracking = Tracking::Untracked;
        }
        Some(early)
    }

    /// Asks one program; `None` if it denies, [`Early::Allowed`] if a rule of it allows.
    fn program(
        &mut self,
        endpoint: Option<&'a HostEndpoint>,
        kind: ProgramKind,
        direction: Direction,
        packet: &Packet,
    ) -> Option<Early> {
        let Some(endpoint) = endpoint else { return Some(Early::Open) };
        if self.is_invalid && self.tracking == Tracking::Tracked && kind != ProgramKind::Untracked {
            let (verdict, cause) = (Verdict::Deny, HostCause::Invalid);
            self.steps.push(HostStep { endpoint: &endpoint.id, kind, direction, verdict, cause });
            return None;
        }
        let HostView { store, failsafes, .. } = self.view;
        // Forwarded packets are nobody's way to this host.
        let point = match kind {
            ProgramKind::Normal | ProgramKind::Translated | ProgramKind::PreDnat => Some(FailsafePoint::Tracked),
            ProgramKind::Untracked => Some(FailsafePoint::Untracked),
            ProgramKind::Forward => None,
        };
        let mut open = point.into_iter().flat_map(|point| failsafes.rules(direction, point));
        let failsafe = open.find(|rule| rule.matches(packet, store));
        let (verdict, cause, early) = match failsafe {
            Some(rule) => (Verdict::Allow, HostCause::Failsafe(rule), Early::Open),
            None => {
                let decision = evaluate(endpoint.programs.get(kind, direction), store, packet);
                let early = match decision.cause {
                    Cause::Undecided => Early::Open,
                    _ => Early::Allowed,
                };
                (decision.verdict, HostCause::Policy(decision.cause), early)
            }
        };
        self.steps.push(HostStep { endpoint: &endpoint.id, kind, direction, verdict, cause });
        match verdict {
            Verdict::Allow => Some(early),
            Verdict::Deny => None,
        }
    }
}

#[cfg(test)]
mod tests;
