mod drift;
mod flows;
mod report;
mod revocation;
mod settings;

use std::time::Duration;

use caracal_net::IfIndex;
use caracal_program::AdminState;
use caracal_proto::felix::{self, to_dataplane::Payload};
use caracal_proto::sync::endpoint_outcome::Outcome::{self, Programmed, Removed, Shadowed, WaitingForInterface};
use caracal_proto::sync::{Begin, Commit};

use super::*;
use crate::fakes::{
    FakeDriver, FakeHost, POLL, World, config, endpoint, endpoint_in_state, in_sync, message, no_endpoint,
};
use crate::host::Route;

const SECOND: Duration = Duration::from_secs(1);
/// `RouteRefreshInterval` and the time that unknown routes are given.
const REFRESH: Duration = Duration::from_secs(90);
const GRACE: Duration = Duration::from_secs(10);

/// A data half, and the time.
struct Rig {
    half: DataHalf<FakeDriver, FakeHost>,
    world: World,
    now: Instant,
    revision: u64,
}

/// Endpoints that an acknowledgement names, by workload, and its error.
#[derive(Debug, Default, PartialEq)]
struct Told {
    outcomes: Vec<(String, Outcome, String)>,
    error: String,
}

fn told(outcomes: &[(&str, Outcome)]) -> Told {
    let outcomes = outcomes.iter().map(|(workload, outcome)| ((*workload).to_owned(), *outcome, String::new()));
    Told { outcomes: outcomes.collect(), error: String::new() }
}

impl Rig {
    fn start() -> Self {
        let (world, now) = (World::default(), Instant::now());
        let half = DataHalf::start(now, FakeDriver::new(world.clone()), FakeHost(world.clone()), Settings::default());
        Self { half, world, now, revision: 0 }
    }

    /// In sync, with these endpoints; what that took is forgotten.
    fn with(messages: &[felix::ToDataplane]) -> Self {
        let mut rig = Self::start();
        let messages: Vec<_> = messages.iter().cloned().chain([in_sync()]).collect();
        rig.snapshot(&messages);
        rig.world.calls();
        rig
    }

    fn snapshot(&mut self, messages: &[felix::ToDataplane]) -> Told {
        self.send(Kind::Snapshot, messages)
    }

    fn delta(&mut self, messages: &[felix::ToDataplane]) -> Told {
        self.send(Kind::Delta, messages)
    }

    fn send(&mut self, kind: Kind, messages: &[felix::ToDataplane]) -> Told {
        let begin = Begin { epoch: 7, kind: kind.into(), from: self.revision };
        assert_eq!(self.frame(to_data::Frame::Begin(begin)), None);
        for message in messages {
            assert_eq!(self.frame(to_data::Frame::Felix(message.clone())), None);
        }
        self.revision += 1;
        let commit = Commit { revision: self.revision, stamp: 0 };
        self.frame(to_data::Frame::Commit(commit)).expect("a commit is acknowledged")
    }

    fn frame(&mut self, frame: to_data::Frame) -> Option<Told> {
        let answer = self.half.frame(self.now, ToData { frame: Some(frame) }).expect("frames in order");
        answer.map(|answer| self.told(answer))
    }

    fn link(&mut self, name: &str, state: LinkState) -> Option<Told> {
        self.half.link(self.now, &name.into(), state).map(|answer| self.told(answer))
    }

    /// Lets time pass; what was told meanwhile.
    fn wait(&mut self, time: Duration) -> Vec<Told> {
        let end = self.now + time;
        let mut all = Vec::new();
        while self.half.deadline() <= end {
            let due = self.half.deadline();
            self.now = due.max(self.now);
            all.extend(self.half.tick(self.now));
            assert!(self.half.deadline() > self.now, "what was due is done or put off");
        }
        self.now = end;
        all.into_iter().map(|answer| self.told(answer)).collect()
    }

    fn told(&self, answer: FromData) -> Told {
        let Some(from_data::Frame::Ack(ack)) = answer.frame else { panic!("not an acknowledgement: {answer:?}") };
        assert_eq!((ack.epoch, ack.revision), (7, self.revision));
        let outcome = |outcome: EndpointOutcome| {
            let kind = outcome.outcome();
            (outcome.id.expect("an id").workload_id, kind, outcome.reason)
        };
        Told { outcomes: ack.outcomes.into_iter().map(outcome).collect(), error: ack.error }
    }
}

fn up(index: u32) -> LinkState {
    LinkState::Up(IfIndex(index))
}

fn down(index: u32) -> LinkState {
    LinkState::Down(IfIndex(index))
}

fn route(verb: &str, addr: &str, index: u32) -> String {
    let len = if addr.contains(':') { 128 } else { 32 };
    format!("{verb} {addr}/{len} dev {index} proto 3 metric 1024")
}

fn introduction(addr: &str, index: u32) -> String {
    format!("introduce {addr} dev {index}")
}

/// What it takes to serve an IPv4 address on `cali1`.
fn served(addr: &str, index: u32) -> [String; 3] {
    ["prepare cali1 IPv4".to_owned(), route("add", addr, index), introduction(addr, index)]
}

#[test]
fn a_start_takes_over_what_the_kernel_holds() {
    let mut rig = Rig::start();
    assert_eq!(rig.world.calls(), ["resync keep"]);
    assert_eq!(rig.half.held(), None);
    assert_eq!(rig.wait(POLL - SECOND), []);
    assert_eq!(rig.world.calls(), [""; 0]);
}

#[test]
fn the_kernel_is_compared_once_and_swept_when_everything_was_told() {
    let cases = [
        (vec![in_sync()], vec![], "resync remove", "apply []"),
        (vec![], vec![in_sync()], "resync keep", "resync remove"),
        (vec![], vec![], "resync keep", "apply []"),
    ];
    for (first, second, on_first, on_second) in cases {
        let mut rig = Rig::start();
        rig.world.calls();
        rig.snapshot(&first);
        assert_eq!(rig.world.calls()[0], on_first);
        rig.delta(&second);
        assert_eq!(rig.world.calls()[0], on_second);
        rig.delta(&[]);
        assert_eq!(rig.world.calls()[0], "apply []");
    }
}

#[test]
fn a_revision_reaches_the_driver_whole_and_once() {
    let mut rig = Rig::with(&[]);
    let members = Payload::IpsetUpdate(felix::IpSetUpdate {
        id: "s:a".to_owned(),
        members: vec!["10.0.0.1/32".to_owned()],
        ..Default::default()
    });
    rig.delta(&[message(members.clone()), endpoint("a", "cali1", &[]), endpoint("b", "cali2", &[])]);
    assert_eq!(rig.world.calls(), ["apply [set s:a, endpoint a, endpoint b]", "forward IPv4", "forward IPv6"]);
    rig.delta(&[message(members), endpoint("a", "cali1", &[])]);
    assert_eq!(rig.world.calls(), ["apply []"], "what is repeated is no change");
}

#[test]
fn an_endpoint_gets_rules_then_sysctls_and_routes() {
    let mut rig = Rig::with(&[]);
    assert_eq!(rig.link("cali1", up(5)), None);
    let acknowledged = rig.delta(&[endpoint("a", "cali1", &["10.0.0.1", "fd00::1"])]);
    assert_eq!(acknowledged, told(&[("a", Programmed)]));
    let calls = [
        "apply [endpoint a]".to_owned(),
        "forward IPv4".to_owned(),
        "forward IPv6".to_owned(),
        "prepare cali1 IPv4".to_owned(),
        "prepare cali1 IPv6".to_owned(),
        route("add", "10.0.0.1", 5),
        route("add", "fd00::1", 5),
        introduction("10.0.0.1", 5),
        introduction("fd00::1", 5),
    ];
    assert_eq!(rig.world.calls(), calls);
    assert_eq!(rig.delta(&[no_endpoint("a")]), told(&[("a", Removed)]));
    let calls = ["apply [endpoint a]".to_owned(), route("del", "10.0.0.1", 5), route("del", "fd00::1", 5)];
    assert_eq!(rig.world.calls(), calls, "the review forgets the connections of what is nobody's");
}

#[test]
fn an_interface_may_come_after_its_endpoint() {
    let mut rig = Rig::with(&[]);
    let acknowledged = rig.delta(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    assert_eq!(acknowledged, told(&[("a", WaitingForInterface)]));
    rig.world.calls();
    assert_eq!(rig.link("cali1", down(5)), None);
    assert_eq!(rig.world.calls(), [""; 0]);
    assert_eq!(rig.link("cali1", up(5)), Some(told(&[("a", Programmed)])));
    assert_eq!(rig.world.calls(), served("10.0.0.1", 5));
    assert_eq!(rig.link("cali1", up(5)), None);
    assert_eq!(rig.link("eth0", up(6)), None);
    assert_eq!(rig.world.calls(), [""; 0], "no news, no work");
}

#[test]
fn a_workload_is_told_of_its_gateway_again_when_its_interface_carries_packets() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    for (state, calls) in [(down(5), vec![]), (up(5), vec![introduction("10.0.0.1", 5)])] {
        rig.link("cali1", state);
        rig.world.calls();
        rig.half.running(&"cali1".into());
        assert_eq!(rig.world.calls(), calls);
    }
}

#[test]
fn routes_are_written_again_when_an_interface_comes_back() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    rig.link("cali1", up(5));
    // One that has lost its name only still has its routes; else the kernel took them away itself.
    let left = vec![route("del", "10.0.0.1", 5)];
    for (away, calls, index) in [(down(5), vec![], 5), (LinkState::Gone, left, 6), (down(6), vec![], 7)] {
        rig.world.calls();
        assert_eq!(rig.link("cali1", away), Some(told(&[("a", WaitingForInterface)])));
        assert_eq!(rig.world.calls(), calls);
        assert_eq!(rig.link("cali1", up(index)), Some(told(&[("a", Programmed)])));
        assert_eq!(rig.world.calls(), served("10.0.0.1", index));
    }
}

#[test]
fn an_interface_that_was_replaced_unseen_gets_its_routes() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    rig.link("cali1", up(5));
    rig.world.calls();
    assert_eq!(rig.link("cali1", up(6)), None, "the endpoint is doing as before");
    let [prepared, added, introduced] = served("10.0.0.1", 6);
    let calls = [prepared, added, route("del", "10.0.0.1", 5), introduced];
    assert_eq!(rig.world.calls(), calls);
}

#[test]
fn an_address_moves_to_another_endpoint_in_one_revision() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    rig.link("cali1", up(5));
    rig.link("cali2", up(6));
    rig.world.calls();
    let acknowledged = rig.delta(&[no_endpoint("a"), endpoint("b", "cali2", &["10.0.0.1"])]);
    assert_eq!(acknowledged, told(&[("a", Removed), ("b", Programmed)]));
    let calls = [
        "forget 10.0.0.1".to_owned(),
        "apply [endpoint a, endpoint b]".to_owned(),
        route("del", "10.0.0.1", 5),
        "prepare cali2 IPv4".to_owned(),
        route("add", "10.0.0.1", 6),
        introduction("10.0.0.1", 6),
    ];
    assert_eq!(rig.world.calls(), calls);
}

#[test]
fn an_endpoint_that_is_down_has_no_routes_and_no_connections() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    rig.link("cali1", up(5));
    rig.world.calls();
    rig.delta(&[endpoint_in_state(AdminState::Down, "a", "cali1", &["10.0.0.1"])]);
    let calls = ["forget 10.0.0.1".to_owned(), "apply [endpoint a]".to_owned(), route("del", "10.0.0.1", 5)];
    assert_eq!(rig.world.calls(), calls);
}

#[test]
fn of_two_endpoints_on_one_interface_the_lower_id_has_it_until_it_goes() {
    let mut rig = Rig::with(&[]);
    rig.link("cali1", up(5));
    let acknowledged = rig.delta(&[endpoint("b", "cali1", &["10.0.0.2"]), endpoint("a", "cali1", &["10.0.0.1"])]);
    assert_eq!(acknowledged, told(&[("a", Programmed), ("b", Shadowed)]));
    rig.world.calls();
    assert_eq!(rig.delta(&[no_endpoint("a")]), told(&[("a", Removed), ("b", Programmed)]));
    let calls = [
        "apply [endpoint a]".to_owned(),
        "prepare cali1 IPv4".to_owned(),
        route("add", "10.0.0.2", 5),
        route("del", "10.0.0.1", 5),
        introduction("10.0.0.2", 5),
    ];
    assert_eq!(rig.world.calls(), calls);
}

#[test]
fn what_the_driver_could_not_do_is_told_and_tried_again() {
    let mut rig = Rig::with(&[]);
    rig.link("cali1", up(5));
    rig.world.calls();
    rig.world.breaks("apply");
    let acknowledged = rig.delta(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    let error = "the kernel refused the transaction: broken by the test".to_owned();
    assert_eq!(acknowledged, Told { outcomes: Vec::new(), error });
    rig.world.calls();
    assert_eq!(rig.wait(SECOND), []);
    assert_eq!(rig.world.calls(), ["apply []"; 3], "after 0.1, 0.3 and 0.7 seconds");
    rig.world.heals();
    assert_eq!(rig.wait(SECOND), [told(&[("a", Programmed)])]);
    assert_eq!(rig.world.calls(), ["apply []"]);
    assert_eq!(rig.wait(60 * SECOND), []);
    assert_eq!(rig.world.calls(), [""; 0]);
}

#[test]
fn a_comparison_with_the_kernel_that_failed_is_tried_again_as_one() {
    let cases = [
        // The revisions, the one whose comparison fails, and what is tried again.
        (vec![vec![in_sync()]], 0, "resync remove"),
        (vec![vec![]], 0, "resync keep"),
        (vec![vec![], vec![in_sync()]], 1, "resync remove"),
    ];
    for (revisions, broken, retried) in cases {
        let mut rig = Rig::start();
        for (n, messages) in revisions.iter().enumerate() {
            if n == broken {
                rig.world.breaks("resync");
            }
            let acknowledged = if n == 0 { rig.snapshot(messages) } else { rig.delta(messages) };
            assert_eq!(acknowledged.error.is_empty(), n != broken);
        }
        rig.world.calls();
        rig.world.heals();
        assert_eq!(rig.wait(SECOND), [Told::default()], "the failure that was told is over");
        assert_eq!(rig.world.calls(), [retried]);
    }
}

#[test]
fn an_interface_that_cannot_be_set_up_is_told_and_tried_again() {
    for (broken, reason) in [("prepare", "cannot set sysctls"), ("add", "cannot write the route to 10.0.0.1/32")] {
        let mut rig = Rig::with(&[]);
        rig.link("cali1", up(5));
        rig.world.breaks(broken);
        let acknowledged = rig.delta(&[endpoint("a", "cali1", &["10.0.0.1"])]);
        let reason = format!("interface cali1: {reason}: broken by the test");
        assert_eq!(acknowledged.outcomes, [("a".to_owned(), Programmed, reason)]);
        assert_eq!(acknowledged.error, "");
        rig.world.calls();
        assert_eq!(rig.wait(SECOND), [], "the same failure is told once");
        rig.world.heals();
        assert_eq!(rig.wait(SECOND), [told(&[("a", Programmed)])]);
        assert!(rig.world.routes().len() == 1);
        rig.world.calls();
        assert_eq!(rig.wait(60 * SECOND), []);
        assert_eq!(rig.world.calls(), [""; 0]);
    }
}

#[test]
fn an_address_has_its_connections_forgotten_before_it_has_its_next_owner() {
    let endpoints = [endpoint("a", "cali1", &["10.0.0.1"]), endpoint("b", "cali2", &["10.0.0.2"])];
    let next = endpoint("c", "cali3", &["10.0.0.1"]);
    let mut rig = Rig::with(&endpoints);
    rig.delta(&[no_endpoint("a")]);
    rig.delta(std::slice::from_ref(&next));
    assert_eq!(rig.world.calls(), ["apply [endpoint a]", "forget 10.0.0.1", "apply [endpoint c]"]);
    // After a review there is nothing left of them.
    let mut rig = Rig::with(&endpoints);
    rig.delta(&[no_endpoint("a")]);
    rig.wait(SECOND);
    rig.delta(&[next]);
    assert_eq!(rig.world.calls(), ["apply [endpoint a]", "apply [endpoint c]"]);
}

#[test]
fn without_a_review_connections_are_forgotten_at_once_and_again_if_that_fails() {
    let off = config(&[("RevokeEstablishedConnections", "false")]);
    let mut rig = Rig::with(&[off, endpoint("a", "cali1", &["10.0.0.1"]), endpoint("b", "cali2", &["10.0.0.2"])]);
    rig.world.breaks("forget");
    rig.delta(&[no_endpoint("a")]);
    rig.delta(&[no_endpoint("b")]);
    rig.world.calls();
    rig.world.heals();
    assert_eq!(rig.wait(SECOND), []);
    assert_eq!(rig.world.calls(), ["forget 10.0.0.1 10.0.0.2"]);
    assert_eq!(rig.wait(60 * SECOND), []);
    rig.delta(&[]);
    assert_eq!(rig.world.calls(), ["apply []"], "once is enough");
    // Rules that cannot be put in force are not waited for.
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    rig.world.breaks("apply");
    rig.delta(&[no_endpoint("a")]);
    assert_eq!(rig.world.calls(), ["apply [endpoint a]", "forget 10.0.0.1"]);
}

/// A route that a stranger wrote to the workload's interface.
fn strange(protocol: u8) -> Route {
    let destination = "192.0.2.0/24".parse().expect("a prefix");
    Route { destination, interface: IfIndex(5), protocol, metric: 0 }
}

#[test]
fn a_route_that_nobody_wants_goes_after_a_grace_period() {
    let ours = 3;
    let cases = [
        // protocol, RemoveExternalRoutes, interface, whether it goes
        (ours, "true", "cali1", true),
        (ours, "false", "cali1", true),
        (4, "true", "cali1", true),
        (4, "false", "cali1", false),
        (ours, "true", "eth0", false),
    ];
    for (protocol, remove_external, interface, goes) in cases {
        let case = (protocol, remove_external, interface);
        let mut rig = Rig::start();
        rig.world.add_route(strange(protocol));
        rig.link(interface, up(5));
        rig.snapshot(&[config(&[("RemoveExternalRoutes", remove_external)])]);
        assert_eq!(rig.half.links_missed(rig.now), None);
        assert_eq!(rig.wait(2 * REFRESH), []);
        assert_eq!(rig.half.links_missed(rig.now), None);
        assert_eq!(rig.world.routes().len(), 1, "{case:?}: not everything has been told");
        rig.delta(&[in_sync()]);
        rig.wait(GRACE - SECOND);
        assert_eq!(rig.world.routes().len(), 1, "{case:?}: the endpoint may be on its way");
        rig.wait(2 * SECOND);
        assert_eq!(rig.world.routes().is_empty(), goes, "{case:?}");
    }
}

#[test]
fn a_route_that_is_wanted_within_its_grace_period_stays() {
    let mut rig = Rig::start();
    let route = Route { destination: "10.0.0.1/32".parse().expect("a prefix"), metric: 1024, ..strange(3) };
    rig.world.add_route(route);
    rig.link("cali1", up(5));
    rig.snapshot(&[in_sync()]);
    rig.wait(GRACE / 2);
    rig.delta(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    rig.wait(2 * REFRESH);
    assert_eq!(rig.world.routes().into_iter().collect::<Vec<_>>(), [route]);
}

#[test]
fn a_route_that_cannot_be_removed_does_not_keep_the_thread_busy() {
    let mut rig = Rig::start();
    rig.world.add_route(strange(3));
    rig.link("cali1", up(5));
    rig.snapshot(&[in_sync()]);
    rig.world.breaks("del");
    rig.world.calls();
    rig.wait(6 * GRACE);
    assert_eq!(rig.world.calls().len(), 12, "a listing and a try for each grace period");
    rig.world.heals();
    rig.wait(GRACE);
    assert!(rig.world.routes().is_empty());
}

#[test]
fn a_route_that_somebody_removed_is_written_again() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &["10.0.0.1"])]);
    rig.link("cali1", up(5));
    let lost = |rig: &mut Rig| {
        rig.world.lose_routes(|_| true);
        rig.world.calls();
    };
    let calls = [
        "forward IPv4".to_owned(),
        "forward IPv6".to_owned(),
        "list routes".to_owned(),
        "prepare cali1 IPv4".to_owned(),
        route("add", "10.0.0.1", 5),
        introduction("10.0.0.1", 5),
    ];
    lost(&mut rig);
    assert_eq!(rig.wait(REFRESH), []);
    assert_eq!(rig.world.calls(), calls);
    lost(&mut rig);
    assert_eq!(rig.half.links_missed(rig.now), None);
    assert_eq!(rig.world.calls(), calls, "the interface may have been down");
}

#[test]
fn routes_that_cannot_be_listed_are_listed_later() {
    let mut rig = Rig::start();
    rig.world.add_route(strange(3));
    rig.link("cali1", up(5));
    rig.snapshot(&[in_sync()]);
    rig.world.breaks("list");
    rig.world.calls();
    rig.wait(GRACE + SECOND);
    assert_eq!(rig.world.calls(), ["list routes"; 4], "after 10, 10.1, 10.3 and 10.7 seconds");
    rig.world.heals();
    rig.wait(SECOND);
    assert!(rig.world.routes().is_empty());
    rig.world.calls();
    rig.wait(REFRESH);
    assert_eq!(rig.world.calls(), ["list routes"]);
}

#[test]
fn a_host_that_does_not_forward_is_seen_to_in_time() {
    let mut rig = Rig::start();
    rig.world.breaks("forward");
    assert_eq!(rig.snapshot(&[endpoint("a", "cali1", &[]), in_sync()]).error, "");
    rig.world.heals();
    rig.world.calls();
    rig.wait(REFRESH);
    assert_eq!(rig.world.calls(), ["forward IPv4", "forward IPv6", "list routes"]);
    rig.delta(&[endpoint("b", "cali2", &[])]);
    assert_eq!(rig.world.calls(), ["apply [endpoint b]"]);
}

#[test]
fn without_a_refresh_interval_routes_are_not_listed_again() {
    let mut rig = Rig::with(&[config(&[("RouteRefreshInterval", "0")])]);
    assert_eq!(rig.wait(POLL - 3 * REFRESH), []);
    assert_eq!(rig.world.calls(), [""; 0]);
    rig.delta(&[config(&[])]);
    rig.world.calls();
    rig.wait(REFRESH);
    assert_eq!(rig.world.calls(), ["list routes"]);
}

#[test]
fn a_new_control_half_is_told_every_outcome() {
    let messages = [endpoint("a", "cali1", &[]), endpoint("b", "cali2", &[]), in_sync()];
    let mut rig = Rig::with(&messages);
    rig.link("cali1", up(5));
    rig.world.calls();
    assert_eq!(rig.delta(&[]), Told::default());
    assert_eq!(rig.snapshot(&messages), told(&[("a", Programmed), ("b", WaitingForInterface)]));
    assert_eq!(rig.world.calls(), ["apply []"; 2], "and nothing else has to be done");
}

#[test]
fn frames_out_of_order_are_an_error_and_change_nothing() {
    let mut rig = Rig::with(&[endpoint("a", "cali1", &[])]);
    let held = rig.half.held();
    let frames = [
        to_data::Frame::Felix(in_sync()),
        to_data::Frame::Commit(Commit { revision: 9, stamp: 0 }),
        to_data::Frame::Begin(Begin { epoch: 7, kind: Kind::Delta.into(), from: 9 }),
    ];
    for frame in frames {
        rig.half.frame(rig.now, ToData { frame: Some(frame) }).expect_err("out of order");
        assert_eq!(rig.half.held(), held);
    }
    assert_eq!(rig.world.calls(), [""; 0]);
}
