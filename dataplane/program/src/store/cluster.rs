//! What the store knows of the cluster's network beside pools.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_net::Cidr;
use caracal_proto::felix;
use smol_str::SmolStr;

use super::PolicyStore;
use crate::parse::Subject;
use crate::{Change, Fault, ProgramError};

/// The hosts of the cluster, and the prefixes that services get addresses from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    nodes: BTreeMap<SmolStr, BTreeSet<IpAddr>>,
    services: BTreeSet<Cidr>,
}

impl PolicyStore {
    /// The addresses of the cluster's hosts, this one's among them, each once and in order.
    pub fn node_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let addresses: BTreeSet<IpAddr> = self.cluster.nodes.values().flatten().copied().collect();
        addresses.into_iter()
    }

    /// The prefixes that services get addresses from, as far as they are announced
    /// to routers, in order.
    pub fn service_prefixes(&self) -> impl Iterator<Item = Cidr> {
        self.cluster.services.iter().copied()
    }

    pub(super) fn node_update(&mut self, update: &felix::HostMetadataUpdate) -> Result<Change, ProgramError> {
        let felix::HostMetadataUpdate { hostname, ipv4_addr, ipv6_addr, asnumber: _, labels: _ } = update;
        let subject = Subject { message: "HostMetadataUpdate", object: &format_args!("host {hostname}") };
        let mut addresses = BTreeSet::new();
        for (field, text) in [("ipv4_addr", ipv4_addr), ("ipv6_addr", ipv6_addr)] {
            if text.is_empty() {
                continue;
            }
            // An address with the length of its host's prefix: see Felix's `HostMetadataUpdate`.
            let addr = text.split_once('/').map_or(text.as_str(), |(addr, _)| addr);
            let addr: Cidr = subject.check(addr.parse().map_err(|fault| (field, Fault::Cidr(fault))))?;
            addresses.insert(addr.addr());
        }
        if addresses.is_empty() {
            return Ok(self.node_remove(hostname));
        }
        Ok(match self.cluster.nodes.insert(hostname.into(), addresses.clone()) {
            Some(before) if before == addresses => Change::Nothing,
            _ => Change::Cluster,
        })
    }

    pub(super) fn node_remove(&mut self, hostname: &str) -> Change {
        self.cluster.nodes.remove(hostname).map_or(Change::Nothing, |_| Change::Cluster)
    }

    pub(super) fn services_update(&mut self, update: &felix::GlobalBgpConfigUpdate) -> Result<Change, ProgramError> {
        let subject = Subject { message: "GlobalBGPConfigUpdate", object: &"the prefixes of services" };
        let lists = [
            ("service_cluster_cidrs", &update.service_cluster_cidrs),
            ("service_external_cidrs", &update.service_external_cidrs),
            ("service_loadbalancer_cidrs", &update.service_loadbalancer_cidrs),
        ];
        let mut services = BTreeSet::new();
        for (field, list) in lists {
            for text in list {
                services.insert(subject.check(text.parse().map_err(|fault| (field, Fault::Cidr(fault))))?);
            }
        }
        if self.cluster.services == services {
            return Ok(Change::Nothing);
        }
        self.cluster.services = services;
        Ok(Change::Cluster)
    }
}
