//! The base chains that follow from the cluster's network, not from policy. Each
//! is there only while something asks for it.

use caracal_net::{Cidr, Family};
use caracal_program::IpPool;

use super::tunnels::{self, Tunnel};
use super::{nat_outgoing, service_loops};
use crate::ir::{Chain, Element, Name, Set, SetKind, SetSpec};
use crate::lists;
use crate::settings::{Ipv6, Settings};

/// What is known of the cluster's network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network<'a> {
    pub(crate) pools: &'a [&'a IpPool],
    /// The addresses of the cluster's hosts.
    pub(crate) hosts: &'a [Cidr],
    /// The prefixes that services get addresses from.
    pub(crate) services: &'a [Cidr],
}

/// What that comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkChains {
    /// Base chains only.
    pub(crate) chains: Vec<Chain>,
    /// The sets that they look up.
    pub(crate) sets: Vec<Set>,
    /// The tunnels by which hosts of the cluster speak.
    pub(crate) tunnels: Vec<Tunnel>,
}

/// Lowers the network.
pub(crate) fn network_chains(network: &Network<'_>, settings: &Settings) -> NetworkChains {
    let mut out = NetworkChains::default();
    nat_outgoing::add(network, settings, &mut out);
    service_loops::add(network, settings, &mut out);
    tunnels::add(network, settings, &mut out);
    out
}

impl NetworkChains {
    /// Adds the set of the prefixes of one family that no other covers; gives its
    /// name, if there are any.
    pub(super) fn nets(&mut self, name: Name, family: Family, nets: impl Iterator<Item = Cidr>) -> Option<Name> {
        let nets = lists::disjoint(nets.filter(|net| net.family() == family));
        if nets.is_empty() {
            return None;
        }
        let spec = SetSpec::new(name.clone(), SetKind::Nets(family));
        self.sets.push(Set { spec, elements: nets.iter().map(Element::net).collect() });
        Some(name)
    }
}

/// The families that are programmed.
pub(super) const fn families(settings: &Settings) -> &'static [Family] {
    match settings.ipv6 {
        Ipv6::On => &[Family::V4, Family::V6],
        Ipv6::Off => &[Family::V4],
    }
}

#[cfg(test)]
mod tests;
