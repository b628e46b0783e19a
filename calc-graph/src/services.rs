//! The endpoints of services, for the sets of rules that name a service.
//!
//! Input: endpoint slices. Outputs: the members of a service's set, and whether
//! it holds a member. Memory: each slice, its addresses and ports sorted, and one
//! entry by service.
//! Invariant: `of_service` has exactly the slices of `slices`, each under its
//! service.

use std::collections::{BTreeMap, BTreeSet};

use caracal_model::{EndpointSlice, EndpointSliceKey, ServiceRef};
use caracal_net::Cidr;
use rustc_hash::FxHashMap;

use crate::Member;
use crate::rule_scanner::ServicePorts;

#[derive(Debug, Default)]
pub(crate) struct Services {
    slices: BTreeMap<EndpointSliceKey, EndpointSlice>,
    of_service: FxHashMap<ServiceRef, BTreeSet<EndpointSliceKey>>,
}

impl Services {
    pub(crate) fn slice(&self, key: &EndpointSliceKey) -> Option<&EndpointSlice> {
        self.slices.get(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &EndpointSliceKey> {
        self.slices.keys()
    }

    pub(crate) fn put(&mut self, key: EndpointSliceKey, mut slice: EndpointSlice) {
        self.remove(&key);
        slice.addresses.sort_unstable();
        slice.ports.sort_unstable();
        self.of_service.entry(slice.service.clone()).or_default().insert(key.clone());
        self.slices.insert(key, slice);
    }

    pub(crate) fn remove(&mut self, key: &EndpointSliceKey) {
        let Some(EndpointSlice { service, .. }) = self.slices.remove(key) else { return };
        if let Some(keys) = self.of_service.get_mut(&service) {
            keys.remove(key);
            if keys.is_empty() {
                self.of_service.remove(&service);
            }
        }
    }

    /// Whether a service's set holds a member.
    pub(crate) fn holds(&self, service: &ServiceRef, held: &Member) -> bool {
        self.slices_of(service).any(|slice| {
            let has = |address| slice.addresses.binary_search(&address).is_ok();
            match held {
                Member::Net(net) => net.is_host() && has(net.addr()),
                Member::IpPort(address, protocol, port) => {
                    slice.ports.binary_search(&(*protocol, *port)).is_ok() && has(*address)
                }
            }
        })
    }

    /// Every member of a service's set, some more than once.
    pub(crate) fn members(&self, service: &ServiceRef, ports: ServicePorts) -> impl Iterator<Item = Member> {
        self.slices_of(service).flat_map(move |slice| contributions(slice, ports))
    }

    fn slices_of(&self, service: &ServiceRef) -> impl Iterator<Item = &EndpointSlice> {
        self.of_service.get(service).into_iter().flatten().map(|key| &self.slices[key])
    }
}

/// What a slice brings into the sets of its service.
pub(crate) fn contributions(slice: &EndpointSlice, ports: ServicePorts) -> impl Iterator<Item = Member> {
    let (nets, pairs) = match ports {
        ServicePorts::Without => (slice.addresses.as_slice(), &[][..]),
        ServicePorts::With => (&[][..], slice.addresses.as_slice()),
    };
    let nets = nets.iter().map(|address| Member::Net(Cidr::host(*address)));
    let pairs = pairs
        .iter()
        .flat_map(|address| slice.ports.iter().map(move |(protocol, port)| Member::IpPort(*address, *protocol, *port)));
    nets.chain(pairs)
}
