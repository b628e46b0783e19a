//! Host endpoints as chains.
//!
//! A packet meets the programs of host endpoints at up to three points of its
//! way. Each point has a base chain, which leads by the interface to a stub,
//! which leads to a program. An accept ends one base chain, so the points stand
//! beside those of workloads, and the host's come first on the way in and last
//! on the way out.
//!
//! What an untracked or pre-DNAT program allows bears the scratch bit from the
//! prerouting hook to the filter hooks. The first base chain there, which is one
//! of these, clears it and asks no program more.
//!
//! What hosts of the cluster send each other through tunnels passes before normal
//! programs are asked, as in Felix; untracked and pre-DNAT programs judge it.

use std::sync::Arc;

use caracal_net::Priority;
use caracal_program::{Direction, FailsafePoint, HostEndpoint, Program, ProgramKind};

use super::base::{Tunnel, chain, each_workload, established, refuse_invalid, unjudged};
use super::{PassMeans, RuleList, SetObjects, Stage, lower_rules};
use crate::ir::{Chain, Element, Hook, IfName, Match, Rule, Set, SetKind, SetSpec, Side, Statement, Verdict, Via};
use crate::names;
use crate::settings::{InvalidPackets, Settings};

/// A point of a packet's way where programs of host endpoints judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum HostPoint {
    /// As it comes in, before connection tracking.
    UntrackedIngress,
    /// As this host makes it, before connection tracking.
    UntrackedEgress,
    /// As it comes in, before DNAT.
    PreDnat,
    /// As it reaches this host.
    Input,
    /// As it is forwarded, for the interface that it came in by.
    ForwardIngress,
    /// As it is forwarded, for the interface that it leaves by.
    ForwardEgress,
    /// As this host sends it.
    Output,
    /// As what this host sent leaves, if DNAT gave it another destination: its
    /// interface is known only after routing.
    Translated,
}

impl HostPoint {
    /// Every point.
    pub(crate) const ALL: [Self; 8] = [
        Self::UntrackedIngress,
        Self::UntrackedEgress,
        Self::PreDnat,
        Self::Input,
        Self::ForwardIngress,
        Self::ForwardEgress,
        Self::Output,
        Self::Translated,
    ];

    /// The hook, and the priority as in Felix: that of iptables' tables raw and
    /// mangle; in the filter hooks just before the base chains of workloads, or
    /// just after them.
    const fn base(self) -> (Hook, Priority) {
        match self {
            Self::UntrackedIngress => (Hook::Prerouting, Priority(-300)),
            Self::UntrackedEgress => (Hook::Output, Priority(-300)),
            Self::PreDnat => (Hook::Prerouting, Priority(-150)),
            Self::Input => (Hook::Input, Priority(-1)),
            Self::ForwardIngress => (Hook::Forward, Priority(-1)),
            Self::ForwardEgress => (Hook::Forward, Priority(2)),
            Self::Output => (Hook::Output, Priority(0)),
            Self::Translated => (Hook::Postrouting, Priority(-150)),
        }
    }

    pub(crate) const fn direction(self) -> Direction {
        match self {
            Self::UntrackedIngress | Self::PreDnat | Self::Input | Self::ForwardIngress => Direction::Ingress,
            Self::UntrackedEgress | Self::ForwardEgress | Self::Output | Self::Translated => Direction::Egress,
        }
    }

    pub(crate) const fn kind(self) -> ProgramKind {
        match self {
            Self::UntrackedIngress | Self::UntrackedEgress => ProgramKind::Untracked,
            Self::PreDnat => ProgramKind::PreDnat,
            Self::Input | Self::Output => ProgramKind::Normal,
            Self::ForwardIngress | Self::ForwardEgress => ProgramKind::Forward,
            Self::Translated => ProgramKind::Translated,
        }
    }

    const fn via(self) -> Via {
        match self.direction() {
            Direction::Ingress => Via::In,
            Direction::Egress => Via::Out,
        }
    }

    /// Which ports are open whatever policy says. None for forwarded packets:
    /// they are nobody's way to this host.
    const fn failsafe(self) -> Option<FailsafePoint> {
        match self {
            Self::UntrackedIngress | Self::UntrackedEgress => Some(FailsafePoint::Untracked),
            Self::PreDnat | Self::Input | Self::Output | Self::Translated => Some(FailsafePoint::Tracked),
            Self::ForwardIngress | Self::ForwardEgress => None,
        }
    }

    /// Whether an endpoint has a program there.
    fn concerns(self, endpoint: &HostEndpoint) -> bool {
        match self {
            Self::UntrackedIngress | Self::UntrackedEgress => endpoint.has_untracked(),
            Self::PreDnat => endpoint.has_pre_dnat(),
            Self::Input | Self::ForwardIngress | Self::ForwardEgress | Self::Output | Self::Translated => true,
        }
    }
}

/// The host endpoints that are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostTable {
    /// Those of one interface, by name.
    pub(crate) named: Vec<(IfName, Arc<HostEndpoint>)>,
    /// The one of all other interfaces.
    pub(crate) others: Option<Arc<HostEndpoint>>,
}

impl HostTable {
    /// The endpoints that have a program at a point.
    fn at(&self, point: HostPoint) -> impl Iterator<Item = (Option<&IfName>, &HostEndpoint)> {
        let named = self.named.iter().map(|(interface, endpoint)| (Some(interface), &**endpoint));
        let others = self.others_at(point).map(|endpoint| (None, endpoint));
        named.filter(move |(_, endpoint)| point.concerns(endpoint)).chain(others)
    }

    /// The endpoint of all other interfaces, if it has a program at a point.
    fn others_at(&self, point: HostPoint) -> Option<&HostEndpoint> {
        self.others.as_deref().filter(|endpoint| point.concerns(endpoint))
    }

    fn concerns(&self, point: HostPoint) -> bool {
        self.at(point).next().is_some()
    }

    /// The programs that packets can come to, once for each way there.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Arc<Program>> {
        HostPoint::ALL.into_iter().flat_map(|point| {
            self.at(point).map(move |(_, endpoint)| endpoint.programs.get(point.kind(), point.direction()))
        })
    }
}

/// What host endpoints come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostChains {
    /// Base chains, stubs and failsafes.
    pub(crate) chains: Vec<Chain>,
    /// The maps from interfaces to stubs.
    pub(crate) maps: Vec<Set>,
    /// Shared sets that the failsafes look up.
    pub(crate) lists: Vec<Set>,
}

/// Lowers the host endpoints in force. Without any there is nothing. `tunnels` are
/// those of the cluster; the sets that they look up are there already.
pub(crate) fn lower_hosts(
    table: &HostTable,
    tunnels: &[Tunnel],
    sets: &impl SetObjects,
    settings: &Settings,
) -> HostChains {
    let mut out = HostChains::default();
    for (direction, point) in Direction::ALL
        .iter()
        .flat_map(|direction| [FailsafePoint::Tracked, FailsafePoint::Untracked].map(|point| (*direction, point)))
    {
        let is_used = HostPoint::ALL
            .into_iter()
            .any(|at| (at.direction(), at.failsafe()) == (direction, Some(point)) && table.concerns(at));
        if is_used && has_failsafes(direction, point, settings) {
            let rules: Vec<_> = settings.failsafes.rules(direction, point).cloned().collect();
            let list = RuleList {
                chain: names::failsafe(direction, point),
                title: format!("failsafe {direction}"),
                rules: &rules,
                log_prefix: names::log_prefix("failsafe: "),
                pass: PassMeans::NextTier,
                stage: Stage::Filter,
                owner: None,
            };
            let mut lowered = lower_rules(&list, sets, settings);
            out.chains.append(&mut lowered.chains);
            out.lists.append(&mut lowered.lists);
        }
    }
    for point in HostPoint::ALL {
        let Some(rules) = base_rules(point, table, tunnels, settings) else { continue };
        let (hook, priority) = point.base();
        out.chains.push(chain(names::host(point), hook, priority, rules));
        out.chains.extend(table.at(point).map(|(interface, endpoint)| stub(point, interface, endpoint, settings)));
        let elements = entries(point, table);
        if !elements.is_empty() {
            let spec = SetSpec::new(names::host_dispatch(point), SetKind::Interfaces);
            out.maps.push(Set { spec, elements });
        }
    }
    out
}

/// Where a point leads from each interface that has an endpoint of its own. The
/// endpoint of all others must not judge there, even if that one has no program.
fn entries(point: HostPoint, table: &HostTable) -> Vec<Element> {
    let entry = |(interface, endpoint): &(IfName, Arc<HostEndpoint>)| {
        let verdict = match point.concerns(endpoint) {
            true => Verdict::Jump(names::host_stub(point, Some(interface))),
            false if table.others_at(point).is_some() => Verdict::Accept,
            false => return None,
        };
        Some(Element::Interface(*interface, verdict))
    };
    table.named.iter().filter_map(entry).collect()
}

fn has_failsafes(direction: Direction, point: FailsafePoint, settings: &Settings) -> bool {
    settings.failsafes.rules(direction, point).next().is_some()
}

/// The rules of a point's base chain; `None` if no packet has to come by.
fn base_rules(point: HostPoint, table: &HostTable, tunnels: &[Tunnel], settings: &Settings) -> Option<Vec<Rule>> {
    let bit = settings.pass_mark();
    let untracked = table.concerns(HostPoint::UntrackedIngress);
    let early = untracked || table.concerns(HostPoint::PreDnat);
    // Whoever set the bit before: only these chains may.
    let clear = || Rule::new().then(Statement::ClearMark(bit));
    let is_needed = match point {
        HostPoint::UntrackedIngress => early,
        _ => table.concerns(point),
    };
    if !is_needed {
        return None;
    }
    let allowed = Rule::new().when(Match::MarkBit(bit));
    let consumed =
        |early: bool| early.then(|| allowed.clone().then(Statement::ClearMark(bit)).verdict(Verdict::Accept));
    let workloads = |via| each_workload(via, settings).map(|rule| rule.verdict(Verdict::Accept));
    // An accept of the chain that keeps strangers out ends that chain only.
    let tunnelled = |side| tunnels.iter().filter_map(move |tunnel| tunnel.of_hosts(side));
    let mut rules: Vec<Rule> = unjudged(settings).into_iter().collect();
    let lead = |rules: &mut Vec<Rule>, start: Rule| {
        if !entries(point, table).is_empty() {
            let dispatch = Statement::Dispatch(point.via(), names::host_dispatch(point));
            rules.push(start.clone().then(dispatch));
        }
        if table.others_at(point).is_some() {
            rules.push(start.verdict(Verdict::Jump(names::host_stub(point, None))));
        }
    };
    match point {
        HostPoint::UntrackedIngress | HostPoint::UntrackedEgress => {
            rules.push(clear());
            lead(&mut rules, Rule::new());
        }
        HostPoint::PreDnat => {
            rules.push(established());
            rules.extend(untracked.then(|| allowed.clone().verdict(Verdict::Accept)));
            lead(&mut rules, Rule::new());
        }
        HostPoint::Input => {
            rules.push(established());
            rules.extend(consumed(early));
            // Their own programs judge what workloads send to their host.
            rules.extend(workloads(Via::In));
            rules.extend(tunnelled(Side::Src));
            lead(&mut rules, Rule::new());
        }
        HostPoint::ForwardIngress => {
            rules.push(established());
            rules.extend(consumed(early));
            lead(&mut rules, Rule::new());
        }
        HostPoint::ForwardEgress => {
            rules.push(established());
            lead(&mut rules, Rule::new());
        }
        HostPoint::Output => {
            rules.push(established());
            rules.extend(consumed(untracked));
            // The host may speak to its workloads.
            rules.extend(workloads(Via::Out));
            rules.extend(tunnelled(Side::Dst));
            rules.push(Rule::new().when(Match::Translated).verdict(Verdict::Accept));
            lead(&mut rules, Rule::new());
        }
        HostPoint::Translated => {
            rules.push(established());
            rules.extend(workloads(Via::Out));
            lead(&mut rules, Rule::new().when(Match::Local).when(Match::Translated));
        }
    }
    Some(rules)
}

/// The chain that leads from a point to an endpoint's program. What the program
/// leaves undecided is accepted here: it must not come to the endpoint of all
/// other interfaces.
fn stub(point: HostPoint, interface: Option<&IfName>, endpoint: &HostEndpoint, settings: &Settings) -> Chain {
    let mut rules = Vec::new();
    let is_tracked = match point.kind() {
        ProgramKind::Untracked => false,
        ProgramKind::Normal | ProgramKind::Translated | ProgramKind::Forward | ProgramKind::PreDnat => true,
    };
    if is_tracked && settings.invalid == InvalidPackets::Drop {
        rules.push(refuse_invalid(Rule::new()));
    }
    if let Some(failsafe) = point.failsafe().filter(|at| has_failsafes(point.direction(), *at, settings)) {
        rules.push(Rule::new().verdict(Verdict::Jump(names::failsafe(point.direction(), failsafe))));
    }
    let key = endpoint.programs.get(point.kind(), point.direction()).key();
    let program = names::program(point.direction(), key);
    let comment = names::comment(&format!("host endpoint {}", endpoint.id));
    match point.kind() {
        ProgramKind::Normal | ProgramKind::Translated => {
            rules.push(Rule::new().verdict(Verdict::Goto(program)).comment(comment));
        }
        ProgramKind::Forward | ProgramKind::PreDnat | ProgramKind::Untracked => {
            rules.push(Rule::new().verdict(Verdict::Jump(program)).comment(comment));
            rules.push(Rule::new().verdict(Verdict::Accept));
        }
    }
    Chain { name: names::host_stub(point, interface), base: None, rules }
}

#[cfg(test)]
mod tests;
