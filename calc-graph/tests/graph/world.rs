//! What a datastore holds, written briefly.

use std::collections::BTreeMap;

use caracal_model::{
    Action, DEFAULT_TIER, EndpointPort, EndpointSlice, EndpointSliceKey, Entity, Event, HostEndpoint, HostEndpointKey,
    IpPool, Key, Kind, LABEL_NAMESPACE, LABEL_ORCHESTRATOR, Labels, NetworkSet, NetworkSetKey, Node, Object, Policy,
    PolicyKey, PolicyKind, Profile, Rule, RulePort, RuleProtocol, Service, ServicePort, ServiceRef, ServiceType, Stamp,
    Tier, TierAction, TunnelMode, WorkloadEndpoint, WorkloadEndpointKey,
};
use caracal_net::{Cidr, Protocol};
use smol_str::{SmolStr, format_smolstr};

/// The node that is calculated for.
pub(crate) const HERE: &str = "node-a";
/// Another node.
pub(crate) const THERE: &str = "node-b";

/// Everything that sources deliver, by kind and key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct World(pub(crate) BTreeMap<(Kind, Key), Object>);

/// Anything that becomes an object.
pub(crate) trait Thing {
    fn deliver(self) -> (Kind, Object);
}

impl Thing for (Kind, Object) {
    fn deliver(self) -> (Kind, Object) {
        self
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The world with one more thing, or with it replaced.
    #[must_use]
    pub(crate) fn with(mut self, thing: impl Thing) -> Self {
        let (kind, object) = thing.deliver();
        self.0.insert((kind, object.key()), object);
        self
    }

    /// The world without the things of a kind whose key's text holds `part`.
    #[must_use]
    pub(crate) fn without(mut self, kind: Kind, part: &str) -> Self {
        let before = self.0.len();
        self.0.retain(|(of, key), _| *of != kind || !format!("{key:?}").contains(part));
        assert_ne!(self.0.len(), before, "something is taken out");
        self
    }

    /// Lists of every kind, from nothing.
    pub(crate) fn lists(&self) -> Vec<Event> {
        Kind::ALL.into_iter().flat_map(|kind| self.list(kind)).collect()
    }

    /// A whole list of one kind.
    pub(crate) fn list(&self, kind: Kind) -> Vec<Event> {
        let objects = self.0.iter().filter(|((of, _), _)| *of == kind);
        let objects = objects.map(|(_, object)| Event::Apply(kind, object.clone(), Stamp::default()));
        [Event::Begin(kind)].into_iter().chain(objects).chain([Event::End(kind)]).collect()
    }

    /// The changes from another world to this one, deletions first.
    pub(crate) fn changes_from(&self, other: &Self) -> Vec<Event> {
        let gone = other.0.keys().filter(|at| !self.0.contains_key(at));
        let gone = gone.map(|(kind, key)| Event::Delete(*kind, key.clone(), Stamp::default()));
        let come = self.0.iter().filter(|(at, object)| other.0.get(at) != Some(object));
        let come = come.map(|((kind, _), object)| Event::Apply(*kind, object.clone(), Stamp::default()));
        gone.chain(come).collect()
    }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

pub(crate) fn cidr(text: &str) -> Cidr {
    text.parse().expect("a prefix")
}

/// A pod: `namespace/name` and its addresses, on this node.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    key: WorkloadEndpointKey,
    endpoint: WorkloadEndpoint,
    labels: BTreeMap<SmolStr, SmolStr>,
}

pub(crate) fn pod(name: &str, addresses: &[&str]) -> Pod {
    let (namespace, _) = name.split_once('/').expect("a namespace and a name");
    let (v4, v6) = addresses.iter().map(|net| cidr(net)).partition(|net| net.addr().is_ipv4());
    let labels = [(LABEL_NAMESPACE, namespace), (LABEL_ORCHESTRATOR, "k8s")];
    Pod {
        key: WorkloadEndpointKey {
            host: HERE.into(),
            orchestrator: "k8s".into(),
            workload: name.into(),
            endpoint: "eth0".into(),
        },
        endpoint: WorkloadEndpoint {
            state: "active".into(),
            interface: format_smolstr!("cali{}", name.replace('/', "-")),
            profiles: vec![format_smolstr!("kns.{namespace}")],
            ipv4_nets: v4,
            ipv6_nets: v6,
            ..WorkloadEndpoint::default()
        },
        labels: labels.map(|(key, value)| (key.into(), value.into())).into(),
    }
}

impl Pod {
    #[must_use]
    pub(crate) fn on(mut self, host: &str) -> Self {
        self.key.host = host.into();
        self
    }

    #[must_use]
    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    #[must_use]
    pub(crate) fn port(mut self, name: &str, protocol: Protocol, port: u16) -> Self {
        let name = name.into();
        self.endpoint.ports.push(EndpointPort { name, protocol, port });
        self
    }

    #[must_use]
    pub(crate) fn profile(mut self, name: &str) -> Self {
        self.endpoint.profiles.push(name.into());
        self
    }

    #[must_use]
    pub(crate) fn profiles(mut self, names: &[&str]) -> Self {
        self.endpoint.profiles = names.iter().copied().map(SmolStr::from).collect();
        self
    }

    #[must_use]
    pub(crate) fn spoofing(mut self, net: &str) -> Self {
        self.endpoint.allowed_source_prefixes.push(cidr(net));
        self
    }

    #[must_use]
    pub(crate) fn without_interface(mut self) -> Self {
        self.endpoint.interface = SmolStr::default();
        self
    }

    /// Delivered as a resource of its own instead of a Pod.
    pub(crate) fn into_workload_endpoint(self) -> (Kind, Object) {
        let (_, object) = self.deliver();
        (Kind::WorkloadEndpoint, object)
    }
}

impl Thing for Pod {
    fn deliver(mut self) -> (Kind, Object) {
        self.endpoint.labels = self.labels.iter().collect();
        (Kind::Pod, Object::WorkloadEndpoint(self.key, self.endpoint))
    }
}

/// A host endpoint of this node.
pub(crate) fn host_endpoint(name: &str, host: &str, pairs: &[(&str, &str)], ips: &[&str]) -> (Kind, Object) {
    let key = HostEndpointKey { host: host.into(), name: name.into() };
    let endpoint = HostEndpoint {
        interface: "eth0".into(),
        expected_ips: ips.iter().map(|ip| ip.parse().expect("an address")).collect(),
        labels: labels(pairs),
        ..HostEndpoint::default()
    };
    (Kind::HostEndpoint, Object::HostEndpoint(key, endpoint))
}

/// A namespace as its profile: everything is allowed, labels are inherited.
pub(crate) fn namespace(name: &str, pairs: &[(&str, &str)]) -> (Kind, Object) {
    let inherited = pairs.iter().map(|(key, value)| (format!("pcns.{key}"), (*value).to_owned()));
    let own = [("pcns.projectcalico.org/name".to_owned(), name.to_owned())];
    let profile = Profile {
        labels: inherited.chain(own).collect(),
        inbound_rules: vec![Rule::any(Action::Allow)],
        outbound_rules: vec![Rule::any(Action::Allow)],
    };
    (Kind::Namespace, Object::Profile(format_smolstr!("kns.{name}"), profile))
}

/// A service account as its profile: no rules.
pub(crate) fn service_account(namespace: &str, name: &str, pairs: &[(&str, &str)]) -> (Kind, Object) {
    let inherited = pairs.iter().map(|(key, value)| (format!("pcsa.{key}"), (*value).to_owned()));
    let own = [("pcsa.projectcalico.org/name".to_owned(), name.to_owned())];
    let profile = Profile { labels: inherited.chain(own).collect(), ..Profile::default() };
    let name = format_smolstr!("ksa.{namespace}.{name}");
    (Kind::ServiceAccount, Object::Profile(name, profile))
}

/// A Profile resource.
pub(crate) fn profile(name: &str, pairs: &[(&str, &str)], inbound: &[Rule], outbound: &[Rule]) -> (Kind, Object) {
    let profile = Profile { labels: labels(pairs), inbound_rules: inbound.to_vec(), outbound_rules: outbound.to_vec() };
    (Kind::Profile, Object::Profile(name.into(), profile))
}

pub(crate) fn tier(name: &str, order: Option<f64>, default_action: TierAction) -> (Kind, Object) {
    (Kind::Tier, Object::Tier(name.into(), Tier { order, default_action }))
}

/// The tier that is always there.
pub(crate) fn default_tier() -> (Kind, Object) {
    tier(DEFAULT_TIER, Some(1_000_000.0), TierAction::Deny)
}

/// A network set: `namespace/name`, or `name` for a global one.
pub(crate) fn network_set(name: &str, pairs: &[(&str, &str)], nets: &[&str]) -> (Kind, Object) {
    let own = pairs.iter().copied();
    let namespace = name.split_once('/').map(|(namespace, _)| namespace);
    let set = NetworkSet {
        labels: own.chain(namespace.map(|namespace| (LABEL_NAMESPACE, namespace))).collect(),
        profiles: namespace.map(|namespace| format_smolstr!("kns.{namespace}")).into_iter().collect(),
        nets: nets.iter().map(|net| cidr(net)).collect(),
    };
    let kind = match namespace {
        Some(_) => Kind::NetworkSet,
        None => Kind::GlobalNetworkSet,
    };
    (kind, Object::NetworkSet(NetworkSetKey(name.into()), set))
}

/// An endpoint slice of `shop`: of a service, with addresses and ports.
pub(crate) fn slice(name: &str, service: &str, addresses: &[&str], ports: &[(Protocol, u16)]) -> (Kind, Object) {
    let key = EndpointSliceKey { namespace: "shop".into(), name: name.into() };
    let slice = EndpointSlice {
        service: ServiceRef { namespace: "shop".into(), name: service.into() },
        addresses: addresses.iter().map(|address| address.parse().expect("an address")).collect(),
        ports: ports.to_vec(),
    };
    (Kind::EndpointSlice, Object::EndpointSlice(key, slice))
}

/// A pool that translates, by its name and prefix.
pub(crate) fn pool(name: &str, net: &str) -> (Kind, Object) {
    let pool = IpPool {
        cidr: cidr(net),
        masquerade: true,
        ipip: TunnelMode::Never,
        vxlan: TunnelMode::Never,
        allowed_uses: Vec::new(),
    };
    (Kind::IpPool, Object::IpPool(name.into(), pool))
}

/// A pool with tunnels.
pub(crate) fn tunnelled(name: &str, net: &str, ipip: TunnelMode, vxlan: TunnelMode) -> (Kind, Object) {
    let (kind, object) = pool(name, net);
    let Object::IpPool(key, plain) = object else { unreachable!("a pool is a pool") };
    (kind, Object::IpPool(key, IpPool { ipip, vxlan, ..plain }))
}

/// A service of `shop` with its own addresses, or `None`, and a port.
pub(crate) fn cluster_service(name: &str, addresses: &[&str], port: u16) -> (Kind, Object) {
    let service = Service {
        service_type: ServiceType::ClusterIp,
        cluster_ips: addresses.iter().copied().map(SmolStr::from).collect(),
        ports: vec![ServicePort { protocol: Protocol::TCP, port, node_port: None }],
        ..Service::default()
    };
    (Kind::Service, Object::Service(service_ref("shop", name), service))
}

pub(crate) fn node(name: &str, ipv4: &str) -> (Kind, Object) {
    let node = Node { ipv4: ipv4.into(), labels: labels(&[("zone", "one")]), ..Node::default() };
    (Kind::Node, Object::Node(name.into(), node))
}

/// A policy of the whole cluster with a selector, for traffic in both directions.
#[derive(Clone, Debug)]
pub(crate) struct PolicyThing {
    kind: Kind,
    key: PolicyKey,
    policy: Policy,
}

pub(crate) fn policy(name: &str, selector: &str) -> PolicyThing {
    PolicyThing {
        kind: Kind::GlobalNetworkPolicy,
        key: PolicyKey { kind: PolicyKind::GlobalNetworkPolicy, namespace: SmolStr::default(), name: name.into() },
        policy: Policy {
            tier: DEFAULT_TIER.into(),
            order: None,
            selector: selector.into(),
            ingress: true,
            egress: true,
            inbound_rules: Vec::new(),
            outbound_rules: Vec::new(),
            untracked: false,
            pre_dnat: false,
            apply_on_forward: false,
            perf_hints: Vec::new(),
        },
    }
}

impl PolicyThing {
    #[must_use]
    pub(crate) fn of(mut self, kind: PolicyKind, namespace: &str) -> Self {
        self.kind = match kind {
            PolicyKind::KubernetesNetworkPolicy => Kind::KubernetesNetworkPolicy,
            PolicyKind::NetworkPolicy => Kind::NetworkPolicy,
            PolicyKind::GlobalNetworkPolicy => Kind::GlobalNetworkPolicy,
            PolicyKind::StagedNetworkPolicy => Kind::StagedNetworkPolicy,
            PolicyKind::StagedGlobalNetworkPolicy => Kind::StagedGlobalNetworkPolicy,
            PolicyKind::StagedKubernetesNetworkPolicy => Kind::StagedKubernetesNetworkPolicy,
            PolicyKind::KubernetesClusterNetworkPolicy => Kind::ClusterNetworkPolicy,
        };
        self.key.kind = kind;
        self.key.namespace = namespace.into();
        self
    }

    #[must_use]
    pub(crate) fn tier(mut self, name: &str) -> Self {
        self.policy.tier = name.into();
        self
    }

    #[must_use]
    pub(crate) fn order(mut self, order: f64) -> Self {
        self.policy.order = Some(order);
        self
    }

    #[must_use]
    pub(crate) fn inbound(mut self, rule: impl Into<Rule>) -> Self {
        self.policy.inbound_rules.push(rule.into());
        self
    }

    #[must_use]
    pub(crate) fn outbound(mut self, rule: impl Into<Rule>) -> Self {
        self.policy.outbound_rules.push(rule.into());
        self
    }

    #[must_use]
    pub(crate) fn ingress_only(mut self) -> Self {
        self.policy.egress = false;
        self
    }

    #[must_use]
    pub(crate) fn egress_only(mut self) -> Self {
        self.policy.ingress = false;
        self
    }

    #[must_use]
    pub(crate) fn untracked(mut self) -> Self {
        self.policy.untracked = true;
        self.policy.apply_on_forward = true;
        self
    }

    #[must_use]
    pub(crate) fn pre_dnat(mut self) -> Self {
        self.policy.pre_dnat = true;
        self.policy.apply_on_forward = true;
        self
    }

    #[must_use]
    pub(crate) fn forward(mut self) -> Self {
        self.policy.apply_on_forward = true;
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: &str) -> Self {
        self.policy.perf_hints.push(hint.into());
        self
    }
}

impl Thing for PolicyThing {
    fn deliver(self) -> (Kind, Object) {
        (self.kind, Object::Policy(self.key, self.policy))
    }
}

/// A rule by its action; sides and ports are added to it.
#[derive(Clone, Debug)]
pub(crate) struct RuleThing(Rule);

pub(crate) fn allow() -> RuleThing {
    RuleThing(Rule::any(Action::Allow))
}

pub(crate) fn deny() -> RuleThing {
    RuleThing(Rule::any(Action::Deny))
}

impl RuleThing {
    #[must_use]
    pub(crate) fn from(mut self, selector: &str) -> Self {
        select(&mut self.0.source, selector);
        self
    }

    #[must_use]
    pub(crate) fn to(mut self, selector: &str) -> Self {
        select(&mut self.0.destination, selector);
        self
    }

    #[must_use]
    pub(crate) fn not_from(mut self, selector: &str) -> Self {
        self.0.source.not_selector = selector.into();
        self
    }

    #[must_use]
    pub(crate) fn protocol(mut self, protocol: Protocol) -> Self {
        self.0.protocol = Some(RuleProtocol::Name(protocol));
        self
    }

    #[must_use]
    pub(crate) fn dst_port(mut self, port: &str) -> Self {
        self.0.destination.ports.push(rule_port(port));
        self
    }

    #[must_use]
    pub(crate) fn not_dst_port(mut self, port: &str) -> Self {
        self.0.destination.not_ports.push(rule_port(port));
        self
    }

    #[must_use]
    pub(crate) fn dst_service(mut self, namespace: &str, name: &str) -> Self {
        self.0.destination.service = Some(service_ref(namespace, name).into());
        self
    }

    #[must_use]
    pub(crate) fn src_service(mut self, namespace: &str, name: &str) -> Self {
        self.0.source.service = Some(service_ref(namespace, name).into());
        self
    }
}

impl From<RuleThing> for Rule {
    fn from(thing: RuleThing) -> Self {
        thing.0
    }
}

fn service_ref(namespace: &str, name: &str) -> ServiceRef {
    ServiceRef { namespace: namespace.into(), name: name.into() }
}

fn select(side: &mut Entity, selector: &str) {
    side.selector = selector.into();
    side.original_selector = selector.into();
}

/// A number or range, or a name.
fn rule_port(text: &str) -> RulePort {
    match text.parse() {
        Ok(range) => RulePort::Numeric(range),
        Err(_) => RulePort::Named(text.into()),
    }
}
