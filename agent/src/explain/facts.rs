//! What the datastore says of endpoints, beside what the graph makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_model::{EndpointPort, Event, Key, LABEL_NAMESPACE, Labels, NetworkSetKey, Object, Tier, WorkloadEndpoint};
use caracal_net::Cidr;
use smol_str::SmolStr;

/// A workload, as a selector and its host see it.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// The node that it is on.
    pub(super) node: SmolStr,
    /// Own labels, without those inherited from profiles.
    pub(super) labels: Labels,
    /// Ports that have names.
    pub(super) ports: Vec<EndpointPort>,
}

impl Workload {
    /// The namespace; empty if it has none.
    pub(super) fn namespace(&self) -> &str {
        self.labels.get(LABEL_NAMESPACE).unwrap_or_default()
    }
}

/// A host endpoint, as its manifest has it.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// The node that it is on.
    pub(super) node: SmolStr,
    /// The interface; `*` for all of them, empty to go by `expected`.
    pub(super) interface: SmolStr,
    /// Addresses by which the interface is found.
    pub(super) expected: Vec<IpAddr>,
    pub(super) labels: Labels,
}

/// One address of a node and, if it is written, the subnet that it is in.
#[derive(Clone, Copy, Debug)]
struct NodeAddress {
    address: IpAddr,
    subnet: Option<Cidr>,
}

impl NodeAddress {
    /// Reads `192.0.2.1/24` or `192.0.2.1`.
    fn read(text: &str) -> Option<Self> {
        let address = text.split_once('/').map_or(text, |(address, _)| address);
        Some(Self { address: address.parse().ok()?, subnet: text.contains('/').then(|| text.parse().ok()).flatten() })
    }
}

/// Workloads, host endpoints, sets of prefixes, tiers and nodes of a datastore.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// By `NAMESPACE/NAME`.
    workloads: BTreeMap<SmolStr, Workload>,
    network_sets: BTreeMap<NetworkSetKey, Labels>,
    tiers: BTreeMap<SmolStr, Tier>,
    /// By name.
    hosts: BTreeMap<SmolStr, Host>,
    nodes: BTreeMap<SmolStr, Vec<NodeAddress>>,
    node_labels: BTreeMap<SmolStr, Labels>,
}

impl Facts {
    /// Takes note of an event; of a source that is read once nothing goes away.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Apply(_, object, _) => self.apply(object),
            Event::Delete(_, Key::Tier(name), _) => drop(self.tiers.remove(name)),
            Event::Delete(_, Key::HostEndpoint(key), _) => drop(self.hosts.remove(&key.name)),
            Event::Delete(..) | Event::Begin(_) | Event::End(_) => {}
        }
    }

    fn apply(&mut self, object: &Object) {
        match object {
            Object::WorkloadEndpoint(key, endpoint) => {
                let WorkloadEndpoint { labels, ports, .. } = endpoint;
                let workload = Workload { node: key.host.clone(), labels: labels.clone(), ports: ports.clone() };
                self.workloads.insert(key.workload.clone(), workload);
            }
            Object::HostEndpoint(key, endpoint) => {
                let host = Host {
                    node: key.host.clone(),
                    interface: endpoint.interface.clone(),
                    expected: endpoint.expected_ips.clone(),
                    labels: endpoint.labels.clone(),
                };
                self.hosts.insert(key.name.clone(), host);
            }
            Object::NetworkSet(key, set) => {
                self.network_sets.insert(key.clone(), set.labels.clone());
            }
            Object::Tier(name, tier) => {
                self.tiers.insert(name.clone(), *tier);
            }
            Object::Node(name, node) => {
                let addresses = [&node.ipv4, &node.ipv6].into_iter().filter_map(|text| NodeAddress::read(text));
                self.nodes.insert(name.clone(), addresses.collect());
                self.node_labels.insert(name.clone(), node.labels.clone());
            }
            _ => {}
        }
    }

    /// A workload by `NAMESPACE/NAME`.
    pub(super) fn workload(&self, name: &str) -> Option<&Workload> {
        self.workloads.get(name)
    }

    /// The labels of everything in a namespace that a selector may pick beside a
    /// workload: other workloads, and sets of prefixes.
    pub(super) fn others<'a>(&'a self, namespace: &'a str, but: &'a str) -> impl Iterator<Item = &'a Labels> {
        let workloads =
            self.workloads.iter().filter(move |(name, workload)| *name != but && workload.namespace() == namespace);
        let sets = self.network_sets.values().filter(move |labels| labels.get(LABEL_NAMESPACE) == Some(namespace));
        workloads.map(|(_, workload)| &workload.labels).chain(sets)
    }

    /// The node that has an address, as a node's own or as one that a host endpoint
    /// of it expects.
    pub(super) fn node_of(&self, address: IpAddr) -> Option<&SmolStr> {
        let has = |(_, held): &(&SmolStr, &Vec<NodeAddress>)| held.iter().any(|held| held.address == address);
        let by_node = self.nodes.iter().find(has).map(|(name, _)| name);
        by_node.or_else(|| self.hosts.values().find(|host| host.expected.contains(&address)).map(|host| &host.node))
    }

    /// The addresses of a node; `None` if there is no such node.
    pub(super) fn addresses_of(&self, node: &str) -> Option<impl Iterator<Item = IpAddr>> {
        Some(self.nodes.get(node)?.iter().map(|held| held.address))
    }

    /// The name of a node as it is written.
    pub(super) fn node_name(&self, node: &str) -> Option<&SmolStr> {
        self.nodes.get_key_value(node).map(|(name, _)| name)
    }

    /// Whether two nodes are known to share a subnet.
    pub(super) fn share_a_subnet(&self, one: &str, other: &str) -> bool {
        let [one, other] = [one, other].map(|name| self.nodes.get(name).map_or(&[][..], Vec::as_slice));
        one.iter().filter_map(|held| held.subnet).any(|net| other.iter().any(|held| net.contains(held.address)))
    }

    /// The host endpoints of a node, by name.
    pub(super) fn hosts_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (&'a SmolStr, &'a Host)> {
        self.hosts.iter().filter(move |(_, host)| host.node == node)
    }

    /// A host endpoint by name.
    pub(super) fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// The labels of everything that a policy of the whole cluster may select beside a
    /// host endpoint.
    pub(super) fn other_endpoints<'a>(&'a self, but: &'a str) -> impl Iterator<Item = &'a Labels> {
        let hosts = self.hosts.iter().filter(move |(name, _)| *name != but).map(|(_, host)| &host.labels);
        self.workloads.values().map(|workload| &workload.labels).chain(hosts)
    }

    /// The labels of a node.
    pub(super) fn node_labels(&self, node: &str) -> Option<&Labels> {
        self.node_labels.get(node)
    }

    /// The lowest order of any tier.
    pub(super) fn first_order(&self) -> f64 {
        self.tiers.values().filter_map(|tier| tier.order).fold(f64::INFINITY, f64::min)
    }

    /// The names of the tiers.
    pub(super) fn tier_names(&self) -> BTreeSet<&str> {
        self.tiers.keys().map(SmolStr::as_str).collect()
    }
}
