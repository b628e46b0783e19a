//! Which connections are reviewed when, and what becomes of them.

use super::*;
use crate::fakes::{host_endpoint, profile, profiled};

const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";
const HOST: &str = "192.0.2.1";
const OUT: &str = "192.0.2.9";

/// Two endpoints that may do everything, and connections of both.
fn rig() -> Rig {
    let mut rig =
        Rig::with(&[profile("open", "allow"), profiled("a", "cali0", A, "open"), profiled("b", "cali1", B, "open")]);
    rig.wait(SECOND);
    rig.world.connect(&[(A, B), (OUT, A), (B, OUT), (OUT, B), (OUT, HOST)]);
    rig.world.calls();
    rig
}

/// What became of connections within a second, apart from what else was done.
fn judged(rig: &mut Rig) -> Vec<String> {
    judged_within(rig, SECOND)
}

fn judged_within(rig: &mut Rig, time: Duration) -> Vec<String> {
    rig.wait(time);
    let about = |call: &String| ["Cut", "Restore", "Forget"].iter().any(|word| call.starts_with(word));
    rig.world.calls().into_iter().filter(about).collect()
}

#[test]
fn a_change_has_the_connections_of_its_endpoints_reviewed_and_no_others() {
    let mut rig = rig();
    rig.delta(&[profiled("a", "cali0", A, "closed"), profile("closed", "deny")]);
    assert_eq!(judged(&mut rig), [format!("Cut {A} > {B}"), format!("Cut {OUT} > {A}")]);
    assert_eq!(judged(&mut rig), [""; 0], "once");
    rig.delta(&[profiled("a", "cali0", A, "open")]);
    assert_eq!(judged(&mut rig), [format!("Restore {A} > {B}"), format!("Restore {OUT} > {A}")]);
}

/// A host that has its address on its only uplink, and connections of it.
fn host_rig(messages: &[felix::ToDataplane]) -> Rig {
    let mut rig = Rig::start();
    for name in ["lo", "eth0", "cali0"] {
        rig.link(name, up(1));
    }
    rig.half.addresses(rig.now, &"eth0".into(), BTreeSet::from([HOST.parse().expect("an address")]));
    let workload = profiled("a", "cali0", A, "open");
    let messages: Vec<_> =
        [profile("open", "allow"), workload].iter().chain(messages).cloned().chain([in_sync()]).collect();
    rig.snapshot(&messages);
    rig.wait(SECOND);
    rig.world.connect(&[(OUT, HOST), (A, HOST), (HOST, A), (HOST, OUT), (OUT, A)]);
    rig.world.calls();
    rig
}

#[test]
fn a_host_endpoint_that_denies_has_the_connections_of_the_host_cut() {
    // Port 53 is a failsafe port outwards.
    let cut = [format!("Cut {OUT} > {HOST}")];
    let restored = [format!("Restore {OUT} > {HOST}")];
    for on in
        [host_endpoint("h", "eth0", &[], "p"), host_endpoint("h", "*", &[], "p"), host_endpoint("h", "", &[HOST], "p")]
    {
        let mut rig = host_rig(&[profile("p", "allow"), on]);
        rig.delta(&[profile("p", "deny")]);
        assert_eq!(judged(&mut rig), cut);
        rig.delta(&[profile("p", "allow")]);
        assert_eq!(judged_within(&mut rig, AT_ONCE), restored);
    }
}

#[test]
fn a_host_endpoint_that_comes_goes_or_moves_has_its_connections_judged() {
    let mut rig = host_rig(&[profile("p", "deny")]);
    let about = |verb: &str| [format!("{verb} {OUT} > {HOST}")];
    rig.delta(&[host_endpoint("h", "eth0", &[], "p")]);
    assert_eq!(judged(&mut rig), about("Cut"));
    rig.delta(&[host_endpoint("h", "eth7", &[], "p")]);
    assert_eq!(judged(&mut rig), about("Restore"));
    rig.delta(&[host_endpoint("h", "", &["192.0.2.77"], "p")]);
    assert_eq!(judged(&mut rig), [""; 0]);
    let addresses = [HOST, "192.0.2.77"].map(|addr| addr.parse().expect("an address"));
    rig.half.addresses(rig.now, &"eth0".into(), addresses.into());
    assert_eq!(judged(&mut rig), about("Cut"));
}

#[test]
fn what_may_have_come_in_by_another_interface_is_left_alone() {
    let mut rig = host_rig(&[profile("p", "allow"), host_endpoint("h", "eth0", &[], "p")]);
    rig.link("eth1", up(7));
    rig.delta(&[profile("p", "deny")]);
    assert_eq!(judged(&mut rig), [""; 0]);
    rig.link("eth1", down(7));
    rig.delta(&[profile("p", "allow")]);
    rig.delta(&[profile("p", "deny")]);
    assert_eq!(judged(&mut rig), [format!("Cut {OUT} > {HOST}")]);
}

#[test]
fn an_acknowledgement_does_not_wait_for_the_review() {
    let mut rig = rig();
    rig.delta(&[profile("open", "deny")]);
    let about = |call: &String| call.starts_with("Cut");
    assert!(!rig.world.calls().iter().any(about));
    assert_eq!(judged(&mut rig).len(), 4);
}

#[test]
fn a_revision_that_comes_in_does_not_wait_for_the_review() {
    let mut rig = rig();
    rig.delta(&[profile("open", "deny")]);
    let begin = Begin { epoch: 7, kind: Kind::Delta.into(), from: rig.revision };
    rig.frame(to_data::Frame::Begin(begin));
    // The slice that follows a change is due after 2 ms.
    assert_eq!(judged_within(&mut rig, 5 * AT_ONCE), [""; 0]);
    assert_eq!(judged(&mut rig).len(), 4, "the rest of the revision may never come");
}

#[test]
fn an_endpoint_that_is_taken_down_loses_its_connections() {
    let mut rig = rig();
    rig.delta(&[endpoint_in_state(AdminState::Down, "a", "cali0", &[A])]);
    assert_eq!(judged(&mut rig), [format!("Cut {A} > {B}"), format!("Cut {OUT} > {A}")]);
}

#[test]
fn what_a_departed_address_left_behind_is_forgotten_after_the_change_too() {
    let mut rig = rig();
    rig.delta(&[no_endpoint("b")]);
    assert_eq!(judged(&mut rig), [(A, B), (B, OUT), (OUT, B)].map(|(from, to)| format!("Forget {from} > {to}")));
}

#[test]
fn the_next_owner_of_an_address_has_its_connections_judged() {
    let mut rig = rig();
    rig.delta(&[no_endpoint("b"), profile("closed", "deny"), profiled("c", "cali1", B, "closed")]);
    assert_eq!(judged(&mut rig), [(A, B), (B, OUT), (OUT, B)].map(|(from, to)| format!("Cut {from} > {to}")));
}

#[test]
fn what_is_not_in_force_cuts_nothing() {
    let mut rig = rig();
    rig.world.breaks("apply");
    rig.delta(&[profile("open", "deny")]);
    let soon = rig.now + Duration::from_millis(50);
    while rig.half.deadline() <= soon {
        rig.now = rig.half.deadline();
        rig.half.tick(rig.now);
    }
    assert!(!rig.world.calls().iter().any(|call| call.starts_with("Cut")));
    rig.world.heals();
    assert_eq!(judged(&mut rig).len(), 4);
}

#[test]
fn what_began_while_rules_were_changed_is_reviewed() {
    let mut rig = Rig::with(&[profile("closed", "deny"), profiled("a", "cali0", A, "closed")]);
    rig.wait(SECOND);
    rig.world.connect(&[(OUT, A)]);
    assert_eq!(judged(&mut rig), [""; 0], "nothing tells of it");
    rig.world.tamper();
    assert_eq!(judged_within(&mut rig, POLL), [format!("Cut {OUT} > {A}")]);
}

#[test]
fn a_review_that_fails_is_made_later() {
    let mut rig = rig();
    rig.world.breaks("review");
    rig.delta(&[profile("open", "deny")]);
    assert_eq!(judged(&mut rig), [""; 0]);
    rig.world.heals();
    assert_eq!(judged(&mut rig).len(), 4);
}

#[test]
fn a_parameter_turns_it_off() {
    let mut rig = rig();
    rig.delta(&[config(&[("RevokeEstablishedConnections", "false")]), profile("open", "deny")]);
    assert_eq!(judged(&mut rig), [""; 0]);
}

#[test]
fn turned_off_it_leaves_no_label_behind() {
    let mut rig = rig();
    let revoke = |switch| config(&[("RevokeEstablishedConnections", switch)]);
    rig.delta(&[profile("open", "deny")]);
    assert_eq!(judged(&mut rig).len(), 4);
    rig.delta(&[revoke("false")]);
    let restored = [(A, B), (OUT, A), (B, OUT), (OUT, B)].map(|(from, to)| format!("Restore {from} > {to}"));
    assert_eq!(judged(&mut rig), restored);
    rig.delta(&[profile("open", "allow")]);
    assert_eq!(judged(&mut rig), [""; 0]);
    rig.delta(&[revoke("true")]);
    assert_eq!(judged(&mut rig), [""; 0], "nothing was cut when it became possible again");
    rig.delta(&[revoke("false"), profile("open", "deny")]);
    rig.delta(&[revoke("true")]);
    assert_eq!(judged(&mut rig).len(), 4);
}

/// Less than the time after which a review begins.
const AT_ONCE: Duration = Duration::from_millis(1);

#[test]
fn what_policy_allows_again_is_restored_at_once() {
    let mut rig = rig();
    let (cut, restored) = ([(A, B), (OUT, A), (B, OUT), (OUT, B)], |(from, to)| format!("Restore {from} > {to}"));
    rig.delta(&[profile("open", "deny")]);
    assert_eq!(judged(&mut rig), cut.map(|(from, to)| format!("Cut {from} > {to}")));
    rig.delta(&[profile("open", "allow")]);
    assert_eq!(judged_within(&mut rig, AT_ONCE), cut.map(restored));
    assert_eq!(judged(&mut rig), [""; 0]);
    // What one endpoint denies stays cut, though another allows it again.
    rig.delta(&[profile("open", "deny")]);
    assert_eq!(judged(&mut rig).len(), 4);
    rig.delta(&[profile("closed", "deny"), profiled("a", "cali0", A, "closed"), profile("open", "allow")]);
    assert_eq!(judged_within(&mut rig, AT_ONCE), cut[2..].iter().copied().map(restored).collect::<Vec<_>>());
}

#[test]
fn without_a_cut_connection_none_is_looked_for() {
    let mut rig = rig();
    let looks = |rig: &mut Rig| {
        rig.wait(SECOND);
        rig.world.calls().iter().filter(|call| *call == "reconsider").count()
    };
    rig.delta(&[profile("open", "allow"), profiled("a", "cali2", A, "open")]);
    assert_eq!(looks(&mut rig), 0);
    rig.delta(&[profile("open", "deny")]);
    assert_eq!(looks(&mut rig), 0);
    rig.delta(&[profiled("a", "cali3", A, "open")]);
    assert_eq!(looks(&mut rig), 1);
}

#[test]
fn restoring_is_tried_again() {
    let mut rig = rig();
    rig.delta(&[profile("open", "deny")]);
    assert_eq!(judged(&mut rig).len(), 4);
    rig.world.breaks("reconsider");
    rig.delta(&[profile("open", "allow")]);
    assert_eq!(judged_within(&mut rig, AT_ONCE), [""; 0]);
    rig.world.heals();
    assert_eq!(judged(&mut rig).len(), 4);
}

/// A message of a profile that allows what leaves and nothing that comes in.
fn outwards(name: &str) -> felix::ToDataplane {
    let rule = |action: &str| vec![felix::Rule { action: action.to_owned(), ..felix::Rule::default() }];
    message(Payload::ActiveProfileUpdate(felix::ActiveProfileUpdate {
        id: Some(felix::ProfileId { name: name.to_owned() }),
        profile: Some(felix::Profile { inbound_rules: rule("deny"), outbound_rules: rule("allow") }),
    }))
}

#[test]
fn of_equals_the_entry_goes_if_the_other_one_may_open_its_own() {
    let mut rig = rig();
    rig.delta(&[outwards("outwards"), profiled("b", "cali1", B, "outwards")]);
    assert_eq!(judged(&mut rig), [format!("Cut {A} > {B}"), format!("Cut {OUT} > {B}")], "a client and a server");
    rig.delta(&[profiled("b", "cali1", B, "open")]);
    assert_eq!(judged(&mut rig).len(), 2);
    rig.world.equalize();
    rig.delta(&[profiled("b", "cali1", B, "outwards")]);
    assert_eq!(judged(&mut rig), [format!("Forget {A} > {B}"), format!("Forget {OUT} > {B}")]);
}

#[test]
fn of_equals_that_are_cut_the_entry_goes_as_soon_as_the_other_one_may_open_its_own() {
    let mut rig = rig();
    rig.world.equalize();
    rig.delta(&[profile("closed", "deny"), profiled("b", "cali1", B, "closed")]);
    assert_eq!(judged(&mut rig), [(A, B), (B, OUT), (OUT, B)].map(|(from, to)| format!("Cut {from} > {to}")));
    rig.delta(&[outwards("outwards"), profiled("b", "cali1", B, "outwards")]);
    let freed = [format!("Forget {A} > {B}"), format!("Restore {B} > {OUT}"), format!("Forget {OUT} > {B}")];
    assert_eq!(judged_within(&mut rig, AT_ONCE), freed);
}

#[test]
fn what_judging_takes_is_made_once_a_review_unless_policy_changes_meanwhile() {
    let made = |rig: &Rig| {
        let name = "caracal_dataplane_connection_review_preparations_total";
        let measured = rig.half.revocation.measurements();
        measured.into_iter().find(|measurement| measurement.name == name).expect("the count").value
    };
    let mut rig = rig();
    let before = made(&rig);
    rig.delta(&[profile("open", "deny")]);
    assert_eq!(judged(&mut rig).len(), 4);
    assert!((made(&rig) - before - 1.0).abs() < 0.1, "three slices");
    rig.delta(&[profile("open", "allow")]);
    assert_eq!(judged(&mut rig).len(), 4);
    let before = made(&rig);
    rig.delta(&[profile("open", "deny")]);
    rig.wait(2 * AT_ONCE);
    rig.delta(&[profile("other", "deny")]);
    assert_eq!(judged(&mut rig).len(), 4);
    assert!(made(&rig) - before < 2.1, "two at most");
}
