use std::net::IpAddr;

use caracal_program::Direction;
use caracal_proto::FLOWS;
use caracal_proto::sync::{Extension, FlowHit, from_data};
use caracal_sys::nflog::{Key, Logged, Tuple};
use prost::Message as _;

use super::*;
use crate::fakes::{FakeHost, World};

fn packet(port: u16, prefix: &str) -> Logged {
    let addr = |text: &str| text.parse::<IpAddr>().expect("an address");
    let key = Key::Ports { source: port, destination: 80 };
    let tuple = Tuple { source: addr("10.0.0.1"), destination: addr("fd00::2"), protocol: 6, key };
    Logged { prefix: prefix.into(), tuple, called: "10.96.0.1:443".parse().ok() }
}

fn decode(frame: FromData) -> caracal_proto::sync::Flows {
    let Some(from_data::Frame::Extension(Extension { name, value })) = frame.frame else { panic!("{frame:?}") };
    assert_eq!(name, FLOWS);
    caracal_proto::sync::Flows::decode(&value[..]).expect("a message")
}

struct Scene {
    flows: Flows,
    host: FakeHost,
    world: World,
    store: PolicyStore,
    start: Instant,
}

impl Scene {
    fn new() -> Self {
        let world = World::default();
        let host = FakeHost(world.clone());
        Self { flows: Flows::default(), host, world, store: PolicyStore::new(), start: Instant::now() }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    fn configure(&mut self, millis: u64, wanted: bool) -> Telling {
        self.flows.configure(self.at(millis), wanted, &mut self.host)
    }

    fn hear(&self, direction: Direction, packet: Logged) {
        self.flows.listener.as_ref().expect("somebody listens").hear(self.start, direction, packet);
    }

    fn take(&mut self, millis: u64) -> Option<caracal_proto::sync::Flows> {
        self.flows.take(self.at(millis), &self.store).map(decode)
    }
}

#[test]
fn a_record_says_who_sent_to_whom_and_what_decided() {
    let mut scene = Scene::new();
    assert_eq!(scene.configure(0, true), Telling::Yes);
    scene.hear(Direction::Egress, packet(4000, "PPE|admin"));
    scene.hear(Direction::Egress, packet(4000, "APE7|np/shop/web"));
    assert_eq!(scene.take(999), None, "not yet");
    let batch = scene.take(1000).expect("a record");
    let [flow] = &batch.flows[..] else { panic!("{batch:?}") };
    let ends = (flow.source.as_str(), flow.source_port, flow.destination.as_str(), flow.destination_port);
    assert_eq!(ends, ("10.0.0.1", Some(4000), "fd00::2", Some(80)));
    assert_eq!((flow.direction.as_str(), flow.action.as_str(), flow.packets), ("outbound", "allow", 1));
    assert_eq!(flow.called, "10.96.0.1:443");
    let [kind, namespace, name, tier] = ["NetworkPolicy", "shop", "web", ""].map(str::to_owned);
    assert_eq!(flow.decider, Some(FlowHit { kind, namespace, name, tier, rule: Some(7) }));
    let [kind, name] = ["EndOfTier", "admin"].map(str::to_owned);
    assert_eq!(flow.passed, [FlowHit { kind, tier: name.clone(), name, ..FlowHit::default() }]);
    assert!(flow.first > 0 && flow.first == flow.last && batch.life > 0);
}

#[test]
fn a_batch_waits_for_the_answer_to_the_one_before() {
    let mut scene = Scene::new();
    scene.configure(0, true);
    for port in 0..3000 {
        scene.hear(Direction::Ingress, packet(port, "DRI"));
    }
    let first = scene.take(1000).expect("a batch").flows;
    assert!(first.len() <= BATCH, "{}", first.len());
    assert_eq!(scene.take(30_000), None, "nobody has answered");
    scene.flows.answered(scene.at(30_000));
    let second = scene.take(30_020).expect("the next batch").flows;
    assert_eq!(second[0].number, first.last().expect("a record").number + 1);
    assert!(scene.take(90_020).is_some(), "the answer is not waited for forever");
    let lost = scene.flows.measurements().into_iter().find(|number| number.name == "caracal_flow_records_lost_total");
    assert_eq!(lost.map(|lost| lost.value), Some(512.0));
}

#[test]
fn who_cannot_listen_tries_again_and_tells() {
    let mut scene = Scene::new();
    scene.world.breaks("listen");
    assert_eq!(scene.configure(0, true), Telling::No);
    let problem = scene.flows.problems().expect("a problem");
    assert!(problem.reason.contains("broken by the test"), "{}", problem.reason);
    assert!(scene.flows.retry_due().is_some() && scene.flows.due().is_none());
    scene.world.heals();
    assert_eq!(scene.configure(100, true), Telling::Yes);
    assert_eq!((scene.flows.problems(), scene.flows.retry_due()), (None, None));
    assert_eq!(scene.configure(200, false), Telling::No);
    assert_eq!((scene.flows.due(), scene.flows.measurements().len()), (None, 0), "off costs nothing");
    assert_eq!(scene.world.calls(), ["listen to flows", "listen to flows"]);
}
