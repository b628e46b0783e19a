//! Flows that a host must not lose, and host endpoints that would end them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use caracal_net::{Family, Port, Protocol};
use smol_str::SmolStr;

use crate::{
    ALL_INTERFACES, Cause, Direction, HostCause, HostEndpoint, HostStep, HostView, Ipv6, Member, Packet, Passage,
    Problem, ProgramKind, Rule, Transport, Verdict, Way,
};

/// A flow without which a host cannot be looked after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifeline {
    /// To the API server.
    ApiServer(SocketAddr),
    /// To a name server.
    NameServer(IpAddr),
    /// A session of ssh that is open, by the peer's address.
    SshSession(IpAddr),
    /// New sessions of ssh, from wherever policy allows.
    Ssh,
}

/// IANA's port of ssh.
const SSH: Port = 22;

/// IANA's port of DNS.
const DNS: Port = 53;

impl fmt::Display for Lifeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiServer(addr) => write!(f, "the API server at {addr}"),
            Self::NameServer(addr) => write!(f, "the name server {addr}"),
            Self::SshSession(peer) => write!(f, "the ssh session of {peer}"),
            Self::Ssh => f.write_str("ssh from anywhere"),
        }
    }
}

/// The lifelines that the host endpoints in force would cut, in order. Which
/// interface a flow takes is not known here: each endpoint is asked, but that of the
/// loopback interface only for flows that stay on this host. Of IPv6 no host endpoint
/// says anything where it is not programmed.
#[must_use]
pub fn cut_off(view: &HostView<'_>, ipv6: Ipv6, lifelines: &[Lifeline]) -> Vec<Problem> {
    let mut interfaces: BTreeMap<SmolStr, &HostEndpoint> =
        view.store.host_interfaces().into_iter().map(|(name, endpoint)| (name, &**endpoint)).collect();
    let is_workload = |name: &str| view.workload_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
    interfaces.retain(|name, _| !is_workload(name));
    if let Some(others) = view.store.host_on_others() {
        interfaces.insert(ALL_INTERFACES.into(), others);
    }
    let mut problems = BTreeSet::new();
    for (interface, endpoint) in &interfaces {
        for lifeline in lifelines {
            if lifeline.is_local() != (interface == "lo") && interface != ALL_INTERFACES {
                continue;
            }
            let Some(cut) = lifeline.cut(view, ipv6, interface, endpoint) else { continue };
            let on = match interface.as_str() {
                ALL_INTERFACES => "any interface without an endpoint of its own".to_owned(),
                interface => interface.to_owned(),
            };
            problems.insert(Problem {
                subject: format!("host endpoint {}", endpoint.id),
                reason: match cut {
                    Cut::Flow(step) => format!(
                        "its {} policy cuts off {lifeline}, if that goes through {on}: {}; allow it by policy or as a failsafe port",
                        step.kind,
                        why(&step)
                    ),
                    Cut::Neighbours(step) => format!(
                        "its {} policy cuts off {lifeline}, if that goes through {on}, as IPv6 finds no neighbours: {}; allow types 135 and 136 of ICMPv6 by policy",
                        step.kind,
                        why(&step)
                    ),
                },
            });
        }
    }
    problems.into_iter().collect()
}

/// What of a flow is denied, and where.
enum Cut<'a> {
    /// Its own packets.
    Flow(HostStep<'a>),
    /// The question of IPv6 who its next hop is, or the answer (RFC 4861): no failsafe port lets
    /// them pass, and without them nothing is sent.
    Neighbours(HostStep<'a>),
}

/// Neighbour solicitation and advertisement.
const DISCOVERY: [u8; 2] = [135, 136];

fn why(step: &HostStep<'_>) -> String {
    let direction = step.direction;
    match step.cause {
        HostCause::Failsafe(_) => "a failsafe port".to_owned(),
        HostCause::Invalid => "no connection begins so".to_owned(),
        HostCause::Policy(cause) => match cause {
            Cause::PolicyRule { policy, index, .. } => format!("rule {index} of {policy} {direction} denies it"),
            Cause::ProfileRule { profile, index, .. } => {
                format!("rule {index} of profile {profile} {direction} denies it")
            }
            Cause::EndOfTier { tier } => format!("no {direction} policy of tier {tier} allows it"),
            Cause::UnknownPolicy(id) => format!("{id} is not known"),
            Cause::UnknownProfile(name) => format!("profile {name} is not known"),
            Cause::UnknownSet(id) => format!("IP set {id} is not known"),
            Cause::NoProfile | Cause::EndpointDown | Cause::EndpointToHost(_) | Cause::Undecided => {
                format!("no {direction} policy or profile allows it")
            }
        },
    }
}

impl Lifeline {
    fn is_local(&self) -> bool {
        match self {
            Self::ApiServer(addr) => addr.ip().is_loopback(),
            Self::NameServer(addr) | Self::SshSession(addr) => addr.is_loopback(),
            Self::Ssh => false,
        }
    }

    /// What an interface's endpoint denies of the flow; `None` if some packet of it passes.
    fn cut<'a>(&self, view: &HostView<'a>, ipv6: Ipv6, interface: &str, endpoint: &HostEndpoint) -> Option<Cut<'a>> {
        let from = |peer: IpAddr| (peer, own(Family::of(peer)), Protocol::TCP, SSH);
        let (way, flows) = match self {
            Self::ApiServer(addr) => (
                Way::FromHost { to: interface },
                vec![(own(Family::of(addr.ip())), addr.ip(), Protocol::TCP, addr.port())],
            ),
            Self::NameServer(addr) => {
                (Way::FromHost { to: interface }, vec![(own(Family::of(*addr)), *addr, Protocol::UDP, DNS)])
            }
            Self::SshSession(peer) => (Way::ToHost { from: interface }, vec![from(*peer)]),
            Self::Ssh => (Way::ToHost { from: interface }, sources(view, endpoint).into_iter().map(from).collect()),
        };
        let mut denied = None;
        let is_judged = |addr: IpAddr| addr.is_ipv4() || ipv6 == Ipv6::On;
        for (src, dst, protocol, port) in flows.into_iter().filter(|(src, ..)| is_judged(*src)) {
            // A source port that nobody has a rule for.
            let transport = Transport::Ports { src: 49152, dst: port };
            let packet = Packet::new(src, dst, protocol, transport).expect("both ends are of one family");
            let decision = view.evaluate(&Passage { way, original: &packet, translated: None });
            match decision.verdict {
                Verdict::Allow => return self.neighbours_denied(view, interface).map(Cut::Neighbours),
                Verdict::Deny => denied = denied.or(decision.steps.last().copied()),
            }
        }
        denied.map(Cut::Flow)
    }

    /// The step that keeps this host from finding the next hop of a flow of IPv6, be it the
    /// peer or a router.
    fn neighbours_denied<'a>(&self, view: &HostView<'a>, interface: &str) -> Option<HostStep<'a>> {
        let peer = match self {
            Self::ApiServer(addr) => addr.ip(),
            Self::NameServer(addr) | Self::SshSession(addr) => *addr,
            Self::Ssh => return None,
        };
        let IpAddr::V6(peer) = peer else { return None };
        if self.is_local() {
            return None;
        }
        let [.., high, low] = peer.segments();
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low);
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let [question, answer] = DISCOVERY;
        let step = |way, src: IpAddr, dst: IpAddr, icmp_type| {
            let transport = Transport::Icmp { icmp_type, code: 0 };
            let packet = Packet::new(src, dst, Protocol::ICMPV6, transport).expect("both ends are of one family");
            let decision = view.evaluate(&Passage { way, original: &packet, translated: None });
            match decision.verdict {
                Verdict::Allow => None,
                Verdict::Deny => decision.steps.last().copied(),
            }
        };
        let host = own(Family::V6);
        let told = |by: Ipv6Addr| step(Way::ToHost { from: interface }, by.into(), host, answer);
        step(Way::FromHost { to: interface }, host, group.into(), question).or_else(|| told(peer).and(told(router)))
    }
}

/// Stands for the host's own address, which no rule is taken to name.
fn own(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Sources that rules of an endpoint may let in: one that no rule names, and one of each prefix and set.
fn sources(view: &HostView<'_>, endpoint: &HostEndpoint) -> BTreeSet<IpAddr> {
    // Of TEST-NET-2 (RFC 5737).
    let mut sources = BTreeSet::from([IpAddr::from(Ipv4Addr::new(198, 51, 100, 1))]);
    let kinds = [ProgramKind::Normal, ProgramKind::PreDnat, ProgramKind::Untracked];
    for program in kinds.map(|kind| endpoint.programs.get(kind, Direction::Ingress)) {
        let policies = program.tiers().iter().flat_map(|tier| tier.enforced()).filter_map(|id| view.store.policy(id));
        let profiles = program.profiles().iter().filter_map(|name| view.store.profile(name));
        let policies = policies.flat_map(|policy| policy.inbound.iter());
        for rule in policies.chain(profiles.flat_map(|profile| profile.inbound.iter())) {
            sources.extend(examples(view, rule));
        }
    }
    sources
}

fn examples<'a>(view: &HostView<'a>, rule: &'a Rule) -> impl Iterator<Item = IpAddr> + use<'a> {
    let store = view.store;
    let nets = rule.src.nets.iter().map(|net| net.last_addr());
    let members = rule.src.sets.iter().filter_map(|id| store.ip_set(id)?.members().next());
    nets.chain(members.map(|member| match member {
        Member::Net(net) => net.last_addr(),
        Member::IpPort(addr, _, _) => addr,
    }))
}

#[cfg(test)]
mod tests;
