//! Which host endpoint stands for which interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use smol_str::SmolStr;

use super::PolicyStore;
use crate::{Change, HostEndpoint};

impl PolicyStore {
    /// Takes over the addresses of interfaces that another store of the same host knows.
    pub fn take_addresses(&mut self, other: &Self) {
        self.stamped.change();
        self.addresses.clone_from(&other.addresses);
    }

    /// Takes note of the addresses of one of the host's own interfaces, none if
    /// it is gone.
    pub fn set_addresses(&mut self, interface: &SmolStr, addresses: BTreeSet<IpAddr>) -> Change {
        self.stamped.change();
        let now = addresses.clone();
        let before = match addresses.is_empty() {
            true => self.addresses.remove(interface),
            false => self.addresses.insert(interface.clone(), addresses),
        };
        let before = before.unwrap_or_default();
        let moved: BTreeSet<&IpAddr> = before.symmetric_difference(&now).collect();
        let mut by_address = self.hosts.values().filter(|endpoint| endpoint.interface.is_empty());
        match by_address.any(|endpoint| endpoint.expected_addresses.iter().any(|addr| moved.contains(addr))) {
            true => Change::HostAddresses,
            false => Change::Nothing,
        }
    }

    /// The addresses of the host's own interfaces.
    pub fn host_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.values().flatten().copied()
    }

    /// The host's own interfaces that have an address.
    pub(crate) fn interfaces_with(&self, address: IpAddr) -> impl Iterator<Item = &SmolStr> {
        self.addresses.iter().filter(move |(_, held)| held.contains(&address)).map(|(interface, _)| interface)
    }

    /// Whether any interface of the host has one of these addresses.
    #[must_use]
    pub fn has_any_address(&self, addresses: &[IpAddr]) -> bool {
        self.addresses.values().any(|held| addresses.iter().any(|addr| held.contains(addr)))
    }

    /// The host endpoint of one interface: of those that name it, or name none
    /// and expect one of its addresses, the one with the lowest id. An endpoint
    /// for all interfaces stands back.
    #[must_use]
    pub fn host_on(&self, interface: &str) -> Option<&Arc<HostEndpoint>> {
        let is_on = |endpoint: &&Arc<HostEndpoint>| match endpoint.interface.as_str() {
            "" => self
                .addresses
                .get(interface)
                .is_some_and(|held| endpoint.expected_addresses.iter().any(|addr| held.contains(addr))),
            name => name == interface,
        };
        self.hosts.values().find(is_on)
    }

    /// The host endpoint of all interfaces that have none of their own: of those
    /// for all interfaces, the one with the lowest id.
    #[must_use]
    pub fn host_on_others(&self) -> Option<&Arc<HostEndpoint>> {
        self.hosts.values().find(|endpoint| endpoint.is_for_all_interfaces())
    }

    /// The interfaces that have a host endpoint of their own, and which.
    #[must_use]
    pub fn host_interfaces(&self) -> BTreeMap<SmolStr, &Arc<HostEndpoint>> {
        let named = self.hosts.values().map(|endpoint| &endpoint.interface);
        let named = named.filter(|name| !name.is_empty() && *name != crate::ALL_INTERFACES);
        let names: BTreeSet<&SmolStr> = named.chain(self.addresses.keys()).collect();
        names.into_iter().filter_map(|name| Some((name.clone(), self.host_on(name)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use caracal_proto::felix::{self, to_dataplane::Payload};

    use super::*;

    fn host(id: &str, interface: &str, expected: &[&str]) -> felix::ToDataplane {
        let (v4, v6) = expected.iter().map(ToString::to_string).partition(|addr: &String| !addr.contains(':'));
        let endpoint = felix::HostEndpoint {
            name: interface.into(),
            expected_ipv4_addrs: v4,
            expected_ipv6_addrs: v6,
            ..felix::HostEndpoint::default()
        };
        let id = Some(felix::HostEndpointId { endpoint_id: id.into() });
        let update = felix::HostEndpointUpdate { id, endpoint: Some(endpoint) };
        felix::ToDataplane { sequence_number: 0, payload: Some(Payload::HostEndpointUpdate(update)) }
    }

    fn store(hosts: &[felix::ToDataplane]) -> PolicyStore {
        let mut store = PolicyStore::new();
        for message in hosts {
            store.apply(message).expect("a host endpoint");
        }
        store
    }

    fn has(store: &mut PolicyStore, interface: &str, addresses: &[&str]) -> Change {
        let addresses = addresses.iter().map(|addr| addr.parse().expect("an address"));
        store.set_addresses(&interface.into(), addresses.collect())
    }

    fn check(store: &PolicyStore, wanted: &[(&str, &str)]) {
        let found = store.host_interfaces();
        let found: Vec<_> = found.iter().map(|(name, endpoint)| (name.as_str(), endpoint.id.0.as_str())).collect();
        assert_eq!(found, wanted);
        for (interface, id) in wanted {
            assert_eq!(store.host_on(interface).map(|endpoint| endpoint.id.0.as_str()), Some(*id));
        }
    }

    #[test]
    fn the_lowest_id_stands_for_an_interface() {
        let mut store = store(&[
            host("b", "eth0", &[]),
            host("c", "eth0", &[]),
            host("all", "*", &[]),
            host("also-all", "*", &[]),
            host("a", "", &["192.0.2.1", "2001:db8::1"]),
        ]);
        check(&store, &[("eth0", "b")]);
        assert_eq!(store.host_on_others().map(|endpoint| endpoint.id.0.as_str()), Some("all"));
        assert_eq!(has(&mut store, "eth1", &["2001:db8::1"]), Change::HostAddresses);
        check(&store, &[("eth0", "b"), ("eth1", "a")]);
        assert_eq!(has(&mut store, "eth0", &["192.0.2.1", "192.0.2.2"]), Change::HostAddresses);
        check(&store, &[("eth0", "a"), ("eth1", "a")]);
        assert_eq!(has(&mut store, "eth0", &["192.0.2.1"]), Change::Nothing, "nobody expects the other address");
        assert_eq!(has(&mut store, "eth1", &[]), Change::HostAddresses);
        check(&store, &[("eth0", "a")]);
        let mut other = PolicyStore::new();
        other.take_addresses(&store);
        other.apply(&host("z", "", &["192.0.2.1"])).expect("a host endpoint");
        check(&other, &[("eth0", "z")]);
        assert_eq!(has(&mut store, "eth0", &[]), Change::HostAddresses);
        check(&store, &[("eth0", "b")]);
    }

    #[test]
    fn an_endpoint_with_a_name_is_not_found_by_address() {
        let mut store = store(&[host("a", "eth0", &["192.0.2.1"]), host("all", "*", &["192.0.2.1"])]);
        assert_eq!(has(&mut store, "eth1", &["192.0.2.1"]), Change::Nothing);
        check(&store, &[("eth0", "a")]);
    }
}
