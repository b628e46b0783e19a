//! What a receiver must have, worked out anew from what is held, in the plainest way.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use caracal_calc_graph::{
    ActivePolicy, ActiveProfile, Encapsulation, HostPolicyLists, IpSetKind, Locality, Member, Overlaps, PolicyList,
    ScannedRule, Settings, SourceSpoofing, TierPolicies,
};
use caracal_model::{
    Action, EndpointPort, EndpointSlice, Entity, Key, Kind, Labels, Object, Policy, PolicyKey, Profile, Rule, RulePort,
    ServiceRef, Tier, TierAction, TunnelMode,
};
use caracal_net::{Cidr, Protocol};
use caracal_selector::{NamedPortProtocol, Selector, canonical_named_port_id, set_id};
use smol_str::SmolStr;

use crate::receiver::{State, seen_host, seen_workload};
use crate::world::World;

struct Item {
    labels: BTreeMap<String, String>,
    nets: Vec<Cidr>,
    ports: Vec<EndpointPort>,
}

struct Model {
    state: State,
    items: Vec<Item>,
    slices: Vec<EndpointSlice>,
    overlaps: Overlaps,
}

/// What a receiver must have of a world.
pub(crate) fn state_of(world: &World, locality: &Locality, settings: Settings) -> State {
    let mut objects: BTreeMap<Key, &Object> = BTreeMap::new();
    for ((_, key), object) in world.0.iter().filter(|(_, object)| is_valid(object, settings)) {
        // Kinds are in order: the first of equal keys is in force.
        objects.entry(key.clone()).or_insert(object);
    }
    let profiles: BTreeMap<&SmolStr, &Profile> = objects
        .values()
        .filter_map(|object| match object {
            Object::Profile(name, profile) => Some((name, profile)),
            _ => None,
        })
        .collect();
    let tiers: BTreeMap<&SmolStr, &Tier> = objects
        .values()
        .filter_map(|object| match object {
            Object::Tier(name, tier) => Some((name, tier)),
            _ => None,
        })
        .collect();
    let policies: Vec<(&PolicyKey, &Policy)> = objects
        .values()
        .filter_map(|object| match object {
            Object::Policy(key, policy) => Some((key, policy)),
            _ => None,
        })
        .collect();

    let mut model = Model {
        state: State { in_sync: true, ..State::default() },
        items: Vec::new(),
        slices: objects
            .values()
            .filter_map(|object| match object {
                Object::EndpointSlice(_, slice) => Some(slice.clone()),
                _ => None,
            })
            .collect(),
        overlaps: settings.suppress_overlaps,
    };
    let mut listed: BTreeSet<SmolStr> = BTreeSet::new();
    let mut active: BTreeSet<&PolicyKey> = BTreeSet::new();
    for (key, policy) in &policies {
        if policy.perf_hints.iter().any(|hint| hint == "AssumeNeededOnEveryNode") {
            active.insert(key);
        }
    }
    for object in objects.values() {
        let (labels, names) = match object {
            Object::WorkloadEndpoint(_, endpoint) => (&endpoint.labels, &endpoint.profiles),
            Object::HostEndpoint(_, endpoint) => (&endpoint.labels, &endpoint.profiles),
            Object::NetworkSet(_, set) => (&set.labels, &set.profiles),
            _ => continue,
        };
        let effective = effective_labels(labels, names, &profiles);
        let selects = |policy: &Policy| selector(&policy.selector).matches(&effective);
        let selected: Vec<_> = policies.iter().filter(|(_, policy)| selects(policy)).copied().collect();
        let (nets, ports) = match object {
            Object::WorkloadEndpoint(key, endpoint) => {
                if locality.is_local(&key.host) {
                    active.extend(selected.iter().map(|(key, _)| *key));
                    listed.extend(names.iter().cloned());
                    let lists = lists(&selected, &tiers);
                    let told = (seen_workload(endpoint), lists.normal);
                    model.state.workloads.insert(key.clone(), told);
                }
                let nets = endpoint.ipv4_nets.iter().chain(&endpoint.ipv6_nets);
                let nets = nets.map(|net| Cidr::host(net.addr())).collect();
                (nets, endpoint.ports.clone())
            }
            Object::HostEndpoint(key, endpoint) => {
                if locality.is_local(&key.host) {
                    active.extend(selected.iter().map(|(key, _)| *key));
                    listed.extend(names.iter().cloned());
                    let told = (seen_host(endpoint), lists(&selected, &tiers));
                    model.state.hosts.insert(key.clone(), told);
                }
                let nets = endpoint.expected_ips.iter().map(|ip| Cidr::host(*ip)).collect();
                (nets, endpoint.ports.clone())
            }
            Object::NetworkSet(_, set) => {
                let nets = set.nets.iter().flat_map(|net| match net.halves() {
                    Some(halves) if net.is_all() => halves.to_vec(),
                    _ => vec![*net],
                });
                (nets.collect(), Vec::new())
            }
            _ => continue,
        };
        let labels = effective;
        model.items.push(Item { labels, nets, ports });
    }
    for (key, policy) in &policies {
        if active.contains(key) {
            let told = ActivePolicy {
                tier: policy.tier.clone(),
                selector: selector(&policy.selector).canonical().into(),
                inbound_rules: model.scan_all(&policy.inbound_rules),
                outbound_rules: model.scan_all(&policy.outbound_rules),
                untracked: policy.untracked,
                pre_dnat: policy.pre_dnat,
                perf_hints: policy.perf_hints.clone(),
            };
            model.state.policies.insert((*key).clone(), told);
        }
    }
    for name in listed {
        let missing = Profile {
            inbound_rules: vec![Rule::any(Action::Deny)],
            outbound_rules: vec![Rule::any(Action::Deny)],
            ..Profile::default()
        };
        let profile = profiles.get(&name).copied().unwrap_or(&missing);
        let told = ActiveProfile {
            inbound_rules: model.scan_all(&profile.inbound_rules),
            outbound_rules: model.scan_all(&profile.outbound_rules),
        };
        model.state.profiles.insert(name, told);
    }
    for (name, profile) in profiles {
        let strip = |prefix: &str| -> Labels {
            let pairs = profile.labels.iter();
            pairs.map(|(key, value)| (key.strip_prefix(prefix).unwrap_or(key), value)).collect()
        };
        if profile.labels.is_empty() {
            continue;
        }
        let parts: Vec<&str> = name.splitn(3, '.').collect();
        match parts[..] {
            ["kns", ..] => {
                let namespace = name.strip_prefix("kns.").expect("it starts so");
                model.state.namespaces.insert(namespace.into(), strip("pcns."));
            }
            ["ksa", namespace, account] => {
                let key = (namespace.into(), account.into());
                model.state.service_accounts.insert(key, strip("pcsa."));
            }
            _ => {}
        }
    }
    for object in objects.values() {
        if let Object::Node(name, node) = object {
            model.state.nodes.insert(name.clone(), node.clone());
        }
    }
    // Keys are in order: of pools that overlap, the first in force.
    for object in objects.values() {
        if let Object::IpPool(_, pool) = object
            && !model.state.pools.keys().any(|other| other.covers(&pool.cidr) || pool.cidr.covers(other))
        {
            model.state.pools.insert(pool.cidr, pool.clone());
        }
    }
    let pools = model.state.pools.values();
    model.state.encapsulation = Some(pools.fold(Encapsulation::default(), |all, pool| {
        let vxlan = pool.vxlan != TunnelMode::Never;
        Encapsulation {
            ipip: all.ipip || pool.ipip != TunnelMode::Never,
            vxlan: all.vxlan || (vxlan && pool.cidr.addr().is_ipv4()),
            vxlan_v6: all.vxlan_v6 || (vxlan && pool.cidr.addr().is_ipv6()),
        }
    }));
    let mut claimed: BTreeSet<IpAddr> = BTreeSet::new();
    for object in objects.values() {
        if let Object::Service(key, service) = object {
            let own: BTreeSet<IpAddr> = service.own_addresses().collect();
            if own.is_disjoint(&claimed) {
                model.state.services.insert(key.clone(), service.clone());
            }
            claimed.extend(own);
        }
    }
    model.state
}

fn is_valid(object: &Object, settings: Settings) -> bool {
    let rule_is_valid = |rule: &Rule| {
        [&rule.source, &rule.destination]
            .iter()
            .flat_map(|side| [&side.selector, &side.not_selector])
            .all(|text| Selector::parse(text).is_ok())
    };
    match object {
        Object::WorkloadEndpoint(_, endpoint) => {
            let spoofs = !endpoint.allowed_source_prefixes.is_empty();
            !endpoint.interface.is_empty() && (!spoofs || settings.source_spoofing == SourceSpoofing::Any)
        }
        Object::Policy(_, policy) => {
            let mut rules = policy.inbound_rules.iter().chain(&policy.outbound_rules);
            Selector::parse(&policy.selector).is_ok() && rules.all(rule_is_valid)
        }
        Object::Profile(_, profile) => {
            let mut rules = profile.inbound_rules.iter().chain(&profile.outbound_rules);
            rules.all(rule_is_valid)
        }
        _ => true,
    }
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).expect("invalid objects are left out")
}

fn effective_labels(
    own: &Labels,
    names: &[SmolStr],
    profiles: &BTreeMap<&SmolStr, &Profile>,
) -> BTreeMap<String, String> {
    let mut effective = BTreeMap::new();
    let parents = names.iter().filter_map(|name| profiles.get(name));
    for labels in std::iter::once(own).chain(parents.map(|profile| &profile.labels)) {
        for (key, value) in labels.iter() {
            effective.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    effective
}

fn lists(selected: &[(&PolicyKey, &Policy)], tiers: &BTreeMap<&SmolStr, &Tier>) -> HostPolicyLists {
    let stage = |keep: &dyn Fn(&Policy) -> bool, forced: Option<TierAction>, egress: bool| -> PolicyList {
        let mut by_tier: BTreeMap<&SmolStr, Vec<(&PolicyKey, &Policy)>> = BTreeMap::new();
        for (key, policy) in selected.iter().filter(|(_, policy)| keep(policy)) {
            if policy.ingress || (egress && policy.egress) {
                by_tier.entry(&policy.tier).or_default().push((key, policy));
            }
        }
        let mut names: Vec<&SmolStr> = by_tier.keys().copied().collect();
        names.sort_by(|a, b| compare_tiers(a, b, tiers));
        let told = names.into_iter().map(|name| {
            let mut policies = by_tier[name].clone();
            policies.sort_by(|(a_key, a), (b_key, b)| {
                let order = |policy: &Policy| policy.order.unwrap_or(f64::INFINITY);
                let orders = order(a).partial_cmp(&order(b)).expect("orders are numbers");
                orders.then_with(|| a_key.tie_break().cmp(&b_key.tie_break()))
            });
            let keys = |wanted: &dyn Fn(&Policy) -> bool| -> Vec<PolicyKey> {
                let wanted = policies.iter().filter(|(_, policy)| wanted(policy));
                wanted.map(|(key, _)| (*key).clone()).collect()
            };
            TierPolicies {
                name: name.clone(),
                default_action: forced.or_else(|| tiers.get(name).map(|tier| tier.default_action)),
                ingress: keys(&|policy| policy.ingress),
                egress: keys(&|policy| egress && policy.egress),
            }
        });
        Arc::from(told.collect::<Vec<_>>())
    };
    let normal = |policy: &Policy| !policy.untracked && !policy.pre_dnat;
    HostPolicyLists {
        normal: stage(&normal, None, true),
        untracked: stage(&|policy| policy.untracked, Some(TierAction::Pass), true),
        pre_dnat: stage(&|policy| policy.pre_dnat && !policy.untracked, Some(TierAction::Pass), false),
        forward: stage(&|policy| normal(policy) && policy.apply_on_forward, None, true),
    }
}

fn compare_tiers(a: &SmolStr, b: &SmolStr, tiers: &BTreeMap<&SmolStr, &Tier>) -> Ordering {
    match (tiers.get(a), tiers.get(b)) {
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
        (Some(x), Some(y)) => {
            let orders = match (x.order, y.order) {
                (Some(x), Some(y)) => x.partial_cmp(&y).expect("orders are numbers"),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => Ordering::Equal,
            };
            orders.then_with(|| a.cmp(b))
        }
    }
}

impl Model {
    fn scan_all(&mut self, rules: &[Rule]) -> Vec<ScannedRule> {
        rules.iter().map(|rule| self.scan(rule)).collect()
    }

    fn scan(&mut self, rule: &Rule) -> ScannedRule {
        let (src, not_src) = one_or_both(&rule.source);
        let (dst, not_dst) = one_or_both(&rule.destination);
        let protocol = match rule.protocol.map(|protocol| protocol.protocol()) {
            None => NamedPortProtocol::Any,
            Some(Protocol::UDP) => NamedPortProtocol::Udp,
            Some(Protocol::SCTP) => NamedPortProtocol::Sctp,
            Some(_) => NamedPortProtocol::Tcp,
        };
        let mut named = |ports: &[RulePort], selector: &Option<String>| -> Vec<SmolStr> {
            let names = ports.iter().filter_map(|port| match port {
                RulePort::Named(name) => Some(name),
                RulePort::Numeric(_) => None,
            });
            let selector = selector.clone().unwrap_or_default();
            names.map(|name| self.named_port_set(&selector, protocol, name)).collect()
        };
        let src_named_port_sets = named(&rule.source.ports, &src);
        let dst_named_port_sets = named(&rule.destination.ports, &dst);
        let not_src_named_port_sets = named(&rule.source.not_ports, &src);
        let not_dst_named_port_sets = named(&rule.destination.not_ports, &dst);
        let only_named =
            |ports: &[RulePort]| !ports.is_empty() && ports.iter().all(|port| matches!(port, RulePort::Named(_)));
        let src = src.filter(|_| !only_named(&rule.source.ports));
        let dst = dst.filter(|_| !only_named(&rule.destination.ports));
        let mut nets = |selector: Option<String>| -> Vec<SmolStr> {
            selector.iter().map(|selector| self.net_set(selector)).collect()
        };
        let mut src_ip_sets = nets(src);
        let dst_ip_sets = nets(dst);
        let not_src_ip_sets = nets(not_src);
        let not_dst_ip_sets = nets(not_dst);
        if let Some(service) = &rule.source.service {
            src_ip_sets.push(self.service_set("svcnoport", IpSetKind::Net, service));
        }
        let services = rule.destination.service.iter();
        let dst_ip_port_sets = services.map(|service| self.service_set("svc", IpSetKind::IpPort, service)).collect();
        ScannedRule {
            rule: rule.clone(),
            src_ip_sets,
            dst_ip_sets,
            not_src_ip_sets,
            not_dst_ip_sets,
            src_named_port_sets,
            dst_named_port_sets,
            not_src_named_port_sets,
            not_dst_named_port_sets,
            dst_ip_port_sets,
        }
    }

    fn net_set(&mut self, text: &str) -> SmolStr {
        let selector = selector(text);
        let selected = self.items.iter().filter(|item| selector.matches(&item.labels));
        let all: BTreeSet<Cidr> = selected.flat_map(|item| item.nets.iter().copied()).collect();
        let hidden = |net: &Cidr| {
            self.overlaps == Overlaps::Suppressed && all.iter().any(|other| other != net && other.covers(net))
        };
        let members = all.iter().filter(|net| !hidden(net)).map(|net| Member::Net(*net));
        self.add(selector.id(), IpSetKind::Net, members.collect())
    }

    fn named_port_set(&mut self, text: &str, protocol: NamedPortProtocol, name: &str) -> SmolStr {
        let selector = selector(text);
        let mut members = BTreeSet::new();
        for item in self.items.iter().filter(|item| selector.matches(&item.labels)) {
            for net in &item.nets {
                for port in &item.ports {
                    let fits = match protocol {
                        NamedPortProtocol::Any => true,
                        NamedPortProtocol::Tcp => port.protocol == Protocol::TCP,
                        NamedPortProtocol::Udp => port.protocol == Protocol::UDP,
                        NamedPortProtocol::Sctp => port.protocol == Protocol::SCTP,
                    };
                    if fits && port.name == name {
                        members.insert(Member::IpPort(net.addr(), port.protocol, port.port));
                    }
                }
            }
        }
        let id = canonical_named_port_id(&selector.id(), protocol, name);
        self.add(id, IpSetKind::IpPort, members)
    }

    fn service_set(&mut self, prefix: &str, kind: IpSetKind, service: &ServiceRef) -> SmolStr {
        let id = set_id(prefix, &format!("{}/{}", service.namespace, service.name));
        let mut members = BTreeSet::new();
        for slice in self.slices.iter().filter(|slice| slice.service == *service) {
            for address in &slice.addresses {
                match kind {
                    IpSetKind::Net => {
                        members.insert(Member::Net(Cidr::host(*address)));
                    }
                    IpSetKind::IpPort => {
                        members.extend(slice.ports.iter().map(|(proto, port)| Member::IpPort(*address, *proto, *port)));
                    }
                }
            }
        }
        self.add(id, kind, members)
    }

    fn add(&mut self, id: String, kind: IpSetKind, members: BTreeSet<Member>) -> SmolStr {
        let id = SmolStr::from(id);
        self.state.sets.insert(id.clone(), (kind, members));
        id
    }
}

/// The selectors of a side: both become one.
fn one_or_both(side: &Entity) -> (Option<String>, Option<String>) {
    match (side.selector.as_str(), side.not_selector.as_str()) {
        ("", "") => (None, None),
        (only, "") => (Some(only.to_owned()), None),
        ("", not) => (None, Some(not.to_owned())),
        (only, not) => (Some(format!("({only}) && (!({not}))")), None),
    }
}

/// The kinds are in the order in which they hide each other.
#[test]
fn kinds_are_ordered() {
    assert!(Kind::Pod < Kind::WorkloadEndpoint && Kind::Namespace < Kind::Profile);
}
