//! What comes out of tunnels between hosts bears the addresses of workloads, so
//! nobody but the cluster's hosts may send it to this one.

use caracal_net::{Family, PortRange, Priority, Protocol};
use caracal_program::TunnelMode;

use super::chain;
use super::network::{Network, NetworkChains, families};
use crate::ir::{Hook, Match, Name, Op, Rule, Side, Statement, Verdict};
use crate::names;
use crate::settings::Settings;

/// Before everything else that judges packets to this host, as in Felix.
const PRIORITY: Priority = Priority(-2);

/// A kind of tunnel by which hosts of the cluster speak, in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tunnel {
    family: Family,
    /// What tells its packets.
    packets: Rule,
    /// The set of the cluster's hosts, if one has an address of the family.
    hosts: Option<Name>,
    /// Why others are refused.
    refusal: &'static str,
}

impl Tunnel {
    /// Lets its packets pass whose source, or whose destination, is a host of the cluster.
    pub(crate) fn of_hosts(&self, side: Side) -> Option<Rule> {
        let hosts = Match::AddrIn(side, Op::Is, self.family, self.hosts.clone()?);
        Some(self.packets.clone().when(hosts).verdict(Verdict::Accept))
    }

    fn of_others(&self) -> Rule {
        let others = self.packets.clone().when(Match::Family(self.family));
        others.then(Statement::Counter).verdict(Verdict::Drop).comment(names::comment(self.refusal))
    }
}

pub(super) fn add(network: &Network<'_>, settings: &Settings, out: &mut NetworkChains) {
    for family in families(settings) {
        let pools = || network.pools.iter().filter(|pool| pool.cidr.family() == *family);
        // IP in IP is for IPv4 only.
        let ipip = *family == Family::V4 && pools().any(|pool| pool.ipip != TunnelMode::Never);
        let vxlan = pools().any(|pool| pool.vxlan != TunnelMode::Never);
        if !ipip && !vxlan {
            continue;
        }
        let hosts = out.nets(names::tunnel_hosts(*family), *family, network.hosts.iter().copied());
        let tunnel = |packets, refusal| Tunnel { family: *family, packets, hosts: hosts.clone(), refusal };
        if ipip {
            let packets = Rule::new().when(Match::Protocol(Op::Is, Protocol::IPIP));
            out.tunnels.push(tunnel(packets, "IP in IP from no host of the cluster"));
        }
        if vxlan {
            let port = Match::Port(Side::Dst, Op::Is, PortRange::single(settings.vxlan_port));
            let packets = Rule::new().when(Match::Protocol(Op::Is, Protocol::UDP)).when(port);
            out.tunnels.push(tunnel(packets, "VXLAN from no host of the cluster"));
        }
    }
    if !out.tunnels.is_empty() {
        let rules =
            out.tunnels.iter().flat_map(|tunnel| tunnel.of_hosts(Side::Src).into_iter().chain([tunnel.of_others()]));
        out.chains.push(chain(names::tunnels(), Hook::Input, PRIORITY, rules.collect()));
    }
}
