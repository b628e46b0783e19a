//! What a change costs, beside the least that it could cost.
//!
//! Two namespaces hold equal rulesets. A change is applied by the driver in the
//! one, and as a batch written by hand for it in the other: the floor. Both take
//! turns in one run. Time runs from a revision that is there until the kernel has
//! taken it. One JSON line per workload and spec on standard output.
//!
//! Needs root. `cargo bench -p caracal-nftables -- S` runs one spec only.

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use caracal_net::{Family, Protocol};
use caracal_nftables::ir::{IfName, SetKind};
use caracal_nftables::{NftablesDriver, Ownership, Settings, names};
use caracal_program::{Change, Direction, Driver, PolicyId, PolicyStore, Sweep, coalesce};
use caracal_proto::felix::{self, to_dataplane::Payload};
use caracal_sys::netns::NetNs;
use caracal_sys::nft::{
    Batch, Chain, CmpOp, Element, Expr, Guard, Lookup, MetaKey, Name, NftSocket, PayloadBase, Place, Reg, Rule,
    SetHeader, TableId, Value, Verdict,
};

/// A size of the ruleset.
struct Spec {
    name: &'static str,
    sets: u32,
    members: u32,
    chains: u32,
    rounds: u32,
}

const SPECS: [Spec; 3] = [
    Spec { name: "S", sets: 100, members: 20, chains: 100, rounds: 400 },
    Spec { name: "M", sets: 500, members: 50, chains: 500, rounds: 200 },
    Spec { name: "L", sets: 2_000, members: 100, chains: 2_000, rounds: 100 },
];

/// Rules in each policy chain.
const RULES: u32 = 10;

/// All members are IPv4 addresses.
const ADDRS: SetKind = SetKind::Addrs(Family::V4);

/// Endpoints on the node; they share the policy chains among them.
const PODS: u32 = 100;

/// Sets that a new pod is a member of.
const POD_SETS: u32 = 50;

/// Longer than a packet's walk: after it, what a change left behind is deleted.
const SETTLE: Duration = Duration::from_millis(6);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for spec in SPECS.iter().filter(|spec| wanted.is_empty() || wanted.iter().any(|name| name == spec.name)) {
        let mut side = Sides::new(spec);
        side.delta(spec);
        side.chain_update(spec);
        side.pod_add(spec);
        side.resync(spec);
    }
}

/// The driver and its store, and the floor.
struct Sides {
    store: PolicyStore,
    driver: NftablesDriver,
    floor: Floor,
}

/// A socket into a namespace with the same ruleset.
struct Floor {
    socket: NftSocket,
    batch: Batch,
    table: TableId,
}

impl Sides {
    fn new(spec: &Spec) -> Self {
        let mut store = PolicyStore::new();
        for message in ruleset(spec) {
            tell(&mut store, message);
        }
        let load = |store: &PolicyStore, ownership| {
            let namespace = NetNs::new().expect("a network namespace; needs root");
            let mut settings = Settings::default();
            settings.ownership = ownership;
            let opened = namespace.run(|| {
                let driver = NftablesDriver::new(settings).expect("nf_tables");
                (driver, NftSocket::open().expect("a netlink socket"))
            });
            let (mut driver, socket) = opened.expect("the namespace can be entered");
            driver.resync(store, Sweep::Remove).expect("the kernel takes the ruleset");
            (driver, socket)
        };
        let (driver, _) = load(&store, Ownership::Owned);
        let (_, socket) = load(&store, Ownership::Shared);
        let table = TableId::inet(Name::new("caracal").expect("a name"));
        Self { store, driver, floor: Floor { socket, batch: Batch::new(&table), table } }
    }

    /// Takes what is told as one revision; the time that the driver needs for it.
    fn apply(&mut self, messages: impl IntoIterator<Item = Payload>) -> Duration {
        let changes: Vec<Change> = coalesce(messages.into_iter().map(|message| tell(&mut self.store, message)));
        let start = Instant::now();
        let receipt = self.driver.apply(&self.store, &changes).expect("the kernel takes the change");
        let took = start.elapsed();
        assert_eq!(receipt.transactions, 1);
        took
    }

    /// Lets the driver delete what the last change left without users.
    fn settle(&mut self) {
        sleep(SETTLE);
        self.driver.poll(&self.store).expect("the kernel answers");
    }

    /// One member joins a set.
    fn delta(&mut self, spec: &Spec) {
        let mut times = Times::default();
        for round in 0..spec.rounds {
            let (set, addr) = (set_id(round % spec.sets), Ipv4Addr::new(11, 0, (round >> 8) as u8, round as u8));
            let member = format!("{addr}/32");
            let header = self.floor.header(&set);
            times.take_turns(
                round,
                self,
                |sides| sides.apply([members(&set, &[&member], &[])]),
                |sides| {
                    sides.floor.transact(|batch| {
                        batch.add_elements(&header, [Element::at(addr)]).expect("an element fits");
                    })
                },
            );
            self.apply([members(&set, &[], &[&member])]);
            self.floor.transact(|batch| {
                batch.delete_elements(&header, [Element::at(addr)]).expect("an element fits");
            });
        }
        times.report("delta", spec);
    }

    /// A policy's rules become one rule with another port.
    fn chain_update(&mut self, spec: &Spec) {
        let mut times = Times::default();
        for round in 0..spec.rounds {
            let policy = round % spec.chains;
            let set = policy * RULES % spec.sets;
            let port = u16::try_from(20_000 + round).expect("a port");
            let chain = policy_chain(policy);
            let rule = allow_rule(port, set);
            times.take_turns(
                round,
                self,
                |sides| sides.apply([policy_update(policy, &[allow(port, set)])]),
                |sides| {
                    sides.floor.transact(|batch| {
                        batch.flush_chain(&chain).expect("a name fits");
                        batch.add_rule(&chain, Place::Last, &rule).expect("a rule fits");
                    })
                },
            );
        }
        for policy in 0..spec.rounds.min(spec.chains) {
            self.apply([policy_update(policy, &rules_of(policy, spec))]);
            let chain = policy_chain(policy);
            self.floor.transact(|batch| {
                batch.flush_chain(&chain).expect("a name fits");
                for (port, set) in ports_and_sets(policy, spec) {
                    batch.add_rule(&chain, Place::Last, &allow_rule(port, set)).expect("a rule fits");
                }
            });
        }
        times.report("chain-update", spec);
    }

    /// An endpoint comes, like one that is there already, and joins its sets.
    fn pod_add(&mut self, spec: &Spec) {
        let mut times = Times::default();
        let like = self.store.workloads().next().expect("a pod").clone();
        let to = Direction::ALL.map(|direction| names::program(direction, like.program(direction).key()));
        for round in 0..spec.rounds.min(100) {
            let name = format!("calinew{round}");
            let interface = IfName::new(&name).expect("a name");
            let addr = Ipv4Addr::new(12, 0, 0, round as u8);
            let member = format!("{addr}/32");
            let sets: Vec<String> = (0..POD_SETS).map(|n| set_id(n * spec.sets / POD_SETS)).collect();
            let headers: Vec<_> = sets.iter().map(|set| self.floor.header(set)).collect();
            let maps = Direction::ALL.map(|d| SetHeader::new(&self.floor.table, &names::dispatch(d)));
            let stubs = Direction::ALL.map(|d| names::stub(d, &interface));
            times.take_turns(
                round,
                self,
                |sides| {
                    let joins = sets.iter().map(|set| members(set, &[&member], &[]));
                    sides.apply(joins.chain([endpoint(&format!("ns/new{round}"), &name, 0, spec)]))
                },
                |sides| {
                    sides.floor.transact(|batch| {
                        for (stub, program) in stubs.iter().zip(&to) {
                            batch.add_chain(&Chain::regular(stub.clone())).expect("a chain fits");
                            let rule = Rule::new([Expr::Verdict(Verdict::Goto(program.clone()))]);
                            batch.add_rule(stub, Place::Last, &rule).expect("a rule fits");
                        }
                        for header in &headers {
                            batch.add_elements(header, [Element::at(addr)]).expect("an element fits");
                        }
                        for (map, stub) in maps.iter().zip(&stubs) {
                            let entry = Element::at(caracal_sys::IfName::from(interface));
                            let entry = entry.with_verdict(Verdict::Jump(stub.clone()));
                            batch.add_elements(map, [entry]).expect("an element fits");
                        }
                    })
                },
            );
            let leaves = sets.iter().map(|set| members(set, &[], &[&member]));
            self.apply(leaves.chain([endpoint_remove(&format!("ns/new{round}"))]));
            self.floor.transact(|batch| {
                for map in &maps {
                    let entry = Element::at(caracal_sys::IfName::from(interface));
                    batch.delete_elements(map, [entry]).expect("an element fits");
                }
                for header in &headers {
                    batch.delete_elements(header, [Element::at(addr)]).expect("an element fits");
                }
                for stub in &stubs {
                    batch.flush_chain(stub).expect("a name fits");
                    batch.delete_chain(stub).expect("a name fits");
                }
            });
            self.settle();
        }
        times.report("pod-add", spec);
    }

    /// Everything is read back and compared, and nothing is to be done. The floor
    /// only reads.
    fn resync(&mut self, spec: &Spec) {
        let mut times = Times::default();
        for round in 0..5 {
            times.take_turns(
                round,
                self,
                |sides| {
                    let start = Instant::now();
                    let receipt = sides.driver.resync(&sides.store, Sweep::Remove).expect("the kernel answers");
                    assert_eq!(receipt.messages, 0);
                    start.elapsed()
                },
                |sides| sides.floor.read(),
            );
        }
        times.report("resync", spec);
    }
}

impl Floor {
    fn header(&self, id: &str) -> SetHeader {
        SetHeader::new(&self.table, &names::ip_set(ADDRS, id, 0))
    }

    /// The time to list everything in the table.
    fn read(&mut self) -> Duration {
        let (socket, table) = (&mut self.socket, &self.table);
        let start = Instant::now();
        let chains = socket.chains(table).expect("the kernel answers").len();
        let rules = socket.rules(table).expect("the kernel answers").len();
        let sets = socket.sets(table).expect("the kernel answers");
        let lists = sets.iter().map(|set| socket.elements(table, &set.name).expect("the kernel answers").len());
        assert!(chains + rules + lists.sum::<usize>() > 0);
        start.elapsed()
    }

    /// The time to write a batch and to have it done.
    fn transact(&mut self, fill: impl FnOnce(&mut Batch)) -> Duration {
        let start = Instant::now();
        self.batch.restart(Guard::Any);
        fill(&mut self.batch);
        self.socket.commit(&mut self.batch).expect("the kernel takes the floor's batch");
        start.elapsed()
    }
}

/// Times of the driver and of the floor.
#[derive(Default)]
struct Times {
    driver: Vec<Duration>,
    floor: Vec<Duration>,
}

impl Times {
    /// One round; each side goes first in every other.
    fn take_turns(
        &mut self,
        round: u32,
        sides: &mut Sides,
        driver: impl FnOnce(&mut Sides) -> Duration,
        floor: impl FnOnce(&mut Sides) -> Duration,
    ) {
        if round.is_multiple_of(2) {
            self.driver.push(driver(sides));
            self.floor.push(floor(sides));
        } else {
            self.floor.push(floor(sides));
            self.driver.push(driver(sides));
        }
    }

    fn report(self, workload: &str, spec: &Spec) {
        let [driver, floor] = [self.driver, self.floor].map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64()
        });
        let line = serde_json::json!({
            "workload": workload,
            "spec": spec.name,
            "seconds": driver,
            "floor_seconds": floor,
            "floor_ratio": driver / floor,
        });
        writeln!(io::stdout(), "{line}").expect("standard output is open");
    }
}

/// The chain of a policy.
fn policy_chain(policy: u32) -> Name {
    let felix::PolicyId { kind, namespace, name } = policy_id(policy);
    let id = PolicyId { kind: kind.into(), namespace: namespace.into(), name: name.into() };
    names::policy(Direction::Ingress, &id)
}

/// `meta l4proto tcp th dport PORT ip saddr @SET counter accept`.
fn allow_rule(port: u16, set: u32) -> Rule {
    let set = names::ip_set(ADDRS, &set_id(set), 0);
    let load = |base, offset, len| Expr::Payload { base, offset, len, dreg: Reg::R0 };
    let is = |value: Value| Expr::Cmp { sreg: Reg::R0, op: CmpOp::Eq, value };
    Rule::new([
        Expr::Meta { key: MetaKey::L4Proto, dreg: Reg::R0 },
        is(Protocol::TCP.into()),
        load(PayloadBase::Transport, 2, 2),
        is(port.into()),
        Expr::Meta { key: MetaKey::NfProto, dreg: Reg::R0 },
        is(Value::bytes(&[2])),
        load(PayloadBase::Network, 12, 4),
        Expr::Lookup { set, sreg: Reg::R0, yields: Lookup::Member },
        Expr::COUNTER,
        Expr::Verdict(Verdict::Accept),
    ])
}

fn tell(store: &mut PolicyStore, payload: Payload) -> Change {
    let message = felix::ToDataplane { sequence_number: 0, payload: Some(payload) };
    store.apply(&message).expect("a message that can be understood")
}

/// Everything in a ruleset of a size.
fn ruleset(spec: &Spec) -> Vec<Payload> {
    let mut messages = Vec::new();
    for set in 0..spec.sets {
        let members =
            (0..spec.members).map(|n| format!("{}/32", Ipv4Addr::from_bits(0x0a00_0001 + set * spec.members + n)));
        let id = set_id(set);
        messages.push(Payload::IpsetUpdate(felix::IpSetUpdate {
            id,
            members: members.collect(),
            r#type: felix::ip_set_update::IpSetType::Net.into(),
        }));
    }
    messages.extend((0..spec.chains).map(|policy| policy_update(policy, &rules_of(policy, spec))));
    let open = felix::Rule { action: "allow".into(), ..felix::Rule::default() };
    messages.push(Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate {
        id: Some(felix::ProfileId { name: "kns.ns".into() }),
        profile: Some(felix::Profile { inbound_rules: vec![open.clone()], outbound_rules: vec![open] }),
    }));
    messages.extend((0..PODS).map(|pod| endpoint(&format!("ns/pod{pod}"), &format!("cali{pod}"), pod, spec)));
    messages.push(Payload::InSync(felix::InSync {}));
    messages
}

fn set_id(set: u32) -> String {
    format!("s:set{set}")
}

/// What the rules of a policy let in: the ports, and the sets of sources.
fn ports_and_sets(policy: u32, spec: &Spec) -> impl Iterator<Item = (u16, u32)> {
    let sets = spec.sets;
    (0..RULES).map(move |rule| (u16::try_from(8_000 + rule).expect("a port"), (policy * RULES + rule) % sets))
}

fn rules_of(policy: u32, spec: &Spec) -> Vec<felix::Rule> {
    ports_and_sets(policy, spec).map(|(port, set)| allow(port, set)).collect()
}

fn allow(port: u16, set: u32) -> felix::Rule {
    let port = i32::from(port);
    felix::Rule {
        action: "allow".into(),
        protocol: Some(felix::Protocol { number_or_name: Some(felix::protocol::NumberOrName::Name("tcp".into())) }),
        dst_ports: vec![felix::PortRange { first: port, last: port }],
        src_ip_set_ids: vec![set_id(set)],
        ..felix::Rule::default()
    }
}

fn policy_id(policy: u32) -> felix::PolicyId {
    felix::PolicyId { kind: "NetworkPolicy".into(), namespace: "ns".into(), name: format!("p{policy}") }
}

fn policy_update(policy: u32, rules: &[felix::Rule]) -> Payload {
    Payload::ActivePolicyUpdate(felix::ActivePolicyUpdate {
        id: Some(policy_id(policy)),
        policy: Some(felix::Policy {
            inbound_rules: rules.to_vec(),
            tier: "default".into(),
            ..felix::Policy::default()
        }),
    })
}

fn members(set: &str, added: &[&str], removed: &[&str]) -> Payload {
    let [added_members, removed_members] = [added, removed].map(|m| m.iter().map(ToString::to_string).collect());
    Payload::IpsetDeltaUpdate(felix::IpSetDeltaUpdate { id: set.into(), added_members, removed_members })
}

fn workload_id(pod: &str) -> felix::WorkloadEndpointId {
    felix::WorkloadEndpointId { orchestrator_id: "k8s".into(), workload_id: pod.into(), endpoint_id: "eth0".into() }
}

/// An endpoint with the policies of the pod of a number.
fn endpoint(pod: &str, interface: &str, number: u32, spec: &Spec) -> Payload {
    let share = spec.chains / PODS;
    let tier = felix::TierInfo {
        name: "default".into(),
        default_action: "Deny".into(),
        ingress_policies: (number * share..(number + 1) * share).map(policy_id).collect(),
        egress_policies: Vec::new(),
    };
    Payload::WorkloadEndpointUpdate(felix::WorkloadEndpointUpdate {
        id: Some(workload_id(pod)),
        endpoint: Some(felix::WorkloadEndpoint {
            state: "active".into(),
            name: interface.into(),
            profile_ids: vec!["kns.ns".into()],
            tiers: vec![tier],
            ..felix::WorkloadEndpoint::default()
        }),
    })
}

fn endpoint_remove(pod: &str) -> Payload {
    Payload::WorkloadEndpointRemove(felix::WorkloadEndpointRemove { id: Some(workload_id(pod)) })
}
