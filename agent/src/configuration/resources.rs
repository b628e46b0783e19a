//! FelixConfiguration resources: which of them are for this node; and what the
//! cluster says of itself.

use std::collections::{BTreeMap, BTreeSet};

use caracal_config::Source;
use caracal_datastore::{BgpConfiguration, ClusterInformation, ConfigEvent, FelixConfiguration};
use caracal_model::Labels;
use caracal_selector::{LabelSource, Selector};
use smol_str::SmolStr;

/// The resources that a source has told of.
#[derive(Debug, Default)]
pub(super) struct Resources {
    held: BTreeMap<SmolStr, FelixConfiguration>,
    cluster: ClusterInformation,
    bgp: BgpConfiguration,
    /// What the list under way has repeated.
    repeated: Option<Repeated>,
}

/// What a list has repeated so far.
#[derive(Debug, Default)]
struct Repeated {
    names: BTreeSet<SmolStr>,
    cluster: ClusterInformation,
    bgp: BgpConfiguration,
}

impl Resources {
    pub(super) fn on_event(&mut self, event: ConfigEvent) {
        match event {
            ConfigEvent::Begin => self.repeated = Some(Repeated::default()),
            ConfigEvent::Apply(resource) => {
                if let Some(repeated) = &mut self.repeated {
                    repeated.names.insert(resource.name.clone());
                }
                self.held.insert(resource.name.clone(), resource);
            }
            ConfigEvent::Delete(name) => {
                self.held.remove(&name);
            }
            ConfigEvent::Cluster(information) => {
                self.cluster = information.unwrap_or_default();
                if let Some(repeated) = &mut self.repeated {
                    repeated.cluster = self.cluster.clone();
                }
            }
            ConfigEvent::Bgp(configuration) => {
                self.bgp = configuration.unwrap_or_default();
                if let Some(repeated) = &mut self.repeated {
                    repeated.bgp = self.bgp.clone();
                }
            }
            ConfigEvent::End => {
                if let Some(Repeated { names, cluster, bgp }) = self.repeated.take() {
                    self.bgp = bgp;
                    self.held.retain(|name, _| names.contains(name));
                    self.cluster = cluster;
                }
            }
        }
    }

    /// What the cluster says of itself, as parameters of the whole cluster.
    pub(super) fn of_cluster(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let ClusterInformation { calico_version, cluster_guid, cluster_type, datastore_ready: _ } = &self.cluster;
        let texts = [("CalicoVersion", calico_version), ("ClusterGUID", cluster_guid), ("ClusterType", cluster_type)];
        texts.into_iter().map(|(name, text)| (name, text.as_str())).filter(|(_, text)| !text.is_empty())
    }

    /// What the cluster tells its routers.
    pub(super) fn bgp(&self) -> &BgpConfiguration {
        &self.bgp
    }

    /// Whether the cluster says that its datastore may be acted on.
    pub(super) fn datastore_is_ready(&self) -> bool {
        self.cluster.datastore_ready != Some(false)
    }

    /// The resource that counts at each of the datastore's places.
    pub(super) fn chosen(&self, node: &str, labels: Option<&Labels>) -> [(Source, Option<&FelixConfiguration>); 3] {
        let selects = |resource: &&FelixConfiguration| match (labels, Selector::parse(&resource.node_selector)) {
            (Some(labels), Ok(selector)) => selector.matches(&NodeLabels(labels)),
            // Nothing is known of the node; an invalid selector selects nothing.
            (None, _) | (_, Err(_)) => false,
        };
        let selecting = self
            .held
            .values()
            .filter(|resource| !resource.node_selector.is_empty() && !has_fixed_place(&resource.name))
            .filter(selects)
            // The map's order breaks ties by name.
            .min_by_key(|resource| resource.creation_timestamp.clone());
        [
            (Source::Global, self.held.get("default")),
            (Source::Selector, selecting),
            (Source::Node, self.held.get(format!("node.{node}").as_str())),
        ]
    }
}

/// Whether the name alone says which nodes a resource is for.
fn has_fixed_place(name: &str) -> bool {
    name == "default" || name.starts_with("node.")
}

struct NodeLabels<'a>(&'a Labels);

impl LabelSource for NodeLabels<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, selector: &str, created: Option<&str>) -> FelixConfiguration {
        FelixConfiguration {
            name: name.into(),
            node_selector: selector.to_owned(),
            creation_timestamp: created.map(str::to_owned),
            ..FelixConfiguration::default()
        }
    }

    fn names(resources: &Resources, labels: Option<&[(&str, &str)]>) -> [Option<String>; 3] {
        let labels = labels.map(|labels| labels.iter().copied().collect::<Labels>());
        let chosen = resources.chosen("node-a", labels.as_ref());
        chosen.map(|(_, resource)| resource.map(|resource| resource.name.to_string()))
    }

    fn some(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn each_place_has_its_resource() {
        let mut resources = Resources::default();
        for resource in [
            resource("default", "", None),
            resource("node.node-a", "", None),
            resource("node.node-b", "", None),
            resource("other", "", None),
            resource("young", "has(rack)", Some("2026-02-01T00:00:00Z")),
            resource("old", "rack == 'r1'", Some("2026-01-01T00:00:00Z")),
            resource("old-too", "rack == 'r1'", Some("2026-01-01T00:00:00Z")),
            resource("broken", "rack = ", Some("2025-01-01T00:00:00Z")),
        ] {
            resources.on_event(ConfigEvent::Apply(resource));
        }
        let with = |selected: Option<String>| [some("default"), selected, some("node.node-a")];
        assert_eq!(names(&resources, None), with(None));
        assert_eq!(names(&resources, Some(&[])), with(None));
        assert_eq!(names(&resources, Some(&[("rack", "r1")])), with(some("old")));
        assert_eq!(names(&resources, Some(&[("rack", "r2")])), with(some("young")));
        resources.on_event(ConfigEvent::Delete("old".into()));
        assert_eq!(names(&resources, Some(&[("rack", "r1")])), with(some("old-too")));
    }

    #[test]
    fn what_a_list_does_not_repeat_is_gone() {
        let mut resources = Resources::default();
        resources.on_event(ConfigEvent::Apply(resource("default", "", None)));
        resources.on_event(ConfigEvent::Apply(resource("node.node-a", "", None)));
        resources.on_event(ConfigEvent::Begin);
        resources.on_event(ConfigEvent::Apply(resource("node.node-a", "", None)));
        assert_eq!(names(&resources, None), [some("default"), None, some("node.node-a")]);
        resources.on_event(ConfigEvent::End);
        assert_eq!(names(&resources, None), [None, None, some("node.node-a")]);
    }

    #[test]
    fn the_cluster_says_it_once_and_can_take_it_back() {
        let check = |resources: &Resources, want: &[(&str, &str)]| {
            assert_eq!(resources.of_cluster().collect::<Vec<_>>(), want);
        };
        let says = |guid: &str| {
            let information = ClusterInformation { cluster_guid: guid.to_owned(), ..ClusterInformation::default() };
            ConfigEvent::Cluster(Some(information))
        };
        let mut resources = Resources::default();
        check(&resources, &[]);
        resources.on_event(says("one"));
        check(&resources, &[("ClusterGUID", "one")]);
        for (events, want) in [
            (vec![ConfigEvent::Begin, says("two"), ConfigEvent::End], &[("ClusterGUID", "two")][..]),
            (vec![ConfigEvent::Begin, ConfigEvent::End], &[]),
            (vec![says("three"), ConfigEvent::Cluster(None)], &[]),
        ] {
            events.into_iter().for_each(|event| resources.on_event(event));
            check(&resources, want);
        }
    }
}
