//! The calculation graph with the configuration in front of it and messages behind it.

use std::collections::{BTreeMap, BTreeSet};

use caracal_calc_graph::{self as graph, CalcGraph, Census, Heading, Locality, Problem};
use caracal_datastore::{BgpConfiguration, ConfigEvent, Remote, Request, convert};
use caracal_model::{Event, Key, Kind, Object, PolicyKey, Stamp, WorkloadEndpointKey};
use caracal_program::{PolicyId, WorkloadId};
use caracal_proto::felix::{self, to_dataplane::Payload};
use tracing::{info, warn};

use super::{Concern, InForce};
use crate::configuration::{Configuration, NOT_READY};
use crate::encode::{encode, encode_bgp};

/// Turns what a source tells into Felix's messages.
pub struct Calculator {
    graph: CalcGraph,
    configuration: Configuration,
    /// The configuration that counts, and whether it was told.
    config: felix::ConfigUpdate,
    config_told: bool,
    /// What of BGPConfiguration was told.
    bgp_told: BgpConfiguration,
    /// Changes what the source converts with.
    source: Option<Remote>,
    /// What it is to convert with, and what it does, if it has said so.
    to_convert_with: convert::Settings,
    converts_with: Option<convert::Settings>,
    /// Kinds that the source has listed.
    listed: BTreeSet<Kind>,
    /// Whether the list of nodes under way has named this one.
    node_repeated: bool,
    /// Problems of the graph that were logged.
    problems: BTreeMap<(Key, Kind), Problem>,
    /// Whether it was looked whether the node has endpoints, which is once.
    looked_for_endpoints: bool,
}

impl Calculator {
    /// A calculator that knows its configuration and nothing else.
    #[must_use]
    pub fn new(locality: Locality, configuration: Configuration) -> Self {
        Self {
            graph: CalcGraph::new(locality, configuration.graph_settings()),
            config: configuration.message(),
            config_told: false,
            bgp_told: BgpConfiguration::default(),
            source: None,
            to_convert_with: configuration.convert_settings(),
            converts_with: None,
            configuration,
            listed: BTreeSet::new(),
            node_repeated: false,
            problems: BTreeMap::new(),
            looked_for_endpoints: false,
        }
    }

    /// The configuration.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Has the source follow the configuration, which says how resources are converted.
    #[must_use]
    pub fn tuning(mut self, source: Remote) -> Self {
        self.source = Some(source);
        self
    }

    /// What the source tells is converted with these settings from here on.
    pub fn on_converts(&mut self, settings: convert::Settings) {
        self.converts_with = Some(settings);
    }

    /// Takes an event of a source.
    pub fn on_event(&mut self, event: Event) {
        match &event {
            Event::Begin(Kind::Node) => self.node_repeated = false,
            Event::Apply(_, Object::Node(name, node), _) if name == self.configuration.node() => {
                self.node_repeated = true;
                self.configuration.set_node_labels(Some(&node.labels));
                self.take_configuration();
            }
            Event::Delete(_, Key::Node(name), _) if name == self.configuration.node() => {
                self.configuration.set_node_labels(None);
                self.take_configuration();
            }
            Event::End(kind) => {
                self.listed.insert(*kind);
                if *kind == Kind::Node && !self.node_repeated {
                    self.configuration.set_node_labels(None);
                    self.take_configuration();
                }
            }
            Event::Begin(_) | Event::Apply(..) | Event::Delete(..) => {}
        }
        self.graph.on_event(event);
    }

    /// Takes an event about configuration.
    pub fn on_config(&mut self, event: ConfigEvent) {
        let was_ready = self.configuration.datastore_is_ready();
        self.configuration.on_event(event);
        match (was_ready, self.configuration.datastore_is_ready()) {
            (true, false) => warn!("the datastore is not ready: {NOT_READY}"),
            (false, true) => info!("the datastore is ready again"),
            (true, true) | (false, false) => {}
        }
        self.take_configuration();
    }

    /// Follows the configuration file, if it says something else now.
    pub fn look_at_configuration_file(&mut self) {
        self.configuration.look_at_file();
        self.take_configuration();
    }

    fn take_configuration(&mut self) {
        self.graph.set_settings(self.configuration.graph_settings());
        let to_convert_with = self.configuration.convert_settings();
        if self.to_convert_with != to_convert_with {
            self.to_convert_with = to_convert_with.clone();
            if let Some(source) = &self.source {
                source.ask(Request::Tune(to_convert_with));
            }
        }
        let config = self.configuration.message();
        if config != self.config {
            self.config = config;
            self.config_told = false;
        }
    }

    /// Whether what the source has told may be put into force: not before all of it
    /// was converted as the configuration says, nor while the datastore is not ready.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let is_converted = self.converts_with.as_ref().is_none_or(|settings| *settings == self.to_convert_with);
        is_converted && self.configuration.datastore_is_ready()
    }

    /// Whether the source has listed everything once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.listed.len() == Kind::ALL.len()
    }

    /// Whether a flush has something to do.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.graph.is_dirty() || !self.config_told || self.bgp_told != *self.configuration.bgp()
    }

    /// Tells what changed since the last flush, in Felix's order; returns the
    /// oldest stamp of what changed.
    pub fn flush(&mut self, out: &mut dyn FnMut(felix::ToDataplane)) -> Option<Stamp> {
        if !self.config_told {
            self.tell_config(out);
        }
        let bgp = self.configuration.bgp();
        let due = (self.bgp_told != *bgp).then(|| encode_bgp(bgp));
        self.bgp_told.clone_from(bgp);
        let mut out = BeforeServices { due, out };
        let flush = self.graph.flush(&mut |delta| encode(&delta, &mut |message| out.pass(message)));
        out.finish();
        self.log_problems();
        self.look_for_endpoints();
        flush.stamp
    }

    /// Tells everything to somebody who starts from nothing.
    pub fn snapshot(&mut self, out: &mut dyn FnMut(felix::ToDataplane)) -> Option<Stamp> {
        let flush = self.graph.flush(&mut |_| {});
        self.log_problems();
        self.look_for_endpoints();
        self.tell_config(out);
        let bgp = self.configuration.bgp();
        let due = (*bgp != BgpConfiguration::default()).then(|| encode_bgp(bgp));
        self.bgp_told.clone_from(bgp);
        let mut out = BeforeServices { due, out };
        self.graph
            .snapshot(&mut |delta| encode(&delta, &mut |message| out.pass(message)))
            .expect("nothing changes between the flush and the snapshot");
        out.finish();
        flush.stamp
    }

    /// What was told, as far as packets between two ends are concerned; `None` while
    /// something waits to be told. Its cost is that of the ends' policies: whatever
    /// else there is on the node, a change does not wait for it.
    pub fn in_force(&mut self, concern: &Concern) -> Option<InForce> {
        if !self.is_complete() || self.is_dirty() {
            return None;
        }
        let Concern { sender, receiver, addresses } = concern;
        let heading = |key: &WorkloadEndpointKey| {
            let WorkloadEndpointKey { host: _, orchestrator, workload, endpoint } = key;
            let is_it = |end: &Option<WorkloadId>| {
                let ids = end.as_ref().map(|id| (&id.orchestrator, &id.workload, &id.endpoint));
                ids == Some((orchestrator, workload, endpoint))
            };
            match (is_it(sender), is_it(receiver)) {
                (true, _) => Some(Heading::Out),
                (false, true) => Some(Heading::In),
                (false, false) => None,
            }
        };
        let excerpt = self.graph.excerpt(graph::Concern { workload: &heading, addresses });
        let excerpt = excerpt.expect("nothing changes between the look and the excerpt");
        let configuration = &self.configuration;
        let (node, bgp) = (configuration.node().clone(), configuration.bgp().clone());
        Some(InForce::new(node, configuration.settings(), excerpt, bgp))
    }

    fn tell_config(&mut self, out: &mut dyn FnMut(felix::ToDataplane)) {
        self.config_told = true;
        out(felix::ToDataplane { sequence_number: 0, payload: Some(Payload::ConfigUpdate(self.config.clone())) });
    }

    /// The objects that are not in force, kind first, and why.
    pub fn problems(&self) -> impl Iterator<Item = (String, &Problem)> {
        self.graph.problems().map(|(key, kind, problem)| (format!("{kind} {}", name_of(key)), problem))
    }

    /// How many they are.
    #[must_use]
    pub fn count_problems(&self) -> usize {
        self.graph.problems().count()
    }

    /// The active policies in the order of evaluation, each with its order if it has one.
    #[must_use]
    pub fn active_policies(&self) -> Vec<(PolicyId, Option<f64>)> {
        let active = self.graph.active_policies().into_iter();
        active
            .map(|(key, order)| {
                let PolicyKey { kind, namespace, name } = key.clone();
                (PolicyId { kind: kind.as_str().into(), namespace, name }, order)
            })
            .collect()
    }

    /// How many objects of the cluster are in force.
    #[must_use]
    pub fn census(&self) -> Census {
        self.graph.census()
    }

    /// Says if the first whole state has endpoints, and none of this node: its name may be another.
    fn look_for_endpoints(&mut self) {
        if self.looked_for_endpoints || !self.is_complete() {
            return;
        }
        self.looked_for_endpoints = true;
        let Census { local_endpoints, host_endpoints, workload_endpoints, .. } = self.census();
        let others = host_endpoints + workload_endpoints;
        if local_endpoints == 0 && others > 0 {
            let node = self.configuration.node();
            warn!("node {node} has no endpoint, other nodes have {others}: is it called that in the cluster?");
        }
    }

    /// Says which objects are not in force; each once, and again after it was.
    fn log_problems(&mut self) {
        let now = self.graph.problems();
        if now.eq(self.problems.iter().map(|((key, kind), problem)| (key, *kind, problem))) {
            return;
        }
        let mut before = std::mem::take(&mut self.problems);
        for (key, kind, problem) in self.graph.problems() {
            let held = before.remove(&(key.clone(), kind));
            if held.as_ref() != Some(problem) {
                warn!("{kind} {} is not in force: {problem}", name_of(key));
            }
            self.problems.insert((key.clone(), kind), problem.clone());
        }
    }
}

/// Puts a message where Felix's order has what routers are told: before services.
struct BeforeServices<'a> {
    due: Option<felix::ToDataplane>,
    out: &'a mut dyn FnMut(felix::ToDataplane),
}

impl BeforeServices<'_> {
    fn pass(&mut self, message: felix::ToDataplane) {
        let is_later =
            matches!(message.payload, Some(Payload::ServiceRemove(_) | Payload::ServiceUpdate(_) | Payload::InSync(_)));
        if is_later {
            self.finish();
        }
        (self.out)(message);
    }

    fn finish(&mut self) {
        if let Some(due) = self.due.take() {
            (self.out)(due);
        }
    }
}

/// A key as its author knows it.
fn name_of(key: &Key) -> String {
    match key {
        Key::WorkloadEndpoint(key) => key.workload.to_string(),
        Key::HostEndpoint(key) => key.name.to_string(),
        Key::Policy(key) if key.namespace.is_empty() => key.name.to_string(),
        Key::Policy(key) => format!("{}/{}", key.namespace, key.name),
        Key::NetworkSet(key) => key.0.to_string(),
        Key::EndpointSlice(key) => format!("{}/{}", key.namespace, key.name),
        Key::Service(key) => format!("{}/{}", key.namespace, key.name),
        Key::Profile(name) | Key::Tier(name) | Key::Node(name) | Key::IpPool(name) => name.to_string(),
    }
}
