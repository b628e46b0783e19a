//! Random programs and real packets on every way through a node: the kernel's
//! verdict, and the rules that counted the packet, are those of the reference evaluator.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;

use caracal_net::Protocol;
use caracal_program::{Packet, PolicyStore, Transport, Way};
use caracal_proto::felix;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::settings::{EndpointToHost, Ipv6};
use crate::testing::aim::{aim, targets};
use crate::testing::crossroads::Road;
use crate::testing::lab::{Disagreement, Lab, Probe};
use crate::testing::manifest::manifest;
use crate::testing::minimise::minimise;
use crate::testing::random::{Told, everything_on, hosts, packet, routed, sources};
use crate::testing::wire::Shape;

/// Pairs of a program and a packet in `make test`; `CARACAL_DIFFERENTIAL` says
/// another number.
const PAIRS: usize = 20_000;

/// Where the random numbers come from: a number that `CARACAL_DIFFERENTIAL_SEED` says, a fresh
/// one if it says `fresh`, and else always the same.
fn seed() -> u64 {
    match std::env::var("CARACAL_DIFFERENTIAL_SEED").as_deref() {
        Err(_) => 0,
        Ok("fresh") => fresh_seed(),
        Ok(number) => number.parse().expect("CARACAL_DIFFERENTIAL_SEED is a number, or fresh"),
    }
}

/// A number that is another one each time.
fn fresh_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    since.as_secs() << 20 | u64::from(since.subsec_micros())
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    // One runner makes all packets, and counts what it threw away over all of them.
    let config = Config { max_local_rejects: u32::MAX, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Packets for each program.
const PACKETS: usize = 40;

/// A program that differs from the one that the evaluator is asked about.
type Wrong = fn(&Told) -> Told;

fn world(told: &[Told]) -> World {
    let mut world = World::default();
    told.iter().for_each(|told| world.hear(told));
    world.in_sync();
    world
}

/// A random program for packets from the first pod to the second. Often one
/// end lets everything through, so that the other decides; mostly what no rule
/// denies is allowed, so that the last rules are met; sometimes something that a
/// rule needs was never told.
fn a_program(runner: &mut TestRunner, round: usize) -> Vec<Told> {
    let mut told = everything_on(&["cali0", "cali1"]).new_tree(runner).expect("a program").current();
    if round.is_multiple_of(20) {
        told.remove(round / 20 % 8);
    }
    let mut current = |strategy: BoxedStrategy<Vec<Told>>| strategy.new_tree(runner).expect("a value").current();
    if !round.is_multiple_of(3) {
        told.extend(current(hosts().boxed()));
    }
    if !round.is_multiple_of(4) {
        for told in &mut told {
            match told {
                Told::Endpoint(_, _, _, tiers, profiles) => {
                    tiers.iter_mut().for_each(|(_, end, _, _)| *end = "Pass");
                    profiles.push("open");
                }
                Told::Host(_, _, _, lists, profiles) => {
                    lists.iter_mut().flatten().for_each(|(_, end, _, _)| *end = "Pass");
                    profiles.push("open");
                }
                _ => {}
            }
        }
    }
    if round.is_multiple_of(5) {
        let sources = current(sources("cali0").prop_map(|told| vec![told]).boxed());
        told.splice(0..0, sources);
    }
    if round % 4 == 1 {
        told.push(Told::Tunnels);
    }
    told.push(Told::Profile("open", vec![rule("allow")], vec![rule("allow")]));
    if let end @ 0..2 = round % 3 {
        told.push(Told::Endpoint("active", ["ns/0", "ns/1"][end], ["cali0", "cali1"][end], Vec::new(), vec!["open"]));
    }
    told
}

/// A packet at the edges of a rule of the program, or any.
fn a_probe(runner: &mut TestRunner, world: &World) -> Probe {
    let rules = targets(&world.store);
    let rng = runner.rng();
    let rule = (!rules.is_empty()).then(|| rules[rng.random_range(0..rules.len())]);
    let aimed = rule.filter(|_| rng.random_bool(0.8)).and_then(|rule| aim(rng, rule, &world.store));
    let shape = if rng.random_bool(0.1) { Shape::Options } else { Shape::Plain };
    let road = if rng.random_bool(0.3) { Road::BETWEEN_PODS } else { Road::ALL[rng.random_range(0..Road::ALL.len())] };
    let tunnelled = rng.random_bool(0.05);
    let [ipip, outwards, of_hosts] = [0.5, 0.5, 0.5].map(|often| rng.random_bool(often));
    let any = || packet().prop_filter("goes through a router", routed).new_tree(runner).expect("a packet").current();
    let packet = aimed.unwrap_or_else(any);
    if !tunnelled {
        return Probe { packet, shape, road };
    }
    let packet = tunnel(&packet, ipip);
    let host = world.store.node_addresses().find(|host| host.is_ipv4() == packet.src().is_ipv4());
    match host.filter(|_| of_hosts) {
        None => Probe { packet, shape, road },
        Some(host) if outwards => Probe { packet: between(packet.src(), host, &packet), shape, road: Road::FROM_HOST },
        Some(host) => Probe { packet: between(host, packet.dst(), &packet), shape, road: Road::TO_HOST },
    }
}

/// Whether the normal program of a host endpoint judges packets to or from this
/// host on a way. Each of its ends counts, and so do its rules.
fn has_program(store: &PolicyStore, way: Way<'_>) -> bool {
    let is_workload = |name: &str| Settings::default().is_workload(name);
    match way {
        Way::ToHost { from: name } | Way::FromHost { to: name } if !is_workload(name) => {
            store.host_on(name).or(store.host_on_others()).is_some()
        }
        Way::ToHost { .. } | Way::FromHost { .. } | Way::Through { .. } => false,
    }
}

/// A packet between the same ends that holds another.
fn tunnel(packet: &Packet, ipip: bool) -> Packet {
    let (protocol, transport) = match ipip {
        true => (Protocol::IPIP, Transport::Opaque),
        false => (Protocol::UDP, Transport::Ports { src: 40000, dst: Settings::default().vxlan_port }),
    };
    Packet::new(packet.src(), packet.dst(), protocol, transport).expect("one family")
}

/// The same packet between other ends.
fn between(src: IpAddr, dst: IpAddr, packet: &Packet) -> Packet {
    Packet::new(src, dst, packet.protocol(), packet.transport()).expect("one family")
}

/// A program and a packet about which kernel and evaluator disagree.
struct Found {
    told: Vec<Told>,
    settings: Settings,
    disagreement: Disagreement,
    pairs: usize,
}

/// Compares kernel and evaluator for some pairs of a program and a packet, until they disagree.
struct Search {
    lab: Lab,
    wrong: Wrong,
    allowed: usize,
    denied: usize,
    /// Packets that a rule of a policy or a profile counted.
    ruled: usize,
    /// Packets that passed and that did not, by their way.
    ways: BTreeMap<String, [usize; 2]>,
    /// Packets that were refused by something beside policy.
    guards: BTreeMap<&'static str, usize>,
    /// Tunnelled packets that passed a host endpoint without a rule of its program, by their way.
    tunnelled: BTreeMap<String, usize>,
}

/// What refuses packets beside policy, by its comment.
const GUARDS: [&str; 7] = [
    "IPv6 of a workload, and Ipv6Support is off",
    "the source is not an address of the workload",
    "IP in IP from a workload",
    "VXLAN from a workload",
    "IP in IP from no host of the cluster",
    "VXLAN from no host of the cluster",
    "workload to host",
];

impl Search {
    fn new(wrong: Wrong) -> Self {
        let (ways, guards, tunnelled) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { lab: Lab::new(), wrong, allowed: 0, denied: 0, ruled: 0, ways, guards, tunnelled }
    }

    fn program(&mut self, told: &[Told]) -> World {
        let programmed: Vec<Told> = told.iter().map(self.wrong).collect();
        self.lab.program(&self::world(&programmed));
        self::world(told)
    }

    fn run(&mut self, pairs: usize, seed: u64) -> Result<(), Box<Found>> {
        let mut runner = runner(seed);
        for round in 0..pairs.div_ceil(PACKETS) {
            let actions = [EndpointToHost::Drop, EndpointToHost::Return, EndpointToHost::Accept];
            self.lab.set(|settings| {
                settings.endpoint_to_host = actions[round / 2 % actions.len()];
                settings.ipv6 = if round % 7 == 3 { Ipv6::Off } else { Ipv6::On };
            });
            let told = a_program(&mut runner, round);
            let world = self.program(&told);
            for nth in 0..PACKETS {
                let probe = a_probe(&mut runner, &world);
                match self.lab.compare(&world.store, probe) {
                    Ok(fate) => {
                        *(if fate.passes { &mut self.allowed } else { &mut self.denied }) += 1;
                        let way = format!("{:?}", probe.road.way());
                        if fate.passes && fate.counted.is_empty() && has_program(&world.store, probe.road.way()) {
                            *self.tunnelled.entry(way.clone()).or_default() += 1;
                        }
                        let [passed, refused] = self.ways.entry(way).or_default();
                        *(if fate.passes { passed } else { refused }) += 1;
                        for guard in
                            GUARDS.iter().filter(|guard| fate.counted.keys().any(|rule| rule.ends_with(*guard)))
                        {
                            *self.guards.entry(guard).or_default() += 1;
                        }
                        self.ruled += usize::from(fate.counted.keys().any(|rule| !rule.contains(": ")));
                    }
                    Err(disagreement) => {
                        let pairs = round * PACKETS + nth + 1;
                        return Err(Box::new(self.smallest(told, *disagreement, pairs)));
                    }
                }
            }
        }
        Ok(())
    }

    /// The least of the program that the packet is still judged wrongly by.
    fn smallest(&mut self, told: Vec<Told>, mut disagreement: Disagreement, pairs: usize) -> Found {
        let mut probe = disagreement.probe;
        for shape in [Shape::Plain, probe.shape] {
            probe.shape = shape;
            let world = self.program(&told);
            if self.lab.compare(&world.store, probe).is_err() {
                break;
            }
        }
        let told = minimise(told, |told| {
            let world = self.program(told);
            match self.lab.compare(&world.store, probe) {
                Ok(_) => false,
                Err(still) => {
                    disagreement = *still;
                    true
                }
            }
        });
        Found { told, settings: self.lab.settings().clone(), disagreement, pairs }
    }
}

impl Found {
    fn report(&self) -> String {
        let Self { told, settings, disagreement: Disagreement { probe, kernel, evaluator }, pairs } = self;
        let mut text = format!("pair {pairs}: kernel and evaluator disagree\n");
        for (who, fate) in [("kernel", kernel), ("evaluator", evaluator)] {
            let verdict = if fate.passes { "allow" } else { "deny" };
            writeln!(text, "{who}: {verdict}, counted by {:?}", fate.counted).expect("a string takes any text");
        }
        let way = probe.road.way();
        write!(text, "packet, {way:?}: {probe:?}\nmanifest:\n{}\n", manifest(told)).expect("a string takes any text");
        write!(text, "ruleset:\n{}", render_text(&world(told).store, settings)).expect("a string takes any text");
        text
    }
}

#[test]
fn kernel_and_evaluator_agree_on_verdict_and_rule() {
    let pairs = std::env::var("CARACAL_DIFFERENTIAL").map_or(PAIRS, |number| number.parse().expect("a number"));
    let mut search = Search::new(Told::clone);
    let seed = seed();
    if let Err(found) = search.run(pairs, seed) {
        panic!("CARACAL_DIFFERENTIAL_SEED={seed}\n{}", found.report());
    }
    let Search { allowed, denied, ruled, ways, guards, tunnelled, .. } = search;
    let figures = format!("seed {seed}: {ways:?} {guards:?} tunnelled {tunnelled:?}");
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    let both = ways.values().filter(|[passed, refused]| *passed > 0 && *refused > 0).count();
    assert!(ways.len() == Road::ALL.len(), "{figures}");
    // A run that is shorter than that of `make test`, as in the guest, meets not everything.
    // What this host sends to its own workloads is never refused.
    assert!(pairs < PAIRS || both >= Road::ALL.len() - 1, "{figures}");
    assert!(pairs < PAIRS || guards.len() == GUARDS.len(), "{figures}");
    // In and out, past the programs of host endpoints.
    assert!(pairs < PAIRS || tunnelled.len() == 2, "{figures}");
    // What would prove little: packets of one verdict, or that no rule meets.
    assert!(allowed > pairs / 10 && denied > pairs / 10 && ruled > pairs / 3, "{allowed} {denied} {ruled} of {pairs}");
}

/// The same with every rule of policies and profiles changed.
fn every_rule(told: &Told, change: fn(&mut felix::Rule)) -> Told {
    let changed = |rules: &[felix::Rule]| {
        let mut rules = rules.to_vec();
        rules.iter_mut().for_each(change);
        rules
    };
    match told {
        Told::Policy(id, inbound, outbound) => Told::Policy(id, changed(inbound), changed(outbound)),
        Told::Profile(name, inbound, outbound) => Told::Profile(name, changed(inbound), changed(outbound)),
        told => told.clone(),
    }
}

/// Lowerings that are wrong in one thing: each is found and cut down to it.
#[test]
fn a_wrong_lowering_is_found_and_minimised() {
    let wrong: &[(&str, Wrong, &str)] = &[
        (
            "ports end one too early",
            |told| {
                every_rule(told, |rule| {
                    rule.dst_ports
                        .iter_mut()
                        .for_each(|range| range.last = range.last.saturating_sub(1).max(range.first));
                })
            },
            "\"ports\"",
        ),
        ("refused prefixes are forgotten", |told| every_rule(told, |rule| rule.not_src_net.clear()), "\"notNets\""),
        (
            "the code of an ICMP message is forgotten",
            |told| {
                every_rule(told, |rule| {
                    if let Some(felix::rule::Icmp::IcmpTypeCode(icmp)) = rule.icmp {
                        rule.icmp = Some(felix::rule::Icmp::IcmpType(icmp.r#type));
                    }
                })
            },
            "\"code\"",
        ),
        ("a rule of one family is one of both", |told| every_rule(told, |rule| rule.ip_version = 0), "\"ipVersion\""),
        (
            "a Pass is an Allow",
            |told| {
                every_rule(told, |rule| {
                    if rule.action == "next-tier" {
                        "allow".clone_into(&mut rule.action);
                    }
                })
            },
            "\"Pass\"",
        ),
        (
            "the last member of a set is lost",
            |told| match told {
                Told::Set(id, members) => Told::Set(id, members[..members.len().saturating_sub(1)].to_vec()),
                told => told.clone(),
            },
            "\"nets\"",
        ),
    ];
    for (what, wrong, named) in wrong {
        let found = match Search::new(*wrong).run(PAIRS, 0) {
            Ok(()) => panic!("not found: {what}"),
            Err(found) => found,
        };
        let report = found.report();
        assert!(report.contains(named), "{what}: {report}");
        // Both ends, and one policy or profile with what it needs.
        assert!(found.told.len() <= 7, "{what}: {report}");
        let rules = found.told.iter().map(|told| match told {
            Told::Policy(_, inbound, outbound) | Told::Profile(_, inbound, outbound) => inbound.len() + outbound.len(),
            _ => 0,
        });
        assert!(rules.sum::<usize>() <= 4, "{what}: {report}");
    }
}
