//! The least that each change could cost: batches written by hand for it, and the
//! `nft` program given the same as text.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use caracal_net::{Family, Protocol};
use caracal_nftables::ir::{IfName, SetKind};
use caracal_nftables::names;
use caracal_program::{Direction, PolicyId};
use caracal_proto::felix;
use caracal_sys::netns::NetNs;
use caracal_sys::nft::{
    self, Base, Batch, Chain, ChainType, CmpOp, Element, Expr, Field, Fields, Guard, Hook, Lookup, MetaKey, Name,
    NftSocket, PayloadBase, Place, Policy, Reg, Rule, Set, SetData, SetHeader, Table, TableId, Value, Verdict,
};

use crate::dump::Dump;
use crate::sides::SETTLE;
use crate::workload::{NewPod, PROGRAMS, Spec, addresses_of, interface, policy_id, set_id};

/// All members are IPv4 addresses.
const ADDRS: SetKind = SetKind::Addrs(Family::V4);

/// Room for the elements of one call: an attribute of the kernel's ends at 64 KiB.
const CHUNK: usize = 1_000;

/// A socket into a namespace whose table anybody may edit.
pub(crate) struct Floor {
    namespace: NetNs,
    socket: NftSocket,
    batch: Batch,
    table: TableId,
}

impl Floor {
    pub(crate) fn new(namespace: NetNs) -> Self {
        let opened = namespace.run(NftSocket::open).expect("the namespace can be entered");
        let table = TableId::inet(Name::new("caracal").expect("a name"));
        Self { namespace, socket: opened.expect("a netlink socket"), batch: Batch::new(&table), table }
    }

    /// The time to write a batch and to have it done.
    fn transact(&mut self, fill: impl FnOnce(&mut Batch, &TableId)) -> Duration {
        let start = Instant::now();
        self.batch.restart(Guard::Any);
        fill(&mut self.batch, &self.table);
        self.socket.commit(&mut self.batch).expect("the kernel takes the floor's batch");
        start.elapsed()
    }

    /// The time that `nft -f -` takes for a text.
    pub(crate) fn nft(&mut self, text: &str) -> Duration {
        let run = || {
            let start = Instant::now();
            let mut nft = Command::new("nft")
                .args(["-f", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .expect("nft is installed");
            nft.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("nft reads");
            assert!(nft.wait().expect("nft ends").success(), "nft takes {text}");
            start.elapsed()
        };
        self.namespace.run(run).expect("the namespace can be entered")
    }

    /// A member joins or leaves a set.
    pub(crate) fn member(&mut self, set: u32, addr: Ipv4Addr, joins: Joins) -> Duration {
        let header = self.header(set);
        self.transact(|batch, _| {
            match joins {
                Joins::Yes => batch.add_elements(&header, [Element::at(addr)]),
                Joins::No => batch.delete_elements(&header, [Element::at(addr)]),
            }
            .expect("an element fits");
        })
    }

    /// A policy's chain gets these rules.
    pub(crate) fn rewrite(&mut self, policy: u32, rules: impl Iterator<Item = (u16, u32)>) -> Duration {
        let chain = policy_chain(policy);
        self.transact(|batch, _| {
            batch.flush_chain(&chain).expect("a name fits");
            for (port, set) in rules {
                batch.add_rule(&chain, Place::Last, &allow_rule(port, set)).expect("a rule fits");
            }
        })
    }

    /// A pod comes; `to` names the programs that its chains lead to.
    pub(crate) fn pod_comes(&mut self, pod: &NewPod, to: &[(Direction, Name)]) -> Duration {
        let headers: Vec<_> = pod.sets.iter().map(|set| self.header(*set)).collect();
        self.transact(|batch, table| {
            for header in &headers {
                batch.add_elements(header, [Element::at(pod.member())]).expect("an element fits");
            }
            for addr in pod.addrs {
                let set = SetHeader::new(table, &sources(addr));
                batch.add_elements(&set, [source(&pod.interface, addr)]).expect("an element fits");
            }
            for (direction, program) in to {
                connect(batch, table, *direction, &pod.interface, program);
            }
        })
    }

    /// A pod goes. Its chains go in a batch of their own, as a packet may be walking them,
    /// after the same pause as the driver's: a processor that has slept is slower.
    pub(crate) fn pod_goes(&mut self, pod: &NewPod) -> Duration {
        let headers: Vec<_> = pod.sets.iter().map(|set| self.header(*set)).collect();
        let interface = IfName::new(&pod.interface).expect("a name");
        let unreached = self.transact(|batch, table| {
            for direction in Direction::ALL {
                let map = SetHeader::new(table, &names::dispatch(direction));
                let entry = Element::at(caracal_sys::IfName::from(interface));
                batch.delete_elements(&map, [entry]).expect("an element fits");
            }
            for header in &headers {
                batch.delete_elements(header, [Element::at(pod.member())]).expect("an element fits");
            }
            for addr in pod.addrs {
                let set = SetHeader::new(table, &sources(addr));
                batch.delete_elements(&set, [source(&pod.interface, addr)]).expect("an element fits");
            }
        });
        sleep(SETTLE);
        let deleted = self.transact(|batch, _| {
            for stub in Direction::ALL.map(|direction| names::stub(direction, &interface)) {
                batch.flush_chain(&stub).expect("a name fits");
                batch.delete_chain(&stub).expect("a name fits");
            }
        });
        unreached + deleted
    }

    /// A listing of all that is in the table now.
    pub(crate) fn dump(&self) -> Dump {
        let table = &self.table;
        self.namespace.run(|| Dump::new(table)).expect("the namespace can be entered")
    }

    /// The time to list everything in the table and to make objects of it.
    pub(crate) fn read(&mut self) -> Duration {
        let (socket, table) = (&mut self.socket, &self.table);
        let start = Instant::now();
        let chains = socket.chains(table).expect("the kernel answers").len();
        let rules = socket.rules(table).expect("the kernel answers").len();
        let sets = socket.sets(table).expect("the kernel answers");
        let lists = sets.iter().map(|set| socket.elements(table, &set.name).expect("the kernel answers").len());
        assert!(chains + rules + lists.sum::<usize>() > 0);
        start.elapsed()
    }

    /// Everything in one batch, into a namespace that has nothing.
    pub(crate) fn program(&mut self, spec: &Spec) -> Duration {
        self.transact(|batch, table| {
            batch.add_table(&Table::default()).expect("a table fits");
            sets(batch, table, spec);
            let maps = Direction::ALL.map(|direction| {
                let map =
                    Set::new(names::dispatch(direction), nft::SetKind::Hash, Fields::from_slice(&[Field::IfName]));
                batch.add_set(&map.with_data(SetData::Verdict)).expect("a map fits");
                base_chain(batch, direction)
            });
            for (direction, base) in Direction::ALL.into_iter().zip(maps) {
                add_rule(batch, &base, dispatch_rule(direction));
            }
            policies(batch, spec);
            pods(batch, table, spec);
        })
    }

    fn header(&self, set: u32) -> SetHeader {
        SetHeader::new(&self.table, &set_name(set))
    }
}

/// Whether a member comes or goes.
#[derive(Clone, Copy)]
pub(crate) enum Joins {
    Yes,
    No,
}

/// The kernel's name of a set.
pub(crate) fn set_name(set: u32) -> Name {
    names::ip_set(ADDRS, &set_id(set), 0)
}

/// The set of interfaces with addresses of a family, which packets may come from.
pub(crate) fn sources(addr: IpAddr) -> Name {
    names::sources(SetKind::WorkloadAddrs(Family::of(addr)))
}

/// The chain of a policy.
pub(crate) fn policy_chain(policy: u32) -> Name {
    let felix::PolicyId { kind, namespace, name } = policy_id(policy);
    let id = PolicyId { kind: kind.into(), namespace: namespace.into(), name: name.into() };
    names::policy(Direction::Ingress, &id)
}

fn sets(batch: &mut Batch, table: &TableId, spec: &Spec) {
    for (address, addr) in [Field::Ipv4, Field::Ipv6].into_iter().zip(addresses_of(0, 0)) {
        let set = Set::new(sources(addr), nft::SetKind::Hash, Fields::from_slice(&[Field::IfName, address]));
        batch.add_set(&set).expect("a set fits");
    }
    for set in 0..spec.sets {
        let name = set_name(set);
        let made = Set::new(name.clone(), nft::SetKind::Hash, Fields::from_slice(&[Field::Ipv4]));
        // A set with a size has its table of hashes at once.
        batch.add_set(&made.with_size(spec.members + spec.members / 2)).expect("a set fits");
        let header = SetHeader::new(table, &name);
        let members: Vec<_> = spec.addresses(set).collect();
        for chunk in members.chunks(CHUNK) {
            batch.add_elements(&header, chunk.iter().map(|addr| Element::at(*addr))).expect("elements fit");
        }
    }
}

fn policies(batch: &mut Batch, spec: &Spec) {
    for policy in 0..spec.chains {
        let chain = policy_chain(policy);
        add_chain(batch, &chain);
        for (port, set) in spec.ports_and_sets(policy) {
            add_rule(batch, &chain, allow_rule(port, set));
        }
    }
}

/// Each pod's programs and the chains that lead to them.
fn pods(batch: &mut Batch, table: &TableId, spec: &Spec) {
    let open = Name::new("open").expect("a name");
    add_chain(batch, &open);
    add_rule(batch, &open, Rule::new([Expr::COUNTER, Expr::Verdict(Verdict::Accept)]));
    for pod in 0..spec.pods {
        let program = Name::new(format!("program-ingress/{}", pod % PROGRAMS)).expect("a name");
        if pod < PROGRAMS {
            add_chain(batch, &program);
            for policy in spec.policies_of(pod) {
                add_rule(batch, &program, Rule::new([Expr::Verdict(Verdict::Jump(policy_chain(policy)))]));
            }
            add_rule(batch, &program, Rule::new([Expr::COUNTER, Expr::Verdict(Verdict::Drop)]));
        }
        connect(batch, table, Direction::Ingress, &interface(pod), &program);
        connect(batch, table, Direction::Egress, &interface(pod), &open);
        for addr in addresses_of(13, pod) {
            let set = SetHeader::new(table, &sources(addr));
            batch.add_elements(&set, [source(&interface(pod), addr)]).expect("an element fits");
        }
    }
}

/// A member of the set of interfaces with addresses.
fn source(interface: &str, addr: IpAddr) -> Element {
    let interface = IfName::new(interface).expect("a name");
    Element::at(Value::concat([caracal_sys::IfName::from(interface).into(), addr.into()]))
}

/// An interface's chain, and the map's entry that leads there.
fn connect(batch: &mut Batch, table: &TableId, direction: Direction, interface: &str, program: &Name) {
    let interface = IfName::new(interface).expect("a name");
    let stub = names::stub(direction, &interface);
    add_chain(batch, &stub);
    add_rule(batch, &stub, Rule::new([Expr::Verdict(Verdict::Goto(program.clone()))]));
    let entry = Element::at(caracal_sys::IfName::from(interface)).with_verdict(Verdict::Jump(stub));
    let map = SetHeader::new(table, &names::dispatch(direction));
    batch.add_elements(&map, [entry]).expect("an element fits");
}

fn base_chain(batch: &mut Batch, direction: Direction) -> Name {
    let priority = match direction {
        Direction::Egress => 0,
        Direction::Ingress => 1,
    };
    let base = Base { kind: ChainType::Filter, hook: Hook::Forward, priority, policy: Policy::Accept };
    let name = names::base(direction);
    batch.add_chain(&Chain::base(name.clone(), base)).expect("a chain fits");
    name
}

fn dispatch_rule(direction: Direction) -> Rule {
    let key = match direction {
        Direction::Egress => MetaKey::IifName,
        Direction::Ingress => MetaKey::OifName,
    };
    let set = names::dispatch(direction);
    Rule::new([Expr::Meta { key, dreg: Reg::R0 }, Expr::Lookup { set, sreg: Reg::R0, yields: Lookup::Verdict }])
}

/// `meta l4proto tcp th dport PORT ip saddr @SET counter accept`.
fn allow_rule(port: u16, set: u32) -> Rule {
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
        Expr::Lookup { set: set_name(set), sreg: Reg::R0, yields: Lookup::Member },
        Expr::COUNTER,
        Expr::Verdict(Verdict::Accept),
    ])
}

fn add_chain(batch: &mut Batch, name: &Name) {
    batch.add_chain(&Chain::regular(name.clone())).expect("a chain fits");
}

fn add_rule(batch: &mut Batch, chain: &Name, rule: Rule) {
    batch.add_rule(chain, Place::Last, &rule).expect("a rule fits");
}
