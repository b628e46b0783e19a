//! What comes out of tunnels between hosts bears the addresses of workloads, so
//! nobody but the cluster's hosts may send it to this one.

use caracal_net::{Family, PortRange, Priority, Protocol};
use caracal_program::TunnelMode;

use super::chain;
use super::network::{Network, NetworkChains, families};
use crate::ir::{Hook, Match, Op, Rule, Side, Statement, Verdict};
use crate::names;
use crate::settings::Settings;

/// Before everything else that judges packets to this host, as in Felix.
const PRIORITY: Priority = Priority(-2);

pub(super) fn add(network: &Network<'_>, settings: &Settings, out: &mut NetworkChains) {
    let mut rules = Vec::new();
    for family in families(settings) {
        let pools = || network.pools.iter().filter(|pool| pool.cidr.family() == *family);
        // IP in IP is for IPv4 only.
        let ipip = *family == Family::V4 && pools().any(|pool| pool.ipip != TunnelMode::Never);
        let vxlan = pools().any(|pool| pool.vxlan != TunnelMode::Never);
        if !ipip && !vxlan {
            continue;
        }
        let hosts = out.nets(names::tunnel_hosts(*family), *family, network.hosts.iter().copied());
        if ipip {
            let rule = Rule::new().when(Match::Protocol(Op::Is, Protocol::IPIP));
            rules.extend(only_from(hosts.as_ref(), *family, &rule, "IP in IP from no host of the cluster"));
        }
        if vxlan {
            let port = Match::Port(Side::Dst, Op::Is, PortRange::single(settings.vxlan_port));
            let rule = Rule::new().when(Match::Protocol(Op::Is, Protocol::UDP)).when(port);
            rules.extend(only_from(hosts.as_ref(), *family, &rule, "VXLAN from no host of the cluster"));
        }
    }
    if !rules.is_empty() {
        out.chains.push(chain(names::tunnels(), Hook::Input, PRIORITY, rules));
    }
}

fn only_from(hosts: Option<&crate::ir::Name>, family: Family, tunnelled: &Rule, why: &str) -> Vec<Rule> {
    let from_host = hosts.map(|set| {
        let from = Match::AddrIn(Side::Src, Op::Is, family, set.clone());
        tunnelled.clone().when(from).verdict(Verdict::Accept)
    });
    let others = tunnelled.clone().when(Match::Family(family)).then(Statement::Counter).verdict(Verdict::Drop);
    from_host.into_iter().chain([others.comment(names::comment(why))]).collect()
}
