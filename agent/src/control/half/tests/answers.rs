//! What commands are told of endpoints and policies.

use caracal_model::{HostEndpoint, HostEndpointKey, Policy, PolicyKey, PolicyKind, Tier, TierAction};
use caracal_proto::admin::{Endpoint, EndpointsResponse, PoliciesResponse, StatusResponse};
use caracal_proto::felix::HostEndpointId;
use caracal_proto::sync::endpoint_outcome::Outcome;
use caracal_proto::sync::{Counts, EndpointOutcome, Extension, Flow, Flows, RuleCount};
use caracal_proto::{COUNTS, FLOWS};

use super::*;
use crate::status::answer;

impl Loop {
    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Insight<'_>) -> T + Send + 'static) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(self.inbox.ask(question)).expect("the loop answers")
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let EndpointsResponse { endpoints } = self.ask(answer::Endpoints::all).answer();
        endpoints
    }

    fn counts(&self) -> Vec<(String, u64)> {
        let StatusResponse { endpoints, .. } =
            self.ask(|insight| answer::status(insight, "file:manifests".to_owned(), &[], &[]));
        endpoints.into_iter().map(|count| (count.outcome, count.count)).collect()
    }

    fn apply(&self, kind: Kind, object: Object) {
        self.source.send(vec![News::Event(Box::new(Event::Apply(kind, object, Stamp(1))))]);
    }

    /// The endpoint of an interface of this node, with a label `role`.
    fn host_endpoint(&self, name: &str, interface: &str) {
        let endpoint = HostEndpoint {
            interface: interface.into(),
            expected_ips: vec!["192.0.2.1".parse().expect("an address")],
            labels: Labels::from_iter([("role", "edge")]),
            ..HostEndpoint::default()
        };
        let key = HostEndpointKey { host: "node-a".into(), name: name.into() };
        self.apply(Kind::HostEndpoint, Object::HostEndpoint(key, endpoint));
    }

    /// A policy without rules for all host endpoints with that label.
    fn host_policy(&self, kind: PolicyKind, name: &str, order: f64) {
        let policy = Policy {
            tier: "default".into(),
            order: Some(order),
            selector: "role == 'edge'".into(),
            ingress: true,
            egress: true,
            inbound_rules: Vec::new(),
            outbound_rules: Vec::new(),
            untracked: false,
            pre_dnat: false,
            apply_on_forward: true,
            perf_hints: Vec::new(),
        };
        let of = match kind {
            PolicyKind::StagedGlobalNetworkPolicy => Kind::StagedGlobalNetworkPolicy,
            _ => Kind::GlobalNetworkPolicy,
        };
        let key = PolicyKey { kind, namespace: "".into(), name: name.into() };
        self.apply(of, Object::Policy(key, policy));
    }
}

impl Peer {
    fn tell_of_host(&self, revision: u64, name: &str, outcome: Outcome, reason: &str) {
        let host = Some(HostEndpointId { endpoint_id: name.to_owned() });
        let told = EndpointOutcome { id: None, outcome: outcome.into(), reason: reason.to_owned(), host };
        let ack = Ack { epoch: self.epoch, revision, outcomes: vec![told], ..Ack::default() };
        self.say(from_data::Frame::Ack(ack));
    }
}

#[test]
fn endpoints_of_other_nodes_are_counted_beside_those_of_this_one() {
    let control = Loop::start();
    control.list();
    let others = || {
        control.settle();
        let status = control.ask(|insight| answer::status(insight, String::new(), &[], &[]));
        status.other_endpoints
    };
    assert_eq!(others(), 0);
    control.host_endpoint("here", "eth0");
    assert_eq!(others(), 0);
    let key = HostEndpointKey { host: "node-b".into(), name: "there".into() };
    control.apply(Kind::HostEndpoint, Object::HostEndpoint(key, HostEndpoint::default()));
    assert_eq!(others(), 1);
}

fn count(outcome: &str) -> Vec<(String, u64)> {
    vec![(outcome.to_owned(), 1)]
}

#[test]
fn host_endpoints_have_receipts() {
    let control = Loop::start();
    control.list();
    let tier = Tier { order: Some(1e6), default_action: TierAction::Deny };
    control.apply(Kind::Tier, Object::Tier("default".into(), tier));
    control.host_endpoint("edge", "eth0");
    control.host_policy(PolicyKind::GlobalNetworkPolicy, "wall", 2.0);
    control.host_policy(PolicyKind::StagedGlobalNetworkPolicy, "trial", 1.0);
    control.settle();
    let mut peer = control.attach(1);
    peer.welcome();
    peer.revision();
    let endpoints = control.endpoints();
    let told: Vec<_> = endpoints.iter().map(|it| (it.kind.as_str(), it.id.as_str(), it.interface.as_str())).collect();
    assert_eq!(told, [("host", "edge", "eth0")]);
    assert_eq!(endpoints[0].addresses, ["192.0.2.1"]);
    // Each once, though two programs name them; what is staged stands in its place.
    assert_eq!(endpoints[0].policies, ["StagedGlobalNetworkPolicy trial", "GlobalNetworkPolicy wall"]);
    assert_eq!((endpoints[0].outcome.as_str(), endpoints[0].revision), ("pending", 0));
    assert_eq!(control.counts(), count("pending"));

    let PoliciesResponse { policies, ends: _ } = control.ask(answer::policies);
    let told: Vec<_> = policies.iter().map(|it| (it.name.as_str(), it.staged, it.order, it.endpoints)).collect();
    assert_eq!(told, [("trial", true, Some(1.0), 1), ("wall", false, Some(2.0), 1)]);

    peer.tell_of_host(1, "edge", Outcome::WaitingForInterface, "no interface eth0");
    let endpoint = control.endpoints().remove(0);
    assert_eq!((endpoint.outcome.as_str(), endpoint.revision), ("waiting for interface", 1));
    assert_eq!(endpoint.reason, "no interface eth0");
    peer.tell_of_host(1, "edge", Outcome::Programmed, "");
    assert_eq!(control.counts(), count("programmed"));

    // What is gone has no receipt left for a namesake.
    let key = Key::HostEndpoint(HostEndpointKey { host: "node-a".into(), name: "edge".into() });
    control.source.send(vec![News::Event(Box::new(Event::Delete(Kind::HostEndpoint, key, Stamp(2))))]);
    control.settle();
    peer.revision();
    assert_eq!(control.endpoints(), []);
    control.host_endpoint("edge", "eth0");
    control.settle();
    peer.ack(2);
    peer.revision();
    assert_eq!(control.counts(), count("pending"));
    control.end().expect("it was told to stop");
}

#[test]
fn what_rules_have_counted_is_asked_of_the_data_half_and_shown_by_policy() {
    let control = Loop::start();
    control.list();
    let tier = Tier { order: Some(1e6), default_action: TierAction::Deny };
    control.apply(Kind::Tier, Object::Tier("default".into(), tier));
    control.host_endpoint("edge", "eth0");
    control.host_policy(PolicyKind::GlobalNetworkPolicy, "wall", 2.0);
    control.settle();
    let count = || {
        let inbox = control.inbox.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(inbox.count());
        })
    };
    count().join().expect("nobody is there to be asked, and nobody waits");

    let mut peer = control.attach(1);
    peer.welcome();
    peer.revision();
    let asked = count();
    let to_data::Frame::Extension(question) = peer.frame() else { panic!("the data half is asked") };
    assert_eq!((question.name.as_str(), question.value.len()), (COUNTS, 0));
    let of = |kind: &str, name: &str, packets| RuleCount {
        kind: kind.to_owned(),
        name: name.to_owned(),
        direction: "inbound".to_owned(),
        action: "deny".to_owned(),
        packets,
        bytes: packets * 60,
        ..RuleCount::default()
    };
    // The policy has no rule: what is said of one is of an older revision.
    let rules = vec![of("GlobalNetworkPolicy", "wall", 1), of("EndOfTier", "default", 2), of("NoMatch", "", 3)];
    let value = Counts { rules, totals: Vec::new() }.encode_to_vec();
    let answer = from_data::Frame::Extension(Extension { name: COUNTS.to_owned(), value });
    control.inbox.send(Input::Frame { peer: peer.id, frame: Box::new(FromData { frame: Some(answer) }) });
    asked.join().expect("it was answered");
    let PoliciesResponse { policies, ends } = control.ask(answer::policies);
    assert!(policies.iter().all(|policy| policy.counts.is_empty()));
    let ends: Vec<_> = ends.iter().map(|end| (end.tier.as_str(), end.packets, end.bytes)).collect();
    assert_eq!(ends, [("default", 2, 120), ("", 3, 180)]);
    control.end().expect("it was told to stop");
}

#[test]
fn what_the_data_half_tells_of_flows_is_kept_and_answered() {
    let control = Loop::start();
    control.list();
    control.settle();
    let mut peer = control.attach(1);
    peer.welcome();
    peer.revision();
    let flow = Flow { direction: "inbound".to_owned(), source: "10.0.0.1".to_owned(), packets: 3, ..Flow::default() };
    let value = Flows { life: 1, flows: vec![flow] }.encode_to_vec();
    for value in [value, vec![0xff]] {
        let told = from_data::Frame::Extension(Extension { name: FLOWS.to_owned(), value });
        control.inbox.send(Input::Frame { peer: peer.id, frame: Box::new(FromData { frame: Some(told) }) });
        let to_data::Frame::Extension(taken) = peer.frame() else { panic!("the data half may send the next batch") };
        assert_eq!((taken.name.as_str(), taken.value.len()), (FLOWS, 0));
    }
    let answer = control.ask(|insight| answer::flows(insight, 0));
    let told: Vec<_> = answer.flows.iter().map(|flow| (flow.direction.as_str(), flow.packets)).collect();
    assert_eq!((answer.enabled, told), (false, vec![("inbound", 3)]), "what cannot be read loses nothing");
    control.end().expect("it was told to stop");
}
