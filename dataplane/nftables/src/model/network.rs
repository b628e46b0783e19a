//! What the cluster's network becomes in the kernel: its pools, its hosts and the
//! prefixes of its services. All of it together, as there is little of it.

use caracal_net::Cidr;
use caracal_program::{IpPool, PolicyStore};

use super::work::{HostWork, NetworkWork, Work};
use super::{Model, Object, Written};
use crate::edits::ChainEdit;
use crate::ir::{Chain, Name, Set};
use crate::lower::{Network, NetworkChains, Tunnel, network_chains};

/// What the kernel holds of it.
#[derive(Debug, Default)]
pub(super) struct NetworkState {
    /// Base chains, all of them.
    chains: Vec<Written>,
    sets: Vec<Set>,
    /// What the chains of host endpoints let pass.
    tunnels: Vec<Tunnel>,
}

impl NetworkState {
    pub(super) fn tunnels(&self) -> &[Tunnel] {
        &self.tunnels
    }

    /// Whether a chain or set is one of these.
    pub(super) fn has(&self, name: &Name) -> bool {
        let chains = self.chains.iter().map(|(chain, _)| chain);
        chains.chain(self.sets.iter().map(|set| &set.spec.name)).any(|held| held == name)
    }
}

impl Model {
    /// Why what follows from the cluster's network is not in force, if it is not.
    pub(crate) fn network_fault(&self) -> Option<&str> {
        self.refused.get(&Object::Network).map(String::as_str)
    }

    /// Compiled before host endpoints, whose chains look up its sets.
    pub(super) fn compile_network(&mut self, store: &PolicyStore, work: &mut Work) {
        if work.network == NetworkWork::None {
            return;
        }
        let is_refused = self.refused.contains_key(&Object::Network);
        let pools: Vec<&IpPool> = store.pools().map(|(_, pool)| pool).collect();
        let hosts: Vec<Cidr> = store.node_addresses().map(Cidr::host).collect();
        let services: Vec<Cidr> = store.service_prefixes().collect();
        let network = Network { pools: &pools, hosts: &hosts, services: &services };
        let NetworkChains { chains, sets, tunnels } = match is_refused {
            true => NetworkChains::default(),
            false => network_chains(&network, &self.settings),
        };
        let before = std::mem::replace(&mut self.network.sets, sets.clone());
        self.write_sets(before, &sets, work);
        let before = std::mem::take(&mut self.network.chains);
        let written = self.write(&before, chains, work);
        // A base chain that waits for its deletion would go on working.
        let gone = before.into_iter().map(|(name, _)| name);
        let gone = gone.filter(|name| written.iter().all(|(kept, _)| kept != name));
        work.edits.chains.extend(gone.map(|name| ChainEdit::Rewrite(Chain { name, base: None, rules: Vec::new() })));
        self.network.chains = written;
        if self.network.tunnels != tunnels {
            self.network.tunnels = tunnels;
            work.hosts = HostWork::Due;
        }
    }
}
