//! The control half's workloads: how long the graph takes, and how much memory.
//!
//! `cargo bench -p caracal-calc-graph [-- NAME…]` prints one JSON line each. Every
//! workload runs in a process of its own, so that peaks do not add up. Events are
//! made in batches outside the timed part.

use std::env;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use caracal_calc_graph::{CalcGraph, Delta, Locality, Settings};
use caracal_model::{
    Action, Entity, Event, Key, Kind, LABEL_NAMESPACE, LABEL_ORCHESTRATOR, Labels, NetworkSet, NetworkSetKey, Object,
    Policy, PolicyKey, PolicyKind, Profile, Rule, RulePort, RuleProtocol, Stamp, Tier, TierAction, WorkloadEndpoint,
    WorkloadEndpointKey,
};
use caracal_net::{Cidr, PortRange, Protocol};
use smol_str::{SmolStr, format_smolstr};

const HERE: &str = "node-here";

/// Every workload, with what it holds.
const WORKLOADS: [(&str, Shape); 8] = [
    ("snapshot-10k-1k-netset", Shape::Marker { remote: 10_000, tags: 0, netsets: 1_000 }),
    ("snapshot-10k-10k-netset", Shape::Marker { remote: 10_000, tags: 0, netsets: 10_000 }),
    ("snapshot-250k-10k-tag", Shape::Marker { remote: 250_000, tags: 10_000, netsets: 0 }),
    ("isolated-customers-1k", Shape::Customers { count: 1_000 }),
    ("isolated-customers-10k", Shape::Customers { count: 10_000 }),
    ("isolated-customers-100k", Shape::Customers { count: 100_000 }),
    ("index-pod-1000", Shape::IndexPod { selectors: 1_000 }),
    ("index-pod-10000", Shape::IndexPod { selectors: 10_000 }),
];

#[derive(Clone, Copy)]
enum Shape {
    Marker { remote: u32, tags: u32, netsets: u32 },
    Customers { count: u32 },
    IndexPod { selectors: u32 },
}

/// 31 labels that one pod in 31 has each; two appear twice.
const MARKERS: [&str; 31] = [
    "alpha", "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo",
    "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "tango", "uniform", "victor",
    "whiskey", "xray", "yankee", "zulu", "one", "two", "three",
];

/// A graph under the clock.
struct Run {
    graph: CalcGraph,
    batch: Vec<Event>,
    spent: Duration,
    events: usize,
    deltas: usize,
    members: usize,
}

impl Run {
    fn new() -> Self {
        Self {
            graph: CalcGraph::new(Locality::Node(HERE.into()), Settings::default()),
            batch: Vec::new(),
            spent: Duration::ZERO,
            events: 0,
            deltas: 0,
            members: 0,
        }
    }

    fn push(&mut self, event: Event) {
        const BATCH: usize = 1_000;
        self.batch.push(event);
        if self.batch.len() == BATCH {
            self.feed();
        }
    }

    fn apply(&mut self, kind: Kind, object: Object) {
        self.push(Event::Apply(kind, object, Stamp(1)));
    }

    fn feed(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.events += batch.len();
        let start = Instant::now();
        for event in batch {
            self.graph.on_event(event);
        }
        self.spent += start.elapsed();
    }

    fn flush(&mut self) {
        self.feed();
        let start = Instant::now();
        let members = &mut self.members;
        let flush = self.graph.flush(&mut |delta| {
            *members += match delta {
                Delta::IpSetUpdate { members, .. } => members.len(),
                Delta::IpSetDelta { added, removed, .. } => added.len() + removed.len(),
                _ => 0,
            };
        });
        self.spent += start.elapsed();
        self.deltas += flush.deltas;
    }

    fn list_everything(&mut self) {
        for kind in Kind::ALL {
            self.push(Event::End(kind));
        }
    }

    /// Prints the line of a part of a workload and starts the next part.
    #[expect(clippy::print_stdout, reason = "the output of a benchmark")]
    fn report(&mut self, workload: &str) {
        let Self { spent, events, deltas, members, .. } = self;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |field: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            line.and_then(|line| line.trim_matches([' ', '\t', ':', 'k', 'B']).parse().ok()).unwrap_or(f64::NAN)
        };
        println!(
            r#"{{"workload":"{workload}","seconds":{:.4},"events":{events},"messages":{deltas},"members":{members},"rss_mib":{:.1},"peak_rss_mib":{:.1}}}"#,
            spent.as_secs_f64(),
            kib("VmRSS") / 1024.0,
            kib("VmHWM") / 1024.0,
        );
        (*spent, *events, *deltas, *members) = (Duration::ZERO, 0, 0, 0);
    }
}

fn main() {
    let names: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = WORKLOADS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name));
    let wanted: Vec<_> = wanted.collect();
    if let [(name, shape)] = wanted[..] {
        return run(name, *shape);
    }
    let program = env::current_exe().expect("the program has a path");
    for (name, _) in wanted {
        let status = Command::new(&program).arg(name).status();
        assert!(status.is_ok_and(|status| status.success()), "{name} failed");
    }
}

fn run(name: &str, shape: Shape) {
    let mut run = Run::new();
    run.apply(
        Kind::Tier,
        Object::Tier("default".into(), Tier { order: Some(1_000_000.0), default_action: TierAction::Deny }),
    );
    match shape {
        Shape::Marker { remote, tags, netsets } => markers(&mut run, name, remote, tags, netsets),
        Shape::Customers { count } => customers(&mut run, name, count),
        Shape::IndexPod { selectors } => index_pods(&mut run, name, selectors),
    }
}

fn markers(run: &mut Run, name: &str, remote: u32, tags: u32, netsets: u32) {
    const LOCAL: u32 = 200;
    for i in 0..tags {
        run.apply(Kind::GlobalNetworkPolicy, tag_policy(i));
    }
    for i in 0..netsets {
        let selector = format!("network-set-name == 'network-set-{i}'");
        let rules = vec![allow_from(&selector)];
        run.apply(Kind::GlobalNetworkPolicy, policy(&format!("netset-{i}"), "all()", rules, Vec::new()));
    }
    for i in 0..100 {
        let name = format!("namespace-{i}");
        let labels = Labels::from_iter([("pcns.projectcalico.org/name", &name)]);
        run.apply(Kind::Namespace, profile(&name, labels, Vec::new()));
    }
    for s in LOCAL + 1..=LOCAL + remote {
        run.apply(Kind::Pod, marker_pod(s, "node-there"));
    }
    let mut address = 0x0a00_0001;
    for (i, size) in (0..netsets).zip([1, 1, 1, 1, 2, 3, 4, 5, 100, 1000].into_iter().cycle()) {
        let nets = (address..address + size).map(v4).collect();
        address += size;
        let name = format_smolstr!("network-set-{i}");
        let set = NetworkSet { labels: Labels::from_iter([("network-set-name", &name)]), profiles: Vec::new(), nets };
        run.apply(Kind::GlobalNetworkSet, Object::NetworkSet(NetworkSetKey(name), set));
    }
    for s in 1..=LOCAL {
        run.apply(Kind::Pod, marker_pod(s, HERE));
    }
    run.list_everything();
    run.flush();
    run.report(name);

    if remote >= 250_000 {
        churn(run, name, remote);
    }
    for s in 1..=LOCAL {
        let Object::WorkloadEndpoint(key, _) = marker_pod(s, HERE) else { unreachable!("a pod is a workload") };
        run.push(Event::Delete(Kind::Pod, Key::WorkloadEndpoint(key), Stamp(2)));
    }
    run.flush();
    run.report(&name.replace("snapshot", "teardown"));
}

/// A second of steady state: a thousand updates of remote pods, each flushed.
fn churn(run: &mut Run, name: &str, remote: u32) {
    for n in 0..1_000u32 {
        let s = 1_000 + n * 97;
        let Object::WorkloadEndpoint(key, mut endpoint) = marker_pod(s, "node-there") else {
            unreachable!("a pod is a workload")
        };
        let event = match n % 10 {
            0 => {
                endpoint.labels = Labels::from_iter([(MARKERS[n as usize % 31], "true")]);
                Event::Apply(Kind::Pod, Object::WorkloadEndpoint(key, endpoint), Stamp(2))
            }
            1 => Event::Apply(Kind::Pod, marker_pod(remote + 1_000 + n, "node-there"), Stamp(2)),
            2 => Event::Delete(Kind::Pod, Key::WorkloadEndpoint(key), Stamp(2)),
            _ => {
                endpoint.annotations.insert("touched".into(), "yes".into());
                Event::Apply(Kind::Pod, Object::WorkloadEndpoint(key, endpoint), Stamp(2))
            }
        };
        run.push(event);
        run.flush();
    }
    run.report(&name.replace("snapshot", "churn"));
}

fn customers(run: &mut Run, name: &str, count: u32) {
    for n in 0..count {
        run.apply(Kind::NetworkPolicy, customer_policy(n));
    }
    for n in 0..count {
        let name = format!("customer-{n}");
        let id = unique(n, 20);
        let production = if n % 2 == 0 { "true" } else { "false" };
        let labels = Labels::from_iter([
            ("pcns.projectcalico.org/name", name.as_str()),
            ("pcns.namespace-id", &id),
            ("pcns.production", production),
        ]);
        run.apply(Kind::Namespace, profile(&name, labels, vec![Rule::any(Action::Allow)]));
    }
    let step = (count / 100).max(1);
    for n in 0..count {
        let host = if n % step == 0 { HERE } else { "node-there" };
        run.apply(Kind::Pod, customer_pod(n, host));
    }
    run.list_everything();
    run.flush();
    run.report(name);
}

/// Pods that are new to a graph with many selectors, of which each matches one.
fn index_pods(run: &mut Run, name: &str, selectors: u32) {
    let rules = (0..selectors).map(|k| allow_from(&format!("alpha == \"beta\" && has(ipset-{k})")));
    let object = policy("index", "has(local)", rules.collect(), Vec::new());
    run.apply(Kind::GlobalNetworkPolicy, object);
    run.apply(Kind::Pod, pod("ns/local", HERE, 1, &["kns.ns"], Labels::from_iter([("local", "true")])));
    run.list_everything();
    run.flush();
    run.report(&format!("{name}-setup"));
    for n in 0..50_000u32 {
        let labels = Labels::from_iter([("alpha", "beta"), ("ipset-1", "true")]);
        let own = format!("profile-{n}");
        run.apply(Kind::Pod, pod(&format!("ns/pod-{n}"), "node-there", 2 + n, &[&own], labels));
    }
    run.flush();
    run.report(name);
}

fn v4(bits: u32) -> Cidr {
    Cidr::host(std::net::Ipv4Addr::from_bits(bits).into())
}

fn pod(workload: &str, host: &str, offset: u32, profiles: &[&str], labels: Labels) -> Object {
    let key = WorkloadEndpointKey {
        host: host.into(),
        orchestrator: "k8s".into(),
        workload: workload.into(),
        endpoint: "eth0".into(),
    };
    let endpoint = WorkloadEndpoint {
        state: "active".into(),
        interface: format_smolstr!("cali{offset:011x}"),
        profiles: profiles.iter().copied().map(SmolStr::from).collect(),
        ipv4_nets: vec![v4(0x0a00_0000 + offset)],
        labels,
        ..WorkloadEndpoint::default()
    };
    Object::WorkloadEndpoint(key, endpoint)
}

fn marker_pod(s: u32, host: &str) -> Object {
    let mut labels: Vec<(String, String)> =
        [10, 11, 20, 30, 40].into_iter().map(|n| (format!("one-in-{n}"), format!("value-{}", s % n))).collect();
    labels.push((MARKERS[s as usize % 31].to_owned(), "true".to_owned()));
    let namespace = s % 100;
    let workload = format!("namespace-{namespace}/pod-{s}");
    let profile = format!("kns.namespace-{namespace}");
    pod(&workload, host, s, &[&profile], labels.into_iter().collect())
}

fn profile(namespace: &str, labels: Labels, rules: Vec<Rule>) -> Object {
    let profile = Profile { labels, inbound_rules: rules.clone(), outbound_rules: rules };
    Object::Profile(format_smolstr!("kns.{namespace}"), profile)
}

fn allow_from(selector: &str) -> Rule {
    Rule {
        source: Entity { selector: selector.into(), original_selector: selector.into(), ..Entity::default() },
        ..Rule::any(Action::Allow)
    }
}

fn policy(name: &str, selector: &str, inbound_rules: Vec<Rule>, outbound_rules: Vec<Rule>) -> Object {
    let key = PolicyKey { kind: PolicyKind::GlobalNetworkPolicy, namespace: SmolStr::default(), name: name.into() };
    let policy = Policy {
        tier: "default".into(),
        order: None,
        selector: selector.into(),
        ingress: true,
        egress: !outbound_rules.is_empty(),
        inbound_rules,
        outbound_rules,
        untracked: false,
        pre_dnat: false,
        apply_on_forward: false,
        perf_hints: Vec::new(),
    };
    Object::Policy(key, policy)
}

fn tag_policy(i: u32) -> Object {
    let marker = |i: u32| format!("has({})", MARKERS[i as usize % 31]);
    let rules = (0..5).map(|j| allow_from(&marker(i + j))).collect();
    policy(&format!("tag-{i}"), &marker(i), rules, Vec::new())
}

fn customer_policy(n: u32) -> Object {
    let own = format!("pcns.projectcalico.org/name == 'customer-{n}'");
    let mut to_own = Rule::any(Action::Allow);
    to_own.destination.selector = own.as_str().into();
    to_own.destination.original_selector = own.as_str().into();
    let mut dns = Rule::any(Action::Allow);
    dns.protocol = Some(RuleProtocol::Name(Protocol::UDP));
    dns.destination.nets = vec!["10.96.0.10/32".parse().expect("a prefix")];
    dns.destination.ports = vec![RulePort::Numeric(PortRange::single(53))];
    let Object::Policy(mut key, policy) = policy("isolate", &own, vec![allow_from(&own)], vec![to_own, dns]) else {
        unreachable!("a policy is a policy")
    };
    key.kind = PolicyKind::NetworkPolicy;
    key.namespace = format_smolstr!("customer-{n}");
    Object::Policy(key, policy)
}

/// A text of a length that no other number has.
fn unique(n: u32, len: usize) -> String {
    let mixed = u64::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let text = format!("{n:x}-{mixed:016x}{:016x}", mixed.rotate_left(23));
    text[..len].to_owned()
}

fn customer_pod(n: u32, host: &str) -> Object {
    let namespace = format!("customer-{n}");
    let mut labels: Vec<(String, String)> = Vec::new();
    for (i, len) in [20, 20, 10, 20, 8].into_iter().enumerate() {
        labels.push((format!("unique-{i}"), unique(n.wrapping_mul(7).wrapping_add(i as u32), len)));
    }
    for i in 0..4 {
        labels.push((format!("binary-{i}"), if n >> i & 1 == 0 { "true" } else { "false" }.to_owned()));
    }
    for (i, of) in [3, 4, 4, 5].into_iter().enumerate() {
        labels.push((format!("small-{i}"), format!("value-{}", n % of)));
    }
    labels.push(("constant".to_owned(), "same".to_owned()));
    labels.push(("app".to_owned(), unique(n % 5_000, 10)));
    labels.push((LABEL_NAMESPACE.to_owned(), namespace.clone()));
    labels.push((LABEL_ORCHESTRATOR.to_owned(), "k8s".to_owned()));
    let profile = format!("kns.{namespace}");
    pod(&format!("{namespace}/pod"), host, n + 1, &[&profile], labels.into_iter().collect())
}
