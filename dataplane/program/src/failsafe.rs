//! Ports that no policy of a host endpoint closes.

use std::sync::Arc;

use caracal_net::{PortRange, ProtocolPort};

use crate::{Action, Direction, Rule, SideMatch};

/// Where failsafe ports are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailsafePoint {
    /// Where connections are tracked: the answers of allowed connections pass.
    Tracked,
    /// Before connection tracking, where answers must be let through by
    /// themselves: else half of a connection would be judged by untracked policy.
    Untracked,
}

/// Ports that no policy of a host endpoint closes, as rules that allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Failsafes {
    inbound: Vec<Rule>,
    outbound: Vec<Rule>,
    /// Answers to inbound connections, and to outbound ones.
    answers: [Vec<Rule>; 2],
}

/// A side of a connection: the one that opened it, or the one that has the port.
#[derive(Clone, Copy)]
enum Sends {
    Opener,
    Owner,
}

impl Failsafes {
    /// Makes rules of ports of this host that others may open connections to,
    /// and of ports of others that this host may open connections to. A port
    /// with a prefix is for peers in that prefix.
    #[must_use]
    pub fn new(inbound: &[ProtocolPort], outbound: &[ProtocolPort]) -> Self {
        Self {
            inbound: rules(inbound, Direction::Ingress, Sends::Opener),
            outbound: rules(outbound, Direction::Egress, Sends::Opener),
            answers: [
                rules(inbound, Direction::Ingress, Sends::Owner),
                rules(outbound, Direction::Egress, Sends::Owner),
            ],
        }
    }

    /// The rules for packets of a direction, in order; the first that matches allows.
    pub fn rules(&self, direction: Direction, point: FailsafePoint) -> impl Iterator<Item = &Rule> {
        let [to_inbound, to_outbound] = &self.answers;
        let (opening, answering) = match direction {
            Direction::Ingress => (&self.inbound, to_outbound),
            Direction::Egress => (&self.outbound, to_inbound),
        };
        let answering = match point {
            FailsafePoint::Tracked => &[][..],
            FailsafePoint::Untracked => answering,
        };
        opening.iter().chain(answering)
    }
}

/// One rule for all ports of a protocol and prefix, in the order of the first.
/// `opened` is the direction of the packet that opens a connection.
fn rules(list: &[ProtocolPort], opened: Direction, sends: Sends) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for ProtocolPort { protocol, net, port } in list {
        let nets: Vec<_> = net.iter().copied().collect();
        let range = PortRange::single(*port);
        let mut rule = Rule {
            action: Action::Allow,
            family: net.map(|net| net.family()),
            protocol: Some(*protocol),
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            src: SideMatch::default(),
            dst: SideMatch::default(),
            dst_ip_port_sets: Vec::new(),
            rule_id: Arc::from(""),
        };
        let (owner, opener) = match sends {
            Sends::Opener => (&mut rule.dst, &mut rule.src),
            Sends::Owner => (&mut rule.src, &mut rule.dst),
        };
        owner.ports.push(range);
        // The peer has the port of what this host opens.
        match opened {
            Direction::Ingress => opener.nets = nets,
            Direction::Egress => owner.nets = nets,
        }
        let same = |held: &&mut Rule| {
            let strip = |rule: &Rule| {
                let mut bare = rule.clone();
                bare.src.ports.clear();
                bare.dst.ports.clear();
                bare
            };
            strip(held) == strip(&rule)
        };
        match rules.iter_mut().find(same) {
            Some(held) => {
                held.src.ports.append(&mut rule.src.ports);
                held.dst.ports.append(&mut rule.dst.ports);
            }
            None => rules.push(rule),
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Packet, PolicyStore, Transport};

    /// Whether a TCP packet passes: `SRC SPORT DST DPORT`.
    fn passes(failsafes: &Failsafes, direction: Direction, point: FailsafePoint, packet: &str) -> bool {
        let mut words = packet.split(' ');
        let mut next = || words.next().expect("four words");
        let (src, sport, dst, dport) = (next(), next(), next(), next());
        let addr = |text: &str| text.parse().expect("an address");
        let port = |text: &str| text.parse().expect("a port");
        let transport = Transport::Ports { src: port(sport), dst: port(dport) };
        let packet = Packet::new(addr(src), addr(dst), caracal_net::Protocol::TCP, transport).expect("one family");
        failsafes.rules(direction, point).any(|rule| rule.matches(&packet, &PolicyStore::new()))
    }

    #[test]
    fn ports_of_this_host_and_of_others() {
        use Direction::{Egress, Ingress};
        use FailsafePoint::{Tracked, Untracked};
        let ports = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a port")).collect::<Vec<_>>();
        let inbound = ports(&["22", "179", "udp:68", "tcp:10.0.0.0/8:80", "tcp:[fd00::/8]:81"]);
        let failsafes = Failsafes::new(&inbound, &ports(&["6443", "tcp:192.0.2.0/24:2379"]));
        for (direction, point, packet, wanted) in [
            (Ingress, Tracked, "192.0.2.9 40000 192.0.2.1 22", true),
            (Ingress, Tracked, "fd00::9 40000 fd00::1 179", true),
            (Ingress, Tracked, "192.0.2.9 40000 192.0.2.1 68", false),
            (Ingress, Tracked, "192.0.2.9 40000 192.0.2.1 80", false),
            (Ingress, Tracked, "10.9.9.9 40000 192.0.2.1 80", true),
            (Ingress, Tracked, "fd00::9 40000 fd00::1 81", true),
            (Ingress, Tracked, "10.9.9.9 40000 192.0.2.1 81", false),
            (Egress, Tracked, "192.0.2.1 40000 192.0.2.9 6443", true),
            (Egress, Tracked, "192.0.2.1 40000 192.0.2.9 2379", true),
            (Egress, Tracked, "192.0.2.1 40000 10.9.9.9 2379", false),
            (Egress, Tracked, "192.0.2.1 40000 192.0.2.9 22", false),
            // Answers.
            (Egress, Tracked, "192.0.2.1 22 192.0.2.9 40000", false),
            (Egress, Untracked, "192.0.2.1 22 192.0.2.9 40000", true),
            (Egress, Untracked, "192.0.2.1 80 10.9.9.9 40000", true),
            (Egress, Untracked, "192.0.2.1 80 192.0.2.9 40000", false),
            (Ingress, Untracked, "192.0.2.9 6443 192.0.2.1 40000", true),
            (Ingress, Untracked, "192.0.2.9 2379 192.0.2.1 40000", true),
            (Ingress, Untracked, "10.9.9.9 2379 192.0.2.1 40000", false),
            (Ingress, Untracked, "192.0.2.9 22 192.0.2.1 40000", false),
        ] {
            assert_eq!(passes(&failsafes, direction, point, packet), wanted, "{direction} {point:?} {packet}");
        }
        assert_eq!(failsafes.rules(Ingress, Tracked).count(), 4, "tcp for all, udp, and each prefix");
        assert_eq!(Failsafes::new(&[], &[]).rules(Ingress, Untracked).count(), 0);
    }
}
