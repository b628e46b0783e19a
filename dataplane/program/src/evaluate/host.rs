//! What happens to a packet at the host's own interfaces.
//!
//! A packet meets programs in the order of the kernel's hooks. Untracked and
//! pre-DNAT programs come first; a packet that a rule of theirs allows is not
//! judged by the ingress programs after them. On the way out through an
//! interface forwarded packets are always judged. Failsafe ports end the judgement of
//! one program, not of later ones.

use smol_str::SmolStr;

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
        let mut walk = Walk { view: *self, steps: Vec::new(), tracking: Tracking::Tracked };
        let verdict = match walk.judge(passage) {
            Some(()) => Verdict::Allow,
            None => Verdict::Deny,
        };
        HostDecision { verdict, tracking: walk.tracking, steps: walk.steps }
    }

    fn is_workload(&self, interface: &str) -> bool {
        self.workload_prefixes.iter().any(|prefix| interface.starts_with(prefix.as_str()))
    }

    /// The endpoint of an interface, its own or the one for all.
    fn endpoint(&self, interface: &str) -> Option<&'a HostEndpoint> {
        let own = if self.is_workload(interface) { None } else { self.store.host_on(interface) };
        own.or_else(|| self.store.host_on_others()).map(AsRef::as_ref)
    }
}

struct Walk<'a> {
    view: HostView<'a>,
    steps: Vec<HostStep<'a>>,
    tracking: Tracking,
}

/// Whether later ingress programs still judge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Early {
    Open,
    Allowed,
}

impl<'a> Walk<'a> {
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
                    self.program(self.view.endpoint(from), ProgramKind::Normal, Direction::Ingress, later(self))?;
                }
            }
            Way::FromHost { to } => {
                if self.untracked(to, Direction::Egress, original)? == Early::Open && !self.view.is_workload(to) {
                    self.program(self.view.endpoint(to), ProgramKind::Normal, Direction::Egress, later(self))?;
                }
            }
            Way::Through { from, to } => {
                if self.early(from, original)? == Early::Open {
                    self.program(self.view.endpoint(from), ProgramKind::Forward, Direction::Ingress, later(self))?;
                }
                self.program(self.view.endpoint(to), ProgramKind::Forward, Direction::Egress, later(self))?;
            }
        }
        Some(())
    }

    /// Before routing.
    fn early(&mut self, from: &str, packet: &Packet) -> Option<Early> {
        match self.untracked(from, Direction::Ingress, packet)? {
            Early::Allowed => Some(Early::Allowed),
            Early::Open => {
                let endpoint = self.view.endpoint(from).filter(|endpoint| endpoint.has_pre_dnat());
                self.program(endpoint, ProgramKind::PreDnat, Direction::Ingress, packet)
            }
        }
    }

    fn untracked(&mut self, interface: &str, direction: Direction, packet: &Packet) -> Option<Early> {
        let endpoint = self.view.endpoint(interface).filter(|endpoint| endpoint.has_untracked());
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
