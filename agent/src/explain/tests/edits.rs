//! What is proposed opens what was asked for, and nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use caracal_datastore::manifest::read_documents;
use caracal_net::Protocol;
use caracal_program::{Direction, HostId, PolicyProgram, Program, ProgramKey, Verdict, WorkloadId};
use serde_json::Value;

use super::super::cluster::End;
use super::super::edit::{How, Proposal, propose};
use super::super::world::Change;
use super::super::written::Name;
use super::super::{JudgeError, Party, Question, SOURCE_PORT, Service, World};
use super::random::{OUTSIDE, Random, RandomCluster, SERVICES, cluster};
use super::world;

const CLUSTERS: u64 = 104;
/// Denied packets of each cluster for which an edit is asked.
const ASKED: usize = 100;
/// Other denied packets of each cluster that must stay denied.
const OTHERS: usize = 1000;

/// How many times as much as in every run is to be done (`make soak`).
fn soak() -> u64 {
    std::env::var("CARACAL_SOAK").map_or(1, |times| times.parse().expect("CARACAL_SOAK is a number"))
}

/// A packet of which no end is a name.
fn random_question(random: &mut Random, addresses: &[String]) -> Question {
    let end = |random: &mut Random| {
        if random.once_in(6) { random.pick(&OUTSIDE).to_owned() } else { random.pick(addresses) }
    };
    let (from, to) = (end(random), end(random));
    // Each family has its own ICMP; the other one's does not occur.
    let own = if from.contains(':') { "icmpv6" } else { "icmp" };
    let service = random.pick(&SERVICES);
    let service = if service == "icmp" { own } else { service };
    Question {
        from: from.parse().expect("an address"),
        to: to.parse().expect("an address"),
        service: service.parse().expect("a service"),
        source_port: SOURCE_PORT,
        interface: None,
    }
}

/// Makes ready for packets between all nodes.
fn prepare(world: &mut World) {
    let [from, to] = ["node:node0", "node:node1"].map(|node| node.parse().expect("a node"));
    let question =
        Question { from, to, service: Service::Icmp(Protocol::ICMP, None), source_port: SOURCE_PORT, interface: None };
    world.prepare(&question).expect("the configuration is good");
}

fn verdict(world: &World, question: &Question) -> Result<Verdict, JudgeError> {
    world.cluster().verdict(question)
}

/// Different packets that are denied, and can exist.
fn denied(random: &mut Random, world: &World, addresses: &[String], count: usize) -> Vec<Question> {
    let mut found: Vec<Question> = Vec::new();
    let mut known = BTreeSet::new();
    for _ in 0..count * 8 {
        if found.len() == count {
            break;
        }
        let question = random_question(random, addresses);
        if verdict(world, &question) == Ok(Verdict::Deny) && known.insert(format!("{question:?}")) {
            found.push(question);
        }
    }
    found
}

/// Whose programs may have a say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Judge {
    Workload(WorkloadId, Direction),
    Host(HostId),
}

/// A denied packet, and who has a say about it.
struct Denied {
    question: Question,
    judges: Vec<Judge>,
}

impl Denied {
    fn new(world: &World, question: Question) -> Self {
        let cluster = world.cluster();
        let (from, to, _) = cluster.resolve(&question).expect("the packet can exist");
        let workload =
            |end: End<'_>, direction| end.workload.map(|endpoint| Judge::Workload(endpoint.id.clone(), direction));
        let nodes: Vec<&str> =
            [from, to].into_iter().filter_map(|end| end.host.or_else(|| cluster.node(end.workload?))).collect();
        let hosts = nodes.iter().flat_map(|node| cluster.facts.hosts_of(node));
        let hosts = hosts.map(|(name, _)| Judge::Host(HostId(name.clone())));
        let workloads = [workload(from, Direction::Egress), workload(to, Direction::Ingress)];
        let judges = workloads.into_iter().flatten().chain(hosts).collect();
        Self { question, judges }
    }

    /// Whether it passes after a change that touched some judges: it is denied as
    /// before if none of them is its.
    fn passes(&self, world: &World, touched: &BTreeSet<&Judge>) -> bool {
        self.judges.iter().any(|judge| touched.contains(judge)) && verdict(world, &self.question) == Ok(Verdict::Allow)
    }
}

/// The objects as they are after the edits, read from the edits' own text.
pub(super) fn applied(world: &World, proposal: &Proposal) -> Vec<Change> {
    let Proposal::Edits(edits) = proposal else { return Vec::new() };
    let mut changes: Vec<Change> = Vec::new();
    for edit in edits {
        let document = read_documents(Path::new("edit.yaml"), edit.document()).remove(0).expect("YAML");
        let named = &edit.object;
        let kind = caracal_datastore::manifest::ResourceKind::of(named.api_version, &named.kind).expect("a kind");
        let name = Name { kind, namespace: named.namespace.clone(), name: named.name.clone() };
        let before = changes.iter().rev().find(|change| change.name == name).and_then(|change| change.value.clone());
        let value = match &edit.how {
            How::Manifest(_) => document.value,
            How::Patch(_) => {
                let before = before.or_else(|| world.cluster().manifests.value(&name));
                patched(before.expect("what is patched is there"), &document.value)
            }
        };
        changes.retain(|change| change.name != name);
        changes.push(Change { name, value: Some(value) });
    }
    changes
}

/// Does what a JSON patch of `add` operations says (RFC 6902 §4.1).
fn patched(mut value: Value, patch: &Value) -> Value {
    for operation in patch.as_array().expect("a list of operations") {
        assert_eq!(operation["op"], "add");
        let path = operation["path"].as_str().expect("a path");
        let (parent, last) = path.rsplit_once('/').expect("a path below the root");
        match value.pointer_mut(parent).expect("the parent is there") {
            Value::Array(items) => items.insert(last.parse().expect("an index"), operation["value"].clone()),
            Value::Object(fields) => {
                fields.insert(last.to_owned(), operation["value"].clone());
            }
            other => panic!("{other} has no members"),
        }
    }
    value
}

/// Same ends, protocol and port: whichever of their addresses the ends use.
fn is_asked(world: &World, asked: &Question, other: &Question) -> bool {
    let end = |party: &Party| match party {
        Party::Address(address) => world.cluster().owner(*address).cloned().ok_or(*address),
        Party::Workload(_) | Party::WorkloadAt(..) | Party::Node(_) => {
            unreachable!("packets are asked about by address")
        }
    };
    end(&asked.from) == end(&other.from) && end(&asked.to) == end(&other.to) && asked.service == other.service
}

/// Programs, and the policies that they name.
type Deciders = Vec<(ProgramKey, Vec<Option<Arc<PolicyProgram>>>)>;

fn deciders(world: &World) -> Vec<(Judge, Deciders)> {
    let store = world.cluster().store();
    let of = |program: &Arc<Program>| {
        let policies = program.tiers().iter().flat_map(|tier| tier.enforced());
        (program.key(), policies.map(|id| store.policy(id).cloned()).collect())
    };
    let workloads = store.workloads().flat_map(|endpoint| {
        Direction::ALL
            .map(|direction| (Judge::Workload(endpoint.id.clone(), direction), vec![of(endpoint.program(direction))]))
    });
    let hosts =
        store.hosts().map(|endpoint| (Judge::Host(endpoint.id.clone()), endpoint.programs.all().map(of).collect()));
    workloads.chain(hosts).collect()
}

/// What came of the packets of one cluster.
#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    /// Those that only host endpoints deny.
    by_hosts: usize,
    passed: usize,
    failures: String,
}

fn check_cluster(seed: u64, tally: &mut Tally) {
    let mut random = Random::new(seed);
    let RandomCluster { manifests, addresses } = cluster(&mut random, seed);
    let mut world = world(&manifests);
    prepare(&mut world);
    let others = denied(&mut random, &world, &addresses, OTHERS);
    let others: Vec<Denied> = others.into_iter().map(|question| Denied::new(&world, question)).collect();
    let before = deciders(&world);
    for Denied { question: asked, .. } in others.iter().take(ASKED) {
        tally.asked += 1;
        let answer = world.cluster().judge(asked).expect("the packet can exist");
        tally.by_hosts +=
            usize::from((answer.egress.verdict, answer.ingress.verdict) == (Verdict::Allow, Verdict::Allow));
        let proposal = propose(&mut world, asked).expect("an answer").expect("it is denied");
        let changes = applied(&world, &proposal);
        let (passes, opened) = world
            .with(&changes, |world| {
                let after = deciders(world);
                let touched: BTreeSet<&Judge> = before
                    .iter()
                    .zip(&after)
                    .filter(|(before, after)| before != after)
                    .map(|((judge, _), _)| judge)
                    .collect();
                let opened: Vec<&Question> = others
                    .iter()
                    .filter(|other| other.passes(world, &touched) && !is_asked(world, asked, &other.question))
                    .map(|other| &other.question)
                    .collect();
                (verdict(world, asked) == Ok(Verdict::Allow), opened)
            })
            .expect("a calculation")
            .unwrap_or_default();
        assert!(opened.is_empty(), "seed {seed}: {asked:?} opens {opened:?} by {proposal:?}\n{manifests}");
        if passes {
            tally.passed += 1;
        } else {
            writeln!(tally.failures, "seed {seed}: {asked:?}: {proposal:?}").expect("text");
        }
    }
    // What was supposed meanwhile has left nothing behind.
    assert_eq!(deciders(&world), before, "seed {seed}");
}

#[test]
fn ten_thousand_edits_open_what_was_asked_and_nothing_else() {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let check = |first: usize| {
        let mut tally = Tally::default();
        for seed in (0..CLUSTERS * soak()).skip(first).step_by(threads) {
            check_cluster(seed, &mut tally);
        }
        tally
    };
    let mut sum = Tally::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || check(first))).collect();
        for thread in running {
            let Tally { asked, by_hosts, passed, failures } = thread.join().expect("the checks of a thread hold");
            sum.asked += asked;
            sum.by_hosts += by_hosts;
            sum.passed += passed;
            sum.failures += &failures;
        }
    });
    let Tally { asked, by_hosts, passed, failures } = sum;
    assert!(by_hosts > asked / 10, "only {by_hosts} of {asked} are a matter of host endpoints");
    assert!(asked >= ASKED * 100 * usize::try_from(soak()).expect("a factor"), "only {asked} packets are denied");
    let (whole, hundredths) = (passed * 100 / asked, passed * 10_000 / asked % 100);
    assert!(passed * 100 >= asked * 99, "only {passed} of {asked} pass, {whole}.{hundredths:02} %:\n{failures}");
}

/// The same through files: what is printed is written down beside the manifests,
/// and everything is read anew.
#[test]
fn an_edit_that_is_written_down_lets_the_packet_pass() {
    let mut written = 0;
    for seed in 1000..1030 {
        let mut random = Random::new(seed);
        let RandomCluster { manifests, addresses } = cluster(&mut random, seed);
        let mut before = world(&manifests);
        prepare(&mut before);
        for asked in denied(&mut random, &before, &addresses, 4) {
            let Some(proposal @ Proposal::Edits(_)) = propose(&mut before, &asked).expect("an answer") else {
                continue;
            };
            let dir = tempfile::tempdir().expect("a directory");
            // The first that names an object counts, and files are read in order of their names.
            for (i, change) in applied(&before, &proposal).into_iter().enumerate() {
                let text = super::super::yaml::document(&change.value.expect("edits take nothing away"));
                std::fs::write(dir.path().join(format!("edit-{i}.yaml")), text).expect("a file");
            }
            std::fs::write(dir.path().join("shop.yaml"), &manifests).expect("a file");
            let mut after = World::read(dir.path(), None).expect("manifests");
            prepare(&mut after);
            assert_eq!(
                verdict(&after, &asked),
                Ok(Verdict::Allow),
                "seed {seed}: {asked:?}: {proposal:?}\n{manifests}"
            );
            written += 1;
        }
    }
    assert!(written >= 100, "only {written}");
}
