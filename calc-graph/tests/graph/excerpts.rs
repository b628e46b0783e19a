//! Excerpts: what they tell is what a snapshot tells, less what concerns neither
//! the endpoints nor the addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use caracal_calc_graph::{CalcGraph, Concern, Heading, Locality, Member, NotFlushed, ScannedRule, Settings};
use caracal_model::{PolicyKey, WorkloadEndpointKey};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use smol_str::SmolStr;

use crate::random::{settings, thing};
use crate::receiver::{Receiver, State, flush, snapshot};
use crate::world::{HERE, World, allow, network_set, pod, policy};

fn excerpt(graph: &mut CalcGraph, concern: Concern<'_>) -> State {
    let mut receiver = Receiver::default();
    graph.excerpt(concern).expect("the graph was flushed").tell(&mut |delta| receiver.take(&delta));
    receiver.end_flush();
    receiver.state
}

/// A snapshot without what an excerpt leaves out.
fn narrowed(mut state: State, Concern { workload, addresses }: Concern<'_>) -> State {
    state.workloads.retain(|key, _| workload(key).is_some());
    for (key, (_, list)) in &mut state.workloads {
        let mut tiers = list.to_vec();
        for tier in &mut tiers {
            match workload(key) {
                Some(Heading::In) => tier.egress.clear(),
                Some(Heading::Out) | None => tier.ingress.clear(),
            }
        }
        *list = tiers.into();
    }
    let workloads = state.workloads.values().map(|(endpoint, list)| (&endpoint.profiles, vec![list]));
    let hosts = state.hosts.values().map(|(endpoint, lists)| {
        (&endpoint.profiles, vec![&lists.normal, &lists.untracked, &lists.pre_dnat, &lists.forward])
    });
    let (mut policies, mut profiles): (BTreeSet<PolicyKey>, BTreeSet<SmolStr>) = Default::default();
    for (listed, lists) in workloads.chain(hosts) {
        profiles.extend(listed.iter().cloned());
        let tiers = lists.into_iter().flat_map(|list| list.iter());
        policies.extend(tiers.flat_map(|tier| tier.ingress.iter().chain(&tier.egress)).cloned());
    }
    state.policies.retain(|key, _| policies.contains(key));
    state.profiles.retain(|name, _| profiles.contains(name));
    let of_policies = state.policies.values().flat_map(|policy| [&policy.inbound_rules, &policy.outbound_rules]);
    let of_profiles = state.profiles.values().flat_map(|profile| [&profile.inbound_rules, &profile.outbound_rules]);
    let sets: BTreeSet<SmolStr> =
        of_policies.chain(of_profiles).flatten().flat_map(ScannedRule::ip_sets).cloned().collect();
    state.sets.retain(|id, _| sets.contains(id));
    for (_, members) in state.sets.values_mut() {
        members.retain(|member| match member {
            Member::Net(net) => addresses.iter().any(|address| net.contains(*address)),
            Member::IpPort(address, ..) => addresses.contains(address),
        });
    }
    let has = |text: &str| addresses.iter().any(|address| text.split('/').next() == Some(&address.to_string()));
    state.nodes.retain(|_, node| has(&node.ipv4) || has(&node.ipv6));
    state.services.clear();
    state.namespaces.clear();
    state.service_accounts.clear();
    state.encapsulation = None;
    state
}

const ADDRESSES: [&str; 7] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "fd00::1", "192.0.2.1", "203.0.113.9"];

proptest! {
    #[test]
    fn an_excerpt_is_what_concerns_it_of_a_snapshot(
        things in prop::collection::vec(thing(), 0..60),
        settings in settings(),
        addresses in subsequence(ADDRESSES.to_vec(), 0..=3),
        wanted in select(vec!["", "n0/w", "n0/w1", "n1/w2"]),
        heading in select(vec![Heading::In, Heading::Out]),
    ) {
        let mut world = World::new();
        for (kind, object) in things {
            world.0.insert((kind, object.key()), object);
        }
        let mut graph = CalcGraph::new(Locality::Node(HERE.into()), settings);
        world.lists().into_iter().for_each(|event| graph.on_event(event));
        flush(&mut graph, &mut Receiver::default());
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let workload = |key: &WorkloadEndpointKey| key.workload.starts_with(wanted).then_some(heading);
        let concern = Concern { workload: &workload, addresses: &addresses };
        let got = excerpt(&mut graph, concern);
        let whole = snapshot(&mut graph);
        prop_assert_eq!(got, narrowed(whole, concern));
        prop_assert!(!graph.is_dirty(), "who asks changes nothing");
    }
}

/// A thousand sets of a thousand addresses cost a question nothing that it does not ask about.
#[test]
fn an_excerpt_tells_no_member_that_it_was_not_asked_about() {
    let nets: Vec<String> = (0..1000).map(|n| format!("198.51.{}.{}", n / 250, n % 250)).collect();
    let nets: Vec<&str> = nets.iter().map(String::as_str).collect();
    let mut world = World::new().with(network_set("big", &[("set", "big")], &nets));
    for n in 0..50 {
        let rule = allow().from(&format!("set == 'big' || has(x{n})"));
        world = world.with(policy(&format!("p{n}"), "app == 'db'").inbound(rule).ingress_only());
    }
    world = world.with(pod("n0/db", &["10.0.0.1"]).label("app", "db")).with(pod("n0/web", &["10.0.0.2"]));
    let mut graph = CalcGraph::new(Locality::Node(HERE.into()), Settings::default());
    let everything = Concern { workload: &|_| Some(Heading::In), addresses: &[] };
    world.lists().into_iter().for_each(|event| graph.on_event(event));
    assert_eq!(graph.excerpt(everything).err(), Some(NotFlushed));
    flush(&mut graph, &mut Receiver::default());
    let count = |graph: &mut CalcGraph, heading, workload: &str, addresses: &[&str]| {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let wanted = |key: &WorkloadEndpointKey| (key.workload == workload).then_some(heading);
        let state = excerpt(graph, Concern { workload: &wanted, addresses: &addresses });
        let members: usize = state.sets.values().map(|(_, members)| members.len()).sum();
        (state.policies.len(), state.sets.len(), members, state.workloads.len())
    };
    assert_eq!(count(&mut graph, Heading::In, "n0/db", &["10.0.0.2", "10.0.0.1"]), (50, 50, 0, 1));
    assert_eq!(count(&mut graph, Heading::In, "n0/db", &["198.51.1.7", "10.0.0.1"]), (50, 50, 50, 1));
    assert_eq!(count(&mut graph, Heading::In, "n0/web", &["198.51.1.7", "10.0.0.2"]), (0, 0, 0, 1));
    assert_eq!(count(&mut graph, Heading::Out, "n0/db", &["198.51.1.7", "10.0.0.1"]), (0, 0, 0, 1));
}
