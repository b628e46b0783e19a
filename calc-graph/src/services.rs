//! The endpoints of services, for the sets of rules that name a service.
//!
//! Input: endpoint slices. Outputs: the members of a service's set, and whether
//! it holds a member. Memory: each slice, its addresses and ports sorted, and one
//! entry by service.
//! Invariant: `of_service` has exactly the slices of `slices`, each under its
//! service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

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

    /// The members of a service's set of ports that an address has, some more than once.
    pub(crate) fn ports_of(&self, service: &ServiceRef, address: IpAddr) -> impl Iterator<Item = Member> {
        let slices = self.slices_of(service).filter(move |slice| slice.addresses.binary_search(&address).is_ok());
        slices.flat_map(move |slice| {
            slice.ports.iter().map(move |(protocol, port)| Member::IpPort(address, *protocol, *port))
        })
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use caracal_net::Protocol;
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;

    fn service(name: u8) -> ServiceRef {
        ServiceRef { namespace: "shop".into(), name: format!("s{name}").into() }
    }

    fn key(name: u8) -> EndpointSliceKey {
        EndpointSliceKey { namespace: "shop".into(), name: format!("e{name}").into() }
    }

    fn slice() -> impl Strategy<Value = EndpointSlice> {
        let addresses: Vec<IpAddr> =
            ["10.0.0.2", "10.0.0.1", "fd00::1"].map(|addr| addr.parse().expect("an address")).into();
        let ports = vec![(Protocol::UDP, 53), (Protocol::TCP, 80)];
        let parts = (0u8..2, subsequence(addresses, 0..=3), subsequence(ports, 0..=2));
        parts.prop_map(|(name, addresses, ports)| EndpointSlice { service: service(name), addresses, ports })
    }

    /// What slices bring into a service's set, by looking at all of them.
    fn naive<'a>(
        slices: impl Iterator<Item = &'a EndpointSlice>,
        of: &ServiceRef,
        ports: ServicePorts,
    ) -> BTreeSet<Member> {
        let mut members = BTreeSet::new();
        for slice in slices.filter(|slice| slice.service == *of) {
            for addr in &slice.addresses {
                match ports {
                    ServicePorts::Without => drop(members.insert(Member::Net(Cidr::host(*addr)))),
                    ServicePorts::With => {
                        members
                            .extend(slice.ports.iter().map(|(protocol, port)| Member::IpPort(*addr, *protocol, *port)));
                    }
                }
            }
        }
        members
    }

    proptest! {
        #[test]
        fn members_are_those_of_all_slices(steps in prop::collection::vec((0u8..3, prop::option::of(slice())), 0..40)) {
            let (mut services, mut model) = (Services::default(), BTreeMap::new());
            for (name, slice) in steps {
                match slice {
                    Some(slice) => {
                        services.put(key(name), slice.clone());
                        model.insert(key(name), slice);
                    }
                    None => {
                        services.remove(&key(name));
                        model.remove(&key(name));
                    }
                }
                for (of, ports) in [(0, ServicePorts::With), (0, ServicePorts::Without), (1, ServicePorts::With)] {
                    let of = service(of);
                    let want = naive(model.values(), &of, ports);
                    let members: BTreeSet<Member> = services.members(&of, ports).collect();
                    prop_assert_eq!(&members, &want);
                    for member in naive(model.values(), &service(1), ports).union(&want) {
                        prop_assert_eq!(services.holds(&of, member), want.contains(member));
                    }
                }
                prop_assert_eq!(services.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
            }
        }
    }
}
