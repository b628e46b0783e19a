//! What the datastore says of endpoints, beside what the graph makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_model::{Event, Key, LABEL_NAMESPACE, Labels, NetworkSetKey, Object, Tier};
use smol_str::SmolStr;

/// A workload, as a selector and its host see it.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// The node that it is on.
    pub(super) node: SmolStr,
    /// Own labels, without those inherited from profiles.
    pub(super) labels: Labels,
}

impl Workload {
    /// The namespace; empty if it has none.
    pub(super) fn namespace(&self) -> &str {
        self.labels.get(LABEL_NAMESPACE).unwrap_or_default()
    }
}

/// Workloads, sets of prefixes, tiers and nodes of a datastore.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// By `NAMESPACE/NAME`.
    workloads: BTreeMap<SmolStr, Workload>,
    network_sets: BTreeMap<NetworkSetKey, Labels>,
    tiers: BTreeMap<SmolStr, Tier>,
    /// The addresses of each node.
    nodes: BTreeMap<SmolStr, Vec<IpAddr>>,
    node_labels: BTreeMap<SmolStr, Labels>,
}

impl Facts {
    /// Takes note of an event; of a source that is read once nothing goes away.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Apply(_, object, _) => self.apply(object),
            Event::Delete(_, Key::Tier(name), _) => drop(self.tiers.remove(name)),
            Event::Delete(..) | Event::Begin(_) | Event::End(_) => {}
        }
    }

    fn apply(&mut self, object: &Object) {
        match object {
            Object::WorkloadEndpoint(key, endpoint) => {
                let workload = Workload { node: key.host.clone(), labels: endpoint.labels.clone() };
                self.workloads.insert(key.workload.clone(), workload);
            }
            Object::NetworkSet(key, set) => {
                self.network_sets.insert(key.clone(), set.labels.clone());
            }
            Object::Tier(name, tier) => {
                self.tiers.insert(name.clone(), *tier);
            }
            Object::Node(name, node) => {
                let addresses = [&node.ipv4, &node.ipv6].into_iter().filter_map(|text| {
                    let address = text.split_once('/').map_or(text.as_str(), |(address, _)| address);
                    address.parse().ok()
                });
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

    /// Whether an address is one of a node's own.
    pub(super) fn is_of_node(&self, node: &str, address: IpAddr) -> bool {
        self.nodes.get(node).is_some_and(|addresses| addresses.contains(&address))
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
