//! What is proposed opens what was asked for, and nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use caracal_datastore::manifest::read_documents;
use caracal_program::{Direction, Packet, PolicyProgram, ProgramKey, Verdict, WorkloadId, evaluate_endpoint};
use serde_json::Value;

use super::super::cluster::End;
use super::super::edit::{How, Proposal, propose};
use super::super::world::Change;
use super::super::written::Name;
use super::super::{JudgeError, Party, Question, SOURCE_PORT, World};
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
    }
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

/// Whose policy judges a packet on its way out and on its way in, if anybody's.
type Judges = [(Option<WorkloadId>, Direction); 2];

/// A denied packet, and what each side says to it.
struct Denied {
    question: Question,
    packet: Packet,
    judges: Judges,
    verdicts: [Verdict; 2],
}

impl Denied {
    fn new(world: &World, question: Question) -> Self {
        let (from, to, packet) = world.cluster().resolve(&question).expect("the packet can exist");
        let id = |end: End<'_>| end.workload.map(|endpoint| endpoint.id.clone());
        let judges = [(id(from), Direction::Egress), (id(to), Direction::Ingress)];
        let verdicts = judges.each_ref().map(|judge| side(world, judge, &packet));
        Self { question, packet, judges, verdicts }
    }

    /// Whether it passes after a change that touched some judges: the others decide as before.
    fn passes(&self, world: &World, touched: &BTreeSet<(&WorkloadId, Direction)>) -> bool {
        self.judges.iter().zip(self.verdicts).all(|(judge, before)| {
            let is_touched = matches!(judge, (Some(id), direction) if touched.contains(&(id, *direction)));
            Verdict::Allow == if is_touched { side(world, judge, &self.packet) } else { before }
        })
    }
}

fn side(world: &World, (id, direction): &(Option<WorkloadId>, Direction), packet: &Packet) -> Verdict {
    let Some(id) = id else { return Verdict::Allow };
    let store = world.cluster().store();
    let endpoint = store.workload(id).expect("no change takes an endpoint away");
    evaluate_endpoint(endpoint, *direction, store, packet).verdict
}

/// The objects as they are after the edits, read from the edits' own text.
fn applied(world: &World, proposal: &Proposal) -> Vec<Change> {
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
        Party::Workload(_) => unreachable!("packets are asked about by address"),
    };
    end(&asked.from) == end(&other.from) && end(&asked.to) == end(&other.to) && asked.service == other.service
}

/// What decides at an endpoint in a direction.
type Deciders = (ProgramKey, Vec<Option<Arc<PolicyProgram>>>);

fn deciders(world: &World) -> Vec<(WorkloadId, Direction, Deciders)> {
    let store = world.cluster().store();
    let of = |endpoint: &Arc<caracal_program::WorkloadEndpoint>, direction| {
        let program = endpoint.program(direction);
        let policies = program.tiers().iter().flat_map(|tier| tier.enforced());
        (endpoint.id.clone(), direction, (program.key(), policies.map(|id| store.policy(id).cloned()).collect()))
    };
    store.workloads().flat_map(|endpoint| Direction::ALL.map(|direction| of(endpoint, direction))).collect()
}

/// What came of the packets of one cluster.
#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    passed: usize,
    failures: String,
}

fn check_cluster(seed: u64, tally: &mut Tally) {
    let mut random = Random::new(seed);
    let RandomCluster { manifests, addresses } = cluster(&mut random);
    let mut world = world(&manifests);
    let others = denied(&mut random, &world, &addresses, OTHERS);
    let others: Vec<Denied> = others.into_iter().map(|question| Denied::new(&world, question)).collect();
    let before = deciders(&world);
    for Denied { question: asked, .. } in others.iter().take(ASKED) {
        tally.asked += 1;
        let proposal = propose(&mut world, asked).expect("an answer").expect("it is denied");
        let changes = applied(&world, &proposal);
        let (passes, opened) = world
            .with(&changes, |world| {
                let after = deciders(world);
                let touched: BTreeSet<(&WorkloadId, Direction)> = before
                    .iter()
                    .zip(&after)
                    .filter(|(before, after)| before != after)
                    .map(|((id, direction, _), _)| (id, *direction))
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
            let Tally { asked, passed, failures } = thread.join().expect("the checks of a thread hold");
            sum.asked += asked;
            sum.passed += passed;
            sum.failures += &failures;
        }
    });
    let Tally { asked, passed, failures } = sum;
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
        let RandomCluster { manifests, addresses } = cluster(&mut random);
        let mut before = world(&manifests);
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
            let after = World::read(dir.path(), None).expect("manifests");
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
